# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kernel of this machine: who made it, and what it can be used as."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xenable.boot.deadman import MODULES
from xenable.boot.pairs import IMAGE, XEN_ONLY, newest_first
from xenable.facts.dpkg import owner
from xenable.facts.files import line
from xenable.facts.kernels import BOOT, NO_IMAGE, probe_kernels, read_options
from xenable.host import Host
from xenable.machine import Answer, Kernel

GUEST_OPTIONS = frozenset(
    {"CONFIG_XEN", "CONFIG_HVC_XEN", "CONFIG_XEN_BLKDEV_FRONTEND", "CONFIG_XEN_NETDEV_FRONTEND"}
)
"""Beside CONFIG_XEN_PV or CONFIG_XEN_PVH: console, disk and network of a guest."""


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
        if (match := IMAGE.fullmatch(name)) and not name.endswith(NO_IMAGE)
        if not host.link_target(f"{BOOT}/{name}")
    }
    folders = [name for name in host.names(MODULES) if host.is_dir(f"{MODULES}/{name}")]
    makers = _makers(host)
    running = line(host, "/proc/sys/kernel/osrelease")
    tried = {kernel.image: _tried(host, kernel) for kernel in probe_kernels(host)}
    versions = newest_first(tuple({*images, *folders}))
    rows = (
        _row(host, version, images.get(version, ""), version in folders, version == running, makers)
        for version in versions
    )
    return tuple(replace(row, dom0=tried.get(row.image, row.dom0)) for row in rows)


def _tried(host: Host, kernel: Kernel) -> Answer:
    """Whether a trial takes it as dom0's. Ubuntu lets only root see how it is packed."""
    if kernel.dom0 is not Answer.YES:
        return kernel.dom0
    if not kernel.initrd or kernel.watchdog is Answer.NO:
        return Answer.NO
    return Answer.of(None if host.forbidden(kernel.image) else bool(kernel.compression))


def _row(
    host: Host, version: str, image: str, modules: bool, running: bool, makers: dict[str, str]
) -> KernelRow:
    options = read_options(host, version)
    known = bool(options) and bool(image)
    # /lib is a link, and dpkg knows a file by the name that its package has for it.
    paths = (image,) if image else (f"{MODULES}/{version}", f"/usr{MODULES}/{version}")
    package = _package(host, paths, version)
    xen_only = image.rpartition("/")[2].startswith(XEN_ONLY)
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
