# SPDX-License-Identifier: GPL-2.0-or-later
"""Which distribution this is: os-release(5)."""

from __future__ import annotations

import shlex

from xenable.host import Host
from xenable.machine import Distribution


def probe_distribution(host: Host) -> Distribution:
    values = parse_os_release(host.text("/etc/os-release") or host.text("/usr/lib/os-release"))
    return Distribution(
        id=values.get("ID", ""),
        version_id=values.get("VERSION_ID", ""),
        codename=values.get("VERSION_CODENAME", "") or values.get("UBUNTU_CODENAME", ""),
        name=values.get("PRETTY_NAME", "") or values.get("NAME", ""),
        like=tuple(values.get("ID_LIKE", "").split()),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """Values by name; a line that is no assignment is left out."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            values[name] = "".join(shlex.split(value))
        except ValueError:
            values[name] = value.strip("\"'")
    return values
