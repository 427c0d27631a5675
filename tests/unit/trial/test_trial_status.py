# SPDX-License-Identifier: GPL-2.0-or-later
"""The five words of status, and what it says beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from tests.unit.boot.firmware import add_firmware, variable
from tests.unit.trial.fixtures import GRUB, TRYING, boots, edit_menu, frozen_pair, record, states, under_xen
from xenable import trial
from xenable.boot.environment import Environment, read_environment, write_environment
from xenable.errors import Exit, XenableError
from xenable.health import Before
from xenable.host import Host
from xenable.journal import Record, write_state
from xenable.model import EntryState, Status
from xenable.trialrecord import Trial, write_trial

AsNobody = Callable[[], AbstractContextManager[None]]


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


def test_natively_what_fell_back_stays_on_record(host: Host) -> None:
    frozen_pair(host)
    host.remove("/sys/hypervisor/type")
    host.path("/lib/modules/6.12/kernel").rmdir()
    write_environment(host, GRUB, Environment(default="a", trying="a", stage="started"))
    assert trial.let_go(host) == ("a",)
    assert read_environment(host, GRUB) == Environment(trying="a", stage="started")


def test_after_a_revert_status_says_so(host: Host) -> None:
    host.make_folder("/var/lib/xenable/history")
    host.write("/var/lib/xenable/history/journal-1.jsonl", b"")
    assert trial.status(host).reason == "the conversion was reverted"
    under_xen(host)
    assert trial.status(host).reason == "the conversion was reverted; Xen runs until the next reset"
