# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of `xenable guest` share, and `revert` where it removes guests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xenable.cli.common import note, word
from xenable.errors import XenableError
from xenable.host import Host

if TYPE_CHECKING:
    from xenable.guests.storage import Storage

T = TypeVar("T")


def _name_there(_: click.Context, __: click.Parameter, text: str) -> str:
    from xenable.guests.words import any_name

    return word("the name", text, any_name)


name_argument = click.argument("name", metavar="NAME", callback=_name_there)
"""Of a guest that is there; it becomes a part of paths."""


def prepare(verb: str, command: str = "") -> Host:
    """The machine, for a command that changes a guest: what dead creations left is seen to first.

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
    swept = sweep(host)
    for name in swept.taken_back:
        note(f"the creation of {name} had been cut off: what it left was taken back")
    for name in swept.kept:
        note(
            f"the creation of {name} had been cut off when all of it was there: it is kept; "
            f"if it does not run, `sudo xenable guest start {name}` starts it"
        )
    if images.sweep_dead(host):
        note("the making of an image had been cut off: what it left was taken back")
    return host


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
