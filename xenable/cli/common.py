# SPDX-License-Identifier: GPL-2.0-or-later
"""What several sub-commands share: options, rights, and printing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xenable.errors import INTERRUPTED, Exit, XenableError
from xenable.host import CommandError, Host

if TYPE_CHECKING:
    from xenable.engine import Listener
    from xenable.model import Progress
    from xenable.trial import TrialStatus

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="/",
    metavar="DIR",
    help="Look at the system in this folder, as far as files tell.",
)

override_option = click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="ID",
    help="Go on in spite of this finding; may be given more than once.",
)


def need_root(verb: str, command: str = "") -> None:
    """command: the words after `xenable`, where they are others. Errors: XenableError without the rights."""
    if os.geteuid() != 0:
        raise XenableError(f"cannot {verb}: root rights are needed", hint=f"sudo xenable {command or verb}")


def note_rights(host: Host) -> None:
    """Say once that some facts can't be seen without root rights."""
    if host.live and os.geteuid() != 0:
        note("without root rights some things can't be seen; they count as unknown")


def note(text: str) -> None:
    """One sentence for people, on stderr. Where nobody can read it any more, what was done stays done, and
    its document is still to be written."""
    from xenable.ui.layout import paragraph, show, width_of

    with contextlib.suppress(OSError):
        show(paragraph(f"xenable: {text}", width_of(sys.stderr), rest="  "), sys.stderr)


def host_at(root: Path) -> Host:
    return Host(root.resolve())


def accept_overrides(overrides: Sequence[str]) -> frozenset[str]:
    """The ids as a set. Errors: XenableError for one that no check has, or that can't be overridden."""
    accepted = frozenset(overrides)
    if accepted:
        from xenable.checks import ready

        # Said now, not after the machine was looked at.
        ready((), accepted)
    return accepted


def with_reboot(question: str, then_reboot: bool) -> str:
    """A question that says so where the machine reboots after a yes."""
    return f"{question.removesuffix('?')}, and reboot at once?" if then_reboot else question


def need_consent(question: str, yes: bool) -> None:
    """Ask once, unless --yes answered. Errors: XenableError without a yes, or without a terminal."""
    if yes:
        return
    # It is None where whoever started this closed it: `xenable apply <&-`.
    if sys.stdin is None or not sys.stdin.isatty():
        raise XenableError(
            "cannot ask for your consent: standard input is no terminal",
            hint="look at what it would do, then give --yes",
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise XenableError("cannot go on without your consent: nothing was changed")


@contextlib.contextmanager
def working() -> Iterator[Listener]:
    """While the machine is changed: progress on stderr, and an ssh connection that is lost ends nothing."""
    from xenable.ui.progress import progress

    with _without_hangup(), progress(sys.stderr) as listener:
        yield listener


@contextlib.contextmanager
def _without_hangup() -> Iterator[None]:
    """The kernel sends SIGHUP when the terminal goes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def interruptible(hint: str) -> type[click.Group]:
    """A group whose commands are no part of a conversion: what Ctrl-C leaves is told by this hint."""

    class Interruptible(click.Group):
        def invoke(self, ctx: click.Context) -> Any:
            words = sys.argv[1:]
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                note(f"interrupted; {hint}")
                if "--json" in words:
                    from xenable.ui.document import error_document, print_document

                    print_document(error_document("interrupted", hint, INTERRUPTED), sys.stdout)
                raise click.exceptions.Exit(INTERRUPTED) from None

    return Interruptible


def word(what: str, text: str, parse: Callable[[str], T]) -> T:
    """The value of what a person wrote. Errors: XenableError that says what is needed instead."""
    try:
        return parse(text)
    except ValueError as e:
        raise XenableError(f"cannot use {what} {text!r}: {e}") from e


def reporter(listener: Listener, title: str) -> Progress:
    """One piece of work as an event, for the bar that apply has too."""
    from xenable.engine import Direction, Event

    def report(fraction: float, text: str) -> None:
        listener(Event(direction=Direction.DO, title=title, number=1, total=1, fraction=fraction, text=text))

    return report


def step_states(host: Host) -> list[tuple[str, str, str]]:
    """(kind, title, state) of every step in the journal."""
    from xenable.journal import read_journal
    from xenable.steps import from_record

    return [(r.kind, from_record(r).title(), r.state.value) for r in read_journal(host)]


def show_status(now: TrialStatus) -> None:
    """The table of `xenable status`."""
    from xenable.ui.layout import show, width_of
    from xenable.ui.status import render_status

    width = width_of(sys.stdout)
    show(
        render_status(now.state, now.reason, now.running, now.next_boot, now.versions, width),
        sys.stdout,
    )


@contextlib.contextmanager
def reboot_after(host: Host, wanted: bool, done: str) -> Iterator[None]:
    """Reboot at the end of what is only told, where that was asked for: also when nobody is there any more
    to hear it, as the ssh connection is lost. Where systemd refuses it is told what is done, and the exit
    status is 1."""
    if not wanted:
        yield
        return
    with _without_hangup():
        # A terminal that is gone says EIO, a pipe EPIPE.
        with contextlib.suppress(OSError):
            yield
        with contextlib.suppress(OSError):
            note("rebooting now")
        try:
            host.run(["systemctl", "reboot"])
        except CommandError as e:
            # With --json the document is out: it says what was done, and there is to be one.
            with contextlib.suppress(OSError):
                why = e.message.partition(": ")[2].rstrip(".")
                note(f"cannot reboot: {why}; {done}. Run `sudo systemctl reboot`")
            raise click.exceptions.Exit(Exit.FAILED) from None
