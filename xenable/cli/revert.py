# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable revert`"""

from __future__ import annotations

import sys

import click

from xenable.cli.common import (
    json_option,
    need_consent,
    need_root,
    note,
    reboot,
    show_status,
    step_states,
    working,
)
from xenable.errors import XenableError
from xenable.host import Host

QUESTION = "Turn this machine back into what it was?"


@click.command()
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Put back what was, even over changes that others made since.")
@click.option("--reboot", "then_reboot", is_flag=True, help="Reboot at the end, into the native system.")
def command(as_json: bool, yes: bool, force: bool, then_reboot: bool) -> None:
    """From every state: files return byte for byte, packages that came with the conversion go, the boot menu
    is as it was. Refuses when others changed something since, and shows what."""
    from xenable import convert
    from xenable.trial import status
    from xenable.ui.document import print_document, result_document
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
        if any(obstacle.final for obstacle in obstacles):
            raise XenableError(
                "cannot revert: packages installed since need what would go, and that can't be forced",
                hint="remove the packages named above first, then run the command again",
            )
        if obstacles and not force:
            raise XenableError(
                "cannot revert: others changed what Xenable would put back",
                hint="undo these changes, or give --force to lose them",
            )
        need_consent(QUESTION, yes)
        with working() as listener:
            left = convert.revert(host, listener)
        result = "reverted"
    for sentence in left:
        note(sentence)
    now = status(host)
    if as_json:
        print_document(result_document(result, step_states(host), now.state), sys.stdout)
    else:
        done = "the rest of the machine is as it was" if left else "the machine is as it was"
        note(done if result == "reverted" else "there is nothing to revert")
        show_status(now)
    if then_reboot:
        reboot(host)
