# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kernel of this machine: who made it, and what it can be used as."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xenable.boot.deadman import MODULES
from xenable.boot.pairs import XEN_ONLY, newest_first
from xenable.facts.dpkg import owner
from xenable.facts.files import line
from xenable.facts.kernels import BOOT, NO_IMAGE, probe_kernels, read_options
from xenable.host import Host
from xenable.machine import Answer, Kernel

GUEST_OPTIONS = frozenset(
    {"CONFIG_XEN", "CONFIG_HVC_XEN", "CONFIG_XEN_BLKDEV_FRONTEND", "CONFIG_XEN_NETDEV_FRONTEND"}
)
"""Beside CONFIG_XEN_PV or CONFIG_XEN_PVH: console, disk and network of a guest."""

_IMAGE = re.compile(r"(vmlinu[xz]|kernel|linux)-([A-Za-z0-9][A-Za-z0-9.+~_-]*)")


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    version: str
    image: str
    """Path; empty where only its modules are here."""
    package: str
    """Empty where none owns it."""
    maker: str
    """Who looks after the package; empty where nobody is known."""
    dom0: Answer
    """Whether the menu takes it, and a trial can be armed: it has dom0 support, an initrd and the driver of
    Xen's watchdog, and is packed in a way that is known."""
    guest: Answer
    native: Answer
    """Whether a boot loader may start it without Xen."""
    modules: bool
    running: bool


def kernel_rows(host: Host) -> tuple[KernelRow, ...]:
    """All that are in /boot or /lib/modules, the newest first."""
    images = {
        match[2]: f"{BOOT}/{name}"
        for name in host.names(BOOT)
        if (match := _IMAGE.fullmatch(name)) and not name.endswith(NO_IMAGE)
        if not host.link_target(f"{BOOT}/{name}")
    }
    folders = [name for name in host.names(MODULES) if host.is_dir(f"{MODULES}/{name}")]
    makers = _makers(host)
    running = line(host, "/proc/sys/kernel/osrelease")
    lacking = {kernel.image for kernel in probe_kernels(host) if _lacks(kernel)}
    versions = newest_first(tuple({*images, *folders}))
    rows = (
        _row(host, version, images.get(version, ""), version in folders, version == running, makers)
        for version in versions
    )
    return tuple(replace(row, dom0=Answer.NO) if row.image in lacking else row for row in rows)


def _lacks(kernel: Kernel) -> bool:
    """Whether a kernel has dom0 support, and something else that a trial needs is not there."""
    able = kernel.dom0 is Answer.YES
    return able and not (kernel.initrd and kernel.compression and kernel.watchdog is not Answer.NO)


def _row(
    host: Host, version: str, image: str, modules: bool, running: bool, makers: dict[str, str]
) -> KernelRow:
    options = read_options(host, version)
    known = bool(options) and bool(image)
    # /lib is a link, and dpkg knows a file by the name that its package has for it.
    paths = (image,) if image else (f"{MODULES}/{version}", f"/usr{MODULES}/{version}")
    package = _package(host, paths, version)
    xen_only = image.startswith(f"{BOOT}/{XEN_ONLY}")
    guest = options >= GUEST_OPTIONS and bool({"CONFIG_XEN_PV", "CONFIG_XEN_PVH"} & options)
    return KernelRow(
        version=version,
        image=image,
        package=package,
        maker=makers.get(package, ""),
        dom0=_answer(known, image, "CONFIG_XEN_DOM0" in options),
        guest=_answer(known, image, guest),
        native=Answer.of(bool(image) and not xen_only),
        modules=modules,
        running=running,
    )


def _answer(known: bool, image: str, yes: bool) -> Answer:
    if not image:
        return Answer.NO
    return Answer.of(yes if known else None)


def _package(host: Host, paths: tuple[str, ...], version: str) -> str:
    names = (f"xen-image-{version}", f"linux-image-{version}", f"linux-image-unsigned-{version}")
    for prefix in (*names, f"linux-modules-{version}", "linux-image-", ""):
        for path in paths:
            if package := owner(host, path, prefix):
                return package
    return ""


def _makers(host: Host) -> dict[str, str]:
    """Package to its maintainer's name, without the address."""
    found = {}
    for paragraph in host.text("/var/lib/dpkg/status").split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Maintainer): (.*)$", paragraph))
        if "Package" in fields:
            found[fields["Package"]] = fields.get("Maintainer", "").partition("<")[0].strip()
    return found
