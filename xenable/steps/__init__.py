# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of step. To add one: write it in a file here, and add its class to KINDS.

The contract suite in tests/contract runs over all of KINDS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from xenable.errors import XenableError
from xenable.steps.base import Step
from xenable.steps.files import RestoreMode, WriteFile

if TYPE_CHECKING:
    from xenable.journal import Record

KINDS: tuple[type[Step], ...] = (
    WriteFile,
    RestoreMode,
)


def from_record(record: Record) -> Step:
    """The step that a journal record tells of. Errors: XenableError for a kind that this version lacks."""
    import dacite

    for kind in KINDS:
        if kind.kind == record.kind:
            try:
                return cast(Step, dacite.from_dict(cast(Any, kind), record.fields, dacite.Config(cast=[tuple])))
            except dacite.DaciteError as e:
                raise XenableError(f"cannot understand a {record.kind!r} step of the journal: {e}") from e
    raise XenableError(
        f"cannot understand a {record.kind!r} step of the journal",
        hint="a later xenable wrote it: install that version again, and use it",
    )
