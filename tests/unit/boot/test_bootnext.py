# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's one-shot, and the environment block that goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.boot.firmware import (
    ARMED,
    ATTRIBUTES,
    GRUB,
    firmware_machine,
    takes_no_variable,
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


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return firmware_machine(tmp_path)


def boots(host: Host, id: str, *, takes: bool) -> None:
    """Another boot; `takes`: the firmware has deleted BootNext, as it should."""
    host.make_folder("/proc/sys/kernel/random")
    host.write("/proc/sys/kernel/random/boot_id", id.encode())
    if takes:
        host.set_variable(variable("BootNext"), None)


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
