# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a conversion: what a check finds, what a step shows, where it stands. Read this first.

    machine --probe--> Facts --check--> [Finding] --plan--> Plan([Step]) --apply--> Journal

Facts are in machine.py, steps in steps/base.py. Everything here is frozen data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SCHEMA = 1
"""Version of every JSON document that a command prints."""


class Severity(StrEnum):
    BLOCKER = "blocker"
    OVERRIDABLE = "overridable"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a check has to say. The id is `subject/topic` and never changes its meaning."""

    id: str
    severity: Severity
    title: str
    diagnosis: str
    remedy: str


Progress = Callable[[float, str], None]
"""Called by a step while it works: how much is done (0 to 1) and what it does now."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a person sees of a step before it is done."""

    title: str
    detail: str = ""
    """A diff, a list of packages, …; more than one line is fine."""


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Something that undo would destroy: a file edited since, a package that others came to need."""

    what: str
    diff: str = ""
    final: bool = False
    """Not even --force gets past it: undo could not work."""


class EntryState(StrEnum):
    """Where a step stands. `doing` and `undoing` mean "perhaps done"."""

    PLANNED = "planned"
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class Status(StrEnum):
    """The five words of `xenable status`."""

    NATIVE = "native"
    ARMED = "armed"
    TRYING = "trying"
    CONFIRMED = "confirmed"
    FELL_BACK = "fell-back"
