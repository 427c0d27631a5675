# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply, resume, revert: the order, and what happens when a step fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenable import engine, journal
from xenable.engine import Direction, Event
from xenable.errors import Exit, XenableError
from xenable.host import Host
from xenable.model import EntryState
from xenable.steps.files import WriteFile

STEPS = tuple(WriteFile(path=f"/etc/{name}", content=f"{name}\n") for name in ("one", "two", "three"))


def machine(root: Path) -> Host:
    (root / "etc").mkdir(parents=True)
    (root / "etc/two").write_text("theirs\n")
    return Host(root)


def states(host: Host) -> list[EntryState]:
    return [record.state for record in journal.read_journal(host)]


def test_apply_then_revert_tell_what_they_do(tmp_path: Path) -> None:
    host = machine(tmp_path)
    events: list[Event] = []
    engine.apply(host, engine.plan_into_journal(host, STEPS), events.append)
    assert states(host) == [EntryState.DONE] * 3
    assert [(e.number, e.fraction) for e in events] == [(n, f) for n in (1, 2, 3) for f in (0.0, 1.0)]
    assert events[0].title == "write /etc/one" and events[0].total == 3
    events.clear()
    engine.revert(host, journal.read_journal(host), events.append)
    assert states(host) == [EntryState.UNDONE] * 3
    assert [e.number for e in events] == [3, 3, 2, 2, 1, 1]
    assert {e.direction for e in events} == {Direction.UNDO}
    assert host.names("/etc") == ("two",) and host.text("/etc/two") == "theirs\n"


def test_a_plan_under_way_is_not_replaced(tmp_path: Path) -> None:
    host = machine(tmp_path)
    engine.plan_into_journal(host, STEPS)
    with pytest.raises(XenableError, match="another run has begun to convert"):
        engine.plan_into_journal(host, STEPS)
    assert len(journal.read_journal(host)) == 3


def test_apply_again_does_not_write_over_what_others_wrote_since(tmp_path: Path) -> None:
    host = machine(tmp_path)
    records = engine.plan_into_journal(host, STEPS)
    engine.apply(host, records[:2])
    host.write("/etc/one", b"one\nand mine\n")
    with pytest.raises(XenableError, match="cannot write /etc/one: /etc/one was changed since") as caught:
        engine.apply(host, journal.read_journal(host))
    assert "+and mine" in caught.value.hint and host.text("/etc/one") == "one\nand mine\n"
    # Its mode alone is nobody's text.
    host.write("/etc/one", b"one\n", mode=0o600)
    engine.apply(host, journal.read_journal(host))
    assert host.path("/etc/one").stat().st_mode & 0o777 == 0o644


def test_apply_again_repairs_what_was_broken_since(tmp_path: Path) -> None:
    host = machine(tmp_path)
    engine.apply(host, engine.plan_into_journal(host, STEPS))
    host.remove("/etc/one")
    length = len(host.read(journal.JOURNAL))
    events: list[Event] = []
    engine.apply(host, journal.read_journal(host), events.append)
    assert host.text("/etc/one") == "one\n" and {e.number for e in events} == {1}
    assert len(host.read(journal.JOURNAL)) > length
    engine.revert(host, journal.read_journal(host))
    assert host.names("/etc") == ("two",)


def test_a_step_that_fails_stops_apply_and_can_be_reverted(tmp_path: Path) -> None:
    host = machine(tmp_path)
    steps = (STEPS[0], STEPS[1], WriteFile(path="/etc/one/below-a-file", content=""))
    with pytest.raises(XenableError, match="cannot write"):
        engine.apply(host, engine.plan_into_journal(host, steps))
    assert states(host)[:2] == [EntryState.DONE] * 2
    engine.revert(host, journal.read_journal(host))
    assert host.names("/etc") == ("two",) and host.text("/etc/two") == "theirs\n"


def test_revert_stops_at_the_first_failure_and_goes_on_from_there(tmp_path: Path) -> None:
    host = machine(tmp_path)
    engine.apply(host, engine.plan_into_journal(host, STEPS))
    digest = host.names(journal.STORE)[0]
    kept = host.path(journal.STORE / digest)
    kept.rename(tmp_path / "aside")
    with pytest.raises(XenableError, match="cannot undo everything: write /etc/two") as caught:
        engine.revert(host, journal.read_journal(host))
    assert caught.value.status is Exit.NOT_PUT_BACK and "xenable revert" in caught.value.hint
    # The last one first, and nothing past the failure.
    assert states(host) == [EntryState.DONE, EntryState.UNDOING, EntryState.UNDONE]
    assert host.exists("/etc/one")
    (tmp_path / "aside").rename(kept)
    engine.revert(host, journal.read_journal(host))
    assert host.names("/etc") == ("two",)


def test_obstacles_are_named_before_anything_changes(tmp_path: Path) -> None:
    host = machine(tmp_path)
    engine.apply(host, engine.plan_into_journal(host, STEPS))
    assert engine.obstacles(host, journal.read_journal(host)) == ()
    host.path("/etc/three").write_text("three\nby hand\n")
    host.path("/etc/one").chmod(0o600)
    found = engine.obstacles(host, journal.read_journal(host))
    assert [o.what for o in found] == ["/etc/three was changed since", "/etc/one was changed since"]
    assert "+by hand" in found[0].diff and "mode 0644 → 0600" in found[1].diff


def test_apply_after_half_a_revert(tmp_path: Path) -> None:
    host = machine(tmp_path)
    engine.apply(host, engine.plan_into_journal(host, STEPS))
    engine.revert(host, journal.read_journal(host)[1:])
    assert states(host) == [EntryState.DONE, EntryState.UNDONE, EntryState.UNDONE]
    engine.apply(host, journal.read_journal(host))
    assert [host.text(step.path) for step in STEPS] == [step.content for step in STEPS]
    engine.revert(host, journal.read_journal(host))
    assert host.names("/etc") == ("two",) and host.text("/etc/two") == "theirs\n"
