# SPDX-License-Identifier: GPL-2.0-or-later
"""BIOS or UEFI, Secure Boot, and whether EFI variables can be written."""

from __future__ import annotations

from xenable.boot.efi import EFIVARS, GLOBAL, efi_variable
from xenable.facts.storage import read_mounts
from xenable.host import Host
from xenable.machine import Answer, Firmware, FirmwareKind

EFI = "/sys/firmware/efi"
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""Vendor GUID of the Boot Loader Interface (systemd.io/BOOT_LOADER_INTERFACE)."""


def probe_firmware(host: Host) -> Firmware:
    if not _is_uefi(host):
        return Firmware(kind=FirmwareKind.BIOS, secure_boot=Answer.NO, efi_variables=Answer.NO)
    return Firmware(
        kind=FirmwareKind.UEFI,
        secure_boot=_secure_boot(host),
        efi_variables=_writable(host),
    )


def _is_uefi(host: Host) -> bool:
    if host.exists("/sys/firmware"):
        return host.exists(EFI)
    # A folder without /sys: what GRUB was installed for tells what the machine boots with.
    return host.is_dir("/boot/grub/x86_64-efi") and not host.is_dir("/boot/grub/i386-pc")


def _secure_boot(host: Host) -> Answer:
    value = efi_variable(host, "SecureBoot")
    if value:
        return Answer.of(value[-1] == 1)
    # Firmware that has variables but not this one knows no Secure Boot.
    if value is None and host.names(EFIVARS) and not host.exists(f"{EFIVARS}/SecureBoot-{GLOBAL}"):
        return Answer.NO
    return Answer.UNKNOWN


def _writable(host: Host) -> Answer:
    mounts = read_mounts(host)
    if not mounts:
        return Answer.UNKNOWN
    mine = [mount for mount in mounts if mount.mount_point == EFIVARS and mount.kind == "efivarfs"]
    return Answer.of(bool(mine) and not mine[-1].read_only)
