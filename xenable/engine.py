# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply, resume and revert over the journal. It knows no topic: only steps and their verbs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from xenable import journal
from xenable.errors import Exit, XenableError
from xenable.host import Host
from xenable.journal import Record, Terms
from xenable.model import EntryState, Obstacle, Progress
from xenable.steps import from_record
from xenable.steps.base import Step

NO_TERMS = Terms()


class Direction(StrEnum):
    DO = "do"
    UNDO = "undo"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What the engine tells the user interface: a step begins, goes on, or ends."""

    direction: Direction
    title: str
    number: int
    """From 1."""
    total: int
    fraction: float
    """0 at the beginning of the step, 1 at its end."""
    text: str = ""


Listener = Callable[[Event], None]


def quiet(event: Event) -> None:
    """A listener for those who do not look."""


def plan_into_journal(host: Host, steps: Sequence[Step], terms: Terms = NO_TERMS) -> tuple[Record, ...]:
    """Write a whole plan down before its first act. Errors: XenableError when one is under way."""
    if journal.read_journal(host):
        raise XenableError(
            "cannot apply: another run has begun to convert this machine meanwhile",
            hint="`xenable status` says how far it is",
        )
    records = tuple(
        Record(number=n, kind=step.kind, fields=step.fields(), state=EntryState.PLANNED)
        for n, step in enumerate(steps, 1)
    )
    journal.write_plan(host, records, terms)
    return records


def apply(host: Host, records: Sequence[Record], listener: Listener = quiet) -> None:
    """Do what the journal says is not done yet, in order. Errors: XenableError; the journal tells where."""
    journal.repair_tail(host)
    for number, record in enumerate(records, 1):
        step = from_record(record)
        if record.state is EntryState.DONE and step.is_done(host):
            continue
        tell = _progress(listener, Direction.DO, step.title(), number, len(records))
        tell(0.0, "")
        if record.state in (EntryState.PLANNED, EntryState.UNDONE):
            # What was saved before the first attempt stays: a second look would see our own half-done work.
            record = journal.write_state(host, record, EntryState.DOING, step.save(host))
        step.do(host, record.saved, tell)
        journal.write_state(host, record, EntryState.DONE)
        tell(1.0, "")


def repeat(host: Host, steps: Sequence[Step], listener: Listener = quiet) -> None:
    """Do steps again whose first time is in the journal and whose undo needs nothing saved.

    Errors: XenableError.
    """
    for n, step in enumerate(steps, 1):
        tell = _progress(listener, Direction.DO, step.title(), n, len(steps))
        tell(0.0, "")
        if not step.is_done(host):
            step.do(host, {}, tell)
        tell(1.0, "")


def obstacles(host: Host, records: Sequence[Record]) -> tuple[Obstacle, ...]:
    """All foreign edits that a revert would destroy."""
    found: list[Obstacle] = []
    for record in reversed(records):
        if record.perhaps_done:
            found.extend(from_record(record).obstacles(host, record.saved))
    return tuple(found)


def revert(host: Host, records: Sequence[Record], listener: Listener = quiet) -> None:
    """Undo everything that was perhaps done, last first.

    It stops at the first step that fails: the order is what keeps the next boot safe (the boot menu is taken
    off Xen before anything that Xen needs goes away), so nothing may overtake a failure.
    Errors: XenableError with status NOT_PUT_BACK.
    """
    journal.repair_tail(host)
    for record in reversed(records):
        if not record.perhaps_done:
            continue
        step = from_record(record)
        title = step.title()
        tell = _progress(listener, Direction.UNDO, title, record.number, len(records))
        tell(0.0, "")
        try:
            record = journal.write_state(host, record, EntryState.UNDOING)
            step.undo(host, record.saved, tell)
            journal.write_state(host, record, EntryState.UNDONE)
        except Exception as e:
            raise not_put_back(f"cannot undo everything: {title}: ", e) from e
        tell(1.0, "")


def not_put_back(beginning: str, e: Exception) -> XenableError:
    """What is said when a revert stops in the middle, for whatever reason."""
    if isinstance(e, XenableError):
        reason, hint = e.message, e.hint
    else:
        reason = f"internal error: {type(e).__name__}: {e}"
        hint = "attach what `xenable report` writes to a bug report"
    again = "then run `xenable revert` again: it goes on from here"
    return XenableError(
        beginning + reason, hint="; ".join(filter(None, (hint, again))), status=Exit.NOT_PUT_BACK
    )


def remains(host: Host, records: Sequence[Record]) -> tuple[str, ...]:
    """What a revert left other than it was, a sentence each."""
    undone = (record for record in records if record.state is EntryState.UNDONE)
    return tuple(text for record in undone for text in from_record(record).remains(host, record.saved))


def _progress(listener: Listener, direction: Direction, title: str, number: int, total: int) -> Progress:
    def tell(fraction: float, text: str) -> None:
        listener(
            Event(direction=direction, title=title, number=number, total=total, fraction=fraction, text=text)
        )

    return tell
