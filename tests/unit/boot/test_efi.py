# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's entry for our GRUB: where it is, its number, and what keeps it from being one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.unit.boot.firmware import (
    ARMED,
    ATTRIBUTES,
    GRUB,
    PARTITION,
    PARTUUID,
    FirmwareHost,
    firmware_machine,
    load_option,
    variable,
    variables,
)
from xenable.boot import efi
from xenable.boot.environment import (
    Environment,
    environment_path,
    write_environment,
)
from xenable.errors import XenableError
from xenable.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return firmware_machine(tmp_path)


def test_the_entry_is_on_the_partition_that_the_machine_was_started_from(host: Host) -> None:
    before = variables(host)
    efi.make_entry(host)
    (name,) = set(variables(host)) - set(before)
    assert name == "Boot0001"
    theirs, ours = before["Boot0007"][4:], variables(host)[name][4:]
    assert efi.parse_load_option(ours) == (efi.NAME, r"\EFI\xenable\grubx64.efi")
    # Not what else the loader of before was given.
    assert PARTITION in ours and b"more data" in theirs and b"more data" not in ours
    assert ours.endswith(b"\x7f\xff\4\0")
    assert efi.partition(ours) == PARTUUID
    assert variables(host)["BootOrder"] == before["BootOrder"]
    assert efi.own_entries(host) == (1,)
    efi.make_entry(host)
    assert len(variables(host)) == len(before) + 1
    efi.remove_entry(host)
    efi.remove_entry(host)
    assert variables(host) == before


@pytest.mark.parametrize("current", [b"\0\0", b"\x99\0", None])
def test_a_machine_that_came_over_the_network_has_a_partition_in_its_order(
    host: Host, current: bytes | None
) -> None:
    value = None if current is None else ATTRIBUTES + current
    host.set_variable(variable("BootCurrent"), value)
    efi.make_entry(host)
    assert PARTITION in variables(host)["Boot0001"]
    efi.remove_entry(host)
    host.set_variable(variable("BootOrder"), ATTRIBUTES + b"\0\0")
    with pytest.raises(XenableError, match="which partition"):
        efi.make_entry(host)
    with pytest.raises(XenableError, match="which partition"):
        efi.set_next(host)


def test_an_entry_of_another_partition_goes(host: Host) -> None:
    """As from before the machine was installed anew; there may be more than one."""
    stale = ATTRIBUTES + load_option(efi.NAME, r"\EFI\xenable\grubx64.efi", bytes(reversed(PARTITION)))
    for number in (1, 3):
        host.set_variable(variable(f"Boot{number:04X}"), stale)
    efi.make_entry(host)
    assert PARTITION in variables(host)["Boot0001"]
    assert "Boot0003" not in variables(host)


def test_firmware_that_makes_a_second_one_and_puts_it_into_its_order(host: Host) -> None:
    before = variables(host)
    write_environment(host, GRUB, Environment(), firmware=True)
    efi.make_entry(host)
    host.set_variable(variable("Boot0009"), variables(host)["Boot0001"])
    host.set_variable(variable("BootNext"), ATTRIBUTES + b"\11\0")
    assert efi.is_next(host) and efi.obstacle(host) == ""
    host.set_variable(variable("BootOrder"), ATTRIBUTES + b"\11\0\7\0\1\0\0\0")
    assert "has put entry 0001 into its boot order" in efi.obstacle(host)
    efi.remove_entry(host)
    assert variables(host) == before
    # Nor is an order left in which there was nothing else.
    efi.make_entry(host)
    host.set_variable(variable("BootOrder"), ATTRIBUTES + b"\1\0")
    efi.remove_entry(host)
    assert variables(host) == {name: value for name, value in before.items() if name != "BootOrder"}


