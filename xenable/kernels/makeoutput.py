# SPDX-License-Identifier: GPL-2.0-or-later
"""What make says while it builds a kernel: how far it is, how long it takes, what went wrong. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPILED = re.compile(r"  (?:CC|AS)(?: \[M\])? +\S+\.o")
_ERROR = re.compile(
    r"(?!dpkg-|dh_|dh:)(?:(?:.*: )?(?:fatal )?error: .*|.*: undefined reference to .*|ERROR: .*)"
)
_DPKG = re.compile(r"(?:dpkg-\w+|dh_?\w*): error: .*")
_FAILED = re.compile(r"make(?:\[[0-9]+\])?: \*\*\* .*")

AT_LEAST = 30
"""Files, before a rate says anything."""


@dataclass
class Counter:
    """Counts the files that were compiled."""

    done: int
    """By earlier runs too."""
    expected: int
    before: int = -1

    def __post_init__(self) -> None:
        self.before = self.done

    def feed(self, line: str) -> bool:
        """Whether a line of make's output says that one more was compiled."""
        if not _COMPILED.match(line):
            return False
        self.done += 1
        return True

    @property
    def fraction(self) -> float:
        """From 0 to 1, and never 1 because of an estimate: there may be more than last time."""
        return min(self.done / max(self.expected, 1), 0.99)

    def text(self, seconds: float) -> str:
        """How far it is, and how long it may take; `seconds` are those since this run began."""
        text = f"compiling: {self.done} of about {max(self.expected, self.done)} files"
        new, left = self.done - self.before, self.expected - self.done
        if new < AT_LEAST or left <= 0 or seconds <= 0:
            return text
        minutes = left * seconds / new / 60
        return f"{text}, about {max(1, round(minutes))} min left"


def first_error(output: str) -> str:
    """The first line that says what is wrong; empty when none does. Later ones are mostly about this one."""
    lines = [line.strip() for line in output.splitlines()]
    for kind in (_ERROR, _FAILED, _DPKG):
        if found := next((line for line in lines if kind.fullmatch(line)), ""):
            return found[:300]
    return ""
