# SPDX-License-Identifier: GPL-2.0-or-later
"""The program: runs a command, and is the one place where errors become words and an exit status."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from xenable.cli import xenable
from xenable.errors import INTERRUPTED, Exit, XenableError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What only a write fails with: that to standard output or error, where the error names no file."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run and exit: raises SystemExit, and nothing else."""
    words = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It was closed by whoever started this: `xenable status >&-`.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    try:
        code = run(words)
    except BrokenPipeError:
        # Whoever read it has seen enough.
        drop(sys.stdout)
        drop(sys.stderr)
        code = int(Exit.FAILED)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run a command line; returns its exit status. Errors: BrokenPipeError."""
    try:
        outcome = xenable.main(
            list(words), prog_name="xenable", standalone_mode=False, terminal_width=help_width()
        )
        sys.stdout.flush()
        return int(outcome or 0)
    except XenableError as e:
        return complain(words, e.message, e.hint, e.status)
    except click.UsageError as e:
        from xenable.config import FILE_ONLY

        # No command at all: click 8.2 makes its help such an error, 8.1 prints it and ends well.
        if type(e).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{e.format_message()}\n")
            return 0
        # The parser of options knows no context; the words up to the first option are the command.
        command = itertools.takewhile(lambda word: not word.startswith("-"), words)
        path = e.ctx.command_path if e.ctx else " ".join(["xenable", *command])
        message = " ".join(e.format_message().split())
        if isinstance(e, click.NoSuchOption) and (key := e.option_name.removeprefix("--")) in FILE_ONLY:
            return complain(
                words,
                f"cannot use --{key}: it is no option",
                f"{key} is a setting of /etc/xenable/xenable.conf: write `{key} = …` there",
            )
        if isinstance(e, click.NoSuchOption) and e.possibilities:
            # click joins its two sentences without a full stop.
            message = f"{e.message.rstrip('.')}. Did you mean {' or '.join(sorted(e.possibilities))}?"
        text = f"cannot understand the command line: {message[:1].lower()}{message[1:].rstrip('.')}"
        return complain(words, text, f"`{path} --help` lists what it takes")
    except click.ClickException as e:
        return complain(words, f"cannot go on: {e.format_message()}", "")
    except (click.Abort, KeyboardInterrupt):
        return complain(words, *interrupted(), status=INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as e:
        if isinstance(e, OSError) and e.errno in FULL and e.filename is None:
            drop(sys.stdout)
            return complain(
                words,
                f"cannot write to standard output: {e.strerror}",
                "free some space where it leads, or send it elsewhere; the work itself may be done",
            )
        return complain(
            words,
            f"internal error: {type(e).__name__}: {e}",
            "run it again with `xenable --debug …`, or attach what `xenable report` writes to a bug report",
        )


def help_width() -> int:
    """Columns of the help: as click has it, but down to 40 and not to 52 of the terminal's."""
    return max(40, min(shutil.get_terminal_size().columns, 100)) - 2


def drop(stream: TextIO) -> None:
    """Let what is in a stream's buffer go nowhere: else Python tries again at exit, and ends with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(words: Sequence[str], message: str, hint: str, status: int = Exit.FAILED) -> int:
    """Say it on stderr, and with --json as the one document on stdout too; returns the status."""
    from xenable.ui.layout import Span, labelled, paragraph, show, width_of

    width = width_of(sys.stderr)
    lines = labelled(Span("xenable: ", "bold red"), message, width)
    if hint:
        lines += paragraph(hint, width, first="hint: ")
    # The exit status is said even where the words can't be.
    try:
        if "--debug" in words and not isinstance(sys.exception(), click.UsageError):
            import traceback

            traceback.print_exc()
        show(lines, sys.stderr)
    except OSError:
        drop(sys.stderr)
    if "--json" in words:
        from xenable.ui.document import error_document, print_document

        try:
            print_document(error_document(message, hint, int(status)), sys.stdout)
        except BrokenPipeError:
            raise
        except OSError:
            drop(sys.stdout)
    return int(status)


def interrupted() -> tuple[str, str]:
    """What Ctrl-C left: a sentence and what to do."""
    from xenable.host import Host
    from xenable.journal import read_journal
    from xenable.model import EntryState

    try:
        states = [record.state for record in read_journal(Host())]
    except XenableError as e:
        return f"interrupted: {e.message}", "`xenable status` shows where the machine stands"
    if not states:
        return "interrupted: nothing was changed", ""
    if all(state is EntryState.DONE for state in states):
        return (
            "interrupted: all steps are done",
            "`xenable status` shows what the next start boots",
        )
    undoing = any(state in (EntryState.UNDOING, EntryState.UNDONE) for state in states)
    kind = EntryState.UNDONE if undoing else EntryState.DONE
    finished = sum(state is kind for state in states)
    return (
        f"interrupted: {finished} of {len(states)} steps are {kind.value}, the journal knows them all",
        "`xenable revert` puts everything back"
        if undoing
        else "`xenable apply` goes on from here, `xenable revert` puts everything back",
    )


if __name__ == "__main__":
    main()
