# SPDX-License-Identifier: GPL-2.0-or-later
"""Arm, accept, confirm, call off and disarm: what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from tests.unit.boot.firmware import add_firmware, variable
from tests.unit.trial.fixtures import GRUB, TRYING, frozen_pair, record, under_xen
from xenable import health, trial, watchdog
from xenable.boot.environment import Environment, read_environment, write_environment
from xenable.errors import XenableError
from xenable.health import Before
from xenable.host import Host, StrPath
from xenable.journal import Record, write_state
from xenable.model import EntryState, Status
from xenable.trialrecord import read_trial, write_trial


def test_accept_makes_the_slot_the_default_and_stops_the_dead_man(host: Host) -> None:
    under_xen(host)
    write_environment(host, GRUB, TRYING)
    host.make_folder("/sys/class/watchdog/watchdog0")
    host.make_folder("/sys/class/watchdog/watchdog1")
    host.make_folder("/dev")
    host.write("/sys/class/watchdog/watchdog0/identity", b"iTCO_wdt\n")
    host.write("/sys/class/watchdog/watchdog1/identity", b"xen_wdt\n")
    host.write("/dev/watchdog0", b"")
    host.write("/dev/watchdog1", b"")
    trial.accept(host)
    assert watchdog.stop_dead_man(host) == ()
    assert read_environment(host, GRUB) == Environment(default="a")
    assert (host.read("/dev/watchdog0"), host.read("/dev/watchdog1")) == (b"", b"V")
    assert trial.status(host).state is Status.CONFIRMED
    host.write("/sys/class/watchdog/watchdog1/state", b"active\n")
    assert watchdog.stop_dead_man(host) == ("watchdog1",), "its driver was told to let nobody stop it"


def test_a_menu_entry_that_is_no_slot_never_becomes_the_default(host: Host) -> None:
    write_environment(host, GRUB, replace(TRYING, trying="xenable-4.20-6.12", default="a"))
    trial.accept(host)
    assert read_environment(host, GRUB) == Environment(default="a")


def test_all_is_in_its_place_on_disk_before_grub_is_told_to_boot_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRUB reads no journal: a slot that is only there finds a reset in the state of before."""
    write_environment(host, GRUB, Environment())
    at_sync: list[Environment | None] = []
    monkeypatch.setattr("os.sync", lambda: at_sync.append(read_environment(host, GRUB)))
    monkeypatch.setattr("xenable.health.look_around", lambda host: Before(known=True))
    trial.arm(host, "a")
    assert at_sync == [Environment()]
    assert read_environment(host, GRUB) == Environment(try_slot="a")


