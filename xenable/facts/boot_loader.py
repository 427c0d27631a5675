# SPDX-License-Identifier: GPL-2.0-or-later
"""Which boot loader really boots this machine, and what GRUB can do here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from xenable.boot import efi, loader
from xenable.boot.efi import current_option, efi_variable, parse_load_option
from xenable.boot.environment import FOLDERS
from xenable.facts.dpkg import Known, installed
from xenable.facts.files import line, part
from xenable.facts.firmware import EFI, LOADER
from xenable.facts.storage import (
    BLOCK,
    Mount,
    device_under,
    devices_under,
    disks_under,
    file_system_at,
    read_mounts,
)
from xenable.host import Host
from xenable.machine import Answer, BootLoader, FileSystem, Firmware, FirmwareKind, LoaderKind, Storage

GRUB = "/boot/grub"
ON_ESP = efi.OWN.rpartition("/")[0]

NEEDED_MODULES = (
    *("multiboot2", "gzio", "search", "search_fs_uuid", "loadenv", "reboot", "datehook"),
    *("normal", "test", "echo", "configfile", "hashsum", "gcry_sha256"),
)
"""What the menu entries of Xenable call, and what loads them."""

WRITABLE = ("ext2", "ext3", "ext4", "vfat", "xfs")
"""File systems whose blocks GRUB can overwrite in place. GRUB's own list (00_header, check_writable) names
those where it can't: btrfs, zfs, squash4, … ; one we do not know is taken for one of these."""

PLAIN = ("part", "disk", "multipath")
"""Devices that GRUB sees as the firmware's disks. On lvm and raid (diskfilter) it reads only, and on a
crypt device it would have to be unlocked before the environment is read."""


def probe_boot_loader(
    host: Host, firmware: Firmware, storage: Storage, known: Mapping[str, Known]
) -> BootLoader:
    kind, name = _from_efi(host, storage) if firmware.kind is FirmwareKind.UEFI else _from_mbr(host)
    environment, obstacle = _environment(host, storage)
    own_loader, why_not = ("", "") if environment else _own_loader(host, firmware, storage)
    return BootLoader(
        kind=kind,
        name=name,
        version=_version(known, firmware),
        platforms=tuple(
            name
            for name in host.names(GRUB)
            if any(file.endswith(".mod") for file in host.names(f"{GRUB}/{name}"))
        ),
        missing_modules=_missing_modules(host, firmware),
        environment=environment or (GRUB if own_loader else ""),
        environment_obstacle=obstacle,
        own_loader=own_loader,
        own_loader_obstacle=why_not,
    )


def _from_efi(host: Host, storage: Storage) -> tuple[LoaderKind, str]:
    # Loaders that follow the Boot Loader Interface say who they are.
    if info := efi_variable(host, "LoaderInfo", LOADER):
        name = info.decode("utf-16-le", "replace").rstrip("\0")
        return _named(name), name
    description, path = parse_load_option(current_option(host) or b"")
    file = path.replace("\\", "/").lower()
    kind = _named(file)
    if kind is LoaderKind.OTHER and file.endswith((".efi", ".efi/")) and "/boot/bootx64" not in file:
        return kind, description or file.rpartition("/")[2]
    if kind is LoaderKind.OTHER:
        # The firmware's own entry for a disk starts EFI/BOOT/BOOTX64.EFI, which may be anything.
        kind = _on_esp(host, storage)
    return kind, {LoaderKind.GRUB: "GRUB", LoaderKind.SYSTEMD_BOOT: "systemd-boot"}.get(kind, description)


def _named(text: str) -> LoaderKind:
    text = text.lower()
    if "systemd" in text:
        return LoaderKind.SYSTEMD_BOOT
    return LoaderKind.GRUB if re.search(r"grub|/shim[a-z0-9]*\.efi", text) else LoaderKind.OTHER


def _on_esp(host: Host, storage: Storage) -> LoaderKind:
    if storage.esp is None:
        return LoaderKind.UNKNOWN
    top = f"{storage.esp.mount_point}/EFI"
    vendors = host.names(top)
    files = [f"{vendor}/{file}".lower() for vendor in vendors for file in host.names(f"{top}/{vendor}")]
    grub = any("/grub" in file and file.endswith(".efi") for file in files)
    systemd = any("/systemd-boot" in file for file in files)
    if grub == systemd:
        return LoaderKind.UNKNOWN
    return LoaderKind.GRUB if grub else LoaderKind.SYSTEMD_BOOT


def _from_mbr(host: Host) -> tuple[LoaderKind, str]:
    mine = disks_under(host, device_under(host, read_mounts(host), GRUB))
    others = (
        name
        for name in host.names(BLOCK)
        if name not in mine
        and host.exists(f"{BLOCK}/{name}/device")
        and not host.exists(f"{BLOCK}/{name}/partition")
    )
    for disk in (*mine, *others):
        sector = part(host, f"/dev/{disk}", 512)
        if b"GRUB" in sector:
            return LoaderKind.GRUB, "GRUB"
        for sign, name in ((b"LILO", "LILO"), (b"ISOLINUX", "isolinux"), (b"SYSLINUX", "syslinux")):
            if sign in sector:
                return LoaderKind.OTHER, name
    return LoaderKind.UNKNOWN, ""


