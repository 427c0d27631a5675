# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of step. To add one: write it in a file here, and add its class to KINDS.

The contract suite in tests/contract runs over all of KINDS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xenable.errors import XenableError
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.fetch import FetchPackages
from xenable.steps.files import WriteFile
from xenable.steps.leftovers import Leftovers
from xenable.steps.loader import OwnLoader
from xenable.steps.menu import Menu, RefreshMenu
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages
from xenable.steps.slot import Arm, FillSlot
from xenable.steps.statoverride import StatOverride
from xenable.steps.units import EnableUnit

if TYPE_CHECKING:
    from xenable.journal import Record

KINDS: tuple[type[Step], ...] = (
    Menu,
    WriteFile,
    StatOverride,
    OwnLoader,
    BootEnvironment,
    Leftovers,
    FetchPackages,
    InstallPackages,
    SetOptions,
    RefreshMenu,
    EnableUnit,
    FillSlot,
    Arm,
)


def from_record(record: Record) -> Step:
    """The step that a journal record tells of. Errors: XenableError for a kind that this version lacks."""
    import dacite

    for kind in KINDS:
        if kind.kind == record.kind:
            try:
                return dacite.from_dict(kind, record.fields, dacite.Config(cast=[tuple], strict=True))
            except dacite.DaciteError as e:
                raise XenableError(f"cannot understand a {record.kind!r} step of the journal: {e}") from e
    raise XenableError(
        f"cannot understand a {record.kind!r} step of the journal",
        hint="a later xenable wrote it: install that version again, and use it",
    )
