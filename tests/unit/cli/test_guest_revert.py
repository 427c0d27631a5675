# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable revert` where there are guests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fixtures import person, said, words_to_create
from tests.unit.guests.machine import Xen
from xenable import convert, trial
from xenable.__main__ import run
from xenable.errors import Exit, XenableError
from xenable.guests import lifecycle, records, xl
from xenable.host import Host, Result
from xenable.model import Obstacle, Status
from xenable.trial import TrialStatus

STATES = {1: "-b----", 2: "--p---", 3: "---s--", 4: "---sc-", 5: "--p--d"}
"""Of domains, as `xl list` writes them; the first two run or may."""


@pytest.fixture
def converted(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A conversion; returns what was done to it."""
    done: list[str] = []

    def revert(host: Host, listener: Any, *, force: bool, first: Callable[[], None]) -> tuple[str, ...]:
        first()
        done.append(f"revert with {len(records.names(host))} guests")
        return ()

    now = TrialStatus(state=Status.NATIVE, reason="none", running="native", next_boot="native", versions={})
    monkeypatch.setattr(convert, "begun", lambda host: True)
    monkeypatch.setattr(convert, "obstacles", lambda host: ())
    monkeypatch.setattr(convert, "revert", revert)
    monkeypatch.setattr(trial, "status", lambda host: now)
    return done


def test_revert_refuses_while_there_are_guests(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["revert", "--yes", "--force"]) == Exit.FAILED
    text = said(capsys)
    assert "there are guests on this machine: web1" in text and "--remove-guests" in text
    assert converted == [] and records.names(xen.host) == ("web1",)


@pytest.mark.parametrize("words", [[], ["--force"], ["--remove-guests"]])
def test_revert_refuses_while_domains_of_others_run(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """The toolstack would be removed under them; --remove-guests is about what Xenable made alone."""
    assert run(words_to_create(tmp_path)) == Exit.DONE
    xen.running |= {"by-xl": "1" * 36, "tools-1": "2" * 36}
    before = dict(xen.running)
    capsys.readouterr()
    assert run(["revert", "--yes", *words]) == Exit.FAILED
    text = said(capsys)
    assert "cannot revert: domains run that Xenable did not make: by-xl, tools-1" in text
    assert "`sudo xl shutdown NAME`" in text
    assert ("there are guests on this machine: web1" in text) is ("--remove-guests" not in words)
    assert converted == [] and xen.running == before and records.names(xen.host) == ("web1",)


def test_a_renamed_guest_is_nobody_elses(xen: Xen, tmp_path: Path, converted: list[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    xen.running["other"] = xen.running.pop("web1")
    assert lifecycle.others_running(xen.host) == ()
    # Without its record only the name tells.
    xen.host.write(records.record("web1"), b"damaged")
    assert lifecycle.others_running(xen.host) == ("other",)
    xen.running["web1"] = xen.running.pop("other")
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.DONE
    assert converted == ["revert with 0 guests"] and xen.running == {}


def test_what_does_not_run_any_more_stops_no_revert(
    xen: Xen, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "{:40} {:5} {:5} {:5}     {} {:8.1f} {} {:>8} {:>16}"
    rows = [row.format(f"d{n}", n, 1, 1, state, 0.1, str(n) * 36, "-", "-") for n, state in STATES.items()]
    xen.answers["xl list -v"] = Result(0, "\n".join(rows), "")
    assert lifecycle.others_running(xen.host) == ("d1", "d2")
    del rows[:2]
    xen.answers["xl list -v"] = Result(0, "\n".join(rows), "")
    assert run(["revert", "--yes"]) == Exit.DONE


def test_a_revert_that_is_gone_on_with_needs_no_xl(
    xen: Xen, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package may be gone by then, and Xen runs until the reboot."""
    xen.answers["xl"] = Result(127, "", "xl: not found")
    monkeypatch.setattr(trial, "reverted", lambda host: True)
    assert run(["revert", "--yes"]) == Exit.DONE
    assert converted == ["revert with 0 guests"]


def test_a_revert_beside_a_mute_xl_takes_force(
    xen: Xen, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Domains may run that nobody sees, as when a new release has taken the tools of the Xen that runs."""
    xen.answers["xl"] = Result(127, "", "xl: not found")
    assert run(["revert", "--yes"]) == Exit.FAILED and converted == []
    words = said(capsys)
    assert "cannot tell which domains run" in words and "--force" in words
    assert run(["revert", "--yes", "--force"]) == Exit.DONE
    assert converted == ["revert with 0 guests"]


def test_revert_removes_guests_first(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.DONE
    assert "[1/1] remove guests and images" in said(capsys)
    assert converted == ["revert with 0 guests"] and xen.running == {}
    assert not xen.host.exists("/var/lib/xenable/images")


def test_revert_says_that_images_stay(
    xen: Xen, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["revert", "--yes"]) == Exit.DONE
    assert "stay in /var/lib/xenable/images; --remove-guests removes them too" in said(capsys)
    assert converted == ["revert with 0 guests"]


def test_revert_asks_for_both_at_once(
    xen: Xen,
    tmp_path: Path,
    converted: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    person(monkeypatch, "n\n")
    assert run(["revert", "--remove-guests"]) == Exit.FAILED
    assert "Remove web1 with all that is on their disks, and turn this machine back" in said(capsys)
    assert converted == [] and records.names(xen.host) == ("web1",)


def test_guests_stay_when_a_revert_is_refused(
    xen: Xen,
    tmp_path: Path,
    converted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    monkeypatch.setattr(convert, "obstacles", lambda host: (Obstacle(what="/etc/a was edited"),))
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.FAILED
    assert converted == [] and records.names(xen.host) == ("web1",)


def test_guests_that_can_not_be_removed_stop_a_revert(
    xen: Xen, tmp_path: Path, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE

    def fail(*_: Any, **__: Any) -> None:
        raise XenableError("cannot remove web1")

    monkeypatch.setattr(xl, "destroy", fail)
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.FAILED
    assert converted == []
