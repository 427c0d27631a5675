# SPDX-License-Identifier: GPL-2.0-or-later
"""The five words of status, the reasons of a fall-back, and what confirm and disarm leave behind."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot.firmware import add_firmware, variable
from xenable import trial, watchdog
from xenable.boot.environment import Environment, read_environment, write_environment
from xenable.errors import Exit, XenableError
from xenable.health import Before
from xenable.host import Host
from xenable.journal import Record, write_state
from xenable.model import EntryState, Status
from xenable.trialrecord import Trial, read_trial, write_trial

GRUB = "/boot/grub"
SLOT_ENTRIES = "".join(
    f"menuentry 'slot' --class xen $menuentry_id_option 'xenable-{slot}' {{ true }}\n" for slot in ("a", "b")
)
MANIFEST = {
    "id": "xenable-4.20-amd64-6.12.9",
    "xen": "4.20",
    "kernel": "6.12",
    "xen_arguments": "",
    "dom0_arguments": "",
    "sha256": {},
}
TRYING = Environment(trying="a", stage="started", started="2026-11-22 10:00:00")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.make_folder(GRUB)
    host.make_folder("/proc")
    host.make_folder("/sys/hypervisor")
    host.write("/boot/grub/grub.cfg", SLOT_ENTRIES.encode())
    return host


def under_xen(host: Host) -> None:
    host.write("/sys/hypervisor/type", b"xen\n")


def record(**changes: Any) -> Trial:
    base = Trial(slot="a", verdict="waiting", seconds=40, deadline=300, boot_id="1f")
    return replace(base, **changes)


def states(host: Host, env: Environment) -> tuple[Status, str]:
    write_environment(host, GRUB, env)
    now = trial.status(host)
    return now.state, now.next_boot


def test_a_machine_that_xenable_never_touched_is_native(host: Host) -> None:
    now = trial.status(host)
    assert (now.state, now.running, now.next_boot) == (Status.NATIVE, "native", "native")
    assert now.reason == "Xenable has changed nothing here"


def test_xen_without_xenable_is_said(host: Host) -> None:
    under_xen(host)
    now = trial.status(host)
    assert (now.state, now.running) == (Status.NATIVE, "xen")
    assert "did not set it up" in now.reason


@pytest.mark.parametrize(
    ("xen", "env", "state", "next_boot"),
    [
        (False, Environment(try_slot="a"), Status.ARMED, "xen"),
        (True, TRYING, Status.TRYING, "native"),
        (True, Environment(default="a"), Status.CONFIRMED, "xen"),
        (False, Environment(default="a"), Status.CONFIRMED, "xen"),
        (False, TRYING, Status.FELL_BACK, "native"),
        # A confirmed dom0 whose later boot nobody judged.
        (False, replace(TRYING, default="a"), Status.FELL_BACK, "native"),
        # A new slot failed; the last good one is still the default.
        (False, replace(TRYING, trying="b", default="a"), Status.FELL_BACK, "xen"),
        (True, Environment(default="a", try_slot="b"), Status.CONFIRMED, "xen"),
        (False, Environment(), Status.NATIVE, "native"),
    ],
)
def test_the_state_in_one_word(
    host: Host, xen: bool, env: Environment, state: Status, next_boot: str
) -> None:
    if xen:
        under_xen(host)
    for slot in ("a", "b"):
        host.make_folder(f"/boot/xenable/{slot}")
        host.write(f"/boot/xenable/{slot}/boot.cfg", b"")
    assert states(host, env) == (state, next_boot)


def boots(host: Host, id: str) -> None:
    host.make_folder("/proc/sys/kernel/random")
    host.write("/proc/sys/kernel/random/boot_id", f"{id}\n".encode())


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (
            record(missing=("xl: broken",)),
            "dom0 waits for xl: broken; the machine resets to native in 260 s",
        ),
        (
            record(deadline=0, missing=("xl: broken",)),
            "dom0 waits for xl: broken; no time limit ends this boot",
        ),
        (record(verdict="held"), "waits for `xenable confirm`; the machine resets to native in 260 s"),
        # Of a boot before this one, and of the arming.
        (record(boot_id="aa", missing=("xl: broken",)), "the gate has not looked yet"),
        (record(boot_id="", verdict="armed", deadline=0), "the gate has not looked yet"),
        (None, "the gate has not looked yet"),
    ],
)
def test_what_a_boot_on_trial_waits_for(host: Host, written: Trial | None, reason: str) -> None:
    boots(host, "1-f")
    under_xen(host)
    write_environment(host, GRUB, TRYING)
    if written:
        write_trial(host, written)
    assert reason in trial.status(host).reason


def test_a_trial_that_grub_did_not_take_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRUB could not write its block, and went native: the state is what it was, and nobody would look."""
    monkeypatch.setattr("xenable.health.look_around", lambda host: Before(known=True))
    write_environment(host, GRUB, Environment())
    boots(host, "1-f")
    trial.arm(host, "a")
    assert trial.status(host).reason == "the next reset boots Xen once, as a trial"
    boots(host, "2-f")
    now = trial.status(host)
    assert now.state is Status.ARMED
    assert "GRUB did not start the trial" in now.reason and "/boot/grub/xenable.env" in now.reason
    # One that was armed by a package before this.
    write_trial(host, record(verdict="armed"))
    assert trial.status(host).reason == "the next reset boots Xen once, as a trial"


