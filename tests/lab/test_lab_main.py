# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line makes of a scenario's end."""

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
    assert main.run_scenario("x", Recipe(), 1) == code
    assert told in capsys.readouterr().err
    (report,) = tmp_path.glob("runs/*-x/report.txt")
    assert told in report.read_text()
    assert "the only step" in report.read_text()


def test_every_scenario_says_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list"]) == main.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == [name for name, _ in SCENARIOS]
    assert all(line.split(": ", 1)[1] for line in lines)
