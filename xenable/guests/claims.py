# SPDX-License-Identifier: GPL-2.0-or-later
"""Claims: what may be there of a guest that is being made, on disk before any of it is.

A claim is GUESTS/.NAME.creating. It keeps name and address from others, and is all that is needed to take
everything back, for the process that made it or, when that is gone, for the next command.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from xenable.errors import XenableError
from xenable.guests import images, records, storage, xl, xlcfg
from xenable.guests.model import Format
from xenable.guests.records import GUESTS
from xenable.host import Host
from xenable.network import names

CLAIM = ".creating"
NEW = ".new"
REMOVING = ".removing"
"""Ends of hidden names: `.web1.creating`, `.web1.new`, `.web1.removing`."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """On disk before anything else: what may be there of a guest that is being made."""

    name: str
    uuid: str
    ipv4: str
    pid: int
    began: str
    """When that process began, as the kernel counts it: numbers of processes are used again."""
    folder: str
    """Of its disk; empty where that is a volume."""
    volume: str


def claim_path(name: str) -> Path:
    return GUESTS / f".{name}{CLAIM}"


def claims(host: Host) -> tuple[Claim, ...]:
    """Every creation that is under way, or was when its process died."""
    found = []
    for name in host.names(GUESTS):
        if name.startswith(".") and name.endswith(CLAIM):
            with contextlib.suppress(ValueError, TypeError):
                found.append(Claim(**json.loads(host.read(GUESTS / name))))
    return tuple(found)


def taken_addresses(host: Host) -> set[IPv4Address]:
    """Addresses of all guests: by their records, claims, and every xl.cfg, whoever wrote it."""
    texts = []
    for name in records.names(host):
        # A damaged record must not stop all others; its xl.cfg says the address too.
        with contextlib.suppress(XenableError):
            texts.append(records.read(host, name).ipv4)
    texts += [claim.ipv4 for claim in claims(host)]
    for name in host.names(records.CFGS):
        if name.endswith(".cfg"):
            # A file that xl can't read starts no guest.
            with contextlib.suppress(XenableError):
                texts += xlcfg.summary(host.text(records.CFGS / name), name).addresses
    taken = set()
    for text in texts:
        with contextlib.suppress(AddressValueError):
            taken.add(IPv4Address(text))
    return taken


def began(host: Host, pid: int) -> str:
    """When a process began, in ticks since the start of the machine, with the machine's boot id; empty when
    there is no such process. proc(5): the 22nd field, after a name that may hold anything."""
    fields = host.text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return f"{fields[19]} {host.text('/proc/sys/kernel/random/boot_id').strip()}" if len(fields) > 19 else ""


def sweep(host: Host) -> tuple[str, ...]:
    """Take back what creations left whose process died, and finish removals; returns the names.

    Errors: XenableError.
    """
    if not any(name.startswith(".") for name in host.names(GUESTS)):
        return ()
    swept = []
    with host.lock_folder(GUESTS):
        for claim in claims(host):
            if not claim.began or began(host, claim.pid) != claim.began:
                take_back(host, claim)
                swept.append(claim.name)
        for name in host.names(GUESTS):
            # Both are made under the lock, so nobody is at them now.
            if name.startswith(".") and name.endswith((REMOVING, ".xenable-new")):
                images.discard(host, GUESTS / name)
    return tuple(swept)


def take_back(host: Host, claim: Claim) -> None:
    """Remove all that may be there of a claim, the claim last. May be repeated. Errors: XenableError."""
    for domain in xl.domains(host):
        if domain.uuid == claim.uuid:
            xl.run(host, ["destroy", str(domain.id)], f"take {claim.name} back")
    # Only what is ours goes: the name was free when it was claimed.
    if claim.uuid in host.text(records.cfg(claim.name)):
        host.remove(records.auto_link(claim.name))
        host.remove(records.cfg(claim.name))
    host.clean(records.cfg(claim.name))
    host.clean(records.auto_link(claim.name))
    forget_name(host, claim.name)
    if claim.volume:
        storage.remove_disk(host, claim.volume, Format.BLOCK)
    tops = {GUESTS} | ({Path(claim.folder).parent} if claim.folder else set())
    for top in sorted(tops):
        images.discard(host, top / claim.name)
        images.discard(host, top / f".{claim.name}{NEW}")
    host.remove(claim_path(claim.name))


def forget_name(host: Host, name: str) -> None:
    """Withdraw a guest's name where it, or a part of it, was published. Errors: XenableError."""
    if host.exists(names.FOLDER / name) or f" {name}.{names.DOMAIN} " in host.text(names.HOSTS):
        names.withdraw(host, name)
