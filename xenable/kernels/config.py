# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of a kernel: fragments, and the proof that the kernel has what they ask for. Pure.

A line of a fragment may end in `# since 6.9` or `# until 6.8`: options get other names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xenable.kernels.table import Series, parse_series

OFF = "n"
"""Value of an option that is not set, or that the kernel does not know (yet, or any more)."""

_SET = re.compile(r"(CONFIG_[A-Za-z0-9_]+)=(\S.*|)")
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set")
_RANGE = re.compile(r"(?P<option>.*\S)\s+# (?P<word>since|until) (?P<series>\S+)")


@dataclass(frozen=True, kw_only=True)
class Unmet:
    """An option that came out another way than it was asked for."""

    option: str
    asked: str
    got: str
    known: bool
    """Whether the kernel's configuration names it at all."""

    def __str__(self) -> str:
        return f"{self.option}={self.asked} ({f'is {self.got}' if self.known else 'is not there'})"


def parse_options(text: str) -> dict[str, str]:
    """Options of a .config or a fragment to values: y, m, n, a number, a quoted text. The last wins."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            found[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            found[match[1]] = OFF
    return found


def for_series(fragment: str, series: Series) -> str:
    """A fragment as that kernel series has to see it. Errors: ValueError for a line that is no option."""
    lines = []
    for number, raw in enumerate(fragment.splitlines(), 1):
        line = raw.strip()
        if match := _RANGE.fullmatch(line):
            bound = parse_series(match["series"])
            if series < bound if match["word"] == "since" else series > bound:
                continue
            line = match["option"]
        comment = line.startswith("#") and not _UNSET.fullmatch(line) and "CONFIG_" not in line
        if line and not comment and not (_SET.fullmatch(line) or _UNSET.fullmatch(line)):
            raise ValueError(f"line {number}, {line!r}, is neither an option nor a comment")
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def merge(fragments: Mapping[str, str]) -> dict[str, str]:
    """What fragments, by name, ask for together. Errors: ValueError where two contradict each other."""
    asked: dict[str, str] = {}
    by: dict[str, str] = {}
    for name, text in fragments.items():
        for option, value in parse_options(text).items():
            if asked.get(option, value) != value:
                raise ValueError(
                    f"{option} is {asked[option]} in {by[option]} and {value} in {name}: one has to go"
                )
            asked[option], by[option] = value, name
    return asked


def unmet(asked: Mapping[str, str], final: str) -> tuple[Unmet, ...]:
    """Options that a final .config has not as they were asked for, by name; empty proves it has them all."""
    got = parse_options(final)
    return tuple(
        Unmet(option=option, asked=value, got=got.get(option, OFF), known=option in got)
        for option, value in sorted(asked.items())
        if got.get(option, OFF) != value
    )


def with_default_mitigations(config: str) -> str:
    """A .config that leaves to the kernel what nobody chose of its mitigations of processors' faults.

    allnoconfig switches off also those that a point release brings, and their names begin so since 6.1.
    """
    return "".join(
        line + "\n"
        for line in config.splitlines()
        if not re.fullmatch(r"# CONFIG_MITIGATION_\w+ is not set", line)
    )


def naming(suffix: str) -> str:
    """Fragment that makes the kernel's release end in a suffix, -1-xen-lean, and in nothing else."""
    if not re.fullmatch(r"[a-z0-9.-]+", suffix):
        raise ValueError("small letters, digits, dots and hyphens are needed")
    return f'CONFIG_LOCALVERSION="{suffix}"\n# CONFIG_LOCALVERSION_AUTO is not set\n'
