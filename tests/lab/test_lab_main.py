# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line makes of a scenario's end."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import __main__ as main
from lab.errors import LabError, ScenarioFailed
from lab.machines import Lab
from lab.recipe import Recipe
from lab.scenarios import SCENARIOS
from lab.story import step


def ends_with(error: Exception | None) -> Callable[[Lab], None]:
    """A scenario of one step that ends so."""

    def scenario(lab: Lab) -> None:
        with step("the only step"):
            if error is not None:
                raise error

    return scenario


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (None, main.PASSED, "PASSED: x"),
        (
            ScenarioFailed("no answer"),
            main.FAILED,
            "FAILED: x\nfailed step: the only step\nreason: no answer",
        ),
        (
            LabError("cannot y: z"),
            main.BROKEN,
            "THE LAB BROKE: x\nfailed step: the only step\nreason: cannot y: z",
        ),
        (KeyError("bug"), main.BROKEN, "Traceback"),
    ],
)
def test_the_exit_code_tells_no_from_broken(
    error: Exception | None,
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("XENABLE_LAB_RUNS", raising=False)
    monkeypatch.setattr(main, "SCENARIOS", (("x", ends_with(error)),))
    assert main.run_scenario("x", Recipe(), 1).code == code
    assert told in capsys.readouterr().err
    (report,) = tmp_path.glob("runs/*-x/report.txt")
    assert told in report.read_text()
    assert "the only step" in report.read_text()


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (None, r"rehearsal passed in \d+ s"),
        (
            ScenarioFailed("no answer\nand more"),
            r"rehearsal failed: the only step: no answer; serial log: .*/a/serial.log",
        ),
    ],
    ids=["passed", "failed"],
)
def test_the_last_line_of_a_rehearsal(
    error: Exception | None,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """make says no more than that on stdout, and where the report is just before it."""

    def scenario(lab: Lab) -> None:
        (lab.folder / "a").mkdir()
        (lab.folder / "a/serial.log").write_text("")
        ends_with(error)(lab)

    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("XENABLE_LAB_RUNS", raising=False)
    monkeypatch.setattr(main, "SCENARIOS", (("rehearsal", scenario),))
    assert main.main(["rehearse"]) == (main.FAILED if error else main.PASSED)
    said = capsys.readouterr()
    assert re.fullmatch(last, said.out.strip())
    assert ("report.txt" if error is None else "run folder: ") in said.err.splitlines()[-1]


def test_every_scenario_says_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list"]) == main.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == [name for name, _ in SCENARIOS]
    assert all(line.split(": ", 1)[1] for line in lines)
