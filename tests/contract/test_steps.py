# SPDX-License-Identifier: GPL-2.0-or-later
"""What every kind of step promises, on real files with the real tools."""

from __future__ import annotations

import json

import pytest

from xenable import journal
from xenable.errors import XenableError
from xenable.host import STATE, Host
from xenable.model import EntryState
from xenable.steps import KINDS, from_record
from xenable.steps.base import Saved, Step

from .kinds import EXAMPLES, MISSING, Example
from .progress import tell
from .sandbox import command, inside, needs_sandbox
from .trees import Tree, contents, difference, tree

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
examples = pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])


def saved_by(step: Step) -> Saved:
    """What save returns, as it comes back from the journal."""
    HOST.make_folder(STATE)
    back: Saved = json.loads(json.dumps(dict(step.save(HOST))))
    return back


def packages() -> set[str]:
    return set(command("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n'").splitlines())


def test_every_kind_has_an_example() -> None:
    assert not MISSING
    assert len({kind.kind for kind in KINDS}) == len(KINDS)


@examples
def test_fields_come_back_from_the_journal(example: Example) -> None:
    step = example.step
    fields = json.loads(json.dumps(step.fields()))
    record = journal.Record(number=1, kind=step.kind, fields=fields, state=EntryState.DONE)
    assert from_record(record) == step
    with pytest.raises(XenableError, match="cannot understand"):
        from_record(journal.Record(number=1, kind=step.kind, fields={"no": 1}, state=EntryState.DONE))


@examples
def test_preview_and_save_change_nothing(example: Example) -> None:
    def work() -> None:
        example.prepare()
        before = tree()
        preview = example.step.preview(HOST)
        assert preview.title == example.step.title() and "\n" not in preview.title
        assert len(preview.title) < 100
        assert preview.detail.endswith("\n")
        saved_by(example.step)
        assert difference(before, tree()) == []

    inside(work)


@examples
def test_do_undo_and_both_twice(example: Example) -> None:
    def work() -> None:
        example.prepare()
        before, had = tree(), packages()
        saved = saved_by(example.step)

        example.step.do(HOST, saved, tell)
        assert example.step.is_done(HOST)
        assert example.step.obstacles(HOST, saved) == ()
        done = tree()
        example.step.do(HOST, saved, tell)
        assert difference(done, tree()) == []
        example.step.preview(HOST)

        example.step.undo(HOST, saved, tell)
        after_undo(example, before)
        assert packages() == had
        again = tree()
        example.step.undo(HOST, saved, tell)
        assert difference(again, tree()) == []
        assert example.step.obstacles(HOST, saved) == ()

        # And all of it once more: what undo left is as good as new.
        saved = saved_by(example.step)
        example.step.do(HOST, saved, tell)
        assert difference(contents(done), contents(tree())) == []

    inside(work)


@examples
def test_undo_of_a_step_that_never_began(example: Example) -> None:
    def work() -> None:
        example.prepare()
        before, had = tree(), packages()
        saved = saved_by(example.step)
        assert example.step.obstacles(HOST, saved) == ()
        example.step.undo(HOST, saved, tell)
        assert difference(before, tree()) == []
        assert packages() == had

    inside(work)


half_done = pytest.mark.parametrize(
    ("example", "number"),
    [
        pytest.param(example, number, id=f"{example.name} {number}")
        for example in EXAMPLES
        for number in range(len(example.begin))
    ],
)


@half_done
def test_undo_of_a_half_done_step(example: Example, number: int) -> None:
    def work() -> None:
        example.prepare()
        before, had = tree(), packages()
        saved = saved_by(example.step)
        example.begin[number]()
        example.step.undo(HOST, saved, tell)
        assert difference(before, tree()) == []
        assert packages() == had

    inside(work)


@half_done
def test_do_after_a_half_done_step(example: Example, number: int) -> None:
    def work() -> None:
        example.prepare()
        before = tree()
        saved = saved_by(example.step)
        example.begin[number]()
        example.step.do(HOST, saved, tell)
        assert example.step.is_done(HOST)
        example.step.undo(HOST, saved, tell)
        assert difference(before, tree()) == []

    inside(work)


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if example.foreign], ids=lambda example: example.name
)
def test_a_foreign_edit_is_an_obstacle(example: Example) -> None:
    def work() -> None:
        example.prepare()
        saved = saved_by(example.step)
        example.step.do(HOST, saved, tell)
        assert example.foreign is not None
        example.foreign()
        before = tree()
        (obstacle,) = example.step.obstacles(HOST, saved)
        assert obstacle.what and obstacle.what[-1].isalnum()
        if example.step.kind not in ("install-packages", "leftovers"):
            assert obstacle.diff.endswith("\n")
        assert difference(before, tree()) == []

    inside(work)


def after_undo(example: Example, before: Tree) -> None:
    """The tree is as it was, but for what a whole revert settles later."""
    now = tree()
    if example.settles:
        assert now.keys() == before.keys()
    assert difference(without(before, example.settles), without(now, example.settles)) == []


def without(found: Tree, name: str) -> Tree:
    return {key: value for key, value in found.items() if key != name}
