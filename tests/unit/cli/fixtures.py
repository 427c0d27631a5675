# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command line share."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.factory import make_facts
from xenable import convert, trial
from xenable.config import Config
from xenable.engine import Direction, Event
from xenable.host import Host
from xenable.journal import Record
from xenable.machine import Facts
from xenable.model import EntryState, Finding, Obstacle, Severity, Status
from xenable.plan import make_plan
from xenable.steps.base import Step
from xenable.steps.packages import InstallPackages
from xenable.trial import TrialStatus

BLOCKER = Finding(
    id="firmware/secure-boot",
    severity=Severity.BLOCKER,
    title="Secure Boot is on",
    diagnosis="GRUB refuses Xen.",
    remedy="Switch it off.",
)
HELD = Finding(
    id="packages/held",
    severity=Severity.OVERRIDABLE,
    title="Packages are held",
    diagnosis="grub is held.",
    remedy="apt-mark unhold grub",
)
ARMED = TrialStatus(
    state=Status.ARMED,
    reason="the next reset boots Xen once, as a trial",
    running="native",
    next_boot="xen",
    versions={"running kernel": "6.12"},
)
RECORD = Record(
    number=1, kind="write-file", fields={"path": "/etc/a", "content": "x"}, state=EntryState.DONE
)


class Machine:
    """What the commands call, and what they were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.findings: tuple[Finding, ...] = ()
        self.records: tuple[Record, ...] = ()
        self.obstacles: tuple[Obstacle, ...] = ()
        self.calls: list[str] = []
        self.failure: BaseException | None = None
        self.answer = ""
        self.left: tuple[str, ...] = ()
        self.facts = make_facts()
        monkeypatch.setattr("xenable.facts.gather", self.gather)
        monkeypatch.setattr("xenable.convert.gather", self.gather)
        monkeypatch.setattr("xenable.checks.run_checks", lambda facts, config: self.findings)
        monkeypatch.setattr("xenable.convert.run_checks", lambda facts, config: self.findings)
        monkeypatch.setattr("xenable.journal.read_journal", lambda host: self.records)
        monkeypatch.setattr("xenable.plan.make_plan", self.plan)
        monkeypatch.setattr(trial, "status", lambda host: ARMED)
        monkeypatch.setattr(convert, "start", self.act("start"))
        monkeypatch.setattr(convert, "resume", self.act("resume"))
        monkeypatch.setattr(convert, "revert", self.act("revert"))
        monkeypatch.setattr(convert, "obstacles", lambda host: self.obstacles)
        monkeypatch.setattr(Host, "run", lambda host, cmd, **_: self.calls.append(" ".join(cmd)))
        monkeypatch.setattr("xenable.config.PATH", tmp_path / "no-such-file")
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def gather(self, host: Host, *, xen_kernel: bool = False) -> Facts:
        return self.facts

    def plan(self, facts: Facts, config: Config) -> tuple[Step, ...]:
        # The preview of the packages would ask this machine's apt.
        return tuple(step for step in make_plan(facts, config) if not isinstance(step, InstallPackages))

    def act(self, name: str) -> Callable[..., tuple[str, ...]]:
        def call(host: Host, *rest: Any, **_options: object) -> tuple[str, ...]:
            self.calls.append(name)
            if self.failure is not None:
                raise self.failure
            rest[-1](Event(direction=Direction.DO, title="write /etc/a", number=1, total=1, fraction=0.0))
            self.records = (RECORD,) if name != "revert" else ()
            return self.left

        return call


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one document on stdout."""
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict) and found["schema"] == 1
    return found


def person(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)


def words_to_create(tmp_path: Path, *more: str) -> list[str]:
    return ["guest", "create", "web1", "--ssh-key", str(tmp_path / "key.pub"), "--disk", "256M", *more]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())
