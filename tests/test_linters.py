# SPDX-License-Identifier: GPL-2.0-or-later
"""The linters, as tests: what they say is part of what CI says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

pytestmark = pytest.mark.realtool


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [TOP / name for name in out.splitlines() if (TOP / name).is_file()]


def clean(cmd: list[str | Path]) -> None:
    done = subprocess.run(cmd, cwd=TOP, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff() -> None:
    clean([TOOLS / "ruff", "check"])


def test_ruff_format() -> None:
    clean([TOOLS / "ruff", "format", "--check"])


def test_mypy() -> None:
    clean([TOOLS / "mypy"])


def test_no_type_is_ignored_away() -> None:
    for path in tracked():
        if path.suffix == ".py" and path.name != "test_linters.py":
            assert "# type: ignore" not in path.read_text(encoding="utf-8"), path


def is_shell(path: Path) -> bool:
    with path.open("rb") as f:
        first = f.readline()
    return first.startswith((b"#!/bin/sh", b"#!/bin/bash")) or path.suffix == ".sh"


def test_shellcheck() -> None:
    scripts = [path for path in tracked() if is_shell(path)]
    assert scripts
    clean(["shellcheck", *scripts])


def test_every_source_names_its_licence() -> None:
    for path in tracked():
        if path.suffix in (".py", ".pyi") or is_shell(path):
            head = path.read_text(encoding="utf-8").splitlines()[:2]
            assert any("SPDX-License-Identifier: GPL-2.0-or-later" in line for line in head), path


def test_modules_are_small() -> None:
    for folder in ("xenable", "lab"):
        for path in (TOP / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 450, f"{path} has {lines} lines: split it"
