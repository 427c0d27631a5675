# SPDX-License-Identifier: GPL-2.0-or-later
"""Base images for people, a table of 80 columns, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xenable.guests.listing import ImageRow
from xenable.model import SCHEMA
from xenable.ui.document import Document
from xenable.ui.guests import short_size
from xenable.ui.layout import Line, Span, clean, line, paragraph

NAME, DISK, MADE = 23, 10, 10
"""Widths of the columns before the last; names of imported images have 22 characters."""


def render_images(rows: Sequence[ImageRow], width: int) -> list[Line]:
    """One row an image, and the guests on it below each other where they are many."""
    if not rows:
        return [line("There are no images. The first guest of a release makes one.")]
    found: list[Line] = [line(Span(_head("Name", "Disk", "Made") + "Used by", "bold"))]
    for row in rows:
        disk = short_size(row.bytes)
        if row.used is not None:
            disk = f"{short_size(row.used)}/{disk}"
        users = "unknown" if row.guests is None else " ".join(row.guests) or "-"
        head = _head(clean(row.name), disk, clean(row.created[:10]))
        found += paragraph(users, width, first=head, rest=" " * len(head))
        if row.release and not row.name.startswith(row.release):
            found += paragraph(f"of {row.release}", width, first="  ", rest="  ")
    return found


def _head(name: str, disk: str, made: str) -> str:
    return f"{name.ljust(NAME)} {disk.rjust(DISK)} {made.ljust(MADE)} "


def images_document(rows: Sequence[ImageRow]) -> Document:
    return {
        "schema": SCHEMA,
        "images": [
            {**dataclasses.asdict(row), "guests": None if row.guests is None else list(row.guests)}
            for row in rows
        ],
    }
