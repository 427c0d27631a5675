# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's events for people: a live bar on a terminal, one line a step in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TextIO

from xenable.engine import Direction, Event, Listener, quiet
from xenable.ui.layout import clean, fit, is_terminal


@contextlib.contextmanager
def progress(stream: TextIO) -> Iterator[Listener]:
    """A listener that shows on a stream what the engine does. A stream that is gone or full ends no work."""
    stack = contextlib.ExitStack()
    show: Listener = quiet
    with contextlib.suppress(OSError):
        show = stack.enter_context(_live(stream)) if is_terminal(stream) else _lines(stream)
    gone = False

    def listen(event: Event) -> None:
        nonlocal gone
        if not gone:
            try:
                show(event)
            except OSError:
                gone = True

    try:
        yield listen
    finally:
        with contextlib.suppress(OSError):
            stack.close()


def step_line(event: Event) -> str:
    """`[ 3/12] Install packages`: its step, in one line."""
    digits = len(str(event.total))
    undo = "undo: " if event.direction is Direction.UNDO else ""
    title = " ".join(clean(event.title).split())
    return f"[{event.number:>{digits}}/{event.total}] {undo}{title}"


def _lines(stream: TextIO) -> Listener:
    shown: set[tuple[Direction, int]] = set()

    def listen(event: Event) -> None:
        key = (event.direction, event.number)
        if key not in shown:
            shown.add(key)
            stream.write(fit(step_line(event), stream.encoding) + "\n")
            stream.flush()

    return listen


@contextlib.contextmanager
def _live(stream: TextIO) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False, style="dim"),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0, text="", visible=False)

        def listen(event: Event) -> None:
            line = fit(step_line(event), stream.encoding)
            if event.fraction >= 1.0:
                # What is done stays on the screen; the bar itself goes away at the end.
                console.print(line, style="green", soft_wrap=True)
            text = fit(" ".join(clean(event.text).split()), stream.encoding)
            bar.update(
                task,
                description=line[:50],
                completed=event.fraction,
                text=text[: max(0, console.width - 50 - 40)],
                visible=event.fraction < 1.0,
            )

        yield listen
