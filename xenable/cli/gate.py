# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable gate`, for xenable-gate.service alone"""

from __future__ import annotations

import click

from xenable.cli.common import need_root
from xenable.host import Host


@click.command(hidden=True)
def command() -> None:
    """Nobody but systemd has a use for it."""
    from xenable.gate import run_gate

    need_root("gate")
    run_gate(Host())
