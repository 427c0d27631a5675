# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable confirm`"""

from __future__ import annotations

import sys

import click

from xenable.cli.common import json_option, need_root, show_status
from xenable.host import Host


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Only for a trial that was armed with --no-auto-confirm, or to speak before the gate does."""
    from xenable.trial import confirm
    from xenable.ui.document import print_document, status_document

    need_root("confirm")
    host = Host()
    with host.lock():
        now = confirm(host)
    if as_json:
        print_document(
            status_document(now.state, now.reason, now.running, now.next_boot, now.versions), sys.stdout
        )
    else:
        show_status(now)
