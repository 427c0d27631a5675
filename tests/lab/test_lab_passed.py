# SPDX-License-Identifier: GPL-2.0-or-later
"""`make lab` goes on where it was interrupted, and believes no pass of other bytes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import __main__ as main
from lab import passed
from lab.machines import Lab
from lab.recipe import Firmware, Recipe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XENABLE_LAB_RUNS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("dist/xenable_0.1.0_all.deb", "lab/vm.py", "lab/guest/seed.sh"):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "checkout"


@pytest.mark.parametrize("changed", ["dist/xenable_0.1.0_all.deb", "lab/vm.py", "lab/guest/seed.sh"])
def test_a_pass_counts_for_the_same_bytes(changed: str, checkout: Path, tmp_path: Path) -> None:
    before = passed.record("faults", Recipe(), checkout)
    assert not passed.counts(before)
    passed.note(before, tmp_path)
    assert passed.counts(passed.record("faults", Recipe(), checkout))
    assert not passed.counts(passed.record("reverts", Recipe(), checkout))
    assert not passed.counts(passed.record("faults", Recipe(firmware=Firmware.BIOS), checkout))
    (checkout / changed).write_text("edited")
    assert not passed.counts(passed.record("faults", Recipe(), checkout))


def test_a_pass_grows_old_and_goes(checkout: Path, tmp_path: Path) -> None:
    old = passed.record("faults", Recipe(), checkout)
    passed.note(old, tmp_path)
    then = time.time() - passed.VALID_FOR - 1
    os.utime(old, (then, then))
    assert not passed.counts(old)
    passed.note(passed.record("reverts", Recipe(), checkout), tmp_path)
    assert not old.exists()


def test_all_runs_what_has_not_passed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scenario that failed, or that was edited while it ran, runs again; one that passed does not."""
    ran: list[tuple[str, Recipe]] = []
    state = ["before"]

    def ends(*, well: bool, edited: bool = False) -> Callable[[Lab], None]:
        def scenario(lab: Lab) -> None:
            if edited:
                state.append("after")
            assert well

        return scenario

    scenarios = {"good": ends(well=True), "bad": ends(well=False), "edited": ends(well=True, edited=True)}
    monkeypatch.setattr(main, "SCENARIOS", tuple(scenarios.items()))
    monkeypatch.setattr(main, "everything", lambda: [(name, Recipe()) for name in scenarios])
    monkeypatch.setattr(passed, "record", lambda name, recipe: cache / "passed" / f"{state[-1]}-{name}")

    def run_several(wanted: list[tuple[str, Recipe]]) -> int:
        ran.extend(wanted)
        return max((main.run_scenario(name, recipe, 1).code for name, recipe in wanted), default=0)

    monkeypatch.setattr(main, "run_several", run_several)
    assert main.main(["all"]) == main.BROKEN
    assert [name for name, _ in ran] == ["good", "bad", "edited"]
    ran.clear()
    assert main.main(["all"]) == main.BROKEN
    assert [name for name, _ in ran] == ["good", "bad", "edited"], "what was there before the edit passed"
    ran.clear()
    capsys.readouterr()
    assert main.main(["all"]) == main.BROKEN
    assert [name for name, _ in ran] == ["bad"]
    assert "good: passed at " in capsys.readouterr().out


def test_what_failed_is_named_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "run_jobs", lambda jobs, at_once: tuple(range(len(jobs))))
    assert main.run_several([("stock", Recipe()), ("faults", Recipe(firmware=Firmware.BIOS))]) == main.FAILED
    assert capsys.readouterr().out.splitlines() == [
        "failed: faults trixie-bios-generic-ext4",
        "1 passed, 1 failed in 0 s",
    ]
