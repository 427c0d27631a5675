# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable facts`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xenable.cli.common import host_at, json_option, note_rights, root_option


@click.command()
@json_option
@root_option
def command(as_json: bool, root: Path) -> None:
    """Changes nothing. What can't be found out is `unknown` or empty."""
    from xenable.facts import gather
    from xenable.ui.document import facts_document, print_document

    host = host_at(root)
    note_rights(host)
    document = facts_document(gather(host))
    if as_json:
        print_document(document, sys.stdout)
        return
    from xenable.ui.facts import render_facts
    from xenable.ui.layout import show, width_of

    show(render_facts(document, width_of(sys.stdout)), sys.stdout)
