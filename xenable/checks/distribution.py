# SPDX-License-Identifier: GPL-2.0-or-later
"""Is this a system whose packages and boot menu Xenable knows?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule
from xenable.config import Config
from xenable.machine import Facts
from xenable.model import Finding, Severity

UNSUPPORTED = Rule(
    id="distribution/unsupported",
    severity=Severity.BLOCKER,
    title="This distribution is not supported",
    why="Supported are Debian 12 and 13, and Ubuntu 24.04 and later. "
    "A relative of theirs can name packages and boot entries in another way, so it counts as "
    "another system.",
    remedy="Convert a machine with Debian 12 or 13, or Ubuntu 24.04 or later.",
)
UNRELEASED = Rule(
    id="distribution/unreleased",
    severity=Severity.OVERRIDABLE,
    title="This release of Debian is not tested",
    why="Xenable is tested on Debian 12 and 13; testing and sid change from day to day.",
    remedy="Use Debian 12 or 13, or try it on a machine that you can reach by hand.",
)
NOT_BOOT_TESTED = Rule(
    id="distribution/not-boot-tested",
    severity=Severity.NOTE,
    title="The trial boot was never tested on this distribution",
    why="Its differences from Debian are known and handled, but only Debian is converted and "
    "booted by the tests.",
    remedy="Nothing to do: the trial boot falls back to this system if Xen does not come up.",
)

RULES = (UNSUPPORTED, UNRELEASED, NOT_BOOT_TESTED)

OLDEST = {"debian": (12, 0), "ubuntu": (24, 4)}
NEWEST_DEBIAN = 13


def check_distribution(facts: Facts, config: Config) -> Iterator[Finding]:
    d = facts.distribution
    seen = f"This is {d.name or d.id or 'an unknown system'}."
    if d.id not in OLDEST:
        relative = f" It says that it is like {', '.join(d.like)}." if d.like else ""
        yield UNSUPPORTED.found(seen + relative)
        return
    version = _version(d.version_id)
    if d.id == "debian" and (version is None or version[0] > NEWEST_DEBIAN):
        # Testing and sid have no VERSION_ID.
        yield UNRELEASED.found(seen)
    elif version is None or version < OLDEST[d.id]:
        yield UNSUPPORTED.found(seen)
    elif d.id == "ubuntu":
        yield NOT_BOOT_TESTED.found(seen)


def _version(text: str) -> tuple[int, int] | None:
    """24.04 is (24, 4); None where it is no version."""
    major, _, minor = text.partition(".")
    if not (text.isascii() and major.isdigit() and (minor or "0").isdigit()):
        return None
    return int(major), int(minor or "0")
