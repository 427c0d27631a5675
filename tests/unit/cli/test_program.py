# SPDX-License-Identifier: GPL-2.0-or-later
"""The real program, its completions and its man page."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from xenable import __version__
from xenable.__main__ import INTERRUPTED
from xenable.checks import RULES
from xenable.cli import COMMANDS, STATUSES, xenable
from xenable.config import SETTINGS, load_config
from xenable.errors import Exit
from xenable.host import Host
from xenable.model import Severity

TOP = Path(__file__).resolve().parents[3]
BASH = TOP / "data/completion/bash/xenable"
ZSH = TOP / "data/completion/zsh/_xenable"
MAN = TOP / "docs/man/xenable.8"

NAMES = [name for name, _, _ in COMMANDS]
OVERRIDES = sorted(rule.id for rule in RULES if rule.severity is Severity.OVERRIDABLE)


def options(command: str) -> set[str]:
    """Long options of a command, or of the program for an empty name."""
    context = click.Context(xenable)
    found = xenable.get_command(context, command) if command else xenable
    assert found is not None
    parameters = found.get_params(click.Context(found))
    return {name for p in parameters for name in p.opts if name.startswith("--")} | {"--help"}


def program(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenable", *words], cwd=TOP, capture_output=True, text=True, check=False
    )


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
    def took() -> float:
        begin = time.perf_counter()
        assert program("--help").returncode == 0
        return time.perf_counter() - begin

    # The best of some: what else the machine does now is not the program's fault.
    assert min(took() for _ in range(5)) < 0.15


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
    assert done.stderr.endswith("xenable: cannot write: No space left on device\n")
    assert "internal error" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.realtool
def test_the_exit_status_is_right_where_the_words_can_not_be_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xenable", "nonsense"], cwd=TOP, stderr=full, check=False
        )
    assert done.returncode == 1


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
@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("columns", [40, 80])
def test_every_command_has_help_within_the_columns(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = program(*filter(None, [name]), "-h")
    assert done.returncode == 0
    assert all(len(row) <= columns for row in done.stdout.splitlines())


# -------------------------------------------------------------------------------------------- completions


def complete(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _xenable; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", BASH, "xenable", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.realtool
def test_bash_offers_every_command_and_option() -> None:
    assert set(complete("")) == {*NAMES, *options("")}
    assert complete("ch") == ["check"]
    for name in NAMES:
        assert set(complete(name, "")) == options(name), name
    assert set(complete("--debug", "revert", "--")) == options("revert")


@pytest.mark.realtool
def test_bash_offers_values() -> None:
    assert complete("check", "--override", "") == OVERRIDES
    assert complete("apply", "--override", "=", "packages/h") == ["packages/held"]
    assert complete("check", "--override", "=") == OVERRIDES
    assert complete("plan", "--auto-confirm", "") == ["yes", "no"]
    assert complete("plan", "--trial-seconds", "") == []
    assert str(TOP / "docs") in complete("check", "--root", str(TOP / "do"))
    assert str(MAN) in complete("report", "-o", str(MAN)[:-2])


def zsh_commands() -> Iterator[tuple[str, str]]:
    """Name and text of every branch of the script's last `case`."""
    text = ZSH.read_text(encoding="utf-8")
    for found in re.finditer(r"^ {12}(\w+)\)\n(.*?);;", text, re.M | re.S):
        yield found[1], found[2]


def test_zsh_offers_every_command_and_option() -> None:
    text = ZSH.read_text(encoding="utf-8")
    assert re.findall(r"^    '([a-z]+):", text, re.M) == NAMES
    named = re.compile(r"--[a-z][a-z0-9-]*")
    settings = set(named.findall(text[text.index("settings=(") : text.index("overrides=(")]))
    assert {f"--{s.key}" for s in SETTINGS} <= settings
    branches = dict(zsh_commands())
    assert set(branches) == set(NAMES)
    for name, branch in branches.items():
        offered = {word for word in named.findall(re.sub(r"\[[^]]*\]", "", branch))}
        if "$settings" in branch:
            offered |= {f"--{s.key}" for s in SETTINGS} | {"--no-auto-confirm"}
        assert offered == options(name), name
    overrides = text[text.index("overrides=(") + 11 :].partition(")")[0].split()
    assert overrides == OVERRIDES


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_understands_the_script() -> None:
    subprocess.run(["zsh", "-n", ZSH], check=True)


# ------------------------------------------------------------------------------------- man page, conffile


def test_the_man_page_has_every_command_and_option_and_no_other() -> None:
    text = MAN.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.It .*?Fl -([a-z0-9-]+)", text, re.M))
    documented |= set(re.findall(r"^\.It .*, Fl -([a-z0-9-]+)", text, re.M))
    every = set().union(options(""), *(options(name) for name in NAMES))
    assert {f"--{name}" for name in documented} == every
    assert set(re.findall(r"^\.It Cm (\w+)", text, re.M)) == set(NAMES)
    synopsis = text[: text.index(".Sh DESCRIPTION")]
    for name in NAMES:
        used = synopsis[synopsis.index(f".Cm {name}\n") :].partition(".Nm")[0]
        long = {f"--{word}" for word in re.findall(r"Fl -([a-z-]+)", used)}
        settings = {f"--{s.key}" for s in SETTINGS} | {"--no-auto-confirm"}
        short = {"--output"} if "Fl o" in used else set()
        assert long | short | {"--help"} == options(name) - settings, name
        assert (".Op Ar setting" in used) is bool(options(name) & settings), name
    for setting in SETTINGS:
        assert setting.default in text


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_man_page_is_clean() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", MAN], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("man") is None, reason="man-db is not installed")
def test_man_shows_the_page_as_one_of_this_system() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", MAN], capture_output=True, text=True, check=True
    )
    assert done.stderr == "" and "BSD" not in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("Linux")


@pytest.mark.realtool
def test_the_conffile_says_the_defaults(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, TOP / "debian/conffile.py"], capture_output=True, text=True, check=True
    ).stdout
    path = tmp_path / "etc/xenable/xenable.conf"
    path.parent.mkdir(parents=True)
    path.write_text(made, encoding="utf-8")
    assert load_config(Host(tmp_path)) == load_config(Host(tmp_path / "nowhere"))
    path.write_text(re.sub(r"^#(\S)", r"\1", made, flags=re.M), encoding="utf-8")
    assert load_config(Host(tmp_path)) == load_config(Host(tmp_path / "nowhere"))
    assert [row.partition(" = ")[0][1:] for row in made.splitlines() if " = " in row] == [
        s.key for s in SETTINGS
    ]
