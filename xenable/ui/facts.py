# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts as text: the same names as in the JSON document, one value a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xenable.ui.layout import BLANK, Line, Span, line, paragraph


def render_facts(document: Mapping[str, Any], width: int) -> list[Line]:
    """Every fact of a facts document, under the heading of its subject."""
    lines: list[Line] = []
    for subject, value in document.items():
        if subject == "schema":
            continue
        lines.append(line(Span(subject.replace("_", " "), "bold")))
        for name, text in _leaves(value, ""):
            lines += paragraph(text, width, first=f"  {name}: " if name else "  ", rest="      ")
        lines.append(BLANK)
    return lines[:-1]


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{name}[{number}]")
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "none"
    elif value is None:
        yield name, "unknown"
    elif isinstance(value, bool):
        yield name, "yes" if value else "no"
    else:
        yield name, str(value)
