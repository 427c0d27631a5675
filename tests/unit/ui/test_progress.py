# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's events for people."""

from __future__ import annotations

import errno
import io

import pytest

from xenable.engine import Direction, Event
from xenable.ui.progress import progress, step_line


def event(number: int, fraction: float, *, direction: Direction = Direction.DO, text: str = "") -> Event:
    title = {1: "write /etc/a", 12: "install\x1b[2J packages"}[number]
    return Event(direction=direction, title=title, number=number, total=12, fraction=fraction, text=text)


def test_a_step_in_one_line_without_control_characters() -> None:
    assert step_line(event(1, 0)) == "[ 1/12] write /etc/a"
    assert "\x1b" not in step_line(event(12, 0))
    assert step_line(event(1, 0, direction=Direction.UNDO)) == "[ 1/12] undo: write /etc/a"


def test_a_pipe_gets_one_line_a_step() -> None:
    out = io.StringIO()
    with progress(out) as listen:
        for fraction in (0.0, 0.3, 1.0):
            listen(event(1, fraction, text="half"))
        listen(event(1, 0.0, direction=Direction.UNDO))
        listen(event(1, 1.0, direction=Direction.UNDO))
    assert out.getvalue() == "[ 1/12] write /etc/a\n[ 1/12] undo: write /etc/a\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with progress(out) as listen:
        listen(event(1, 0.0))
        listen(event(1, 1.0))
        listen(event(12, 0.0))
        listen(event(12, 0.5, text="unpacking"))
    assert "[ 1/12] write /etc/a" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


class Gone(Terminal):
    """A terminal whose connection is lost."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_stops_no_work(terminal: bool) -> None:
    done = 0
    with progress(Gone(terminal)) as listen:
        for fraction in (0.0, 1.0):
            listen(event(1, fraction))
            done += 1
    assert done == 2
