# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's one-shot, and the environment block that goes with it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.unit.boot.firmware import (
    ATTRIBUTES,
    PARTITION,
    PARTUUID,
    FirmwareHost,
    add_firmware,
    load_option,
    variable,
    variables,
)
from xenable import trial
from xenable.boot import efi
from xenable.boot.environment import (
    UNKNOWN,
    Environment,
    by_firmware,
    environment_path,
    one_shot_obstacle,
    parse_block,
    read_environment,
    write_environment,
)
from xenable.errors import XenableError
from xenable.host import Host, StrPath
from xenable.steps.environment import BootEnvironment

GRUB = "/boot/grub"
ARMED = Environment(try_slot="a")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = FirmwareHost(tmp_path)
    host.make_folder(GRUB)
    add_firmware(host)
    return host


def boots(host: Host, id: str, *, takes: bool) -> None:
    """Another boot; `takes`: the firmware has deleted BootNext, as it should."""
    host.make_folder("/proc/sys/kernel/random")
    host.write("/proc/sys/kernel/random/boot_id", id.encode())
    if takes:
        host.set_variable(variable("BootNext"), None)


def takes_no_variable(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def refuse(self: Host, path: StrPath, data: bytes | None) -> None:
        raise XenableError(f"cannot write {path}: {why}")

    monkeypatch.setattr(FirmwareHost, "set_variable", refuse)


# ------------------------------------------------------------------------------------------------- the entry


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


# ------------------------------------------------------------------------------------ the block and BootNext


def test_arming_sets_bootnext_and_its_use_is_seen(host: Host) -> None:
    write_environment(host, GRUB, Environment(), firmware=True)
    assert "BootNext" not in variables(host)
    write_environment(host, GRUB, ARMED)
    assert by_firmware(host, GRUB)
    assert variables(host)["BootNext"] == ATTRIBUTES + b"\1\0"
    assert read_environment(host, GRUB) == ARMED
    # The firmware takes it before anything else happens.
    boots(host, "2", takes=True)
    assert read_environment(host, GRUB) == Environment(trying="a", stage=UNKNOWN)
    # Passed: from now on each start sets the next one.
    write_environment(host, GRUB, Environment(default="a"))
    assert read_environment(host, GRUB) == Environment(default="a")
    assert efi.is_next(host)
    boots(host, "3", takes=True)
    assert read_environment(host, GRUB) == Environment(trying="a", default="a", stage=UNKNOWN)
    # Native: nothing is left of it.
    write_environment(host, GRUB, Environment(default="a"))
    write_environment(host, GRUB, Environment())
    assert "BootNext" not in variables(host)
    assert read_environment(host, GRUB) == Environment()


def test_after_a_newer_pair_the_one_that_passed_is_next(host: Host) -> None:
    write_environment(host, GRUB, Environment(try_slot="b", default="a"), firmware=True)
    boots(host, "2", takes=True)
    trial.note_start(host)
    noted = Environment(trying="b", default="a", stage=UNKNOWN)
    assert read_environment(host, GRUB) == noted
    assert efi.is_next(host)
    # And when that does not pass any more, nothing is.
    boots(host, "3", takes=True)
    assert read_environment(host, GRUB) == Environment(trying="a", default="a", stage=UNKNOWN)
    trial.note_start(host)
    assert not efi.is_next(host)


@pytest.mark.parametrize(
    ("name", "value"), [("BootNext", b"\0\0"), ("BootOrder", b"\1\0\7\0")], ids=["foreign", "ordered"]
)
@pytest.mark.parametrize("xen", [True, False])
def test_a_start_is_noted_though_no_other_one_can_be_next(
    host: Host, name: str, value: bytes, xen: bool
) -> None:
    """The firmware that puts the entry first would start the slot for ever."""
    write_environment(host, GRUB, Environment(try_slot="b", default="a"), firmware=True)
    boots(host, "2", takes=True)
    host.set_variable(variable(name), ATTRIBUTES + value)
    if xen:
        host.make_folder("/sys/hypervisor")
        host.write("/sys/hypervisor/type", b"xen\n")
    trial.note_start(host)
    block = parse_block(host.read(environment_path(GRUB)))
    assert (block["xenable_try"], block["xenable_trying"], block["xenable_default"]) == ("", "b", "")
    assert not efi.is_next(host)


@pytest.mark.parametrize("env", [Environment(default="a"), Environment(try_slot="b")])
def test_what_is_taken_away_is_not_in_the_block_though_the_rest_can_not_be_next(
    host: Host, env: Environment
) -> None:
    """A slot whose kernel was removed is not started any more, whoever has set BootNext."""
    write_environment(host, GRUB, Environment(try_slot="b", default="a"), firmware=True)
    host.set_variable(variable("BootNext"), ATTRIBUTES + b"\0\0")
    with pytest.raises(XenableError, match="BootNext is set to entry 0000 already"):
        write_environment(host, GRUB, env)
    assert read_environment(host, GRUB) == env


def test_what_is_taken_away_stays_so_where_the_firmware_has_no_room(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(try_slot="b", default="a"), firmware=True)
    host.set_variable(variable("BootNext"), None)
    takes_no_variable(monkeypatch, "No space left on device")
    with pytest.raises(XenableError, match="No space left"):
        write_environment(host, GRUB, Environment(default="a"))
    assert read_environment(host, GRUB) == Environment(default="a")


def test_natively_too_bootnext_that_was_not_deleted_is_seen(host: Host) -> None:
    """The slot could not be loaded, so Xenable's GRUB has started the native loader."""
    write_environment(host, GRUB, ARMED, firmware=True)
    boots(host, "2", takes=False)
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + b"\1\0")
    trial.note_start(host)
    assert not efi.is_next(host)
    assert "did not delete BootNext" in one_shot_obstacle(host, GRUB)
    with pytest.raises(XenableError, match="did not delete BootNext") as caught:
        write_environment(host, GRUB, ARMED)
    assert "sudo xenable revert" in caught.value.hint


