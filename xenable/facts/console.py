# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's command line and the serial consoles on it."""

from __future__ import annotations

import re

from xenable.facts.files import line
from xenable.facts.menu import grub_settings
from xenable.host import Host
from xenable.machine import Console, SerialConsole

DEFAULT_SPEED = 9600
"""What Linux takes when console= names no speed (Linux: Documentation/admin-guide/serial-console.rst)."""

_SERIAL = re.compile(r"console=ttyS([0-9]{1,2})(?:,([0-9]{1,7})([noe]?)([78]?)r?)?", re.ASCII)


def probe_console(host: Host) -> Console:
    running = line(host, "/proc/cmdline")
    settings = grub_settings(host)
    names = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
    configured = " ".join(value for name in names if (value := settings.get(name)))
    return Console(
        command_line=running,
        serial=tuple(dict.fromkeys((*parse_serial(running), *parse_serial(configured)))),
        configured=configured,
    )


def parse_serial(command_line: str) -> tuple[SerialConsole, ...]:
    """Serial consoles in the order of the command line: console=ttySN,SPEED[PARITY[BITS[r]]]."""
    found = []
    for word in command_line.split():
        parts = _SERIAL.fullmatch(word)
        if parts:
            port, speed, parity, bits = parts.groups()
            found.append(
                SerialConsole(
                    port=int(port),
                    speed=int(speed or DEFAULT_SPEED),
                    mode=f"{bits or 8}{parity or 'n'}1",
                )
            )
    return tuple(found)
