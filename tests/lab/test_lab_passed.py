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


CHANGED = (
    "dist/xenable_0.1.0_all.deb",
    "lab/vm.py",
    "lab/guest/seed.sh",
    "xenable/host.py",
    "data/hold/menu",
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*CHANGED, "xenable/__pycache__/host.pyc", "README.md"):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    here = passed.record_path
    where = tmp_path / "checkout"
    monkeypatch.setattr(passed, "record_path", lambda name, recipe: here(name, recipe, where))
    return where


def ran_well(name: str, recipe: Recipe, folder: Path) -> None:
    passed.note(passed.begin(name, recipe), name, recipe, folder)


def counts(name: str, recipe: Recipe) -> bool:
    return passed.still_counts(passed.record_path(name, recipe))


@pytest.mark.parametrize("changed", CHANGED)
def test_a_pass_counts_for_the_same_bytes(changed: str, checkout: Path, tmp_path: Path) -> None:
    assert not counts("faults", Recipe())
    ran_well("faults", Recipe(), tmp_path)
    assert counts("faults", Recipe())
    assert not counts("reverts", Recipe())
    assert not counts("faults", Recipe(firmware=Firmware.BIOS))
    for other in ("xenable/__pycache__/host.pyc", "README.md"):
        (checkout / other).write_text("edited")
        assert counts("faults", Recipe())
    (checkout / changed).write_text("edited")
    assert not counts("faults", Recipe())


def test_what_is_edited_meanwhile_has_not_passed(checkout: Path, tmp_path: Path) -> None:
    begun = passed.begin("faults", Recipe())
    (checkout / "dist/xenable_0.1.0_all.deb").write_text("edited")
    passed.note(begun, "faults", Recipe(), tmp_path)
    assert not counts("faults", Recipe()) and not begun.exists()


def test_a_scenario_that_begins_has_not_passed(checkout: Path, tmp_path: Path) -> None:
    ran_well("faults", Recipe(), tmp_path)
    passed.begin("faults", Recipe())
    assert not counts("faults", Recipe())


def test_a_pass_grows_old_and_goes(checkout: Path, tmp_path: Path) -> None:
    ran_well("faults", Recipe(), tmp_path)
    old = passed.record_path("faults", Recipe())
    then = time.time() - passed.VALID_FOR - 1
    os.utime(old, (then, then))
    assert not passed.still_counts(old)
    ran_well("reverts", Recipe(), tmp_path)
    assert not old.exists()


def test_all_runs_what_has_not_passed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    well = {"good": True, "bad": False}

    def scenario(name: str) -> Callable[[Lab], None]:
        def run(lab: Lab) -> None:
            ran.append(name)
            assert well[name]

        return run

    def run_several(wanted: list[tuple[str, Recipe]]) -> int:
        return max(main.run_scenario(name, recipe, 1).code for name, recipe in wanted)

    monkeypatch.setattr(main, "SCENARIOS", tuple((name, scenario(name)) for name in well))
    monkeypatch.setattr(main, "everything", lambda: [(name, Recipe()) for name in well])
    monkeypatch.setattr(main, "run_several", run_several)
    assert main.main(["all"]) == main.BROKEN
    assert ran == ["good", "bad"]
    capsys.readouterr()
    well["bad"] = True
    assert main.main(["all"]) == main.PASSED
    assert ran == ["good", "bad", "bad"]
    assert "good: passed at " in capsys.readouterr().out
    assert main.main(["all"]) == main.PASSED
    assert ran == ["good", "bad", "bad"]
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["good", "bad"]


def test_what_failed_is_named_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "run_jobs", lambda jobs, at_once: tuple(range(len(jobs))))
    assert main.run_several([("stock", Recipe()), ("faults", Recipe(firmware=Firmware.BIOS))]) == main.FAILED
    assert capsys.readouterr().out.splitlines() == [
        "failed: faults trixie-bios-generic-ext4",
        "1 passed, 1 failed in 0 s",
    ]
