# SPDX-License-Identifier: GPL-2.0-or-later
"""Will Xen's messages come out where Linux's do?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.machine import Facts
from xenable.model import Finding, Severity

SERIAL_PORT = Rule(
    id="console/serial-port",
    severity=Severity.WARNING,
    title="Xen can't use the serial console that Linux uses",
    why="Xen knows the first two ports only (com1 and com2). What it says will not be seen on that line.",
    remedy="Use ttyS0 or ttyS1 as console if the machine has them.",
)

RULES = (SERIAL_PORT,)


def check_console(facts: Facts, config: Config) -> Iterator[Finding]:
    ports = [f"ttyS{s.port}" for s in facts.console.serial if s.port not in (0, 1)]
    if ports:
        yield SERIAL_PORT.found(f"{words(ports)} {are(ports)} set as console.")
