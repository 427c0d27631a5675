# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line. To add a sub-command: write it in a module here, and add a line to COMMANDS.

A module is imported only when its command runs: `xenable --help` reads this table alone.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, cast

import click

from xenable import __version__

COMMANDS: tuple[tuple[str, str, str], ...] = (
    (
        "check",
        "xenable.cli.check",
        "Say whether this machine can become a dom0, and what is in the way.",
    ),
    ("plan", "xenable.cli.plan", "Show everything that apply would do."),
    ("apply", "xenable.cli.apply", "Turn this machine into a Xen dom0, and arm the trial boot."),
    ("status", "xenable.cli.status", "Show where the machine stands and what its next start boots."),
    ("confirm", "xenable.cli.confirm", "Make the Xen of this trial boot the default."),
    ("revert", "xenable.cli.revert", "Turn the machine back into what it was."),
    ("guest", "xenable.cli.guest", "Make, list, start, stop, change and remove guests."),
    ("kernel", "xenable.cli.kernel", "Build kernels for Xen here, and list those that are here."),
    ("report", "xenable.cli.report", "Collect everything needed to find a fault into one archive."),
    ("facts", "xenable.cli.facts", "Print what Xenable knows about this machine."),
)
"""Name, module with a click command called `command`, help in one line; in the order of the help."""

HIDDEN: tuple[tuple[str, str, str], ...] = (
    ("gate", "xenable.cli.gate", "Judge the trial boot; run by xenable-gate.service."),
    ("try-new", "xenable.cli.try_new", "Arm a trial of a newer Xen or kernel; run by apt."),
)

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

STATUSES: tuple[tuple[str, str], ...] = (
    ("0", "done"),
    ("1", "the command line is wrong, or Xenable failed"),
    ("2", "the machine is not ready"),
    ("3", "failed, and everything was put back"),
    ("4", "failed, and not everything could be put back"),
    ("130", "interrupted from the keyboard"),
)
"""Exit status and meaning, for the help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, text in (*COMMANDS, *HIDDEN):
            if name == cmd_name:
                command = cast(click.Command, importlib.import_module(module).command)
                if command.short_help != text:
                    more = inspect.cleandoc(command.help or "")
                    command.help = f"{text}\n\n{more}".rstrip()
                    command.name, command.short_help, command.context_settings = name, text, CONTEXT
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, _, text in COMMANDS])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write_dl(list(STATUSES))


@click.group(
    name="xenable",
    cls=LazyGroup,
    context_settings=CONTEXT,
    help="Turn an existing Debian or Ubuntu install into a Xen dom0, and back.\n\n"
    "Start with `xenable check` and `xenable plan`: both change nothing.",
)
@click.option("--debug", is_flag=True, help="Show where in the program an error came from.")
@click.version_option(__version__, message="xenable %(version)s", help="Show the version and exit.")
def xenable(debug: bool) -> None:
    """`--debug` is read by xenable.__main__, which has to know it when the rest of the line is wrong."""
