# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable report`"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from xenable.cli.common import json_option, need_root
from xenable.errors import XenableError
from xenable.host import Host


@click.command()
@json_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the archive, a .tar.gz; the default is in the current folder.",
)
def command(as_json: bool, output: Path | None) -> None:
    """Facts, findings, plan, journal, logs and boot messages. Passwords and keys are left out; hardware
    addresses and public IP addresses get made-up ones, the same for the same."""
    from xenable.report import make_report
    from xenable.ui.document import print_document, report_document
    from xenable.ui.layout import line, show

    need_root("report")
    if str(output) == "-":
        raise XenableError("cannot write the archive to standard output", hint="name a file: -o FILE")
    target = output or Path(time.strftime("xenable-report-%Y%m%d-%H%M%S.tar.gz"))
    written = str(make_report(Host(), target))
    if as_json:
        print_document(report_document(written), sys.stdout)
    else:
        show([line(written)], sys.stdout)
