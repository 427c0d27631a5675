# SPDX-License-Identifier: GPL-2.0-or-later
"""Was this machine converted before, by Xenable or by hand?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, words
from xenable.config import Config
from xenable.machine import Facts
from xenable.model import Finding, Severity

APPLIED = Rule(
    id="conversion/applied",
    severity=Severity.BLOCKER,
    title="This machine is converted already",
    why="There is nothing left to convert.",
    remedy="`xenable status` says how it stands; `xenable revert` leads back.",
)
HALF_APPLIED = Rule(
    id="conversion/half-applied",
    severity=Severity.BLOCKER,
    title="A conversion was begun and not finished",
    why="A new one can't begin before that.",
    remedy="Run `xenable apply` to finish it, or `xenable revert` to undo it.",
)
HALF_REVERTED = Rule(
    id="conversion/half-reverted",
    severity=Severity.BLOCKER,
    title="A revert was begun and not finished",
    why="A new conversion can't begin before that.",
    remedy="Run `xenable revert` again: it goes on from where it stopped.",
)
STATE_UNKNOWN = Rule(
    id="conversion/unknown",
    severity=Severity.BLOCKER,
    title="What Xenable did here before is not known",
    why="A new conversion could overwrite what is needed to undo an old one.",
    remedy="Run `xenable status`: it says why the journal can't be read.",
)
BY_HAND = Rule(
    id="conversion/xen-by-hand",
    severity=Severity.BLOCKER,
    title="A Xen that was installed by hand is here",
    why="Its tools would be used instead of the packages' tools, and the two do not fit together.",
    remedy="Remove it first: `make uninstall` in its source, then what is left of these files.",
)

RULES = (APPLIED, HALF_APPLIED, HALF_REVERTED, STATE_UNKNOWN, BY_HAND)

STATES = {"applied": APPLIED, "half-applied": HALF_APPLIED, "half-reverted": HALF_REVERTED}


def check_conversion(facts: Facts, config: Config) -> Iterator[Finding]:
    state = facts.conversion.state
    if state != "none":
        yield STATES.get(state, STATE_UNKNOWN).found(f"The journal's state is {state or 'unknown'}.")
    elif facts.conversion.legacy_xen:
        yield BY_HAND.found(f"Found: {words(facts.conversion.legacy_xen)}.")
