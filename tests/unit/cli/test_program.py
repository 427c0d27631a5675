# SPDX-License-Identifier: GPL-2.0-or-later
"""The real program: its help, its exit status, and output that can't be written."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.commands import (
    MAN,
    NAMES,
    PATHS,
    TOP,
    Words,
    program,
)
from xenable import __version__
from xenable.cli import STATUSES
from xenable.errors import INTERRUPTED, Exit


@pytest.mark.realtool
def test_help_lists_the_commands_and_imports_none() -> None:
    code = (
        "import sys\n"
        "from xenable.__main__ import run\n"
        "assert run(['--help']) == 0\n"
        "print(*(name for name in sys.modules if name.startswith('xenable')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    *text, modules = done.stdout.splitlines()
    assert set(modules.split()) == {"xenable", "xenable.__main__", "xenable.cli", "xenable.errors"}
    for name in NAMES:
        assert any(row.startswith(f"  {name} ") for row in text)
    assert all(len(row) <= 80 for row in text)
    assert not any("gate" in row for row in text)


def test_help_and_man_page_have_the_same_exit_statuses() -> None:
    text = MAN.read_text(encoding="utf-8").partition(".Sh EXIT STATUS\n")[2].partition(".Sh")[0]
    assert re.findall(r"^\.It (\d+)$", text, re.M) == [status for status, _ in STATUSES]
    known = {str(int(status)) for status in Exit} | {str(INTERRUPTED)}
    assert {status for status, _ in STATUSES} == known


@pytest.mark.realtool
def test_help_is_quick() -> None:
    def took(*cmd: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(cmd, cwd=TOP, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time, and the best of some, beside what Python and its parser of options take by themselves:
    # what else the machine does now is not the program's fault.
    times = [
        (
            took(sys.executable, "-c", "import click"),
            took(sys.executable, "-m", "xenable", "--help"),
        )
        for _ in range(5)
    ]
    least, ours = (min(column) for column in zip(*times, strict=True))
    assert ours < max(0.15, 2 * least)


@pytest.mark.realtool
def test_version_and_exit_status() -> None:
    assert program("--version").stdout == f"xenable {__version__}\n"
    wrong = program("chek")
    assert wrong.returncode == 1
    assert wrong.stdout == "" and wrong.stderr.startswith("xenable: cannot understand the command line: ")


@pytest.mark.realtool
def test_a_broken_pipe_is_quiet() -> None:
    shell = f"'{sys.executable}' -m xenable facts --root '{TOP}' | true"
    done = subprocess.run(["bash", "-c", shell], cwd=TOP, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.realtool
@pytest.mark.parametrize("words", [["--help"], ["facts"], ["facts", "--json"]])
def test_a_full_disk_is_a_plain_error(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xenable", *words],
            cwd=TOP,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert (
        "xenable: cannot write to standard output: No space left on device\nhint: free some" in done.stderr
    )
    assert "internal error" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.realtool
def test_an_error_that_can_not_be_written_is_said() -> None:
    """The document is for stdout, and that is full: the words are on stderr all the same."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xenable", "check", "--bogus", "--json"],
            cwd=TOP,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("xenable: cannot understand the command line: no such option: --bogus")
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.realtool
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "work", "status"),
    [
        ([], "raise XenableError('cannot do it: no', status=Exit.PUT_BACK)", Exit.PUT_BACK),
        (["--debug"], "raise XenableError('cannot do it: no', status=Exit.PUT_BACK)", Exit.PUT_BACK),
        ([], "print('a note', file=sys.stderr)", Exit.FAILED),
    ],
)
def test_the_exit_status_is_right_where_the_words_can_not_be_said(
    words: list[str], work: str, status: Exit, unbuffered: str
) -> None:
    """What stays in a buffer is written again at exit, and then Python's own status is 120."""
    program = (
        "import sys\n"
        "from xenable import __main__\n"
        "from xenable.errors import Exit, XenableError\n"
        f"def work(*words, **settings):\n    {work}\n"
        "__main__.xenable.main = work\n"
        "__main__.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reader, unread = os.pipe()
    os.close(reader)
    for stderr in (os.open("/dev/full", os.O_WRONLY), unread):
        done = subprocess.run(command, cwd=TOP, env=environment, stderr=stderr, check=False)
        os.close(stderr)
        assert done.returncode == status


@pytest.mark.realtool
def test_a_lost_connection_ends_no_work() -> None:
    program = (
        "import os, signal\n"
        "from xenable.cli.common import working\n"
        "with working():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('went on', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('not this')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, "went on\n")


@pytest.mark.realtool
@pytest.mark.parametrize("path", [(), *PATHS], ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80])
def test_every_command_has_help_within_the_columns(
    path: Words, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = program(*path, "-h")
    assert done.returncode == 0
    assert all(len(row) <= columns for row in done.stdout.splitlines())
