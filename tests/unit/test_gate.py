# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate: when it accepts, when it waits, when it gives up, and what it leaves on record."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot.firmware import ATTRIBUTES, add_firmware, variable
from xenable import gate, health, trial
from xenable.boot.efi import is_next, own_entries
from xenable.boot.environment import UNKNOWN, Environment, read_environment, write_environment
from xenable.engine import plan_into_journal
from xenable.errors import XenableError
from xenable.health import Before
from xenable.host import Host, Result, StrPath
from xenable.journal import Terms, write_state
from xenable.model import EntryState
from xenable.steps.files import WriteFile
from xenable.trialrecord import TRIAL, Trial, read_trial, write_trial

GRUB = "/boot/grub"
WATCHDOG = "/sys/class/watchdog/watchdog1"


BOOT_ID = "1f2e3d4c-5b6a-4788-9a0b-c1d2e3f40516"


@dataclass(frozen=True)
class Dom0(Host):
    """A folder that answers the commands of a healthy dom0."""

    @property
    def live(self) -> bool:
        return True

    def run(self, cmd: object, **options: object) -> Result:
        return Result(0, "", "")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Dom0(tmp_path)
    for folder in (GRUB, "/proc/sys/kernel/random", "/sys/hypervisor"):
        host.make_folder(folder)
    host.write("/proc/cmdline", b"root=UUID=1 ro xenable.deadline=100\n")
    host.write("/proc/sys/kernel/random/boot_id", f"{BOOT_ID}\n".encode())
    host.write("/sys/hypervisor/type", b"xen\n")
    for folder in (WATCHDOG, "/dev"):
        host.make_folder(folder)
    host.write(f"{WATCHDOG}/identity", b"xen_wdt\n")
    host.write(f"{WATCHDOG}/state", b"active\n")
    host.write("/dev/watchdog1", b"")
    write_environment(host, GRUB, Environment(trying="a", stage="started"))
    host.write(f"{GRUB}/grub.cfg", b"menuentry 'slot' $menuentry_id_option 'xenable-a' { true }\n")
    return host


class Clock:
    """Each pause of the gate is ten seconds of uptime."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seconds = 20
        self.write()

    def write(self) -> None:
        self.host.write("/proc/uptime", f"{self.seconds}.00 1.00\n".encode())

    def sleep(self, _seconds: float) -> None:
        self.seconds += 10
        assert self.seconds < 1000, "the gate waits for ever"
        self.write()


@pytest.fixture
def clock(host: Host, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(host)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def looks(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[bool]:
    """What each look of the gate finds missing; the last answer stays. Returns the `confirmed` of each."""
    asked: list[bool] = []
    left = list(answers)

    def missing(_host: Host, _before: Before, *, confirmed: bool) -> tuple[str, ...]:
        asked.append(confirmed)
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(health, "missing", missing)
    return asked


def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, but for looks at messages, which get an answer."""
    ran: list[list[str]] = []

    def run(_self: Host, cmd: list[StrPath], **_options: object) -> Result:
        words = [str(word) for word in cmd]
        if words[-1] == "dmesg":
            return (
                Result(0, f"said to {words[0]}\n", "")
                if words[0] == "xl"
                else Result(1, "", "not allowed\n")
            )
        ran.append(words)
        jobs = "7 slow.service start running\n" if words[1] == "list-jobs" else ""
        return Result(0, jobs, "")

    monkeypatch.setattr(Dom0, "run", run)
    return ran


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
    write_environment(host, GRUB, Environment(default="a"))
    asked = looks(monkeypatch, ("everything",))
    gate.run_gate(host)
    assert asked == []
    assert read_trial(host) is None


@pytest.fixture
def native(host: Host) -> Iterator[Host]:
    host.remove("/sys/hypervisor/type")
    yield host


def test_on_native_the_reason_is_kept(native: Host) -> None:
    record = Trial(
        slot="a",
        verdict="gave-up",
        seconds=85,
        deadline=100,
        missing=("sshd: nothing listens",),
    )
    write_trial(native, record)
    gate.run_gate(native)
    kept = read_trial(native)
    assert kept and kept.verdict == "fell-back" and "sshd: nothing listens" in kept.reason
    # Later boots say the same, though the evidence is gone.
    write_trial(native, replace(kept, missing=()))
    gate.run_gate(native)
    assert trial.status(native).reason == kept.reason


@pytest.mark.parametrize(("verdict", "kept"), [("waiting", "1f2e"), ("fell-back", "1f2e"), ("passed", "")])
def test_the_boot_of_a_trial_is_remembered_on_native(native: Host, verdict: str, kept: str) -> None:
    """Not that of an earlier boot, which passed: the one that fell back ended before it was recorded."""
    record = Trial(slot="a", verdict=verdict, seconds=9, deadline=100, reason="x", boot_id="1f2e")
    write_trial(native, record)
    gate.run_gate(native)
    now = read_trial(native)
    assert now and (now.verdict, now.boot_id) == ("fell-back", kept)


def test_on_native_the_record_is_of_what_fell_back(native: Host) -> None:
    """Not of the slot, nor of the start, that the record was about before."""
    env = Environment(trying="xenable-4.20-6.12", stage="started", started="2026-11-22 10:00:00")
    write_environment(native, GRUB, env)
    for slot, started in (("a", ""), (env.trying, "2026-11-21 10:00:00")):
        write_trial(
            native,
            Trial(slot=slot, verdict="fell-back", seconds=9, deadline=9, reason="x", started=started),
        )
        gate.run_gate(native)
        now = read_trial(native)
        assert now and (now.slot, now.verdict, now.started) == (env.trying, "fell-back", env.started)
        assert "before dom0's user space ran" in now.reason
        assert trial.status(native).reason == now.reason