def test_a_half_done_apply_is_named(host: Host) -> None:
    write_environment(host, GRUB, Environment())
    host.make_folder("/var/lib/xenable")
    one = Record(number=1, kind="write-file", fields={}, state=EntryState.PLANNED)
    write_state(host, one, EntryState.PLANNED)
    write_state(host, one, EntryState.DOING, {})
    assert "apply was interrupted" in trial.status(host).reason


def test_a_damaged_journal_is_said_and_not_a_traceback(host: Host) -> None:
    host.make_folder("/var/lib/xenable")
    host.write("/var/lib/xenable/journal.jsonl", b"{not json\n")
    assert "line 1 is damaged" in trial.status(host).reason


@pytest.mark.parametrize("xen", [False, True])
def test_a_converted_machine_without_its_block_is_told(host: Host, xen: bool) -> None:
    """/boot, or the ESP, is not mounted."""
    if xen:
        under_xen(host)
    host.make_folder("/var/lib/xenable")
    one = Record(number=1, kind="write-file", fields={}, state=EntryState.PLANNED)
    for state in (EntryState.PLANNED, EntryState.DOING, EntryState.DONE):
        write_state(host, one, state, {})
    now = trial.status(host)
    assert now.state is Status.NATIVE and "look whether /boot" in now.reason
    host.write("/boot/grub/xenable.env", b"garbage")
    assert "/boot/grub/xenable.env is damaged" in trial.status(host).reason
    host.remove("/boot/grub/xenable.env")
    write_state(host, one, EntryState.UNDONE)
    assert "environment block" not in trial.status(host).reason


AsNobody = Callable[[], AbstractContextManager[None]]


@pytest.mark.parametrize("hidden", ["folder", "file"])
def test_a_block_that_only_root_may_read_is_no_native_system(
    host: Host, as_nobody: AsNobody, hidden: str
) -> None:
    """An ESP that is mounted with umask=0077, or with fmask=0177 alone."""
    folder = "/boot/efi/EFI/xenable"
    host.make_folder(folder)
    write_environment(host, folder, Environment(default="a"))
    if hidden == "folder":
        host.path("/boot/efi").chmod(0o700 if os.geteuid() == 0 else 0)
    else:
        host.path(f"{folder}/xenable.env").chmod(0o600 if os.geteuid() == 0 else 0)
    with as_nobody():
        assert trial.status(host).reason == "Xenable has changed nothing here"
    host.make_folder("/var/lib/xenable")
    one = Record(number=1, kind="write-file", fields={}, state=EntryState.PLANNED)
    for state in (EntryState.PLANNED, EntryState.DOING, EntryState.DONE):
        write_state(host, one, state, {})
    with as_nobody(), pytest.raises(XenableError, match="without root rights") as caught:
        trial.status(host)
    assert (caught.value.hint, caught.value.status) == ("sudo xenable status", Exit.FAILED)
    host.path("/boot/efi").chmod(0o755)
    host.path(f"{folder}/xenable.env").chmod(0o644)
    with as_nobody():
        assert trial.status(host).state is Status.CONFIRMED


