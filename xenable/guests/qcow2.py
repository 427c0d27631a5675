# SPDX-License-Identifier: GPL-2.0-or-later
"""Which disks stand on which images, from the header of qcow2 (docs/interop/qcow2.txt of QEMU)."""

from __future__ import annotations

import struct

from xenable.guests import records
from xenable.guests.model import Format
from xenable.host import Host

MAGIC = b"QFI\xfb"
LONGEST = 1023
"""Bytes of a backing file's name, by the format's definition."""


def backing_file(host: Host, path: str) -> str:
    """Name of the file that a qcow2 file stands on; empty for none, and for what is no qcow2.

    Errors: XenableError when it can't be read: it may stand on something then.
    """
    head = host.part(path, 20)
    if len(head) < 20 or head[:4] != MAGIC:
        return ""
    offset, length = struct.unpack(">QI", head[8:20])
    if not offset or not 0 < length <= LONGEST:
        return ""
    return host.part(path, length, offset).decode("utf-8", "surrogateescape")


def standing_on(host: Host, path: str) -> tuple[str, ...]:
    """Names of the guests whose disks stand on a file, in order."""
    guests = (g for g in records.read_all(host) if g.format is Format.QCOW2 and host.exists(g.disk))
    return tuple(guest.name for guest in guests if backing_file(host, guest.disk) == path)