def test_a_variable_that_can_not_be_read_is_not_overwritten(host: Host) -> None:
    host.make_folder(variable("Boot0001"))
    efi.make_entry(host)
    assert efi.own_entries(host) == (2,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"BootNext": b"\0\0"}, "BootNext is set to entry 0000 already"),
        ({"BootOrder": b"\7\0\1\0"}, "has put entry 0001 into its boot order"),
    ],
)
def test_what_keeps_bootnext_from_being_set(host: Host, change: dict[str, bytes], said: str) -> None:
    write_environment(host, GRUB, Environment(), firmware=True)
    efi.make_entry(host)
    assert efi.obstacle(host) == ""
    for name, value in change.items():
        host.set_variable(variable(name), ATTRIBUTES + value)
    assert said in efi.obstacle(host)
    before = host.read(environment_path(GRUB))
    with pytest.raises(XenableError, match=said) as caught:
        write_environment(host, GRUB, ARMED)
    assert "efibootmgr -N" in caught.value.hint
    assert host.read(environment_path(GRUB)) == before
    # Native it can be made all the same, and somebody else's word stays.
    write_environment(host, GRUB, Environment())
    assert variables(host).get("BootNext", b"")[4:] == change.get("BootNext", b"")


def test_firmware_that_keeps_nothing_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    write_environment(host, GRUB, Environment(), firmware=True)
    monkeypatch.setattr(FirmwareHost, "set_variable", lambda self, path, data: None)
    with pytest.raises(XenableError, match="did not keep it"):
        write_environment(host, GRUB, ARMED)


def test_no_variables_at_all(tmp_path: Path) -> None:
    assert "the firmware's variables are not in" in efi.obstacle(Host(tmp_path))


@pytest.mark.parametrize(
    ("current", "loader"),
    [(b"\7\0", "/EFI/debian/shimx64.efi"), (b"\0\0", "/EFI/debian/shimx64.efi")],
)
def test_the_native_loader(host: Host, current: bytes, loader: str) -> None:
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + current)
    assert efi.native_loader(host) == loader
    # Where this start was by our own entry, it is no native one.
    efi.make_entry(host)
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + b"\1\0")
    assert efi.native_loader(host) == loader
    host.set_variable(variable("BootOrder"), None)
    assert efi.native_loader(host) == "/EFI/BOOT/BOOTX64.EFI"


def test_the_loader_of_another_partition_is_not_the_native_one(host: Host) -> None:
    """As of a stick that comes first in the order; this start was Xenable's."""
    efi.make_entry(host)
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + struct.pack("<H", efi.own_entries(host)[0]))
    stick = load_option("stick", r"\EFI\BOOT\grubx64.efi", bytes(reversed(PARTITION)))
    host.set_variable(variable("Boot0005"), ATTRIBUTES + stick)
    host.set_variable(variable("BootOrder"), ATTRIBUTES + b"\5\0\7\0")
    assert efi.native_loader(host) == "/EFI/debian/shimx64.efi"


def test_the_number_is_the_first_that_is_free(host: Host) -> None:
    for number in range(1, 12):
        host.set_variable(variable(f"Boot{number:04X}"), ATTRIBUTES + load_option("other", r"\EFI\x\y.efi"))
    host.set_variable(variable("Boot0007"), ATTRIBUTES + load_option("debian", r"\EFI\debian\shimx64.efi"))
    efi.make_entry(host)
    assert efi.own_entries(host) == (12,)
    assert "Boot000C" in variables(host)


@pytest.mark.parametrize(("order", "current", "number"), [(b"\1\0\2\0", b"\7\0", 3), (b"\7\0", b"\1\0", 2)])
def test_a_number_that_is_spoken_for_is_not_taken(
    host: Host, order: bytes, current: bytes, number: int
) -> None:
    """In the firmware's order our entry would be each start of the machine."""
    host.set_variable(variable("BootOrder"), ATTRIBUTES + order + b"\7\0")
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + current)
    efi.make_entry(host)
    assert efi.own_entries(host) == (number,)
    assert efi.obstacle(host) == ""
