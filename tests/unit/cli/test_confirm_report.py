# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON documents of confirm and report."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.fixtures import document
from xenable.__main__ import run
from xenable.errors import Exit
from xenable.host import Host
from xenable.model import Status
from xenable.trial import TrialStatus

CONFIRMED = TrialStatus(
    state=Status.CONFIRMED,
    reason="Xen passed",
    running="xen",
    next_boot="xenable-a",
    versions={"xen": "4.20"},
)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Root rights on a machine that is a folder."""

    @contextlib.contextmanager
    def no_lock(host: Host) -> Iterator[None]:
        yield

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Host, "lock", no_lock)
    for command in ("confirm", "report"):
        monkeypatch.setattr(f"xenable.cli.{command}.Host", lambda: Host(tmp_path / "machine"))
    return tmp_path


def test_confirm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("xenable.trial.confirm", lambda host: CONFIRMED)
    assert run(["confirm", "--json"]) == Exit.DONE
    found = document(capsys)
    assert (found["state"], found["running"], found["next_boot"]) == ("confirmed", "xen", "xenable-a")
    assert run(["confirm"]) == Exit.DONE
    assert "Xen passed" in capsys.readouterr().out


def test_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = root / "r.tar.gz"
    assert run(["report", "--json", "-o", str(target)]) == Exit.DONE
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "result": "written", "path": str(target)}
    with tarfile.open(target) as tar:
        assert "xenable-report/facts.json" in tar.getnames()
    assert run(["report", "-o", "-"]) == Exit.FAILED
    assert "cannot write the archive to standard output" in capsys.readouterr().err
    assert run(["report", "-o", str(root / "s.tar.gz")]) == Exit.DONE
    assert capsys.readouterr().out == f"{root}/s.tar.gz\n"
