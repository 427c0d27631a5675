# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable try-new`, for data/apt/after-packages alone"""

from __future__ import annotations

import click

from xenable.cli.common import need_root, note
from xenable.host import Host


@click.command(hidden=True)
def command() -> None:
    """Nobody but apt has a use for it: a person says `xenable apply`."""
    from xenable.convert import try_new

    need_root("try-new")
    if try_new(Host()):
        note(
            "Xen, dom0's kernel, its initrd or their options are new: the next reset tries it once, "
            "and falls back if it fails"
        )
