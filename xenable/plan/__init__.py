# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole order of a conversion, on one screen. Undo is exactly the reverse, and both orders matter.

Doing: before apt unpacks anything, what keeps Xen from becoming the default is on disk; the menu is made
once, after the packages; the one-shot is armed last. Undoing: the next boot is native first; the packages go
while our generator is still there; the menu is generated once, at the very end, from the files of before.
"""

from __future__ import annotations

import re

from xenable.boot.commandline import xen_arguments
from xenable.boot.pairs import in_menu_order
from xenable.checks.kernels import adds_kernel, dom0_kernels, readable
from xenable.checks.memory import dom0_memory
from xenable.config import Config
from xenable.errors import XenableError
from xenable.machine import Answer, Facts
from xenable.plan.network import network_steps
from xenable.plan.texts import generator_script, packages_hook, settings_early, settings_late
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.fetch import FetchPackages
from xenable.steps.files import WriteFile
from xenable.steps.leftovers import Leftovers
from xenable.steps.loader import OwnLoader
from xenable.steps.menu import Menu, RefreshMenu
from xenable.steps.packages import InstallPackages
from xenable.steps.slot import Arm, FillSlot
from xenable.steps.statoverride import StatOverride
from xenable.steps.units import EnableUnit

SETTINGS_EARLY = "/etc/default/grub.d/00-xenable.cfg"
SETTINGS_LATE = "/etc/default/grub.d/zz-xenable.cfg"
GENERATOR = "/etc/grub.d/90_xenable"
STOCK_GENERATOR = "/etc/grub.d/20_linux_xen"
PACKAGES_HOOK = "/etc/apt/apt.conf.d/90xenable"
GATE = "xenable-gate.service"
_KERNEL_PACKAGE = re.compile(r"(linux|xen)-image-([0-9].*)")
XEN_FOLDERS = ("/var/lib/xen", "/var/log/xen")
XEN_FILES = (
    *("/var/log/xen/*", "/var/log/xen/console/*"),
    *("/var/lib/xen/userdata-*", "/var/lib/xen/qemu-save.*", "/var/lib/xen/qemu-resume.*"),
)
"""Logs, libxl's records of guests (libxl_internal.c, libxl__userdata_path) and the state of their QEMU
(libxl_internal.h, LIBXL_DEVICE_MODEL_SAVE_FILE and its like)."""


def make_plan(facts: Facts, config: Config) -> tuple[Step, ...]:
    """The steps that turn this machine into a dom0, in their order. Pure; the facts have passed the checks.

    Errors: XenableError when dom0's memory can't be worked out, or the guests' network can't be made.
    """
    names = package_names(facts, config)
    recommended = tuple(candidate.name for candidate in facts.packages.recommended)
    own_loader = facts.boot_loader.own_loader
    late = settings_late(hypervisor_arguments(facts, config), native_flavour(facts), config.kernel)
    return (
        Menu(),
        FetchPackages(names=names, recommended=recommended),
        WriteFile(path=SETTINGS_EARLY, content=settings_early()),
        WriteFile(path=SETTINGS_LATE, content=late),
        # GRUB's own generator lists files that are no hypervisor and repeats ids; ours takes its place.
        StatOverride(path=STOCK_GENERATOR, mode=0o644),
        WriteFile(path=GENERATOR, content=generator_script(), mode=0o755),
        *((OwnLoader(folder=own_loader),) if own_loader else ()),
        BootEnvironment(folder=facts.boot_loader.environment, by_firmware=bool(own_loader)),
        Leftovers(folders=XEN_FOLDERS, own=XEN_FILES),
        InstallPackages(names=names, recommended=recommended),
        # Into files that the packages brought: before those are purged, they are again as they came.
        *network_steps(facts, config),
        RefreshMenu(
            entry_ids=("xenable-a", "xenable-b"),
            adds_kernel=adds_kernel(facts),
            pairs=menu_pairs(facts, config),
        ),
        EnableUnit(unit=GATE),
        WriteFile(path=PACKAGES_HOOK, content=packages_hook()),
        *trial_steps(config),
    )


def trial_steps(config: Config) -> tuple[Step, ...]:
    """What starts a trial; also what a second one after a fall-back needs."""
    return (FillSlot(deadline=config.trial_seconds, hold=not config.auto_confirm), Arm())


def package_names(facts: Facts, config: Config) -> tuple[str, ...]:
    """What is asked of apt by name: the Xen system, and a kernel where none here can be dom0, or where one
    for Xen alone is wanted; with its headers where DKMS has modules to build for it."""
    packages = facts.packages
    names = [packages.xen.name] if packages.xen else []
    if adds_kernel(facts) and packages.kernel:
        names.append(packages.kernel.name)
    if config.xen_kernel and packages.xen_kernel:
        names.append(packages.xen_kernel.name)
    headers = {candidate.headers for candidate in packages.new if _KERNEL_PACKAGE.fullmatch(candidate.name)}
    return (*names, *(candidate.name for candidate in packages.new if candidate.name in headers))


def menu_pairs(facts: Facts, config: Config) -> tuple[str, ...]:
    """What the menu will offer beside the slots, in its order: `Xen 4.20 with Linux 6.12.107-amd64`.

    Empty when apt did not say which Xen would come.
    """
    packages = facts.packages
    new = (_KERNEL_PACKAGE.fullmatch(candidate.name) for candidate in packages.new)
    # To the name of a version it is no matter whether it is here or comes.
    here = (k for k in dom0_kernels(facts) if readable(k, packages.xen_series) is Answer.YES)
    xen_only = {k.version: k.xen_only for k in here}
    xen_only |= {match[2]: match[1] == "xen" for match in new if match}
    order = in_menu_order(xen_only, xen_kernels_first=config.xen_kernel)
    series = packages.xen_series
    return tuple(f"Xen {series} with Linux {version}" for version in order) if series else ()


def native_flavour(facts: Facts) -> str:
    """Flavour of the kernels that stay the native default when dom0 needs another; else empty."""
    running = next((kernel.flavour for kernel in facts.kernels if kernel.running), "")
    return running if adds_kernel(facts) else ""


def hypervisor_arguments(facts: Facts, config: Config) -> str:
    """Xen's command line for this machine. Errors: XenableError for a memory neither known nor set."""
    memory = dom0_memory(facts, config)
    if memory is None:
        raise XenableError(
            "cannot plan: the machine's memory is not known, and so not how much of it dom0 should get",
            hint="set `dom0-memory` in /etc/xenable/xenable.conf",
        )
    return xen_arguments(memory, facts.console.serial)
