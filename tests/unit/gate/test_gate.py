# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate under Xen: when it accepts, when it waits, when it gives up, and what it leaves on record."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.gate.fixtures import BOOT_ID, GRUB, WATCHDOG, Clock, commands, looks
from xenable import gate, health, trial
from xenable.boot.environment import Environment, read_environment, write_environment
from xenable.engine import plan_into_journal
from xenable.errors import XenableError
from xenable.host import Host, StrPath
from xenable.journal import Terms, write_state
from xenable.model import EntryState
from xenable.steps.files import WriteFile
from xenable.trialrecord import TRIAL, Trial, read_trial, write_trial


def test_a_healthy_dom0_is_accepted(host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, ("sshd: nothing listens",), ())
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment(default="a")
    record = read_trial(host)
    assert record and (record.verdict, record.seconds, record.missing) == ("passed", 30, ())
    assert record.boot_id == BOOT_ID.replace("-", "")


def test_a_dom0_that_stays_ill_is_reset_with_its_reason(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ("sshd: nothing listens",))
    gate.run_gate(host)
    assert ran == [["systemctl", "reboot", "--force"]]
    assert clock.seconds == 90
    env = read_environment(host, GRUB)
    assert env and (env.trying, env.default) == ("a", "")
    record = read_trial(host)
    assert record and (record.verdict, record.missing) == ("gave-up", ("sshd: nothing listens",))


def test_what_keeps_systemd_from_finishing_is_named_in_the_last_word(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ("systemd: the system is initializing",))
    gate.run_gate(host)
    assert [words[1] for words in ran] == ["list-jobs", "reboot"], "once, and before the reset"
    record = read_trial(host)
    assert record and record.missing[-1] == "units that do not finish their start: slow.service"


def test_the_messages_of_a_trial_outlive_its_reset(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch)
    looks(monkeypatch, ("sshd: nothing listens",))
    gate.run_gate(host)
    kept = f"# boot {BOOT_ID}\n# xl dmesg\nsaid to xl\n# dmesg\nnot allowed\n"
    assert host.text(gate.MESSAGES) == kept
    # The boot of the slot that it falls back to leaves them; the next one has its own.
    looks(monkeypatch, ())
    for expected in ("of the trial\n", kept):
        write_environment(host, GRUB, Environment(trying="b", default="b", stage="started"))
        host.write(gate.MESSAGES, b"of the trial\n")
        gate.run_gate(host)
        assert host.text(gate.MESSAGES) == expected


def test_messages_that_cannot_be_kept_stop_nothing(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = commands(monkeypatch)
    host.make_folder("/var")
    host.write("/var/log", b"")
    looks(monkeypatch, ("sshd: nothing listens",))
    gate.run_gate(host)
    assert ran == [["systemctl", "reboot", "--force"]]
    assert "the messages of this boot are not kept" in capsys.readouterr().err


@pytest.mark.parametrize("well", [True, False])
def test_a_dom0_whose_kernel_is_removed_is_judged_and_is_not_the_default(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], well: bool
) -> None:
    """By apt, while it is on trial: what watches over it has to go on until it is known to be well."""
    ran = commands(monkeypatch)
    for name in ("lost_part", "lost_kernel"):
        monkeypatch.setattr(trial, name, lambda _host, slot: "it went" if slot == "a" else "")
    assert trial.let_go(host) == ()
    looks(monkeypatch, ("sshd: nothing listens",), () if well else ("sshd: nothing listens",))
    gate.run_gate(host)
    env = read_environment(host, GRUB)
    if well:
        assert env == Environment() and not ran
        assert "its kernel was removed meanwhile" in capsys.readouterr().err
    else:
        assert env and (env.trying, env.default) == ("a", "")
        assert ran == [["systemctl", "reboot", "--force"]]


