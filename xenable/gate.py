# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable gate`, run by systemd early at every boot of a converted machine.

Under Xen it looks until dom0 is healthy, then accepts the boot; on native it writes down why one fell back.
It is not the dead-man: that is Xen's own watchdog, opened in the initrd, which needs nobody alive in dom0.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from xenable import health, trial
from xenable.boot.commandline import DEADLINE, HOLD
from xenable.boot.environment import environment_folder, read_environment
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import Status
from xenable.trial import Trial

PAUSE = 2.0
"""Seconds between two looks."""
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
    record = trial.read_trial(host) or Trial(slot="", boot_id="", verdict="", seconds=0, deadline=0)
    trial.write_trial(host, replace(record, verdict="fell-back", reason=now.reason))


def judge(host: Host) -> None:
    """Under Xen: look until all is well or the time is up."""
    words = kernel_words(host.text("/proc/cmdline"))
    deadline = int(words.get(DEADLINE, "0") or "0")
    folder = environment_folder(host)
    env = read_environment(host, folder) if folder else None
    if env is None or not env.trying:
        trial.stop_dead_man(host)
        return
    if deadline:
        guard(host, deadline)
    confirmed = env.trying == env.default
    before = health.read_before(host)
    record = Trial(
        slot=env.trying,
        boot_id=host.text("/proc/sys/kernel/random/boot_id").strip(),
        verdict="waiting",
        seconds=_uptime(host),
        deadline=deadline,
        missing=("the first look of the gate",),
    )
    trial.write_trial(host, record)
    while True:
        lacking = health.missing(host, before, confirmed=confirmed)
        seconds = _uptime(host)
        if not lacking and HOLD not in words:
            trial.accept(host)
            trial.write_trial(host, replace(record, verdict="passed", seconds=seconds, missing=()))
            _say(f"dom0 is healthy after {seconds} s: Xen is the default from now on")
            return
        verdict = "waiting" if lacking else "held"
        if (verdict, lacking) != (record.verdict, record.missing) or seconds - record.seconds >= 30:
            record = replace(record, verdict=verdict, seconds=seconds, missing=lacking)
            trial.write_trial(host, record)
            _say(f"dom0 waits for {'; '.join(lacking) or '`xenable confirm`'}")
        if not _on_trial(host, folder):
            # A person confirmed, or reverted.
            trial.write_trial(host, replace(record, verdict="passed", seconds=seconds))
            return
        if deadline and seconds >= deadline - MARGIN:
            give_up(host, replace(record, seconds=seconds))
            return
        time.sleep(PAUSE)


def guard(host: Host, deadline: int) -> None:
    """Make sure that the dead-man runs; without it the gate's own clock is all there is: that is said."""
    try:
        trial.ensure_dead_man(host, deadline - _uptime(host))
    except XenableError as e:
        _say(f"the dead-man does not run: {e.message}")


def give_up(host: Host, record: Trial) -> None:
    """Write the last word and reset; should the reboot hang, the dead-man ends it."""
    verdict = record.verdict if record.verdict == "held" else "gave-up"
    trial.write_trial(host, replace(record, verdict=verdict))
    _say("time is up: resetting to the native system")
    host.run(["systemctl", "reboot", "--force"], check=False, timeout=30)


def kernel_words(command_line: str) -> dict[str, str]:
    """`key=value` words of a kernel command line; a word without a value has an empty one."""
    return {key: value for key, _, value in (word.partition("=") for word in command_line.split())}


def _on_trial(host: Host, folder: str) -> bool:
    env = read_environment(host, folder)
    return env is not None and bool(env.trying)


def _uptime(host: Host) -> int:
    return int(float(host.text("/proc/uptime", "0").split()[0]))


def _say(text: str) -> None:
    sys.stderr.write(f"xenable: {text}\n")
