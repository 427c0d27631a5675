# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable gate`, run by systemd early at every boot of a converted machine.

Under Xen it looks until dom0 is healthy, then accepts the boot; on native it writes down why one fell back.
It is not the dead-man: that is Xen's own watchdog, opened in the initrd, which needs nobody alive in dom0.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from xenable import health, trial, watchdog
from xenable.boot.commandline import DEADLINE, HOLD, kernel_words
from xenable.boot.environment import Environment, by_firmware, environment_folder
from xenable.boot.slots import SLOTS
from xenable.diagnosis import elapsed
from xenable.errors import XenableError
from xenable.host import LOGS, Host
from xenable.model import Status
from xenable.trialrecord import (
    NEAR,
    Trial,
    of_last_boot,
    read_trial,
    reason_on_record,
    this_boot,
    write_trial,
)

PAUSE = 2.0
"""Seconds between two looks, at least."""
LONGEST_PAUSE = 10.0
REST = 20
"""Seconds between two attempts to accept, where the firmware may have taken a variable, and lost it again:
its memory wears out."""
NO_BLOCK = ("GRUB's environment block: it can't be read",)
MESSAGES = LOGS / "trial-boot.log"
"""Of Xen and dom0's kernel in the last guarded boot, or in the trial that fell back to it: where the journal
is not kept, a reset destroys them."""

MARGIN = 15
"""Seconds before the dead-man at which the gate gives up by itself, so that its last word is on disk."""


def run_gate(host: Host) -> None:
    """Judge this boot. Returns when there is nothing (more) to judge."""
    if trial.running_xen(host):
        judge(host)
    else:
        note_fall_back(host)


def note_fall_back(host: Host) -> None:
    """On native: keep the reason of a trial that fell back, as later boots destroy the evidence."""
    now = trial.status(host)
    if now.state is not Status.FELL_BACK:
        return
    _say(f"the boot under Xen fell back: {now.reason}")
    env = trial.environment(host) or Environment()
    _note_start(host)
    record = read_trial(host)
    if record is None or not of_last_boot(env, record):
        # The boot that wrote it is not the one that fell back, nor do its messages tell why.
        record = Trial(slot=env.trying, verdict="", seconds=0, deadline=0, started=env.started)
    _keep(host, replace(record, verdict="fell-back", reason=now.reason))


def judge(host: Host) -> None:
    """Under Xen: look until all is well or the time is up."""
    words = kernel_words(host.text("/proc/cmdline"))
    deadline = int(words.get(DEADLINE, "0") or "0")
    env = trial.environment(host)
    # Started again in a dom0 that passed it would count anew.
    if deadline and (env is None or env.trying):
        guard(host, deadline)
    _note_start(host)
    before = health.read_before(host)
    last = read_trial(host)
    record = None
    refused: tuple[str, ...] = ()
    again = 0
    while True:
        began = time.monotonic()
        env = trial.environment(host)
        seconds = _uptime(host)
        over = trial.reverted(host) if env is None else not env.trying
        if over:
            # Nothing is on trial, or a person confirmed, or reverted.
            _stop_dead_man(host)
            if record is not None:
                _keep(host, replace(record, verdict="passed", seconds=seconds))
            return
        confirmed = env is not None and env.trying == env.default
        hold = HOLD in words and not confirmed
        if record is None:
            record = _first_record(host, env, last, seconds, deadline)
            _keep(host, record)
            # Where another slot's trial has just fallen back to this one, that one's are the ones to keep.
            if deadline and not (confirmed and record.earlier and last is not None and last.boot_id):
                keep_messages(host)
        # It may hang in its first look already.
        lacking = health.missing(host, before, confirmed=confirmed) if env is not None else NO_BLOCK
        kept = None
        if not lacking and not hold and seconds < again:
            lacking = refused
        elif not lacking and not hold:
            try:
                kept = trial.accept(host)
            except XenableError as e:
                # Its time goes on, and with it the way back.
                lacking = refused = (e.message,)
                if by_firmware(host, environment_folder(host)):
                    again = seconds + REST
        if kept is not None:
            _stop_dead_man(host)
            _keep(host, replace(record, verdict="passed", seconds=seconds, missing=()))
            then = ": Xen is the default from now on"
            if not kept:
                then = ", but its kernel was removed meanwhile"
            elif env is not None and env.trying not in SLOTS:
                then = ": it was started by hand, and what is booted by default stays as it was"
            _say(f"dom0 is healthy after {seconds} s{then}")
            return
        verdict = "waiting" if lacking else "held"
        if (verdict, lacking) != (record.verdict, record.missing) or seconds - record.seconds >= NEAR:
            record = replace(record, verdict=verdict, seconds=seconds, missing=lacking)
            _keep(host, record)
            _say(f"dom0 waits for {'; '.join(lacking) or '`xenable confirm`'}")
        look = time.monotonic() - began
        pause = pause_after(look)
        # Another look like this one has to end before that: programs that do not answer take their time.
        if deadline and seconds + look + pause + look >= deadline - MARGIN:
            give_up(host, replace(record, seconds=seconds))
            return
        time.sleep(pause)