def test_on_native_without_a_trial_nothing_is_written(native: Host) -> None:
    write_environment(native, GRUB, Environment(default="a"))
    gate.run_gate(native)
    assert read_trial(native) is None


def by_firmware(host: Host, env: Environment) -> None:
    """The block of a machine whose firmware has the one-shot, and has taken it for this boot."""
    add_firmware(host)
    host.write("/proc/sys/kernel/random/boot_id", b"of-before\n")
    write_environment(host, GRUB, env, firmware=True)
    host.set_variable(variable("BootNext"), None)
    host.write("/proc/sys/kernel/random/boot_id", f"{BOOT_ID}\n".encode())


def test_a_dom0_that_the_firmware_started_is_accepted_and_is_next(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_firmware(host, Environment(try_slot="a"))
    asked = looks(monkeypatch, ("sshd: nothing listens",), ())
    gate.run_gate(host)
    assert asked == [False, False]
    assert read_environment(host, GRUB) == Environment(default="a")
    assert is_next(host)
    # systemd starts the gate once more with later jobs: there is nothing to judge then, whatever is set.
    host.set_variable(variable("BootNext"), None)
    gate.run_gate(host)
    assert asked == [False, False] and not is_next(host)


def test_firmware_that_takes_no_word_leaves_dom0_on_trial(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_firmware(host, Environment(try_slot="a"))
    looks(monkeypatch, ())
    ran = commands(monkeypatch)
    real = Host.set_variable

    def refuse(self: Host, path: StrPath, data: bytes | None) -> None:
        if data is not None and "BootNext" in str(path):
            raise XenableError(f"cannot write {path}: No space left on device")
        real(self, path, data)

    monkeypatch.setattr(Host, "set_variable", refuse)
    tried: list[int] = []
    accept = trial.accept

    def note(host: Host) -> bool:
        tried.append(clock.seconds)
        return accept(host)

    monkeypatch.setattr(trial, "accept", note)
    gate.run_gate(host)
    record = read_trial(host)
    assert record is not None and record.verdict == "gave-up"
    assert "No space left on device" in record.missing[0]
    # Not at each look: the memory of firmware wears out.
    assert tried == [20, 40, 60, 80]
    assert ["systemctl", "reboot", "--force"] in ran
    env = read_environment(host, GRUB)
    assert env is not None and (env.trying, env.default) == ("a", "")


@pytest.mark.parametrize("default", ["", "a", "b"])
def test_firmware_that_does_not_delete_bootnext_is_no_place_for_a_dom0(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, default: str
) -> None:
    """A later dom0 that hangs would be started for ever: the trial does not pass, and no other is armed."""
    monkeypatch.setattr(health, "PROBES", ((health.one_shot, health.About.REACH),))
    by_firmware(host, Environment(try_slot="" if default == "a" else "a", default=default))
    host.set_variable(variable("BootNext"), ATTRIBUTES + struct.pack("<H", own_entries(host)[0]))
    ran = commands(monkeypatch)
    gate.run_gate(host)
    record = read_trial(host)
    assert record is not None and record.verdict == "gave-up"
    assert "did not delete BootNext" in record.missing[0]
    assert ["systemctl", "reboot", "--force"] in ran
    assert read_environment(host, GRUB) == Environment(trying="a", stage="started")
    assert not is_next(host)
    # Natively, after it.
    host.write("/sys/hypervisor/type", b"")
    host.write("/proc/sys/kernel/random/boot_id", b"another\n")
    gate.run_gate(host)
    assert "did not delete BootNext" in trial.status(host).reason
    before = read_trial(host)
    with pytest.raises(XenableError, match="did not delete BootNext"):
        trial.arm(host, "a")
    assert not is_next(host) and read_trial(host) == before
    # Another conversion may find other firmware.
    write_environment(host, GRUB, Environment(), firmware=True)
    write_environment(host, GRUB, Environment(try_slot="a"))
    assert is_next(host)


@pytest.mark.parametrize(
    ("env", "noted", "armed"),
    [
        (Environment(try_slot="a"), Environment(trying="a", stage=UNKNOWN), False),
        (Environment(default="a"), Environment(trying="a", default="a", stage=UNKNOWN), False),
        # The one that passed is next, beside a newer one that failed.
        (
            Environment(try_slot="b", default="a"),
            Environment(trying="b", default="a", stage=UNKNOWN),
            True,
        ),
    ],
)
def test_natively_what_the_firmware_started_is_noted(
    native: Host, env: Environment, noted: Environment, armed: bool
) -> None:
    by_firmware(native, env)
    gate.run_gate(native)
    assert read_environment(native, GRUB) == noted
    assert is_next(native) is armed
    record = read_trial(native)
    assert record is not None and (record.slot, record.verdict) == (noted.trying, "fell-back")
    before = native.read(f"{GRUB}/xenable.env")
    gate.run_gate(native)
    assert native.read(f"{GRUB}/xenable.env") == before


def test_a_dead_man_that_the_initrd_did_not_start_is_started(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = commands(monkeypatch)
    looks(monkeypatch, ())
    host.write(f"{WATCHDOG}/state", b"inactive\n")
    gate.guard(host, 100)
    assert ran == [["modprobe", "-r", "xen_wdt"], ["modprobe", "xen_wdt", "timeout=80"]]
    assert host.read("/dev/watchdog1") == b" "


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
