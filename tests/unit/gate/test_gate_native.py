# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate on native: what it keeps of a boot that fell back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.gate.fixtures import GRUB
from xenable import gate, trial
from xenable.boot.environment import Environment, write_environment
from xenable.host import Host
from xenable.trialrecord import Trial, read_trial, write_trial


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
