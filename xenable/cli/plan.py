# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable plan`"""

from __future__ import annotations

import sys
from typing import Any

import click

from xenable.cli.common import json_option, note, note_rights
from xenable.cli.settings import config_for, setting_options
from xenable.errors import XenableError
from xenable.host import Host


@click.command()
@json_option
@setting_options
def command(as_json: bool, **options: Any) -> None:
    """Every package, file (as a diff), unit, boot variable and menu entry. Changes nothing."""
    from xenable.checks import ready, run_checks
    from xenable.convert import begun
    from xenable.facts import gather
    from xenable.plan import make_plan
    from xenable.ui.document import plan_document, print_document
    from xenable.ui.layout import show, width_of
    from xenable.ui.plan import render_steps

    host = Host()
    config = config_for(host, options)
    if begun(host):
        raise XenableError(
            "cannot plan: a conversion is on this machine already",
            hint="`xenable status` shows where it stands; `xenable revert` takes it back",
        )
    note_rights(host)
    facts = gather(host)
    if not ready(run_checks(facts, config), frozenset()):
        note("this machine is not ready: `xenable check` says why; the plan may not be the last word")
    steps = make_plan(facts, config)
    previews = [step.preview(host) for step in steps]
    if as_json:
        kinds = [step.kind for step in steps]
        print_document(plan_document(list(zip(kinds, previews, strict=True)), facts.packages), sys.stdout)
    else:
        show(render_steps(previews, width_of(sys.stdout)), sys.stdout)