def test_a_native_start_by_another_way_says_nothing_of_bootnext(host: Host) -> None:
    """As kexec, which does not come by the firmware."""
    write_environment(host, GRUB, ARMED, firmware=True)
    boots(host, "2", takes=False)
    trial.note_start(host)
    assert not efi.is_next(host) and one_shot_obstacle(host, GRUB) == ""


def test_that_bootnext_was_kept_is_written_before_it_goes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, ARMED, firmware=True)
    boots(host, "2", takes=False)
    host.make_folder("/sys/hypervisor")
    host.write("/sys/hypervisor/type", b"xen\n")
    real = Host.overwrite

    def refuse(self: Host, path: StrPath, data: bytes) -> None:
        raise XenableError(f"cannot write {path}: Input/output error")

    monkeypatch.setattr(Host, "overwrite", refuse)
    with pytest.raises(XenableError, match="Input/output error"):
        trial.note_start(host)
    assert efi.is_next(host)
    monkeypatch.setattr(Host, "overwrite", real)
    trial.note_start(host)
    assert not efi.is_next(host) and "did not delete" in one_shot_obstacle(host, GRUB)


def test_bootnext_that_was_kept_goes_though_its_note_was_cut_off(host: Host) -> None:
    write_environment(host, GRUB, ARMED, firmware=True)
    word = variables(host)["BootNext"]
    write_environment(host, GRUB, Environment(trying="a"), kept=True)
    host.set_variable(variable("BootNext"), word)
    trial.note_start(host)
    assert not efi.is_next(host)


def test_a_block_that_comes_after_the_gates_first_look_is_noted_before_the_verdict(host: Host) -> None:
    """As /boot on a mirror that is slow to come: what BootNext says must not be taken for its own."""
    write_environment(host, GRUB, ARMED, firmware=True)
    boots(host, "2", takes=False)
    host.make_folder("/sys/hypervisor")
    host.write("/sys/hypervisor/type", b"xen\n")
    with pytest.raises(XenableError, match="did not delete BootNext"):
        trial.accept(host)
    assert not efi.is_next(host)
    assert read_environment(host, GRUB) == Environment(trying="a", stage="started")
    with pytest.raises(XenableError, match="did not delete BootNext"):
        trial.arm(host, "a")


def test_disarming_takes_bootnext_back_whatever_the_block_says(host: Host) -> None:
    write_environment(host, GRUB, ARMED, firmware=True)
    word = variables(host)["BootNext"]
    write_environment(host, GRUB, Environment())
    host.set_variable(variable("BootNext"), word)
    trial.disarm(host)
    assert not efi.is_next(host)