def _version(known: Mapping[str, Known], firmware: Firmware) -> str:
    own = "grub-efi-amd64" if firmware.kind is FirmwareKind.UEFI else "grub-pc"
    for name in (own, f"{own}-bin", "grub2-common", "grub-common"):
        if installed(known, name):
            return known[name].version
    return ""


def _missing_modules(host: Host, firmware: Firmware) -> tuple[str, ...]:
    platform = "i386-pc"
    if firmware.kind is FirmwareKind.UEFI:
        platform = "i386-efi" if line(host, f"{EFI}/fw_platform_size") == "32" else "x86_64-efi"
    depends = parse_moddep(host.text(f"{GRUB}/{platform}/moddep.lst"))
    files = set(host.names(f"{GRUB}/{platform}"))
    wanted = list(NEEDED_MODULES)
    for name in wanted:
        wanted.extend(needed for needed in depends.get(name, ()) if needed not in wanted)
    return tuple(name for name in wanted if f"{name}.mod" not in files)


def parse_moddep(text: str) -> dict[str, tuple[str, ...]]:
    """Modules that each GRUB module needs, from moddep.lst."""
    depends = {}
    for row in text.splitlines():
        name, colon, rest = row.partition(":")
        if colon:
            depends[name.strip()] = tuple(rest.split())
    return depends


def _environment(host: Host, storage: Storage) -> tuple[str, str]:
    mounts = read_mounts(host)
    obstacle = write_obstacle(file_system_at(host, mounts, GRUB)) or _journal_obstacle(host, mounts)
    if not obstacle:
        return GRUB, ""
    esp = storage.esp
    if esp is not None and esp.kind == "vfat" and "part" in esp.stack and not write_obstacle(esp):
        own = f"{esp.mount_point}{ON_ESP}"
        # Elsewhere the menu generator would not find it.
        return own if own in FOLDERS else "", obstacle
    return "", obstacle


def _own_loader(host: Host, firmware: Firmware, storage: Storage) -> tuple[str, str]:
    """The folder on the ESP for a GRUB of Xenable's that the firmware's one-shot starts; or why not."""
    if firmware.kind is not FirmwareKind.UEFI:
        return "", ""
    why_not = _loader_obstacle(host, firmware, storage) or efi.obstacle(host)
    return ("", why_not) if why_not or storage.esp is None else (f"{storage.esp.mount_point}{ON_ESP}", "")


def _loader_obstacle(host: Host, firmware: Firmware, storage: Storage) -> str:
    mounts = read_mounts(host)
    esp, at_grub, boot = storage.esp, file_system_at(host, mounts, GRUB), storage.boot
    if esp is None or esp.read_only:
        return "no EFI system partition is mounted to be written to"
    if at_grub is None or boot is None or at_grub.mount_point != boot.mount_point or at_grub.read_only:
        return "/boot/grub is not on the file system of /boot, or that is mounted read-only"
    # A disk that GRUB has to ask for a password starts nothing unattended.
    if at_grub.kind not in loader.READABLE or not set(at_grub.stack) <= {*PLAIN, "lvm", "raid", "zfs"}:
        return f"no GRUB can start from {at_grub.kind} on {', '.join(at_grub.stack)} by itself"
    if firmware.efi_variables is not Answer.YES:
        return "the firmware's variables can't be written"
    if firmware.secure_boot is not Answer.NO or line(host, f"{EFI}/fw_platform_size") == "32":
        return "the firmware may not start a GRUB that was made here"
    if not host.exists(loader.TOOL) or not all(map(host.exists, loader.files())):
        return f"{loader.TOOL} or its modules are not there: install grub-efi-amd64-bin"
    option = efi.boot_option(host)
    found = efi.partition(option) if option is not None else ""
    name = PurePosixPath(host.link_target(f"/dev/disk/by-partuuid/{found}")).name if found else ""
    if not name or name not in devices_under(host, device_under(host, mounts, esp.mount_point)):
        return f"the firmware starts this machine from another partition than the one at {esp.mount_point}"
    return ""


def _journal_obstacle(host: Host, mounts: Sequence[Mount]) -> str:
    """Why what GRUB writes there would not last: with data=journal, the next mount after a reset replays the
    old bytes over it. The kernel shows the option here also where the superblock has it (tune2fs -o)."""
    options = host.text(f"/proc/fs/ext4/{device_under(host, mounts, GRUB)}/options").split()
    if "data=journal" not in options:
        return ""
    return "its file system is mounted with data=journal, which takes back what GRUB writes after a reset"


def write_obstacle(file_system: FileSystem | None) -> str:
    """Why GRUB can't overwrite a file there; empty when it can."""
    if file_system is None:
        return "the file system that holds /boot/grub is not known"
    kind, place = file_system.kind, file_system.mount_point
    for layer in file_system.stack:
        if layer not in PLAIN:
            return f"the file system at {place} is on {layer}, where GRUB can only read"
    if kind not in WRITABLE:
        return f"the file system at {place} is {kind}, to which GRUB cannot write"
    if not file_system.stack:
        return f"the device under {place} is not known"
    return f"the file system at {place} is mounted read-only" if file_system.read_only else ""