@pytest.mark.parametrize(
    ("env", "written", "reason"),
    [
        (replace(TRYING, stage="load-failed"), None, "GRUB could not start Xen"),
        (replace(TRYING, stage="loading"), None, "GRUB could not start Xen"),
        (TRYING, None, "before dom0's user space ran"),
        (
            TRYING,
            record(verdict="gave-up", missing=("sshd: nothing listens on 0.0.0.0:22",)),
            "sshd: nothing",
        ),
        (TRYING, record(verdict="held", seconds=285), "nobody ran `xenable confirm` within 300 s"),
        (TRYING, record(missing=("xenstored: it does not answer",)), "ended without a word after 40 s"),
        (TRYING, record(seconds=290), "its time limit of 300 s ran out"),
        # What another slot's boot wrote is no evidence for this one.
        (TRYING, record(slot="b"), "before dom0's user space ran"),
        # Nor is what was written before this boot.
        (TRYING, record(verdict="armed", seconds=0), "before dom0's user space ran"),
        (TRYING, record(verdict="passed"), "before dom0's user space ran"),
        # The power went while it waited for a person.
        (TRYING, record(verdict="held"), "ended without a word after 40 s"),
    ],
)
def test_the_reason_of_a_fall_back(host: Host, env: Environment, written: Trial | None, reason: str) -> None:
    write_environment(host, GRUB, env)
    if written:
        write_trial(host, written)
    assert reason in trial.status(host).reason


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (None, "or it never began: GRUB could not load it, BootNext was taken back, kexec"),
        (record(verdict="armed", seconds=0), "or it never began"),
        (record(verdict="gave-up", missing=("sshd: nothing",)), "it waited for sshd: nothing"),
        (record(verdict="fell-back", reason="xl: broken"), "xl: broken"),
    ],
)
def test_the_reason_where_grub_can_note_nothing(host: Host, written: Trial | None, reason: str) -> None:
    whole = {
        "id": "x",
        "xen": "4.20",
        "kernel": "6.12",
        "xen_arguments": "",
        "dom0_arguments": "",
        "sha256": {},
    }
    host.make_folder("/boot/xenable/a")
    host.write("/boot/xenable/a/manifest.json", json.dumps(whole).encode())
    add_firmware(host)
    write_environment(host, GRUB, Environment(try_slot="a"), firmware=True)
    assert trial.status(host).state is Status.ARMED
    boots(host, "another")
    if written:
        write_trial(host, written)
    now = trial.status(host)
    assert (now.state, now.next_boot) == (Status.FELL_BACK, "native")
    assert reason in now.reason


@pytest.mark.parametrize(
    ("xen", "env", "state"),
    [
        (False, Environment(try_slot="a"), Status.ARMED),
        (True, Environment(default="a"), Status.CONFIRMED),
    ],
)
def test_the_firmwares_one_shot_that_somebody_took_back_is_said(
    host: Host, xen: bool, env: Environment, state: Status
) -> None:
    """Nothing was started: that is no fall-back, and in dom0 no trial."""
    add_firmware(host)
    for slot in ("a", "b"):
        host.make_folder(f"/boot/xenable/{slot}")
        host.write(f"/boot/xenable/{slot}/boot.cfg", b"")
    if xen:
        under_xen(host)
    write_environment(host, GRUB, env, firmware=True)
    now = trial.status(host)
    assert (now.state, now.next_boot) == (state, "xen")
    host.set_variable(variable("BootNext"), None)
    now = trial.status(host)
    assert (now.state, now.next_boot) == (state, "native")
    assert "was taken back" in now.reason
    assert not trial.on_course(host)


def test_the_menu_has_no_say_where_the_firmware_has_the_one_shot(host: Host) -> None:
    add_firmware(host)
    host.make_folder("/boot/xenable/a")
    host.write("/boot/xenable/a/boot.cfg", b"")
    host.write("/boot/grub/grub.cfg", b"menuentry 'Debian' { true }\n")
    write_environment(host, GRUB, Environment(try_slot="a"), firmware=True)
    assert (trial.status(host).state, trial.status(host).next_boot) == (Status.ARMED, "xen")


@pytest.mark.parametrize(
    "kept",
    [
        record(slot="b", verdict="fell-back", reason="xl: broken", started=TRYING.started),
        record(verdict="fell-back", reason="xl: broken", started="2026-11-21 10:00:00"),
        record(verdict="gave-up", missing=("xl: broken",), started="2026-11-21 10:00:00"),
    ],
)
def test_the_reason_of_another_fall_back_explains_nothing(host: Host, kept: Trial) -> None:
    write_environment(host, GRUB, TRYING)
    write_trial(host, kept)
    assert "before dom0's user space ran" in trial.status(host).reason
    # One of before the package kept GRUB's clock.
    write_trial(host, replace(kept, slot="a", started=""))
    assert "xl: broken" in trial.status(host).reason