def test_a_start_is_noted_though_the_firmware_has_no_room(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(try_slot="b", default="a"), firmware=True)
    boots(host, "2", takes=True)
    takes_no_variable(monkeypatch, "No space left on device")
    trial.note_start(host)
    block = parse_block(host.read(environment_path(GRUB)))
    assert (block["xenable_try"], block["xenable_trying"], block["xenable_default"]) == ("", "b", "")


def test_another_conversion_may_find_other_firmware(host: Host) -> None:
    """A block that was there before one stays, as where /boot outlives the system."""
    write_environment(host, GRUB, Environment(), firmware=True, kept=True)
    step = BootEnvironment(folder=GRUB, by_firmware=True)
    # An apply that was interrupted goes on from what it did: it does not forget what a start has found out.
    assert step.is_done(host)
    step.do(host, step.save(host), lambda fraction, text: None)
    assert step.is_done(host) and one_shot_obstacle(host, GRUB) == ""


@pytest.mark.parametrize("takes", [True, False])
def test_dom0_notes_its_own_start(host: Host, takes: bool) -> None:
    """Whatever starts Xenable's GRUB after that, firmware with ideas of its own, finds nothing to start."""
    write_environment(host, GRUB, ARMED, firmware=True)
    boots(host, "2", takes=takes)
    host.make_folder("/sys/hypervisor")
    host.write("/sys/hypervisor/type", b"xen\n")
    trial.note_start(host)
    block = parse_block(host.read(environment_path(GRUB)))
    assert (block["xenable_try"], block["xenable_trying"], block["xenable_stage"]) == ("", "a", "started")
    assert not efi.is_next(host)


def test_the_block_is_in_its_place_before_the_firmware_gets_the_word(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk when the power goes between any two of these boots native, or what was armed."""
    write_environment(host, GRUB, Environment(), firmware=True)
    seen: list[str] = []

    def look(what: str) -> None:
        block = parse_block(host.read(environment_path(GRUB)))["xenable_try"]
        seen.append(f"{what}: block {block or 'empty'}, {'BootNext' in variables(host)}")

    monkeypatch.setattr(Host, "settle", lambda self, path: look("settled"))
    write_environment(host, GRUB, ARMED)
    look("armed")
    real = host.overwrite

    def overwrite(self: Host, path: StrPath, data: bytes) -> None:
        look("disarming")
        real(path, data)

    monkeypatch.setattr(Host, "overwrite", overwrite)
    write_environment(host, GRUB, Environment())
    assert seen == [
        "settled: block a, False",
        "armed: block a, True",
        "disarming: block a, False",
        "settled: block empty, False",
    ]


def test_an_entry_that_is_gone_is_made_again(host: Host) -> None:
    """Some firmware tidies up what is in no boot order."""
    write_environment(host, GRUB, Environment(), firmware=True)
    write_environment(host, GRUB, ARMED)
    efi.remove_entry(host)
    write_environment(host, GRUB, ARMED)
    assert read_environment(host, GRUB) == ARMED


def test_a_damaged_block_is_made_anew_with_its_entry(host: Host) -> None:
    host.write(environment_path(GRUB), b"#" * 1024)
    assert not by_firmware(host, GRUB)
    write_environment(host, GRUB, ARMED, firmware=True)
    assert by_firmware(host, GRUB)


def test_what_could_not_be_armed_is_not_in_the_block(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the firmware has no room: a dom0 that is to be confirmed stays on trial."""
    write_environment(host, GRUB, Environment(trying="a"), firmware=True)
    takes_no_variable(monkeypatch, "No space left on device")
    with pytest.raises(XenableError, match="No space left"):
        write_environment(host, GRUB, Environment(default="a"))
    assert read_environment(host, GRUB) == Environment(trying="a")


def test_a_word_that_the_firmware_does_not_give_back_is_cleared_in_the_block(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, ARMED, firmware=True)
    takes_no_variable(monkeypatch, "Input/output error")
    with pytest.raises(XenableError, match="Input/output error"):
        write_environment(host, GRUB, Environment())
    assert read_environment(host, GRUB) == Environment()


def test_a_block_of_an_earlier_conversion_may_have_had_another_way(host: Host) -> None:
    write_environment(host, GRUB, ARMED, firmware=True)
    write_environment(host, GRUB, ARMED, firmware=False)
    assert not by_firmware(host, GRUB) and not efi.is_next(host)
    assert read_environment(host, GRUB) == ARMED


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
