# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xenable did here before, and signs of a Xen that was installed by hand."""

from __future__ import annotations

from xenable.errors import XenableError
from xenable.facts.dpkg import owner
from xenable.host import Host
from xenable.journal import read_journal
from xenable.machine import Conversion
from xenable.model import EntryState

LEGACY = (
    "/usr/local/sbin/xl",
    "/usr/local/sbin/xenstored",
    "/usr/local/lib/xen",
    "/etc/grub.d/08_linux_xen",
    "/etc/grub.d/09_linux_xen",
)
DIVERTED = "/etc/grub.d/20_linux_xen"
OURS = "xenable"
"""Folder of the slots in /boot."""


def probe_conversion(host: Host) -> Conversion:
    return Conversion(state=_state(host), legacy_xen=_legacy(host))


def _state(host: Host) -> str:
    try:
        states = {record.state for record in read_journal(host)}
    except XenableError:
        return "unreadable"
    if not states:
        return "none"
    if states & {EntryState.UNDOING, EntryState.UNDONE}:
        return "half-reverted"
    return "applied" if states == {EntryState.DONE} else "half-applied"


def _legacy(host: Host) -> tuple[str, ...]:
    found = [path for path in LEGACY if host.exists(path)]
    # Three lines each: the path, where it went, and on whose behalf.
    if DIVERTED in host.text("/var/lib/dpkg/diversions").split("\n")[::3]:
        found.append(DIVERTED)
    for name in host.names("/boot"):
        path = f"/boot/{name}"
        if name.startswith("xen") and name != OURS and not owner(host, path, "xen"):
            found.append(path)
    return tuple(found)