def test_the_reason_names_a_lost_root(host: Host) -> None:
    write_environment(host, GRUB, TRYING)
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "root=UUID=12-34 ro"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert "there is no UUID=12-34 on this machine" in trial.status(host).reason
    host.make_folder("/dev/disk/by-uuid")
    host.write("/dev/disk/by-uuid/12-34", b"")
    assert "UUID" not in trial.status(host).reason


def test_the_reason_quotes_the_panic_that_pstore_kept(host: Host) -> None:
    env = replace(TRYING, started="2026-01-02 03:04:05")
    write_environment(host, GRUB, env)
    dump = "/var/lib/systemd/pstore/1767323100/dmesg.txt"
    host.make_folder(dump.rpartition("/")[0])
    text = b"<0>[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    host.write(dump, text)
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in trial.status(host).reason
    # Of a crash before the trial, or of nobody knows which.
    os.utime(host.path(dump), (1767323045 - 86400,) * 2)
    assert "VFS" not in trial.status(host).reason
    os.utime(host.path(dump))
    write_environment(host, GRUB, replace(env, started=""))
    assert "VFS" not in trial.status(host).reason


@pytest.mark.parametrize(
    ("booted", "reason"),
    [
        (94, "panicked, or the machine was reset or lost its power, early in its start: within 34 s"),
        (400, "dom0 hung early in its start, and its time limit of 300 s ran out; or it panicked"),
        # The power was off for hours: nobody knows which.
        (10860, "or it panicked, and the machine was off or slow to start: this system began 10800 s after"),
    ],
)
def test_the_reason_goes_by_how_long_it_took(host: Host, booted: int, reason: str) -> None:
    write_environment(host, GRUB, replace(TRYING, started="1970-01-01 00:01:00"))
    host.write("/proc/stat", f"cpu 1\nbtime {booted}\n".encode())
    assert "(a panic, a hang in the initrd" in trial.status(host).reason
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "ro xenable.deadline=300"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert reason in trial.status(host).reason


@pytest.mark.parametrize(("adjtime", "took"), [("0.0 0 0.0\n0\nLOCAL\n", 34), ("0.0 0 0.0\n0\nUTC\n", 7234)])
def test_a_clock_in_local_time(host: Host, monkeypatch: pytest.MonkeyPatch, adjtime: str, took: int) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    host.make_folder("/etc")
    host.write("/etc/adjtime", adjtime.encode())
    write_environment(host, GRUB, replace(TRYING, started="1970-01-02 02:01:00"))
    host.write("/proc/stat", b"cpu 1\nbtime 86494\n" if took == 34 else b"cpu 1\nbtime 100894\n")
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "ro xenable.deadline=300"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert f"{took} s" in trial.status(host).reason
    monkeypatch.undo()
    time.tzset()


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


def frozen_pair(host: Host, kernel: bytes = b"kernel") -> None:
    """A confirmed slot a, and a menu whose first pair has the same names."""
    entry = (
        f"{SLOT_ENTRIES}menuentry 'x' $menuentry_id_option 'xenable-4.20-amd64-6.12.9' {{\n"
        'multiboot2 "($xenable_boot)"/boot/xen-4.20-amd64.gz placeholder $xenable_efi\n'
        'module2 "($xenable_boot)"/boot/vmlinuz-6.12.9 placeholder root=UUID=1 ro\n'
        'module2 --nounzip "($xenable_boot)"/boot/initrd.img-6.12.9\n}\n'
    )
    host.make_folder("/boot/xenable/a")
    host.write("/boot/grub/grub.cfg", entry.encode())
    for name, data in (("xen-4.20-amd64.gz", b"xen"), ("vmlinuz-6.12.9", b"kernel")):
        host.write(f"/boot/{name}", data)
    host.write("/boot/xenable/a/xen", b"xen")
    host.write("/boot/xenable/a/vmlinuz", kernel)
    host.write("/boot/initrd.img-6.12.9", b"initrd")
    host.write("/boot/xenable/a/initrd", b"initrd, and the dead-man")
    words = "root=UUID=1 ro panic=30 xenable.deadline=300 xenable.hold"
    manifest = {**MANIFEST, "dom0_arguments": words}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    host.make_folder("/lib/modules/6.12/kernel")
    write_environment(host, GRUB, Environment(default="a"))
    under_xen(host)


