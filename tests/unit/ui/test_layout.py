# SPDX-License-Identifier: GPL-2.0-or-later
"""Printing: pipes get plain text, terminals colour, and no machine's words drive either."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.ui.layout import Span, clean, diff, fit, labelled, line, paragraph, plain, show, width_of
from xenable.ui.plan import size


class Terminal(io.StringIO):
    """A stream that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_clean_leaves_no_control_character(text: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in clean(text))


@given(st.text(), st.integers(20, 100))
def test_a_paragraph_keeps_every_word_and_its_width(text: str, width: int) -> None:
    rows = plain(paragraph(text, width, first="  - ")).splitlines()
    assert " ".join(rows).split()[1:] == clean(text).split()
    for row in rows:
        assert len(row) <= width or " " not in row.strip().removeprefix("- ")


@given(st.text(), st.sampled_from(("ascii", "latin-1", "utf-8", "iso8859-15")))
def test_fit_can_always_be_encoded(text: str, encoding: str) -> None:
    fitted = fit(text, encoding)
    fitted.encode(encoding)
    if text.isascii():
        assert fitted == text


def test_fit_says_the_same_in_ascii() -> None:
    assert fit("4 × “a” → b…", "ascii") == '4 x "a" -> b...'


def test_a_pipe_gets_plain_text() -> None:
    out = io.StringIO()
    show([line("a ", Span("b", "bold red")), line()], out)
    assert out.getvalue() == "a b\n\n"


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    show([line(Span("[bold]x[/]", "red"))], out)
    assert out.getvalue() == "\x1b[31m[bold]x[/]\x1b[0m\n"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    show([line(Span("x", "red"))], out)
    assert "\x1b[3" not in out.getvalue() and "x" in out.getvalue()


def test_a_dumb_terminal_is_treated_like_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    show([line(Span("x", "red"))], out)
    assert out.getvalue() == "x\n"


def test_diffs_have_their_colours() -> None:
    styles = [row[0].style for row in diff("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z", "")]
    assert styles == ["bold", "bold", "cyan", "red", "green", ""]


def test_a_pipe_is_80_columns_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width_of(io.StringIO()) == 80


@pytest.mark.parametrize(
    ("columns", "width"),
    [("60", 60), ("40", 40), ("20", 40), ("300", 100), ("0", 80), ("-5", 80), ("wide", 80), ("", 80)],
)
def test_columns_are_honoured(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width_of(io.StringIO()) == width
    # A terminal without a size of its own.
    monkeypatch.setenv("TERM", "xterm")
    assert width_of(Terminal()) == width


@pytest.mark.parametrize("text", ["", "short", "many words " * 20, "two\nlines"])
def test_a_label_keeps_its_style_and_the_words_their_width(text: str) -> None:
    rows = labelled(Span("xenable: ", "bold red"), text, 40)
    assert rows[0][0] == Span("xenable: ", "bold red")
    assert plain(rows).split() == ["xenable:", *text.split()]
    assert all(len(row) <= 40 for row in plain(rows).splitlines())
    assert all(span.style == "" for row in rows for span in row[-1:])


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (12_345_678, "12 MiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.realtool
def test_rich_is_loaded_for_a_terminal_only() -> None:
    code = (
        "import sys\n"
        "from xenable.ui.layout import line, show\n"
        "show([line('x')], sys.stdout)\n"
        "sys.stderr.write(str('rich' in sys.modules))\n"
    )
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("x\n", "False")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    os.close(ours)
    assert done.stderr == "True"
