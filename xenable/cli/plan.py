# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable plan`"""

from __future__ import annotations

import sys
from typing import Any

import click

from xenable.cli.common import accept_overrides, json_option, note, note_rights, override_option
from xenable.cli.settings import config_for, setting_options
from xenable.errors import Exit, XenableError
from xenable.host import Host


@click.command()
@json_option
@override_option
@setting_options
def command(as_json: bool, overrides: tuple[str, ...], **options: Any) -> Exit:
    """Every package, file (as a diff), unit, boot variable and menu entry. Changes nothing. Exit status 0:
    the machine is ready for it; 2: not ready, and this is what would be done if it were."""
    from xenable.checks import ready, run_checks
    from xenable.convert import begun
    from xenable.facts import gather
    from xenable.plan import make_plan
    from xenable.ui.document import plan_document, print_document
    from xenable.ui.findings import not_ready
    from xenable.ui.layout import show, width_of
    from xenable.ui.plan import render_steps

    host = Host()
    accepted = accept_overrides(overrides)
    config = config_for(host, options)
    if begun(host):
        raise XenableError(
            "cannot plan: a conversion is on this machine already",
            hint="`xenable status` shows where it stands; `xenable revert` takes it back",
        )
    note_rights(host)
    facts = gather(host, xen_kernel=config.xen_kernel)
    findings = run_checks(facts, config)
    good = ready(findings, accepted)
    try:
        steps = make_plan(facts, config)
        previews = [step.preview(host) for step in steps]
    except XenableError as e:
        if good:
            raise
        hint = "; ".join(filter(None, (e.hint, "`xenable check` says what else is in the way")))
        raise XenableError(e.message, hint=hint, status=Exit.NOT_READY) from e
    if as_json:
        kinds = [step.kind for step in steps]
        document = plan_document(list(zip(kinds, previews, strict=True)), facts.packages, ready=good)
        print_document(document, sys.stdout)
    else:
        show(render_steps(previews, width_of(sys.stdout)), sys.stdout)
    if good:
        return Exit.DONE
    # At the end, where it is seen: a plan is longer than a screen.
    note(f"{not_ready(findings, accepted)}; `xenable check` says why, and the plan may change with it")
    return Exit.NOT_READY
