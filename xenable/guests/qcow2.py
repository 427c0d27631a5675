# SPDX-License-Identifier: GPL-2.0-or-later
"""Which disks stand on which images, from the header of qcow2 (docs/interop/qcow2.txt of QEMU)."""

from __future__ import annotations

import struct

from xenable.guests import records
from xenable.guests.model import Format, Guest
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


def standing_on(host: Host, path: str, release: str | None) -> tuple[str, ...]:
    """Names of the guests whose disks stand on a file, in order.

    A disk that is not there may be back tomorrow, as where its file system is not mounted: it counts when
    the guest is of that release, and in any case where nobody knows the file's (None).
    """

    def stands(guest: Guest) -> bool:
        if host.exists(guest.disk):
            return backing_file(host, guest.disk) == path
        return release in (None, guest.release)

    guests = (guest for guest in records.read_all(host) if guest.format is Format.QCOW2)
    return tuple(guest.name for guest in guests if stands(guest))
