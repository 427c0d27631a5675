# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory, in MiB. In a dom0 this is what dom0 has, not what the machine has."""

from __future__ import annotations

from xenable.facts.files import number
from xenable.host import Host
from xenable.machine import Memory


def probe_memory(host: Host) -> Memory:
    values = parse_meminfo(host.text("/proc/meminfo"))
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    return Memory(
        total=total // 1024 if total is not None else None,
        used=max(total - available, 0) // 1024 if total is not None and available is not None else None,
        zfs_arc=_zfs_arc(host.text("/proc/spl/kstat/zfs/arcstats")),
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """Values of /proc/meminfo in KiB."""
    values = {}
    for row in text.splitlines():
        name, _, rest = row.partition(":")
        value = number((rest.split() or [""])[0])
        if value is not None:
            values[name] = value
    return values


def _zfs_arc(text: str) -> int | None:
    for row in text.splitlines():
        words = row.split()
        if len(words) == 3 and words[0] == "size":
            value = number(words[2])
            return value // 2**20 if value is not None else None
    return None
