# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check is made of: rules, each declared once, and findings made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from xenable.config import Config
from xenable.machine import Facts
from xenable.model import Finding, Severity

Check = Callable[[Facts, Config], Iterable[Finding]]
"""Pure: it sees facts and settings and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A finding that may be made. One id, one severity: what can be overridden is known beforehand."""

    id: str
    severity: Severity
    title: str
    why: str
    """What follows from it: whole sentences."""
    remedy: str
    """What to do where a check knows nothing more exact."""

    def found(self, observed: str, remedy: str = "") -> Finding:
        """The finding. observed: what was seen on this machine, whole sentences with the values."""
        return Finding(
            id=self.id,
            severity=self.severity,
            title=self.title,
            diagnosis=f"{observed} {self.why}".strip(),
            remedy=remedy or self.remedy,
        )


def words(items: Sequence[str], most: int = 6) -> str:
    """a, b and c; what is over `most` is counted, not named."""
    named = list(items[:most])
    if len(items) > most:
        named.append(f"{len(items) - most} more")
    if len(named) < 2:
        return "".join(named)
    return ", ".join(named[:-1]) + " and " + named[-1]


def are(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"
