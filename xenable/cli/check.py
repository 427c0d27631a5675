# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable check`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from xenable.cli.common import (
    accept_overrides,
    host_at,
    json_option,
    note_rights,
    override_option,
    root_option,
)
from xenable.cli.settings import config_for, setting_options
from xenable.errors import Exit


@click.command()
@json_option
@root_option
@override_option
@setting_options
def command(as_json: bool, root: Path, overrides: tuple[str, ...], **options: Any) -> Exit:
    """Changes nothing. Exit status 0: ready; 2: not ready."""
    from xenable.checks import ready, run_checks
    from xenable.facts import gather
    from xenable.ui.document import findings_document, print_document
    from xenable.ui.findings import render_findings
    from xenable.ui.layout import show, width_of

    host = host_at(root)
    accepted = accept_overrides(overrides)
    config = config_for(host, options)
    note_rights(host)
    findings = run_checks(gather(host, xen_kernel=config.xen_kernel), config)
    good = ready(findings, accepted)
    if as_json:
        print_document(findings_document(findings, accepted, ready=good), sys.stdout)
    else:
        show(render_findings(findings, accepted, width_of(sys.stdout)), sys.stdout)
    return Exit.DONE if good else Exit.NOT_READY
