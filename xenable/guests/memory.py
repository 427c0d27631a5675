# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a guest fits into the memory that Xen has left, and dom0."""

from __future__ import annotations

import re

from xenable.errors import XenableError
from xenable.facts.memory import parse_meminfo
from xenable.guests.model import Format, Guest, Kind

QEMU = 64
"""MiB of dom0 for the QEMU that libxl starts with each guest whose disk is a qcow2 file, and which serves it
(libxl__need_xenpv_qemu). An estimate, as versions differ: an idle process has some tens of MiB of its own,
and its caches of qcow2's tables and the buffers of what the guest writes come on top."""


def free_memory(text: str) -> int:
    """MiB that Xen has left, from the output of `xl info`; what guests have claimed is not in it.

    Errors: XenableError when the output does not say.
    """
    found = re.search(r"^free_memory[ \t]*:[ \t]*([0-9]+)[ \t]*$", text, re.MULTILINE | re.ASCII)
    if found is None:
        raise XenableError(
            "cannot tell how much memory is free: `xl info` does not say",
            hint="look at its output: this machine has to run under Xen",
        )
    return int(found[1])


def overhead(guest: Guest) -> int:
    """MiB that Xen needs beside the guest's memory, which is what xl frees before it starts a guest.

    libxl__domain_need_memory_calculate (tools/libs/light/libxl_mem.c of Xen): the paging memory, and 1 MiB
    for PV or 2 MiB for PVH, all rounded up to 2 MiB. The paging memory is 256 pages a processor and one page
    a MiB: of the P2M map for PVH, to shadow processes for PV while it moves
    (libxl__get_required_paging_memory, libxl_create.c, since Xen 4.17). A PVH guest on a processor without
    nested paging needs another page a MiB, which is not counted here: there are hardly any left.
    """
    paging = 4 * (256 * guest.vcpus + guest.memory)
    extra = 1024 if guest.kind is Kind.PV else 2048
    need = guest.memory * 1024 + paging + extra
    return -(-need // 2048) * 2 - guest.memory


def dom0_has_room(text: str, guest: Guest) -> str | None:
    """None when dom0 has the memory that it needs itself for the guest, by the text of /proc/meminfo, or
    when that does not say; else the sentence that says what is missing."""
    available = parse_meminfo(text).get("MemAvailable")
    if guest.format is not Format.QCOW2 or available is None or available >= QEMU * 1024:
        return None
    return (
        f"the disk of {guest.name} is a qcow2 file, for which dom0 runs a QEMU of some {QEMU} MiB, "
        f"and dom0 has {available // 1024} MiB left"
    )


def fits(free: int, guest: Guest) -> str | None:
    """None when the guest fits into that many MiB; else the sentence that says what is missing."""
    more = overhead(guest)
    need = guest.memory + more
    if need <= free:
        return None
    return (
        f"{guest.name} needs {need} MiB, {guest.memory} MiB for itself and {more} MiB for Xen, "
        f"and {free} MiB are free"
    )