def test_a_confirmed_dom0_whose_kernel_is_removed_is_not_the_default_any_more(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without apt, whose hook would have seen to it."""
    monkeypatch.setattr(trial, "lost_kernel", lambda _host, slot: "it went")
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment()


def test_a_held_trial_waits_for_a_person(host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/proc/cmdline", b"xenable.deadline=100 xenable.hold\n")
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert ran == [["systemctl", "reboot", "--force"]]
    record = read_trial(host)
    assert record and record.verdict == "held"
    host.remove("/sys/hypervisor/type")
    assert "nobody ran `xenable confirm`" in trial.status(host).reason


def test_a_held_trial_ends_with_the_word(host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/proc/cmdline", b"xenable.deadline=100 xenable.hold\n")
    looks(monkeypatch, ())

    def sleep(_seconds: float) -> None:
        trial.accept(host)

    monkeypatch.setattr(time, "sleep", sleep)
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment(default="a")
    assert host.read("/dev/watchdog1") == b"V"


def test_a_revert_during_the_trial_ends_the_gate(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ("xl: not found",))

    def sleep(_seconds: float) -> None:
        trial.disarm(host)

    monkeypatch.setattr(time, "sleep", sleep)
    gate.run_gate(host)
    assert ran == []


def test_a_revert_that_has_removed_the_block_ends_the_gate(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ("xl: not found",))
    records = plan_into_journal(host, (WriteFile(path="/etc/a", content="x"),), Terms())

    def sleep(_seconds: float) -> None:
        write_state(host, records[0], EntryState.UNDONE)
        host.remove(f"{GRUB}/xenable.env")
        host.remove(TRIAL)

    monkeypatch.setattr(time, "sleep", sleep)
    gate.run_gate(host)
    assert ran == [] and host.read("/dev/watchdog1") == b"V"


def test_a_block_that_vanished_is_no_revert(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    host.remove(f"{GRUB}/xenable.env")
    gate.run_gate(host)
    assert ran == [["systemctl", "reboot", "--force"]]


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_full_disk_costs_no_healthy_dom0_its_verdict(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, confirmed: bool
) -> None:
    write_environment(host, GRUB, Environment(trying="a", default="a" if confirmed else "", stage="started"))
    looks(monkeypatch, ("sshd: nothing listens",), ())
    real = Host.write

    def write(self: Host, path: StrPath, data: bytes, **options: Any) -> None:
        if str(path).startswith("/var"):
            raise XenableError(f"cannot write {path}: No space left on device")
        real(self, path, data, **options)

    monkeypatch.setattr(Host, "write", write)
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment(default="a")
    assert host.read("/dev/watchdog1") == b"V"


def test_the_last_word_is_on_disk_in_time_though_looks_take_long(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where xl does not answer. Else the dead-man comes first, and `status` tells of a dom0 that hung."""
    host.write("/proc/cmdline", b"xenable.deadline=200\n")
    ran = commands(monkeypatch)

    def look(*_args: object, **_options: object) -> tuple[str, ...]:
        clock.seconds += 40
        clock.write()
        return ("xl: it does not answer",)

    monkeypatch.setattr(health, "missing", look)
    monkeypatch.setattr(time, "monotonic", lambda: float(clock.seconds))
    gate.run_gate(host)
    record = read_trial(host)
    assert record and record.verdict == "gave-up" and ["systemctl", "reboot", "--force"] in ran
    assert clock.seconds <= 200 - gate.MARGIN


def test_a_verdict_that_could_not_be_written_is_tried_again_at_the_next_look(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, ())
    tried: list[int] = []
    accept = trial.accept

    def note(host: Host) -> bool:
        tried.append(clock.seconds)
        if len(tried) == 1:
            raise XenableError("cannot write /boot/grub/xenable.env: Input/output error")
        return accept(host)

    monkeypatch.setattr(trial, "accept", note)
    gate.run_gate(host)
    assert tried == [20, 30]
    assert read_environment(host, GRUB) == Environment(default="a")


def test_later_boots_of_a_confirmed_dom0_are_not_compared_with_native(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    asked = looks(monkeypatch, ())
    gate.run_gate(host)
    assert asked == [True]
    assert read_environment(host, GRUB) == Environment(default="a")


def test_a_boot_that_is_no_trial_only_stops_the_dead_man(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the gate is started again in a dom0 that passed: nothing is to count anew."""
    write_environment(host, GRUB, Environment(default="a"))
    host.write(f"{WATCHDOG}/state", b"inactive\n")
    ran = commands(monkeypatch)
    asked = looks(monkeypatch, ("everything",))
    gate.run_gate(host)
    assert asked == [] and ran == []
    assert read_trial(host) is None


def test_a_dead_man_that_the_initrd_did_not_start_is_started(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    host.write(f"{WATCHDOG}/state", b"inactive\n")
    gate.guard(host, 100)
    assert ran == [["modprobe", "-r", "xen_wdt"], ["modprobe", "xen_wdt", "timeout=80"]]
    assert host.read("/dev/watchdog1") == b" "


def test_a_dead_man_that_can_not_be_started_is_said(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands(monkeypatch)
    host.remove(f"{WATCHDOG}/identity")
    gate.guard(host, 100)
    assert "the dead-man does not run" in capsys.readouterr().err


def test_a_dead_man_that_runs_is_left_alone(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    gate.guard(host, 100)
    assert ran == []


def test_a_hold_is_for_the_trial_alone(host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/proc/cmdline", b"xenable.deadline=100 xenable.hold\n")
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert ran == []
    assert read_environment(host, GRUB) == Environment(default="a")


def test_a_block_that_can_not_be_read_is_no_pass(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.remove(f"{GRUB}/xenable.env")
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert ran == [["systemctl", "reboot", "--force"]]
    assert host.read("/dev/watchdog1") == b""
    record = read_trial(host)
    assert record and record.missing == gate.NO_BLOCK


def test_a_block_that_comes_late_is_waited_for(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.remove(f"{GRUB}/xenable.env")
    looks(monkeypatch, ())

    def sleep(_seconds: float) -> None:
        write_environment(host, GRUB, Environment(trying="a", stage="started"))

    monkeypatch.setattr(time, "sleep", sleep)
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment(default="a")


def test_the_failure_of_a_second_slot_stays_on_record(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    failed = Trial(
        slot="b", verdict="gave-up", seconds=85, deadline=100, missing=("xl: broken",), boot_id="1f2e"
    )
    write_trial(host, failed)
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert "the trial of slot b fell back" in trial.status(host).reason
    assert "xl: broken" in trial.status(host).reason


def test_a_trial_that_perhaps_never_began_costs_no_messages(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`grub-reboot xenable-a` while b is armed, or a hang before user space: b has left none to keep."""
    commands(monkeypatch)
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    write_trial(host, Trial(slot="b", verdict="armed", seconds=0, deadline=0))
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert "said to xl" in host.text(gate.MESSAGES)
    assert "or it never began, because another entry" in trial.status(host).reason


def test_a_boot_after_a_trial_was_called_off_tells_of_none(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_environment(host, GRUB, Environment(default="a", try_slot="b"))
    write_trial(host, Trial(slot="b", verdict="armed", seconds=0, deadline=0))
    trial.call_off(host, "b")
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert trial.status(host).reason == "Xen passed its trial and is the default"


def test_a_pair_that_was_started_by_hand_is_not_said_to_be_the_default(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.write("/proc/cmdline", b"root=UUID=1 ro\n")
    write_environment(host, GRUB, Environment(trying="xenable-4.20-6.12", default="a", stage="started"))
    looks(monkeypatch, ())
    gate.run_gate(host)
    assert read_environment(host, GRUB) == Environment(default="a")
    said = capsys.readouterr().err
    assert "default from now on" not in said and "what is booted by default stays" in said


@pytest.mark.parametrize(("look", "pause"), [(0.05, 2.0), (1.0, 4.0), (3.5, 10.0)])
def test_looks_do_not_hold_up_a_slow_boot(look: float, pause: float) -> None:
    assert gate.pause_after(look) == pause


def test_the_record_is_there_before_the_first_look(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look may never end: then the record tells that dom0's user space ran."""

    def hangs(*_: object, **__: object) -> tuple[str, ...]:
        raise KeyboardInterrupt

    monkeypatch.setattr(health, "missing", hangs)
    with pytest.raises(KeyboardInterrupt):
        gate.run_gate(host)
    record = read_trial(host)
    assert record and (record.verdict, record.missing) == ("waiting", ("the first look of the gate",))


def test_the_default_slot_says_how_another_one_fell_back_to_it(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, ())
    write_environment(host, GRUB, Environment(trying="a", default="a", stage="started"))
    hung = Trial(slot="b", verdict="waiting", seconds=40, deadline=300, started="1970-01-01 00:01:00")
    write_trial(host, hung)
    host.write("/proc/stat", b"cpu 1\nbtime 400\n")
    gate.run_gate(host)
    record = read_trial(host)
    assert record and record.earlier.startswith("the trial of slot b fell back: dom0 hung after 40 s, and")
