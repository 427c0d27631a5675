# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what it says of wrong words, and of what goes wrong."""

from __future__ import annotations

import pytest

from tests.unit.cli.fixtures import Machine, document
from xenable.__main__ import run
from xenable.errors import Exit, XenableError
from xenable.journal import Record
from xenable.model import EntryState


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["check", "--frob"],
        ["check", "x"],
        ["apply", "--override"],
        ["check", "--root", "/none"],
    ],
)
def test_a_wrong_command_line(
    machine: Machine, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([*words, "--json"] if len(words) == 1 else words) == Exit.FAILED
    streams = capsys.readouterr()
    assert streams.err.startswith("xenable: cannot understand the command line: ")
    assert "--help` lists what it takes" in streams.err and "Traceback" not in streams.err


@pytest.mark.parametrize("words", [["--debug", "apply", "--root"], ["check", "--debug"]])
def test_a_wrong_command_line_is_no_fault_to_trace(
    machine: Machine, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(words) == Exit.FAILED
    said = capsys.readouterr().err
    assert "Traceback" not in said and "no such option: --" in said


def test_the_sentences_of_a_message_have_their_full_stop(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--rot", "/", "--json"]) == Exit.FAILED
    assert document(capsys)["error"].endswith("line: no such option: --rot. Did you mean --root?")


def test_a_setting_that_is_no_option(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["apply", "--guest-storage", "/srv"]) == Exit.FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot use --guest-storage: it is no option" in said
    assert "guest-storage is a setting of /etc/xenable/xenable.conf" in said


def test_the_hint_names_the_command_where_click_does_not_know_it(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "-o"]) == Exit.FAILED
    assert "`xenable report --help`" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_messages_and_hints_are_wrapped(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    machine.failure = XenableError("cannot do it: " + "word " * 30 + "end", hint="try " + "again " * 30)
    assert run(["apply", "--yes"]) == Exit.FAILED
    text = capsys.readouterr().err
    rows = text[text.index("xenable: cannot do it") :].splitlines()
    assert max(map(len, rows)) <= columns
    said = " ".join(" ".join(rows).split())
    assert "xenable: cannot do it: word word" in said and "word end hint: try again" in said


def test_an_error_of_the_program(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.failure = RuntimeError("the moon is full")
    assert run(["apply", "--yes"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "xenable: internal error: RuntimeError: the moon is full" in said and "xenable report" in said
    assert "Traceback" not in said
    assert run(["--debug", "apply", "--yes"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "nothing was changed"),
        ([EntryState.DONE, EntryState.DOING], "1 of 2 steps are done"),
        ([EntryState.DONE, EntryState.UNDONE], "1 of 2 steps are undone"),
        ([EntryState.DONE, EntryState.DONE], "all steps are done"),
    ],
)
def test_interrupted(
    machine: Machine, capsys: pytest.CaptureFixture[str], states: list[EntryState], said: str
) -> None:
    machine.failure = KeyboardInterrupt()
    started = tuple(Record(number=n, kind="k", fields={}, state=s) for n, s in enumerate(states, 1))
    machine.records = started
    assert run(["apply", "--yes"]) == 130
    assert said in capsys.readouterr().err
