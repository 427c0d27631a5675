# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the real program, and its run: for the tests of what describes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from xenable.cli import COMMANDS, xenable
from xenable.config import OPTIONS

TOP = Path(__file__).resolve().parents[3]
MAN = TOP / "docs/man/xenable.8"

NAMES = [name for name, _, _ in COMMANDS]


Words = tuple[str, ...]


def command(path: Words) -> click.Command:
    """The command that these words call; the program itself for none."""
    found: click.Command = xenable
    for name in path:
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), name)
        assert below is not None
        found = below
    return found


def below(path: Words) -> list[str]:
    """Names of the sub-commands of a group; none of another command."""
    found = command(path)
    return found.list_commands(click.Context(found)) if isinstance(found, click.Group) else []


def tree(path: Words = ()) -> list[Words]:
    """Every command, those of groups too, each after what it is in."""
    return [every for name in below(path) for every in ((*path, name), *tree((*path, name)))]


PATHS = tree()
GROUPS: list[Words] = [(), *(path for path in PATHS if below(path))]
SETTING_OPTIONS = {f"--{s.key}" for s in OPTIONS} | {"--no-auto-confirm"}


def options(path: Words) -> set[str]:
    """Long options of a command."""
    found = command(path)
    parameters = found.get_params(click.Context(found))
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts) if name.startswith("--")} | {
        "--help"
    }


def arguments(path: Words) -> list[click.Argument]:
    return [p for p in command(path).params if isinstance(p, click.Argument)]


def choices(path: Words) -> Iterator[tuple[click.Parameter, list[str]]]:
    """The parameters of a command that take one of a few words, with these words."""
    for parameter in command(path).params:
        if isinstance(parameter.type, click.Choice):
            yield parameter, list(parameter.type.choices)


def program(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenable", *words], cwd=TOP, capture_output=True, text=True, check=False
    )
