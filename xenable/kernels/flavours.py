# SPDX-License-Identifier: GPL-2.0-or-later
"""The flavours: how a kernel is configured, and what for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from xenable.datafiles import data_file
from xenable.errors import XenableError

GIB = 1 << 30


class Base(StrEnum):
    """What the fragments are merged over."""

    NOTHING = "nothing"
    """allnoconfig: an option that nobody names is off."""
    DISTRIBUTION = "distribution"
    """The configuration of the distribution's generic kernel of that series."""


@dataclass(frozen=True, kw_only=True)
class Flavour:
    name: str
    about: str
    """For the description of its packages: lines of at most 79 characters, each with a blank before."""
    base: Base
    fragments: Mapping[str, str]
    """Name of the file to its text, in the order in which they are merged."""
    room: int
    """Bytes that a build needs in the folder it works in."""


_TABLE: tuple[tuple[str, Base, int, str], ...] = (
    (
        "lean",
        Base.NOTHING,
        4 * GIB,
        " This flavour is for servers and virtual machines: it has what a dom0 and its\n"
        " guests need, and drivers of common network cards and disks only.",
    ),
    (
        "generic",
        Base.DISTRIBUTION,
        14 * GIB,
        " This flavour has all drivers of the distribution's own generic kernel.",
    ),
)
NAMES = tuple(name for name, _, _, _ in _TABLE)


def flavour(name: str) -> Flavour:
    """Errors: XenableError for one that is not in the table, or whose files the installation lacks."""
    for known, base, room, about in _TABLE:
        if known == name:
            files = (f"{name}.config", "xen.config")
            texts = {file: data_file(f"kernel/config/{file}").read_text(encoding="utf-8") for file in files}
            return Flavour(name=name, about=about, base=base, fragments=texts, room=room)
    raise XenableError(f"cannot use the flavour {name!r}", hint=f"the flavours are {' and '.join(NAMES)}")
