# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders that look like a machine's /boot."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

from xenable.host import Host

_WORDS = (0xE85250D6, 0, 16)
HEADER = struct.pack("<4I", *_WORDS, -sum(_WORDS) & 0xFFFFFFFF)
XEN_ELF = b"\x7fELF" + bytes(252) + HEADER + bytes(999)
EFI = b"MZ" + bytes(254) + HEADER + bytes(999)

MAGIC = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"\x02\x21\x4c\x18",
    "unknown": b"????",
}


def bzimage(compression: str) -> bytes:
    head = bytearray(5 * 512 + 64)
    head[0x1F1] = 4
    head[0x202:0x208] = b"HdrS\x0f\x02"
    struct.pack_into("<I", head, 0x248, 64)
    return bytes(head) + MAGIC[compression] + b"payload"


def make_boot(root: Path, xens: Sequence[str], kernels: Sequence[str], compression: str = "xz") -> Host:
    """/boot with Debian's files of these hypervisors (4.20) and dom0 kernels (6.12.1-amd64)."""
    boot = root / "boot"
    (boot / "grub").mkdir(parents=True)
    for version in xens:
        (boot / f"xen-{version}-amd64.gz").write_bytes(gzip.compress(XEN_ELF))
        (boot / f"xen-{version}-amd64.efi").write_bytes(EFI)
        (boot / f"xen-{version}-amd64.config").write_text("CONFIG_PV=y\n")
    for version in kernels:
        (boot / f"vmlinuz-{version}").write_bytes(bzimage(compression))
        (boot / f"config-{version}").write_text("CONFIG_XEN=y\nCONFIG_XEN_DOM0=y\nCONFIG_WATCHDOG_SYSFS=y\n")
        (boot / f"initrd.img-{version}").write_bytes(b"initrd of " + version.encode())
    return Host(root)
