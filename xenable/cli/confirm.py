# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable confirm`"""

from __future__ import annotations

import click

from xenable.cli.common import need_root, show_status
from xenable.host import Host


@click.command()
def command() -> None:
    """Only for a trial that was armed with --no-auto-confirm, or to speak before the gate does."""
    from xenable.trial import confirm

    need_root("confirm")
    host = Host()
    with host.lock():
        now = confirm(host)
    show_status(now)
