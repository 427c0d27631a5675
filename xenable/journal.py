# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal: append-only JSON lines, each on disk before the act it announces.

The journal alone is enough to undo: a record carries the step's kind, its fields and all that `save`
returned. Big originals lie beside it in the store, named by their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xenable import __version__
from xenable.errors import XenableError
from xenable.host import STATE, Host
from xenable.model import EntryState

FORMAT = 1
BEGUN = "begun"
"""State of the first line, which is about no step."""

JOURNAL = STATE / "journal.jsonl"
STORE = STATE / "store"
HISTORY = STATE / "history"
"""Journals of conversions that were reverted."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one step: the sum of all lines about it."""

    number: int
    kind: str
    fields: Json
    state: EntryState
    saved: Json = field(default_factory=dict)

    @property
    def perhaps_done(self) -> bool:
        """Whether undo has something to look at."""
        return self.state in (EntryState.DOING, EntryState.DONE, EntryState.UNDOING)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a conversion began with: the findings that were overridden, and the settings, key to text."""

    overrides: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def read_journal(host: Host) -> tuple[Record, ...]:
    """All records in the order of their steps; empty when nothing was ever applied.

    A last line without its end was cut off by a power failure: its act never began, so it is left out.
    Errors: XenableError for any other damage, or a journal of a later version.
    """
    if not host.exists(JOURNAL):
        return ()
    records: dict[int, Record] = {}
    lines = host.read(JOURNAL).split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            entry = json.loads(line)
            if entry["format"] > FORMAT:
                raise XenableError(
                    f"cannot read {JOURNAL}: line {number} is of format {entry['format']}",
                    hint="a later xenable wrote it: install that version again, and use it",
                )
            _add(records, entry)
        except (ValueError, KeyError, TypeError) as e:
            raise XenableError(
                f"cannot read {JOURNAL}: line {number} is damaged ({e})",
                hint="`xenable report` collects what is needed to find out how that happened",
            ) from e
    return tuple(records[n] for n in sorted(records))


def read_terms(host: Host) -> Terms:
    """The terms on record; none where there is no journal, or it does not say."""
    if not host.exists(JOURNAL):
        return Terms()
    first: Json = json.loads(host.read(JOURNAL).split(b"\n", 1)[0])
    return Terms(overrides=first.get("overrides", ()), settings=first.get("settings", {}))


def _add(records: dict[int, Record], entry: Json) -> None:
    if entry["state"] == BEGUN:
        return
    state = EntryState(entry["state"])
    n = entry["n"]
    if state is EntryState.PLANNED:
        records[n] = Record(number=n, kind=entry["kind"], fields=entry["step"], state=state)
        return
    records[n] = replace(records[n], state=state, saved=entry.get("saved", records[n].saved))


def revert_begun(records: Sequence[Record]) -> bool:
    """Whether a revert is at work, or was cut off, or is over and only to be put away."""
    return any(record.state in (EntryState.UNDOING, EntryState.UNDONE) for record in records)


def write_plan(host: Host, records: Sequence[Record], terms: Terms) -> None:
    """Begin a journal: all of a plan or nothing of it, so that half a plan is never taken for the whole.

    Its first line says which Xenable began it, and on what terms.
    """
    host.make_folder(STATE)
    begun = {"format": FORMAT, "time": round(time.time(), 3), "state": BEGUN, "version": __version__}
    first = _json(begun | {"overrides": sorted(terms.overrides), "settings": dict(terms.settings)})
    host.write(JOURNAL, first + b"".join(_line(record, EntryState.PLANNED) for record in records))


def write_state(
    host: Host,
    record: Record,
    state: EntryState,
    saved: Mapping[str, Any] | None = None,
) -> Record:
    """Append one line, wait until it is on disk, and return the record as it is now."""
    host.append(JOURNAL, _line(record, state, saved))
    return replace(record, state=state, saved=dict(saved) if saved is not None else record.saved)


def _line(record: Record, state: EntryState, saved: Mapping[str, Any] | None = None) -> bytes:
    entry: Json = {"format": FORMAT, "time": round(time.time(), 3), "n": record.number, "state": state.value}
    if state is EntryState.PLANNED:
        entry |= {"kind": record.kind, "step": record.fields}
    if saved is not None:
        entry["saved"] = dict(saved)
    return _json(entry)


def _json(entry: Json) -> bytes:
    # In ASCII: the name of a file need not be UTF-8, and comes back from its escapes as it was.
    return json.dumps(entry, sort_keys=True).encode() + b"\n"


def repair_tail(host: Host) -> None:
    """Cut off what a power failure left of a last line, so that the next line starts on its own."""
    if not host.exists(JOURNAL):
        return
    data = host.read(JOURNAL)
    if data and not data.endswith(b"\n"):
        host.write(JOURNAL, data[: data.rfind(b"\n") + 1])


def put_away(host: Host) -> Path | None:
    """Empty the store, then move the journal of a finished conversion aside; returns where it went.

    The journal goes last: until then a second call finishes the job.
    """
    if not host.exists(JOURNAL):
        return None
    host.make_folder(HISTORY)
    target = HISTORY / time.strftime("journal-%Y%m%dT%H%M%SZ.jsonl", time.gmtime())
    for name in host.names(STORE):
        host.remove(STORE / name)
    host.remove(STORE)
    host.rename(JOURNAL, target)
    return target


def store_bytes(host: Host, data: bytes) -> str:
    """Keep bytes for undo; returns their SHA-256, by which load_bytes finds them."""
    digest = hashlib.sha256(data).hexdigest()
    host.make_folder(STORE, 0o700)
    if not host.exists(STORE / digest):
        host.write(STORE / digest, data, mode=0o600)
    return digest


def load_bytes(host: Host, digest: str) -> bytes:
    """The bytes kept under a digest. Errors: XenableError when they are damaged or gone."""
    data = host.read(STORE / digest)
    if hashlib.sha256(data).hexdigest() != digest:
        raise XenableError(f"cannot restore from {STORE / digest}: its content is damaged")
    return data
