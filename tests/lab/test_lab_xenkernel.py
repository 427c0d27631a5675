# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel of the lab: what its own record says of the time it took, and on whose machine it is built."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from lab import bench_guests, host, xenkernel
from lab.errors import LabError
from lab.recipe import Release
from lab.scenarios import kernel
from xenable.checks.kernels import GENERIC_ADDED

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would have been run. Each run with an odd number builds, as the command does after a change."""
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(xenkernel, "own_release", lambda: Release.BOOKWORM)
    found: list[tuple[str, ...]] = []
    rows: list[dict[str, Any]] = []

    def run(argv: list[str], **_: object) -> str:
        found.append(tuple(argv))
        if len(found) % 2:
            rows.append({"revision": len(rows) + 1, "seconds": 700 + len(rows)})
        record = tmp_path / "kernel-bookworm/var/xenable/kernels/builds.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"schema": 1, "builds": rows}))
        return ""

    monkeypatch.setattr(xenkernel, "run", run)
    return found


def test_how_long_it_took_is_said_also_of_an_earlier_build(
    asked: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kernel-bookworm"
    assert xenkernel.build() == xenkernel.Built(folder, 700, fresh=True)
    assert asked[0][-2:] == ("--jobs", "2")
    assert "700 s with 2 jobs, in this run" in capsys.readouterr().err
    assert xenkernel.build() == xenkernel.Built(folder, 700, fresh=False)
    assert "700 s with 2 jobs, in an earlier run" in capsys.readouterr().err
    assert xenkernel.build() == xenkernel.Built(folder, 701, fresh=True)


def test_the_release_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["trixie"]
    monkeypatch.setattr(xenkernel, "own_codename", lambda: said[0])
    assert xenkernel.own_release() is Release.TRIXIE
    said[0] = "noble"
    with pytest.raises(LabError, match="bookworm or trixie"):
        xenkernel.own_release()
    assert bench_guests.own_codename is host.own_codename


def test_words_of_the_scenario_are_those_of_the_program() -> None:
    """Text that every machine gets to see proves nothing."""
    assert kernel.OFFERED not in GENERIC_ADDED.remedy
    assert kernel.OFFERED in (CHECKOUT / "xenable/checks/kernels.py").read_text()
    left = kernel.OWN_ENTRY.replace("@DISK@", "x").replace("@RELEASE@", "y")
    assert not re.search(r"@[A-Z]+@", left)
