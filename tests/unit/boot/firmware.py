# SPDX-License-Identifier: GPL-2.0-or-later
"""The variables of a machine's firmware, as files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from xenable.boot.efi import EFIVARS, GLOBAL
from xenable.boot.environment import Environment
from xenable.errors import XenableError
from xenable.host import Host, StrPath

ATTRIBUTES = b"\7\0\0\0"
PARTITION = bytes(range(36)) + b"\2\2"
"""Of a node that names one: its number, place and GUID, and that it is of a GPT."""
PARTUUID = "17161514-1918-1b1a-1c1d-1e1f20212223"
GRUB = "/boot/grub"
ARMED = Environment(try_slot="a")


@dataclass(frozen=True)
class FirmwareHost(Host):
    """A folder that takes variables as efivarfs does: a shorter one leaves nothing of what was there."""

    def set_variable(self, path: StrPath, data: bytes | None) -> None:
        super().set_variable(path, None)
        if data is not None:
            super().set_variable(path, data)


def load_option(description: str, path: str, partition: bytes = bytes(38)) -> bytes:
    """A Boot#### variable: a hard drive node, the file's node and the end, as firmware writes them."""
    file = (path + "\0").encode("utf-16-le")
    nodes = struct.pack("<BBH", 4, 1, 42) + partition
    nodes += struct.pack("<BBH", 4, 4, 4 + len(file)) + file + b"\x7f\xff\4\0"
    return struct.pack("<IH", 1, len(nodes)) + (description + "\0").encode("utf-16-le") + nodes


def variable(name: str) -> str:
    return f"{EFIVARS}/{name}-{GLOBAL}"


def add_firmware(host: Host) -> None:
    """Firmware that has started the machine from its entry 0007."""
    host.make_folder(EFIVARS)
    values = {
        "Boot0000": struct.pack("<IH", 1, 4) + "UEFI Misc Device\0".encode("utf-16-le") + b"\x7f\xff\4\0",
        "Boot0007": load_option("debian", r"\EFI\debian\shimx64.efi", PARTITION) + b"more data",
        "BootCurrent": b"\7\0",
        "BootOrder": b"\7\0\0\0",
    }
    for name, value in values.items():
        host.set_variable(variable(name), ATTRIBUTES + value)


def firmware_machine(root: Path) -> Host:
    """A machine with such firmware, and GRUB's folder."""
    host = FirmwareHost(root)
    host.make_folder(GRUB)
    add_firmware(host)
    return host


def variables(host: Host) -> Mapping[str, bytes]:
    return {name.partition("-")[0]: host.read(f"{EFIVARS}/{name}") for name in host.names(EFIVARS)}


def takes_no_variable(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """From now on the firmware says that it has no room, or the like."""

    def refuse(self: Host, path: StrPath, data: bytes | None) -> None:
        raise XenableError(f"cannot write {path}: {why}")

    monkeypatch.setattr(FirmwareHost, "set_variable", refuse)
