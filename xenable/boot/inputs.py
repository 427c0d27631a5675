# SPDX-License-Identifier: GPL-2.0-or-later
"""What the menu depends on, gathered: the variables that grub-mkconfig exports, and the files in /boot.

The variables mean what they mean to GRUB's own 20_linux_xen (GRUB manual, "Simple configuration"). Those
that begin with XENABLE_ come from our shell (data/grub.d/90_xenable), which asks GRUB's tools.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from xenable.boot.commandline import carried_over, dom0_arguments, merge_xen, serial_consoles
from xenable.boot.menu import MenuInputs
from xenable.boot.pairs import Pair, usable_pairs
from xenable.boot.script import split_words
from xenable.errors import XenableError
from xenable.host import Host

COMMAND_LINES = (
    *("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_CMDLINE_XEN", "GRUB_CMDLINE_XEN_DEFAULT"),
    *("GRUB_CMDLINE_LINUX_XEN_REPLACE", "GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT"),
)
"""The variables with words, of those that command_lines looks at."""

_YES = ("y", "yes", "true")


def gather(host: Host, variables: Mapping[str, str], prepare: str) -> MenuInputs:
    """Read all that the menu needs. Words that can't be used cost the ordinary entries, never the slots.

    Errors: XenableError when the shell did not say where the environment block is.
    """

    def get(name: str) -> str:
        return variables.get(name, "")

    if not get("XENABLE_ENVIRONMENT_PATH"):
        raise XenableError("cannot write the menu: there is no environment block")
    pairs: tuple[Pair, ...] = ()
    xen: tuple[str, ...] = ()
    linux: tuple[str, ...] = ()
    recovery_linux: tuple[str, ...] = ()
    try:
        xen, linux, recovery_linux = command_lines(variables)
        pairs = usable_pairs(host, xen_kernels_first=get("XENABLE_KERNEL") == "xen")
    except XenableError as e:
        sys.stderr.write(f"xenable: the menu has no entries to choose Xen by hand: {e.message}\n")
    environment = get("XENABLE_ENVIRONMENT_UUID")
    return MenuInputs(
        distributor=get("GRUB_DISTRIBUTOR"),
        prepare=prepare,
        boot_path=get("XENABLE_BOOT_PATH").rstrip("/"),
        environment_uuid="" if environment == get("GRUB_DEVICE_BOOT_UUID") else environment,
        environment_path=get("XENABLE_ENVIRONMENT_PATH"),
        pairs=pairs,
        xen_words=xen,
        linux_words=linux,
        recovery_linux_words=recovery_linux,
        root=root_device(host, variables),
        root_without_initrd=root_without_initrd(variables),
        recovery=get("GRUB_DISABLE_RECOVERY") != "true",
        submenu=get("GRUB_DISABLE_SUBMENU") not in _YES,
    )


def command_lines(
    variables: Mapping[str, str],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Words for Xen and for dom0's kernel: xen, linux, linux for recovery.

    Errors: XenableError for words that would not arrive as they are written.
    """

    def words(name: str) -> tuple[str, ...]:
        return split_words(variables.get(name, ""))

    always = words("GRUB_CMDLINE_LINUX_XEN_REPLACE") or words("GRUB_CMDLINE_LINUX")
    normally = words("GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT") or words("GRUB_CMDLINE_LINUX_DEFAULT")
    if variables.get("GRUB_FS") == "btrfs" and (
        subvolume := variables.get("XENABLE_ROOT_PATH", "").strip("/")
    ):
        always = (f"rootflags=subvol={subvolume}", *always)
    serial = serial_consoles((*always, *normally))
    # What Xenable asks for (memory, console) is in the default variable; recovery needs it as much.
    xen = merge_xen((*words("GRUB_CMDLINE_XEN"), *words("GRUB_CMDLINE_XEN_DEFAULT")))
    return (
        (*xen, *carried_over(xen, (*always, *normally))),
        dom0_arguments((*always, *normally), serial, None),
        dom0_arguments(("single", *always), serial, None),
    )


def root_device(host: Host, variables: Mapping[str, str]) -> str:
    """Value of root= for a kernel with an initrd."""
    device = variables.get("GRUB_DEVICE", "")
    uuid = variables.get("GRUB_DEVICE_UUID", "")
    part = variables.get("GRUB_DEVICE_PARTUUID", "")
    if variables.get("GRUB_FS") == "zfs":
        dataset = variables.get("XENABLE_ROOT_PATH", "").removesuffix("/").removesuffix("@")
        return f"ZFS={variables.get('XENABLE_ROOT_LABEL', '')}{dataset.removesuffix('/')}"
    use_uuid = bool(uuid) and variables.get("GRUB_DISABLE_LINUX_UUID") != "true"
    use_part = bool(part) and variables.get("GRUB_DISABLE_LINUX_PARTUUID", "true") != "true"
    known = host.exists(f"/dev/disk/by-uuid/{uuid}") or host.exists(f"/dev/disk/by-partuuid/{part}")
    if not (use_uuid or use_part) or not known or _is_logical_volume(host, device):
        return device
    return f"UUID={uuid}" if use_uuid else f"PARTUUID={part}"


def root_without_initrd(variables: Mapping[str, str]) -> str:
    """Value of root= for a kernel that has to find it alone: it knows no UUID of a file system."""
    part = variables.get("GRUB_DEVICE_PARTUUID", "")
    if not part or variables.get("GRUB_DISABLE_LINUX_PARTUUID", "true") == "true":
        return variables.get("GRUB_DEVICE", "")
    return f"PARTUUID={part}"


def _is_logical_volume(host: Host, device: str) -> bool:
    node = (host.link_target(device) or device).rpartition("/")[2]
    return host.text(f"/sys/class/block/{node}/dm/uuid").startswith("LVM-")