def pause_after(look: float) -> float:
    """Seconds to wait after a look that took so many: on a slow machine the looks must not hold up the boot
    that they wait for."""
    return min(max(PAUSE, 4 * look), LONGEST_PAUSE)


def _first_record(
    host: Host, env: Environment | None, last: Trial | None, seconds: int, deadline: int
) -> Trial:
    """What is on disk as soon as dom0 runs; why another slot's trial failed stays on record."""
    slot = env.trying if env is not None else ""
    earlier = ""
    if last is not None and last.slot != slot and last.verdict != "passed":
        why = reason_on_record(last, elapsed(host, last.started))
        earlier = f"the trial of slot {last.slot} fell back: {why}"
    return Trial(
        slot=slot,
        verdict="waiting",
        seconds=seconds,
        deadline=deadline,
        missing=("the first look of the gate",),
        earlier=earlier,
        boot_id=this_boot(host),
        started=env.started if env is not None else "",
    )


def _stop_dead_man(host: Host) -> None:
    left = watchdog.stop_dead_man(host)
    if left:
        _say(
            f"{', '.join(left)} could not be stopped: another program has it open, or its driver lets "
            "nobody stop it; then the machine is reset when its time is up"
        )


def guard(host: Host, deadline: int) -> None:
    """Make sure that the dead-man runs; without it the gate's own clock is all there is: that is said."""
    try:
        watchdog.ensure_dead_man(host, deadline - _uptime(host))
    except XenableError as e:
        _say(f"the dead-man does not run: {e.message}")


def give_up(host: Host, record: Trial) -> None:
    """Write the last word and reset; should the reboot hang, the dead-man ends it."""
    record = replace(record, verdict=record.verdict if record.verdict == "held" else "gave-up")
    _keep(host, record)
    # The reset is near. Should the dead-man be quicker than what is asked now, that word is on disk already.
    if unfinished := health.unfinished(host, record.missing):
        _keep(host, replace(record, missing=(*record.missing, unfinished)))
    keep_messages(host)
    _say("time is up: resetting the machine")
    host.run(["systemctl", "reboot", "--force"], check=False, timeout=30)


def keep_messages(host: Host) -> None:
    """Put what Xen and dom0's kernel have said on disk, for a report. What fails is left out, and said."""
    found = [f"# boot {host.text('/proc/sys/kernel/random/boot_id').strip()}\n"]
    for cmd in (("xl", "dmesg"), ("dmesg",)):
        result = host.run(cmd, check=False, timeout=2)
        found.append(f"# {' '.join(cmd)}\n{result.stdout if result.code == 0 else result.stderr}")
    try:
        host.make_folder(LOGS)
        host.write(MESSAGES, "".join(found).encode(errors="replace"), mode=0o600)
    except XenableError as e:
        _say(f"{e.message}; the messages of this boot are not kept")


def _note_start(host: Host) -> None:
    try:
        trial.note_start(host)
    except XenableError as e:
        _say(f"{e.message}; that this start was tried is not in GRUB's environment block")


def _uptime(host: Host) -> int:
    return int(float(host.text("/proc/uptime", "0").split()[0]))


def _keep(host: Host, record: Trial) -> None:
    """Put the record on disk. It only explains: a full disk must not cost a healthy dom0 its verdict."""
    try:
        write_trial(host, record)
    except XenableError as e:
        _say(f"{e.message}; what the trial boot waits for is not on record")


def _say(text: str) -> None:
    sys.stderr.write(f"xenable: {text}\n")
