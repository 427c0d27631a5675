# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stock image is made of. Pure: a recipe, its packages, the name under which it is cached."""

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Release(Enum):
    """A Debian release by its code name."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"


class Firmware(Enum):
    """What starts the boot loader."""

    BIOS = "bios"
    UEFI = "uefi"


class Kernel(Enum):
    """Which kernel metapackage the machine has; the cloud kernel cannot be a Xen dom0."""

    GENERIC = "generic"
    CLOUD = "cloud"


class Filesystem(Enum):
    """What / is, /boot with it; GRUB can't write its environment block to btrfs."""

    EXT4 = "ext4"
    BTRFS = "btrfs"


@dataclass(frozen=True)
class Recipe:
    """One kind of stock machine."""

    release: Release = Release.TRIXIE
    firmware: Firmware = Firmware.UEFI
    kernel: Kernel = Kernel.GENERIC
    filesystem: Filesystem = Filesystem.EXT4


# Raised when the code that builds changes in a way that the other parts of the hash do not show.
FORMAT = 2

# Sectors of 512 bytes; the last one of each is part of the partition.
BIOS_BOOT = (2048, 4095)
ESP = (4096, 208895)
ROOT_START = 208896
DISK_BYTES = 10 * 1024**3

ROOT_UUID = "6b2f2c5e-3d1a-4f0e-9c55-1f7a51f0d0a1"
ESP_UUID = "58AE-1AB0"

# How udev may call the one NIC, which lab/qemu.py always puts into the same PCI slot (0x10).
INTERFACES = ("enp0s16", "ens16", "eth0")

# On top of Priority: required and important, which is what debian-installer's base system consists of.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "ifupdown",
    "initramfs-tools",
    "iproute2",
    "less",
    "login",
    "openssh-server",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
)
DHCP_CLIENT = {Release.BOOKWORM: "isc-dhcp-client", Release.TRIXIE: "dhcpcd-base"}
FILESYSTEM = {Filesystem.EXT4: "e2fsprogs", Filesystem.BTRFS: "btrfs-progs"}
KERNEL = {Kernel.GENERIC: "linux-image-amd64", Kernel.CLOUD: "linux-image-cloud-amd64"}
BOOT_LOADER = {
    Firmware.BIOS: ("grub-pc", "grub-pc-bin"),
    Firmware.UEFI: (
        "dosfstools",
        "efibootmgr",
        "grub-efi-amd64",
        "grub-efi-amd64-bin",
        "grub-efi-amd64-signed",
        "shim-signed",
    ),
}

GUEST = Path(__file__).with_name("guest")


def packages(recipe: Recipe) -> tuple[str, ...]:
    """All packages asked for by name, sorted."""
    extra = (DHCP_CLIENT[recipe.release], KERNEL[recipe.kernel], FILESYSTEM[recipe.filesystem])
    return tuple(sorted({*PACKAGES, *extra, *BOOT_LOADER[recipe.firmware]}))


def kind(recipe: Recipe) -> str:
    """A machine in one word, such as trixie-uefi-generic-ext4."""
    return "-".join(
        part.value for part in (recipe.release, recipe.firmware, recipe.kernel, recipe.filesystem)
    )


def recipe_hash(recipe: Recipe, public_key: str) -> str:
    """Twelve hex digits that change with all that goes into an image, but for the archive's contents."""
    parts = {
        "format": FORMAT,
        "recipe": kind(recipe),
        "packages": packages(recipe),
        "customize": (GUEST / "customize.sh").read_text(),
        "seed": (GUEST / "seed.sh").read_text(),
        "layout": [BIOS_BOOT, ESP, ROOT_START, DISK_BYTES, ROOT_UUID, ESP_UUID, INTERFACES],
        "key": public_key,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def image_name(recipe: Recipe, public_key: str) -> str:
    """The image's file name, such as trixie-uefi-generic-ext4-0123456789ab.raw."""
    return f"{kind(recipe)}-{recipe_hash(recipe, public_key)}.raw"