def edit_menu(host: Host, old: bytes, new: bytes) -> None:
    menu = host.read("/boot/grub/grub.cfg")
    assert old in menu
    host.write("/boot/grub/grub.cfg", menu.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        lambda host: host.write("/boot/vmlinuz-6.12.9", b"other bytes, same name"),
        lambda host: host.write("/boot/initrd.img-6.12.9", b"made anew"),
        lambda host: edit_menu(host, b"placeholder $", b"placeholder smt=off $"),
        lambda host: edit_menu(host, b"UUID=1 ro", b"UUID=1 ro quiet"),
    ],
)
def test_an_untried_update_is_said_and_can_be_armed(host: Host, change: Callable[[Host], None]) -> None:
    frozen_pair(host)
    assert "passed its trial" in trial.status(host).reason
    assert trial.on_course(host)
    change(host)
    assert "a newer Xen or kernel is here" in trial.status(host).reason
    assert not trial.on_course(host)
    write_environment(host, GRUB, Environment(default="a", try_slot="b"))
    assert "the next reset tries slot b once" in trial.status(host).reason
    assert trial.on_course(host)


@pytest.mark.parametrize(
    ("xen", "env", "state", "slot"),
    [
        (True, Environment(default="a"), Status.CONFIRMED, "a"),
        (False, Environment(default="a"), Status.CONFIRMED, "a"),
        (False, Environment(default="a", try_slot="b"), Status.ARMED, "b"),
        (True, Environment(default="a", try_slot="b"), Status.CONFIRMED, "b"),
    ],
)
def test_a_menu_without_the_entries_boots_native(
    host: Host, as_nobody: AsNobody, xen: bool, env: Environment, state: Status, slot: str
) -> None:
    """update-grub ran while the generator could not: xenable was removed for a while, or python3 was."""
    frozen_pair(host)
    if not xen:
        host.remove("/sys/hypervisor/type")
    for name in ("a", "b"):
        host.make_folder(f"/boot/xenable/{name}")
        host.write(f"/boot/xenable/{name}/boot.cfg", b"")
    assert states(host, env) == (state, "xen") and trial.on_course(host)
    host.write("/boot/grub/grub.cfg", b"menuentry 'Debian' $menuentry_id_option 'gnulinux-simple-1' {\n}\n")
    assert states(host, env) == (state, "native") and not trial.on_course(host)
    reason = trial.status(host).reason
    assert f"the boot menu has no entry for slot {slot}" in reason and "`sudo xenable apply`" in reason
    # What may not be read is not known to lack it.
    host.path("/boot/grub/grub.cfg").chmod(0o600 if os.geteuid() == 0 else 0)
    with as_nobody():
        assert trial.status(host).next_boot == "xen"


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


def test_natively_what_fell_back_stays_on_record(host: Host) -> None:
    frozen_pair(host)
    host.remove("/sys/hypervisor/type")
    host.path("/lib/modules/6.12/kernel").rmdir()
    write_environment(host, GRUB, Environment(default="a", trying="a", stage="started"))
    assert trial.let_go(host) == ("a",)
    assert read_environment(host, GRUB) == Environment(trying="a", stage="started")


def test_a_damaged_block_counts_as_none_and_is_replaced_by_disarm(host: Host) -> None:
    host.write("/boot/grub/xenable.env", b"garbage")
    assert trial.status(host).next_boot == "native"
    trial.disarm(host)
    assert read_environment(host, GRUB) == Environment()


def test_after_a_revert_status_says_so(host: Host) -> None:
    host.make_folder("/var/lib/xenable/history")
    host.write("/var/lib/xenable/history/journal-1.jsonl", b"")
    assert trial.status(host).reason == "the conversion was reverted"
    under_xen(host)
    assert trial.status(host).reason == "the conversion was reverted; Xen runs until the next reset"


def test_a_revert_that_is_at_work_has_the_last_word(host: Host) -> None:
    """The gate of a dom0 that is healthy at the same moment does not make it the default again."""
    write_environment(host, GRUB, TRYING)
    accepted = threading.Thread(target=trial.accept, args=(host,))
    with host.lock_folder(GRUB):
        accepted.start()
        accepted.join(0.2)
        assert accepted.is_alive()
        write_environment(host, GRUB, Environment())
    accepted.join()
    assert read_environment(host, GRUB) == Environment()
