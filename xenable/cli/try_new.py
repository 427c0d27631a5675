# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable try-new`, for data/apt/after-packages alone"""

from __future__ import annotations

import click

from xenable.cli.common import need_root, note
from xenable.host import Host


@click.command(hidden=True)
def command() -> None:
    """Nobody but apt has a use for it: a person says `xenable apply`."""
    from xenable.boot.slots import lost_tools
    from xenable.convert import drop_removed, try_new
    from xenable.trial import armed_slot, environment, off_menu, running_series

    need_root("try-new")
    host = Host()
    if (series := running_series(host)) and lost_tools(host, series):
        note(
            f"the tools of Xen {series}, which runs, were removed, so dom0 can't shut its guests down any "
            "more: shut them down from inside before the reboot"
        )
    was_default = ""
    for removed in drop_removed(host):
        if removed.default:
            was_default = removed.slot
            note(f"{removed.what}: it is the default no longer")
        else:
            note(f"{removed.what}: its trial is called off")
    try:
        if try_new(host, instead_of=was_default):
            note(
                "Xen, dom0's kernel, its initrd or their options are new: the next reset tries it once, "
                "and falls back if it fails"
            )
    finally:
        if was_default and not armed_slot(host):
            note("the next reset boots the native system")
    if (env := environment(host)) and (lack := off_menu(host, env)):
        note(lack)
