# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of the trial as a small table in words."""

from __future__ import annotations

from collections.abc import Mapping

from xenable.model import Status
from xenable.ui.layout import Line, Span, line, paragraph

STYLES: Mapping[Status, str] = {
    Status.NATIVE: "bold",
    Status.ARMED: "bold yellow",
    Status.TRYING: "bold yellow",
    Status.CONFIRMED: "bold green",
    Status.FELL_BACK: "bold red",
}

SYSTEMS: Mapping[str, str] = {"native": "the native system", "xen": "Xen"}


def render_status(
    state: Status, reason: str, running: str, next_boot: str, versions: Mapping[str, str], width: int
) -> list[Line]:
    """One row a subject; a subject that nothing is known about is left out."""
    rows = [
        ("Reason", reason),
        ("Running", SYSTEMS.get(running, running)),
        ("Next boot", SYSTEMS.get(next_boot, next_boot)),
        *((name[:1].upper() + name[1:], version) for name, version in versions.items()),
    ]
    shown = [(name, text) for name, text in rows if text]
    column = max(len(name) for name, _ in [("State", ""), *shown]) + 2
    lines: list[Line] = [line(f"{'State':<{column}}", Span(state.value, STYLES[state]))]
    for name, text in shown:
        lines += paragraph(text, width, first=f"{name:<{column}}")
    return lines
