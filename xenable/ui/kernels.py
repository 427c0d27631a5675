# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels for people, a table of 80 columns, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xenable.kernels.listing import KernelRow
from xenable.kernels.records import Build
from xenable.machine import Answer
from xenable.model import SCHEMA
from xenable.ui.document import Document
from xenable.ui.layout import Line, Span, clean, line, paragraph

VERSION, USE = 32, 6

WORDS = {Answer.YES: "yes", Answer.NO: "-", Answer.UNKNOWN: "?"}


def render_kernels(rows: Sequence[KernelRow], width: int) -> list[Line]:
    """One row a kernel; `*` marks the one that runs. A version that is too long has a line of its own."""
    if not rows:
        return [line("There is no kernel in /boot.")]
    found = [line(Span(_head("  Kernel", ("dom0", "guest", "native")) + "Made by", "bold"))]
    for row in rows:
        name = f"{'*' if row.running else ' '} {clean(row.version)}"
        uses = tuple(WORDS[answer] for answer in (row.dom0, row.guest, row.native))
        if len(name) > VERSION:
            found.append(line(name))
            name = ""
        head = _head(name, uses)
        found += paragraph(_made_by(row), width, first=head, rest=" " * len(head))
    return found


def _made_by(row: KernelRow) -> str:
    if not row.image:
        return "only its modules are here"
    # The package's own name is mostly the version again, and in the JSON.
    return clean(row.maker or row.package) or "no package"


def _head(name: str, uses: tuple[str, ...]) -> str:
    return f"{name.ljust(VERSION)} " + "".join(f"{use.ljust(USE)} " for use in uses)


def kernels_document(rows: Sequence[KernelRow]) -> Document:
    return {"schema": SCHEMA, "kernels": [dataclasses.asdict(row) for row in rows]}


def build_document(result: str, build: Build, newer: Sequence[str]) -> Document:
    return {
        "schema": SCHEMA,
        "result": result,
        "kernel": build.naming.release,
        "packages": list(build.packages),
        "seconds": build.seconds,
        "newer": list(newer),
    }


def patches_document(names: Sequence[str], series: str) -> Document:
    return {"schema": SCHEMA, "result": "added", "series": series, "patches": list(names)}
