# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/boot_loader.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.factory import CLOUD_KERNEL, ENTRIES, ESP, SUBMENU
from tests.unit.checks.cases.common import ADDS_KERNEL, XEN_ENTRY, Case
from xenable.machine import Answer, FirmwareKind, GrubSetting, LoaderKind


def command_line(name: str, value: str) -> dict[str, Any]:
    return {"menu": {"command_lines": (GrubSetting(name=name, value=value),)}}


CASES: tuple[Case, ...] = (
    (
        "boot/not-grub",
        {"boot_loader": {"kind": LoaderKind.SYSTEMD_BOOT, "name": "systemd-boot 257"}},
        {},
        "systemd-boot 257 boots",
        "grub-efi-amd64",
    ),
    (
        "boot/not-grub",
        {"boot_loader": {"kind": LoaderKind.OTHER, "name": "rEFInd"}},
        {},
        "rEFInd",
        "GRUB",
    ),
    (
        "boot/loader-unknown",
        {"boot_loader": {"kind": LoaderKind.UNKNOWN}},
        {},
        "what the firmware",
        "efibootmgr",
    ),
    (
        "boot/modules-missing",
        {"boot_loader": {"missing_modules": ("multiboot2",)}},
        {},
        "x86_64-efi lacks multiboot2",
        "grub-install",
    ),
    (
        "boot/modules-missing",
        {"boot_loader": {"platforms": ("i386-pc",)}},
        {},
        "/boot/grub/x86_64-efi is not there; there is i386-pc",
        "grub-install",
    ),
    (
        "boot/no-one-shot",
        {
            "boot_loader": {"environment": "", "environment_obstacle": "it is on LVM"},
            "storage": {"esp": None},
        },
        {},
        "can't write to /boot/grub: it is on LVM. There is no EFI system partition",
        "/boot/efi",
    ),
    (
        "boot/no-one-shot",
        {"boot_loader": {"environment": ""}},
        {},
        "the reason is unknown. The EFI system partition at /boot/efi can't be used",
        "Put /boot on a plain partition with ext4",
    ),
    (
        "boot/no-one-shot",
        {
            "boot_loader": {
                "environment": "",
                "environment_obstacle": "it is on raid",
                "own_loader_obstacle": "the firmware's variables can't be written",
            },
            "storage": {"esp": replace(ESP, stack=("raid", "part", "disk"))},
        },
        {},
        "The EFI system partition at /boot/efi can't be used instead: it is on raid, where GRUB can only "
        "read. Nor can the firmware's BootNext: the firmware's variables can't be written.",
        "Put /boot on a plain partition with ext4, without LVM or RAID",
    ),
    (
        "boot/no-one-shot",
        {
            "boot_loader": {"environment": "", "platforms": ("i386-pc",)},
            "firmware": {"kind": FirmwareKind.BIOS},
        },
        {},
        "the reason is unknown",
        "without LVM or RAID",
    ),
    (
        "boot/one-shot-by-firmware",
        {
            "boot_loader": {
                "own_loader": "/boot/efi/EFI/xenable",
                "environment_obstacle": "the file system at /boot is on raid, where GRUB can only read",
            },
        },
        {},
        "where GRUB can only read, and it can't write to the EFI system",
        "xenable revert",
    ),
    (
        "boot/menu-unreadable",
        {"menu": {"readable": False, "entries": ()}},
        {},
        "grub.cfg",
        "update-grub",
    ),
    (
        "boot/default-names-nothing",
        {"menu": {"grub_default": "Arch"}},
        {},
        "GRUB_DEFAULT is 'Arch'",
        "DEFAULT=0",
    ),
    (
        "boot/default-names-nothing",
        {"menu": {"grub_default": "7"}},
        {},
        "3 entries",
        "",
    ),
    (
        "boot/default-names-nothing",
        {"menu": {"grub_default": "saved", "saved_entry": "gone"}},
        {},
        "saved_entry is 'gone'",
        "",
    ),
    (
        "boot/default-is-xen",
        {"menu": {"entries": (*ENTRIES, XEN_ENTRY), "grub_default": "Debian, with Xen"}},
        {},
        "'Debian, with Xen'",
        "XEN_OVERRIDE_GRUB_DEFAULT=0",
    ),
    (
        "boot/default-moves",
        {"menu": {"grub_default": "1>0"}, **ADDS_KERNEL},
        {},
        "GRUB_DEFAULT is '1>0', and linux-image-amd64 comes for dom0.",
        f"Set GRUB_DEFAULT='{SUBMENU}>gnulinux-6.12-advanced-6e0b' in /etc/default/grub",
    ),
    (
        "boot/default-moves",
        {"menu": {"grub_default": "saved", "saved_entry": f"{SUBMENU}>0"}, **ADDS_KERNEL},
        {},
        "saved_entry is",
        f"grub-set-default '{SUBMENU}>gnulinux-6.12-advanced-6e0b'",
    ),
    (
        "boot/default-moves",
        {
            "menu": {
                "entries": (
                    *ENTRIES,
                    replace(ENTRIES[0], id="site", path="site", title="Site", numbers="7"),
                ),
                "grub_default": "7",
                "behind": (7,),
            }
        },
        {},
        "GRUB_DEFAULT is '7', a number, and Xen's entries would come before the one it means",
        "Set GRUB_DEFAULT='site'",
    ),
    (
        "boot/default-moves",
        {**ADDS_KERNEL, "kernels": (replace(CLOUD_KERNEL, flavour=""),)},
        {},
        "GRUB_DEFAULT is '0'",
        "to the id of an entry",
    ),
    (
        "boot/command-line",
        command_line("GRUB_CMDLINE_LINUX", "quiet net=$card"),
        {},
        "Cannot use 'quiet net=$card' in the boot menu: GRUB would take what follows $ as a variable.",
        "GRUB_CMDLINE_LINUX",
    ),
    (
        "boot/command-line",
        command_line("GRUB_CMDLINE_LINUX_DEFAULT", """'dyndbg="file a.c"'"""),
        {},
        "on dom0's command line: GRUB would hand it over changed.",
        "update-grub",
    ),
    (
        "boot/command-line",
        command_line("GRUB_CMDLINE_XEN", "noreboot=true"),
        {},
        "Cannot use noreboot=true for Xen: after a panic it would stand still for ever.",
        "GRUB_CMDLINE_XEN",
    ),
    (
        "boot/menu-stale",
        {"menu": {"stale": Answer.YES}},
        {},
        "after grub.cfg was made",
        "update-grub",
    ),
    (
        "boot/one-shot-pending",
        {"menu": {"next_entry": "1"}},
        {},
        "next_entry is '1'",
        "unset next_entry",
    ),
)
