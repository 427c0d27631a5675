# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of `xenable guest` share, and `revert` where it removes guests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xenable.cli.common import note
from xenable.errors import XenableError
from xenable.host import Host

if TYPE_CHECKING:
    from xenable.engine import Listener
    from xenable.guests.storage import Storage
    from xenable.model import Progress

T = TypeVar("T")


def _name_there(_: click.Context, __: click.Parameter, text: str) -> str:
    from xenable.guests.words import any_name

    return word("the name", text, any_name)


name_argument = click.argument("name", metavar="NAME", callback=_name_there)
"""Of a guest that is there; it becomes a part of paths."""


def prepare(verb: str, command: str = "") -> Host:
    """The machine, for a command that changes a guest: what dead creations left is taken back first.

    command: of `xenable guest`, where it is not the first word of what it does.
    """
    from xenable.guests import images
    from xenable.guests.claims import sweep

    if os.geteuid() != 0:
        raise XenableError(
            f"cannot {verb}: root rights are needed",
            hint=f"sudo xenable guest {command or verb.split()[0]} …",
        )
    host = Host()
    for name in sweep(host):
        note(f"the creation of {name} had been cut off: what it left was taken back")
    if images.sweep_dead(host):
        note("the making of an image had been cut off: what it left was taken back")
    return host


def word(what: str, text: str, parse: Callable[[str], T]) -> T:
    """The value of what a person wrote. Errors: XenableError that says what is needed instead."""
    try:
        return parse(text)
    except ValueError as e:
        raise XenableError(f"cannot use {what} {text!r}: {e}") from e


def tell(as_json: bool, result: str, name: str, text: str, **more: Any) -> None:
    """Say what became of a guest: a sentence, or one document."""
    from xenable.ui.document import print_document
    from xenable.ui.guests import name_document

    if as_json:
        print_document(name_document(result, name, **more), sys.stdout)
    else:
        note(text)


def guest_storage(host: Host) -> Storage:
    """Where the disks of guests are, by the settings. Errors: XenableError for damaged settings."""
    from xenable.config import load_config
    from xenable.guests.storage import storage_of

    return storage_of(load_config(host).guest_storage)


def reporter(listener: Listener, title: str) -> Progress:
    """One piece of work as an event, for the bar that apply has too."""
    from xenable.engine import Direction, Event

    def report(fraction: float, text: str) -> None:
        listener(Event(direction=Direction.DO, title=title, number=1, total=1, fraction=fraction, text=text))

    return report
