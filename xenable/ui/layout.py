# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of styled text, and the one place that prints them.

A renderer makes lines; here they become plain text in a pipe, and colour on a terminal. Both have the
same words in the same places. rich is imported for a terminal only: it costs more than a whole `check`.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

PIPE_WIDTH = 80
MIN_WIDTH = 40
MAX_WIDTH = 100
"""Longer lines are hard to read, however wide the terminal is."""

ASCII = str.maketrans(
    {
        "…": "...",
        "–": "-",
        "—": "-",
        "→": "->",
        "×": "x",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "•": "*",
        "✓": "*",
        "\u00a0": " ",
    }
)


@dataclass(frozen=True)
class Span:
    text: str
    style: str = ""
    """As rich names it: bold, red, dim; empty for none."""


Line = tuple[Span, ...]
BLANK: Line = ()


def line(*parts: Span | str) -> Line:
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def clean(text: str) -> str:
    """Text without control characters: what a machine says about itself must not drive the terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else " " if c.isspace() else "�" for c in text.expandtabs(8)
    )


def paragraph(
    text: str, width: int, *, first: str = "", rest: str | None = None, style: str = ""
) -> list[Line]:
    """Words wrapped to a width. `first` begins the first line, `rest` (else as many spaces) the others.

    A line break in the text stays one.
    """
    follow = " " * len(first) if rest is None else rest
    found: list[Line] = []
    for piece in clean(text).splitlines() or [""]:
        begin = follow if found else first
        for words in textwrap.wrap(
            piece,
            width,
            initial_indent=begin,
            subsequent_indent=follow,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [begin.rstrip()]:
            found.append(line(Span(words, style)))
    return found


def labelled(label: Span, text: str, width: int) -> list[Line]:
    """A paragraph that a label of another style begins, its other lines a little indented."""
    head, *others = paragraph(text, width, first=label.text, rest="  ")
    return [line(label, head[0].text[len(label.text) :]), *others]


def verbatim(text: str, indent: str, style: str = "") -> list[Line]:
    """Text whose lines stay as they are: a list, a command's words."""
    return [line(Span(indent + row, style)) for row in clean(text).splitlines()]


def diff(text: str, indent: str) -> list[Line]:
    """A unified diff, with the colours everybody knows."""
    found: list[Line] = []
    for row in clean(text).splitlines():
        if row.startswith(("+++", "---")):
            style = "bold"
        else:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")
        found.append(line(Span(indent + row, style)))
    return found


def is_diff(text: str) -> bool:
    return text.startswith("--- ") or "\n--- " in text


def plain(lines: Iterable[Line]) -> str:
    """The lines as text, each with its end."""
    return "".join("".join(span.text for span in row).rstrip() + "\n" for row in lines)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at it and it can do more than a typewriter."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:
        return False


def width_of(stream: TextIO) -> int:
    """Columns to write in: those of COLUMNS where it is set, else the terminal's, 80 in a pipe."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and 0 < len(asked) < 6 and int(asked):
        return max(MIN_WIDTH, min(int(asked), MAX_WIDTH))
    if not is_terminal(stream):
        return PIPE_WIDTH
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return PIPE_WIDTH
    return max(MIN_WIDTH, min(columns or PIPE_WIDTH, MAX_WIDTH))


def fit(text: str, encoding: str | None) -> str:
    """Text that an encoding can hold: its ASCII look-alikes where it can't."""
    name = encoding or "ascii"
    try:
        text.encode(name)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode(name, "replace").decode(name)
    return text


def show(lines: Sequence[Line], stream: TextIO) -> None:
    """Print lines: in colour on a terminal (unless NO_COLOR is set), plain anywhere else."""
    if not is_terminal(stream):
        stream.write(fit(plain(lines), stream.encoding))
        stream.flush()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for row in lines:
        console.print(Text.assemble(*((fit(span.text, stream.encoding), span.style) for span in row)))