def test_a_default_that_fell_back_does_not_come_back_after_another_trial(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    monkeypatch.setattr("xenable.health.look_around", lambda host: Before(known=True))
    trial.arm(host, "b")
    assert read_environment(host, GRUB) == Environment(try_slot="b")
    # One that did not fail is what a failed trial falls back to.
    write_environment(host, GRUB, Environment(default="a"))
    trial.arm(host, "b")
    assert read_environment(host, GRUB) == Environment(default="a", try_slot="b")


@pytest.mark.parametrize("call_off", [lambda host: trial.call_off(host, "b"), trial.let_go])
def test_a_trial_that_is_called_off_is_off_the_record(
    host: Host, monkeypatch: pytest.MonkeyPatch, call_off: Callable[[Host], object]
) -> None:
    """The boot that comes instead would find that it failed."""
    monkeypatch.setattr("xenable.health.look_around", lambda host: Before(known=True))
    monkeypatch.setattr(trial, "lost_part", lambda _host, slot: "it went" if slot == "b" else "")
    write_environment(host, GRUB, Environment(default="a"))
    trial.arm(host, "b")
    call_off(host)
    assert read_environment(host, GRUB) == Environment(default="a")
    assert read_trial(host) is None
    # What a trial that took place has left stays.
    write_environment(host, GRUB, Environment(default="a", try_slot="b"))
    write_trial(host, record(slot="b", verdict="gave-up"))
    call_off(host)
    assert read_trial(host) == record(slot="b", verdict="gave-up")


def test_a_record_that_cannot_be_removed_keeps_no_trial_armed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(_host: Host, path: object) -> None:
        raise XenableError(f"cannot remove {path}: Read-only file system")

    write_environment(host, GRUB, Environment(try_slot="b"))
    write_trial(host, record(slot="b", verdict="armed"))
    monkeypatch.setattr(Host, "remove", read_only)
    trial.call_off(host, "b")
    assert read_environment(host, GRUB) == Environment()


def test_disarm_makes_the_next_boot_native(host: Host) -> None:
    write_environment(host, GRUB, Environment(default="a", try_slot="b"))
    trial.disarm(host)
    assert read_environment(host, GRUB) == Environment()


def test_a_person_confirms_what_is_well(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    under_xen(host)
    write_environment(host, GRUB, TRYING)
    host.make_folder("/sys/class/watchdog/watchdog0")
    host.make_folder("/dev")
    host.write("/sys/class/watchdog/watchdog0/identity", b"xen_wdt\n")
    host.write("/dev/watchdog0", b"")
    lacking = ["sshd: nothing listens"]
    monkeypatch.setattr("xenable.health.missing", lambda *_, confirmed: tuple(lacking))
    with pytest.raises(XenableError, match="cannot confirm: dom0 waits for sshd"):
        trial.confirm(host)
    assert read_environment(host, GRUB) == TRYING and host.read("/dev/watchdog0") == b""
    lacking.clear()
    assert trial.confirm(host).state is Status.CONFIRMED
    assert read_environment(host, GRUB) == Environment(default="a") and host.read("/dev/watchdog0") == b"V"
    # Once more is no harm.
    assert trial.confirm(host).state is Status.CONFIRMED


def test_confirm_refuses_where_there_is_no_trial(host: Host) -> None:
    with pytest.raises(XenableError, match="this is no trial boot"):
        trial.confirm(host)


def test_a_trial_record_that_is_damaged_counts_as_none(host: Host) -> None:
    host.make_folder("/var/lib/xenable")
    host.write("/var/lib/xenable/trial.json", b'{"slot": 3')
    assert read_trial(host) is None


def test_a_trial_record_comes_back_as_it_was(host: Host) -> None:
    one = record(missing=("a", "b"), reason="x")
    write_trial(host, one)
    assert read_trial(host) == one


def test_a_record_of_an_earlier_package_is_read(host: Host) -> None:
    write_trial(host, record())
    found = json.loads(host.text("/var/lib/xenable/trial.json"))
    for field in ("boot_id", "started", "armed_in"):
        del found[field]
    host.write("/var/lib/xenable/trial.json", json.dumps(found).encode())
    assert read_trial(host) == record(boot_id="")


def test_a_kernel_that_was_removed_is_not_booted(host: Host) -> None:
    frozen_pair(host)
    assert trial.let_go(host) == ()
    host.make_folder("/lib/modules/6.12/updates")
    host.write("/lib/modules/6.12/modules.dep", b"of depmod, which dpkg leaves")
    host.path("/lib/modules/6.12/kernel").rmdir()
    assert "dom0's kernel 6.12 was removed" in trial.status(host).reason
    # That comes first: the other is over.
    before = record(verdict="passed", earlier="the trial of slot b fell back")
    host.make_folder("/var/lib/xenable")
    host.write("/var/lib/xenable/trial.json", json.dumps(asdict(before)).encode())
    assert "dom0's kernel 6.12 was removed" in trial.status(host).reason
    # Its boot is not judged yet, and the gate does not make it the default again.
    write_environment(host, GRUB, Environment(default="a", trying="a", try_slot="b"))
    assert trial.lost_slots(host) == ("a",)
    assert trial.let_go(host) == ("a",)
    assert read_environment(host, GRUB) == Environment(trying="a", try_slot="b")
    assert not trial.accept(host)
    assert read_environment(host, GRUB) == Environment(try_slot="b")
    write_environment(host, GRUB, Environment())
    now = trial.status(host)
    assert now.next_boot == "native" and "dom0's kernel 6.12 was removed" in now.reason


def test_a_xen_whose_tools_a_newer_one_has_replaced_is_not_booted(host: Host) -> None:
    """As with a new release of the distribution: its Python is too new for the tools of before."""
    frozen_pair(host)
    for series in ("4.20", "4.22"):
        host.make_folder(f"/usr/lib/xen-{series}/bin")
        host.write(f"/usr/lib/xen-{series}/bin/xl", b"")
    assert trial.let_go(host) == ()
    host.remove("/usr/lib/xen-4.20/bin/xl")
    assert "but the tools of Xen 4.20 were removed" in trial.status(host).reason
    assert trial.let_go(host) == ("a",)
    # None at all: then nobody knows where they were, and the gate has its say.
    host.remove("/usr/lib/xen-4.22/bin/xl")
    assert trial.lost_slots(host) == ()


def test_a_damaged_block_counts_as_none_and_is_replaced_by_disarm(host: Host) -> None:
    host.write("/boot/grub/xenable.env", b"garbage")
    assert trial.status(host).next_boot == "native"
    trial.disarm(host)
    assert read_environment(host, GRUB) == Environment()


def test_a_revert_that_is_at_work_has_the_last_word(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins after the gate of a healthy dom0 has read the block, and before it writes it."""
    write_environment(host, GRUB, TRYING)
    step = Record(number=1, kind="write-file", fields={}, state=EntryState.PLANNED)
    host.make_folder("/var/lib/xenable")
    write_state(host, step, EntryState.PLANNED)
    step = write_state(host, step, EntryState.DONE, {})

    def meanwhile(host: Host, slot: str) -> str:
        write_state(host, step, EntryState.UNDOING, {})
        trial.disarm(host)
        return ""

    monkeypatch.setattr("xenable.trial.lost_kernel", meanwhile)
    with pytest.raises(XenableError, match="a revert has begun"):
        trial.accept(host)
    assert read_environment(host, GRUB) == Environment()


def test_a_trial_that_could_not_be_armed_is_off_the_record(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next boot of another slot would find that it failed."""
    add_firmware(host)
    write_environment(host, GRUB, Environment(default="a"), firmware=True)
    host.set_variable(variable("BootNext"), None)
    monkeypatch.setattr(health, "look_around", lambda host: Before(known=True))

    def refuse(self: Host, path: StrPath, data: bytes | None) -> None:
        raise XenableError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(Host, "set_variable", refuse)
    with pytest.raises(XenableError, match="No space left"):
        trial.arm(host, "b")
    assert read_environment(host, GRUB) == Environment(default="a") and read_trial(host) is None
