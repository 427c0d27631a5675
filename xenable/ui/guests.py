# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests for people, a table of 80 columns, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from xenable.guests.listing import NO_XEN, Row
from xenable.guests.model import Guest, as_dict
from xenable.model import SCHEMA
from xenable.ui.document import Document
from xenable.ui.layout import Line, Span, clean, line, paragraph

STYLES: Mapping[str, str] = {"running": "green", "crashed": "bold red", "dying": "red", "paused": "yellow"}

COLUMNS: tuple[tuple[str, int, bool], ...] = (
    ("Name", 12, False),
    ("State", 9, False),
    ("Type", 4, False),
    ("Memory", 6, True),
    ("CPUs", 4, True),
    ("Time", 4, True),
    ("Up", 4, True),
    ("Disk", 10, True),
    ("Address", 15, False),
)
"""Heading, width, whether it is right-aligned. With a blank between them: 76 columns."""

_UNITS = ("", "K", "M", "G", "T")


def render_guests(rows: Sequence[Row], width: int) -> list[Line]:
    """One row a guest. A long name has a line of its own; so have dropped frames and what can't be read."""
    if not rows:
        return [line("There are no guests. `xenable guest create` makes one.")]
    found: list[Line] = [line(Span(_columns([heading for heading, _, _ in COLUMNS]), "bold"))]
    for row in rows:
        found += _row(row, width)
    if any(row.state == NO_XEN for row in rows):
        found += paragraph("No guest can run now: this machine does not run under Xen.", width)
    return found


def _row(row: Row, width: int) -> list[Line]:
    name = clean(row.name)
    disk = short_size(row.disk_bytes)
    if row.disk_used is not None:
        disk = f"{short_size(row.disk_used)}/{disk}"
    cells = [
        name,
        row.state,
        row.kind,
        short_size(row.memory << 20) if row.memory is not None else "",
        str(row.vcpus) if row.vcpus is not None else "",
        short_time(row.cpu_seconds),
        short_time(row.uptime),
        disk,
        clean(row.addresses[0]) if row.addresses else "",
    ]
    found: list[Line] = []
    name_width = COLUMNS[0][1]
    if len(name) > name_width:
        found.append(line(name))
        cells[0] = ""
    text = _columns(cells)
    state_end = name_width + 1 + COLUMNS[1][1]
    style = STYLES.get(row.state, "")
    head, state, rest = text[: name_width + 1], text[name_width + 1 : state_end], text[state_end:]
    found.append(line(head, Span(state, style), rest))
    if row.spoofed:
        frames = "1 frame" if row.spoofed == 1 else f"{row.spoofed} frames"
        found += paragraph(
            f"{frames} with the address of another sender dropped", width, first="  ", style="yellow"
        )
    if row.problem:
        found += paragraph(row.problem, width, first="  ", rest="  ", style="red")
    return found


def _columns(cells: Sequence[str]) -> str:
    parts = [
        cell.rjust(size) if right else cell.ljust(size)
        for cell, (_, size, right) in zip(cells, COLUMNS, strict=True)
    ]
    return " ".join(parts).rstrip()


def short_size(size: int | None) -> str:
    """Bytes in four characters and a unit at most: 512M, 1.2G; empty for None."""
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    whole = value >= 9.95 or abs(value - round(value)) < 0.05
    return f"{value:.0f}{_UNITS[unit]}" if whole else f"{value:.1f}{_UNITS[unit]}"


def short_time(seconds: float | None) -> str:
    """Seconds in four characters: 42s, 42m, 42h, 42d; empty for None."""
    if seconds is None:
        return ""
    for size, unit in ((1, "s"), (60, "m"), (3600, "h")):
        if seconds < 100 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86400)}d"


def guests_document(rows: Sequence[Row]) -> Document:
    return {
        "schema": SCHEMA,
        "guests": [{**dataclasses.asdict(row), "addresses": list(row.addresses)} for row in rows],
    }


def guest_document(result: str, guest: Guest, **more: Any) -> Document:
    """What became of a guest that Xenable made, and all that its record has."""
    return {"schema": SCHEMA, "result": result, "guest": as_dict(guest), **more}


def name_document(result: str, name: str, **more: Any) -> Document:
    """What became of a guest, by whomever it was made."""
    return {"schema": SCHEMA, "result": result, "name": name, **more}


def next_steps(guest: Guest, *, running: bool) -> str:
    """What a person does with a new guest, in one sentence."""
    if not running:
        return f"`sudo xenable guest start {guest.name}` starts it"
    if guest.bridge:
        return (
            f"its address comes by DHCP from {guest.bridge}: `sudo xenable guest console {guest.name}` "
            "shows it start"
        )
    return f"it starts now: in a few seconds `ssh root@{guest.name}` gets you in"
