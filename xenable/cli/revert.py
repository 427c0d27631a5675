# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable revert`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from xenable.cli.common import (
    json_option,
    need_consent,
    need_root,
    note,
    reboot_after,
    reporter,
    show_status,
    step_states,
    with_reboot,
    working,
)
from xenable.errors import XenableError
from xenable.host import Host

if TYPE_CHECKING:
    from xenable.engine import Listener

QUESTION = "Turn this machine back into what it was?"


@click.command()
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Put back what was, even over changes that others made since.")
@click.option("--remove-guests", is_flag=True, help="Remove all guests with their disks, and their images.")
@click.option("--reboot", "then_reboot", is_flag=True, help="Reboot at the end, into the native system.")
def command(as_json: bool, yes: bool, force: bool, remove_guests: bool, then_reboot: bool) -> None:
    """From every state: files return byte for byte, packages that came with the conversion go, the boot menu
    is as it was. Refuses when others changed something since, and shows what; while there are guests; and
    while other domains run."""
    from xenable import convert
    from xenable.ui.layout import show, width_of
    from xenable.ui.plan import render_obstacles

    need_root("revert")
    host = Host()
    result = "nothing-to-revert"
    left: tuple[str, ...] = ()
    if convert.begun(host):
        obstacles = convert.obstacles(host)
        if obstacles:
            show(render_obstacles(obstacles, width_of(sys.stderr)), sys.stderr)
        convert.check_obstacles(obstacles, force=force)
        guests = _guests(host, remove_guests, force)
        need_consent(with_reboot(_question(guests), then_reboot), yes)
        with working() as listener:

            def first() -> None:
                if remove_guests:
                    _remove_guests(host, listener)

            left = convert.revert(host, listener, force=force, first=first)
        result = "reverted"
    done = "the conversion is undone, and the next start is of the native system"
    with reboot_after(host, then_reboot and result == "reverted", done):
        _tell(host, result, left, as_json)


def _tell(host: Host, result: str, left: tuple[str, ...], as_json: bool) -> None:
    from xenable.trial import status
    from xenable.ui.document import print_document, result_document

    if result == "reverted":
        _note_images(host)
    for sentence in left:
        note(sentence)
    now = status(host)
    if as_json:
        print_document(result_document(result, step_states(host), now.state), sys.stdout)
        return
    done = "the rest of the machine is as it was" if left else "the machine is as it was"
    note(done if result == "reverted" else "there is nothing to revert")
    show_status(now)


def _question(guests: tuple[str, ...]) -> str:
    if not guests:
        return QUESTION
    return f"Remove {', '.join(guests)} with all that is on their disks, and t{QUESTION[1:]}"


def _guests(host: Host, remove: bool, force: bool) -> tuple[str, ...]:
    """Names of the guests that there are. Errors: XenableError when they are to stay: without Xen they are
    of no use, and nothing would look after them. Also for domains of others that run: the toolstack would be
    removed under them, and what others made is not Xenable's to stop."""
    from xenable.guests.lifecycle import guests_present, others_running

    guests: tuple[str, ...] = guests_present(host)
    others: tuple[str, ...] = ()
    try:
        others = others_running(host)
    except XenableError:
        if not force:
            raise
    reasons, hints = [], []
    if others:
        reasons.append(f"domains run that Xenable did not make: {', '.join(others)}")
        hints.append("shut these domains down, with `sudo xl shutdown NAME` or what started them")
    if guests and not remove:
        reasons.append(f"there are guests on this machine: {', '.join(guests)}")
        hints.append(
            "keep what you need of the guests; then `xenable revert --remove-guests` removes them with "
            "their disks, also those that run"
        )
    if reasons:
        raise XenableError(f"cannot revert: {'; '.join(reasons)}", hint="; ".join(hints))
    return guests


def _remove_guests(host: Host, listener: Listener) -> None:
    from xenable.cli.guest_common import guest_storage
    from xenable.guests.lifecycle import remove_all

    remove_all(host, guest_storage(host), reporter(listener, "remove guests and images"))


def _note_images(host: Host) -> None:
    from xenable.guests.records import IMAGES

    if host.names(IMAGES):
        note(f"the images that guests begin with stay in {IMAGES}; --remove-guests removes them too")
