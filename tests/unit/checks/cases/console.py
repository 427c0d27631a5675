# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/console.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case
from xenable.machine import SerialConsole

CASES: tuple[Case, ...] = (
    (
        "console/serial-port",
        {"console": {"serial": (SerialConsole(port=4, speed=115200, mode="8n1"),)}},
        {},
        "ttyS4 is",
        "ttyS0",
    ),
)
