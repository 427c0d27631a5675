# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable status`"""

from __future__ import annotations

import sys

import click

from xenable.cli.common import json_option, show_status
from xenable.host import Host


@click.command()
@json_option
def command(as_json: bool) -> None:
    """In one word: native, armed, trying, confirmed or fell-back; and why."""
    from xenable.trial import status
    from xenable.ui.document import print_document, status_document

    host = Host()
    now = status(host)
    if as_json:
        print_document(
            status_document(now.state, now.reason, now.running, now.next_boot, now.versions), sys.stdout
        )
    else:
        show_status(now)
