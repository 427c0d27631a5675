# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules that may miss from another kernel, or misbehave under Xen."""

from __future__ import annotations

import re

from xenable.host import Host
from xenable.machine import Modules

DKMS = "/var/lib/dkms"
GRAPHICS = frozenset(
    (
        *("amdgpu", "ast", "bochs", "cirrus", "gma500_gfx", "hyperv_drm", "i915"),
        *("mgag200", "nouveau", "nvidia", "qxl", "radeon", "simpledrm", "udl"),
        *("virtio_gpu", "vmwgfx", "xe"),
    )
)


def probe_modules(host: Host) -> Modules:
    loaded = parse_modules(host.text("/proc/modules"))
    return Modules(
        dkms=tuple(
            f"{name}/{version}"
            for name in host.names(DKMS)
            for version in host.names(f"{DKMS}/{name}")
            # Beside the versions lie links to what is built: kernel-VERSION-ARCHITECTURE.
            if not version.startswith(("kernel-", ".", "original_module"))
            and host.is_dir(f"{DKMS}/{name}/{version}")
        ),
        tainting=tuple(sorted(name for name, taint in loaded.items() if set(taint) & set("OP"))),
        graphics=tuple(sorted(GRAPHICS & loaded.keys())),
    )


def parse_modules(text: str) -> dict[str, str]:
    """Taint letters of loaded modules by name: P proprietary, O out of tree, E unsigned."""
    modules = {}
    for row in text.splitlines():
        words = row.split()
        if len(words) >= 6:
            taint = re.search(r"\(([A-Z+-]+)\)$", row.rstrip())
            modules[words[0]] = taint[1] if taint else ""
    return modules
