# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux images under /boot: what they were built with, and how big their initrd becomes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from xenable.boot.deadman import MODULES, SHOWN, watchdog_files
from xenable.boot.pairs import IMAGE, INITRDS, XEN_ONLY, image_compression
from xenable.facts.dpkg import owner
from xenable.facts.files import content, line
from xenable.facts.initrd import unpacked_bytes
from xenable.host import Host
from xenable.machine import Answer, Kernel

BOOT = "/boot"

NEEDED_OPTIONS = (
    *("CONFIG_XEN_PV", "CONFIG_XEN_BACKEND", "CONFIG_XEN_BLKDEV_BACKEND", "CONFIG_XEN_NETDEV_BACKEND"),
    *("CONFIG_XEN_PRIVCMD", "CONFIG_XENFS", "CONFIG_XEN_DEV_EVTCHN", "CONFIG_XEN_GNTDEV"),
    *("CONFIG_XEN_GRANT_DEV_ALLOC", "CONFIG_XEN_SYS_HYPERVISOR", "CONFIG_HVC_XEN"),
)
"""Beside CONFIG_XEN_DOM0: paravirtual dom0, its console, guests' disks and networks, and the toolstack's
devices. The watchdog is a fact of its own: its module may be in another package than the kernel."""

NO_IMAGE = (".old", ".bak", ".sig", ".signed", ".dpkg-new", ".dpkg-old", ".dpkg-tmp", ".rpmsave")
"""Endings of names in /boot that are no kernel's own."""


def probe_kernels(host: Host) -> tuple[Kernel, ...]:
    running = line(host, "/proc/sys/kernel/osrelease")
    names = [name for name in host.names(BOOT) if IMAGE.fullmatch(name) and not name.endswith(NO_IMAGE)]
    # An unpacked twin, to debug with.
    twins = {name.replace("vmlinuz-", "vmlinux-", 1) for name in names if name.startswith("vmlinuz-")}
    return tuple(_kernel(host, f"{BOOT}/{name}", running) for name in names if name not in twins)


def parse_config(text: str) -> frozenset[str]:
    """Options that are built in or modules."""
    return frozenset(re.findall(r"^(CONFIG_\w+)=[ym]$", text, re.MULTILINE))


def read_options(host: Host, version: str) -> frozenset[str]:
    """The same of an installed kernel; empty where its configuration is nowhere."""
    return parse_config(host.text(f"{BOOT}/config-{version}") or host.text(f"{MODULES}/{version}/config"))


def flavour(version: str) -> str:
    """The end of a version, which names the build: amd64, cloud-amd64, generic, azure."""
    found = re.search(r"-([a-z][a-z0-9-]*)$", version)
    return found[1] if found else ""


def _kernel(host: Host, image: str, running: str) -> Kernel:
    name = PurePosixPath(image).name
    version = name.partition("-")[2]
    options = read_options(host, version)
    initrd = next((p for form in INITRDS if host.exists(p := f"{BOOT}/{form.format(version)}")), "")
    size = unpacked_bytes(host, initrd) if initrd else None
    return Kernel(
        version=version,
        image=image,
        package=_package(host, image, version),
        compression=image_compression(host, image),
        dom0=Answer.of("CONFIG_XEN_DOM0" in options if options else None),
        missing_options=tuple(o for o in NEEDED_OPTIONS if o not in options) if options else (),
        initrd=initrd,
        initrd_unpacked=-(-size // 2**20) if size is not None else None,
        initrd_size=-(-host.path(initrd).stat().st_size // 2**20) if size is not None else None,
        running=version == running,
        flavour=flavour(version),
        xen_only=name.startswith(XEN_ONLY),
        watchdog=Answer.NO if options and SHOWN not in options else _watchdog(host, version),
        forbidden=host.forbidden(image),
    )


def _watchdog(host: Host, version: str) -> Answer:
    files = watchdog_files(host, version)
    if files is not None:
        return Answer.of(all(host.exists(file) for file in files))
    lists = (f"{MODULES}/{version}/modules.{name}" for name in ("dep", "builtin"))
    hidden = any(host.exists(path) and content(host, path) is None for path in lists)
    return Answer.of(None if hidden else False)


def _package(host: Host, image: str, version: str) -> str:
    # The usual names first: a look at every package's list would cost more than all other facts together.
    names = (f"linux-image-{version}", f"linux-image-unsigned-{version}", f"xen-image-{version}")
    for prefix in (*names, "linux-image-"):
        if package := owner(host, image, prefix):
            return package
    return ""
