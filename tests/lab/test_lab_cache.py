# SPDX-License-Identifier: GPL-2.0-or-later
"""The folders of past runs."""

from pathlib import Path

import pytest

from lab import cache


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XENABLE_LAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_only_the_last_runs_are_kept(runs: Path) -> None:
    runs.mkdir()
    for day in range(10, 25):
        (runs / f"200001{day}-120000-old").mkdir()
    new = cache.new_run_folder("stock")
    left = sorted(path.name for path in runs.iterdir())
    assert len(left) == cache.RUNS_KEPT
    assert left[0] == "20000116-120000-old"
    assert left[-1] == new.name


def test_a_run_of_today_is_kept(runs: Path) -> None:
    """`make lab` makes more folders than are kept, and its first scenario may still go on."""
    first = cache.new_run_folder("faults")
    for _ in range(2 * cache.RUNS_KEPT):
        cache.new_run_folder("stock")
    assert first.is_dir()


def test_a_run_that_passed_keeps_its_logs(runs: Path) -> None:
    folder = cache.new_run_folder("places")
    (folder / "dom0").mkdir()
    for name in ("thin.raw", "cloud-image.qcow2", "dom0/disk.qcow2", "dom0/serial.log", "report.txt"):
        (folder / name).write_text("")
    cache.drop_disks(folder)
    assert {path.name for path in folder.rglob("*")} == {"dom0", "serial.log", "report.txt"}


def test_folders_of_others_are_left_alone(runs: Path) -> None:
    for name in ("thesis", "a-b-c", "2000-01-01"):
        (runs / name).mkdir(parents=True)
    for _ in range(12):
        cache.new_run_folder("stock")
    assert {"thesis", "a-b-c", "2000-01-01"} <= {path.name for path in runs.iterdir()}


def test_two_runs_in_one_second_do_not_share_a_folder(runs: Path) -> None:
    assert len({cache.new_run_folder("stock") for _ in range(3)}) == 3
