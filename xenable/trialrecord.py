# SPDX-License-Identifier: GPL-2.0-or-later
"""trial.json: the record of one trial boot.

`arm` begins it, the gate goes on with it under Xen, and ends it on native.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from xenable.boot.environment import Environment
from xenable.host import STATE, Host

TRIAL = STATE / "trial.json"
NEAR = 30
"""Seconds before the time limit from which it is what ended a boot: so old the gate lets its word become."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is on record of one trial boot."""

    slot: str
    verdict: str
    """armed (not begun), waiting, held (for a person), passed, gave-up, or fell-back (on native)."""
    seconds: int
    """Since dom0's kernel started."""
    deadline: int
    missing: tuple[str, ...] = ()
    reason: str = ""
    """Set with fell-back: the sentence that `status` shows."""
    earlier: str = ""
    """Why another slot's trial fell back to this one."""
    boot_id: str = ""
    """The boot's, as journald has it: 32 hexadecimal digits. Empty where dom0's user space never ran."""
    started: str = ""
    """GRUB's clock at the hand-over, as in the block: tells two starts of one slot apart."""
    armed_in: str = ""
    """Set with armed: id of the boot in which that was."""


def read_trial(host: Host) -> Trial | None:
    try:
        found = json.loads(host.text(TRIAL, "null"))
        return Trial(**{**found, "missing": tuple(found["missing"])}) if found else None
    except (ValueError, TypeError, KeyError):
        return None


def write_trial(host: Host, trial: Trial) -> None:
    host.make_folder(STATE)
    host.write(TRIAL, json.dumps(asdict(trial), indent=1).encode() + b"\n")


def this_boot(host: Host) -> str:
    """The id of the boot that runs, as journald has it."""
    return host.text("/proc/sys/kernel/random/boot_id").strip().replace("-", "")


def of_last_boot(env: Environment, trial: Trial) -> bool:
    """Whether a record is of the last boot under Xen that was not judged good, and not of one before it."""
    # Records of earlier packages are without GRUB's clock.
    same = trial.slot == env.trying and trial.started in ("", env.started)
    return same and trial.verdict not in ("armed", "passed")


def reason_on_record(trial: Trial, took: int | None = None) -> str:
    """Why a boot was not judged good, from the gate's last word.

    took: seconds from GRUB's hand-over to the start of the system that asks, where the clock tells.
    """
    if trial.reason:
        return trial.reason
    if trial.verdict == "armed":
        # GRUB's block does not tell: the entry that was started after it has noted itself there.
        return (
            "Xen or dom0's kernel stopped before dom0's user space ran; "
            "or it never began, because another entry was chosen by hand"
        )
    if trial.verdict == "gave-up":
        return f"dom0 was not healthy within {trial.deadline} s: it waited for {'; '.join(trial.missing)}"
    late = trial.deadline > 0 and trial.seconds >= trial.deadline - NEAR
    if trial.verdict == "held" and late:
        return f"dom0 was healthy, but nobody ran `xenable confirm` within {trial.deadline} s"
    waited = f"; it waited for {'; '.join(trial.missing)}" if trial.missing else ""
    if late:
        return f"dom0 hung: its time limit of {trial.deadline} s ran out{waited}"
    if took is not None and 0 < trial.deadline <= took:
        return (
            f"dom0 hung after {trial.seconds} s, and its time limit of {trial.deadline} s ran out; or it "
            "ended there, and the machine was off or slow to start: this system began "
            f"{took} s after GRUB's hand-over{waited}"
        )
    known = took is not None and trial.deadline > 0
    before = ", before its time limit" if known else ""
    hang = "hang, " if trial.deadline and not known else ""
    return (
        f"dom0 ended without a word after {trial.seconds} s{before}: {hang}power cut, reset or panic{waited}"
    )
