# SPDX-License-Identifier: GPL-2.0-or-later
"""Claims: what may be there of a guest that is being made, on disk before any of it is.

A claim is GUESTS/.NAME.creating. It keeps name and address from others, and is all that is needed to take
everything back, for the process that made it or, when that is gone, for the next command.

The commit point is the write of the guest's file in /etc/xen: from then on it can be started, by xl or with
dom0, and may have been used for days. What a dead process left is taken back before that point, and finished
after it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from xenable.datafiles import data_file
from xenable.errors import XenableError
from xenable.guests import images, records, storage, xl, xlcfg
from xenable.guests.model import Format
from xenable.guests.records import GUESTS
from xenable.host import Host
from xenable.network import names
from xenable.network.addresses import ipv4_of
from xenable.network.effective import GuestNet

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
    autostart: bool = False
    """Whether it is to start with dom0. Claims of older versions do not say so."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """Names of the guests whose creation had been cut off."""

    taken_back: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """All of it was there."""


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


def taken_addresses(host: Host, net: GuestNet) -> set[IPv4Address]:
    """Addresses of all guests: by their records, claims, every xl.cfg and every domain, whosever it is. An
    IPv6 address takes the IPv4 address that goes with it."""
    # Of a file elsewhere, or of libvirt, there may be a domain alone.
    texts = [text for details in xl.details(host).values() for text in details.addresses]
    for name in records.names(host):
        # A damaged record must not stop all others; its xl.cfg says the address too.
        with contextlib.suppress(XenableError):
            texts.append(records.read(host, name).ipv4)
    texts += [claim.ipv4 for claim in claims(host)]
    for path in records.cfg_files(host):
        # A file that xl can't read starts no guest.
        with contextlib.suppress(XenableError):
            texts += xlcfg.summary(host.text(path), str(path)).addresses
    taken = set()
    for text in texts:
        with contextlib.suppress(ValueError):
            address = ip_address(text)
            beside = address if isinstance(address, IPv4Address) else ipv4_of(net, address)
            if beside is not None:
                taken.add(beside)
    return taken


def began(host: Host, pid: int) -> str:
    """When a process began, in ticks since the start of the machine, with the machine's boot id; empty when
    there is no such process. proc(5): the 22nd field, after a name that may hold anything."""
    fields = host.text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return f"{fields[19]} {host.text('/proc/sys/kernel/random/boot_id').strip()}" if len(fields) > 19 else ""


def sweep(host: Host) -> Swept:
    """Take back or finish what creations left whose process died, and finish removals.

    Errors: XenableError.
    """
    if not any(name.startswith(".") for name in host.names(GUESTS)):
        return Swept()
    with host.lock_folder(GUESTS):
        return sweep_held(host)


def sweep_held(host: Host) -> Swept:
    """As sweep, for who holds the lock of GUESTS: the claims that are left are of processes that live."""
    taken, kept = [], []
    for claim in claims(host):
        if claim.began and began(host, claim.pid) == claim.began:
            continue
        if is_whole(host, claim):
            _finish(host, claim)
            kept.append(claim.name)
        else:
            take_back(host, claim)
            taken.append(claim.name)
    for name in host.names(GUESTS):
        # Both are made under the lock, so nobody is at them now.
        if name.startswith(".") and name.endswith((REMOVING, ".xenable-new")):
            images.discard(host, GUESTS / name)
    return Swept(taken_back=tuple(taken), kept=tuple(kept))


def is_whole(host: Host, claim: Claim) -> bool:
    """Whether a guest is past the commit point: its record is there, and a file of /etc/xen is about it."""
    try:
        if records.read(host, claim.name).uuid != claim.uuid:
            return False
    except XenableError:
        # A damaged record in a folder that only this claim could name: in doubt nobody's disk goes.
        if not host.exists(records.record(claim.name)):
            return False
    # It may have been given another name since: to the order in which guests start, for one.
    return any(claim.uuid in host.text(path) for path in records.cfg_files(host))


def _finish(host: Host, claim: Claim) -> None:
    """Make what creation makes after the commit point, but for the start. Errors: XenableError."""
    cfg = records.cfg(claim.name)
    if claim.autostart and host.exists(cfg) and not host.exists(records.auto_link(claim.name)):
        records.add_auto_link(host, cfg.name)
    host.remove(claim_path(claim.name))


def take_back(host: Host, claim: Claim) -> None:
    """Remove all that may be there of a claim, the claim last. May be repeated. Errors: XenableError."""
    cfg, link = records.cfg(claim.name), records.auto_link(claim.name)
    # Only what is ours goes: the name was free when it was claimed. The file goes first: who goes on after a
    # kill must not take the guest for a whole one. A link that is still there then leads nowhere.
    if claim.uuid in host.text(cfg):
        host.remove(cfg)
    host.clean(cfg)
    host.clean(link)
    if claim.autostart and not host.exists(cfg):
        records.remove_auto_links(host, (link,))
    for domain in xl.domains(host):
        if domain.uuid == claim.uuid:
            xl.destroy(host, domain, f"take {claim.name} back")
            sweep_network(host)
    forget_name(host, claim.name)
    if claim.volume:
        storage.remove_disk(host, claim.volume, Format.BLOCK)
    tops = {GUESTS} | ({Path(claim.folder).parent} if claim.folder else set())
    for top in sorted(tops):
        for name in (claim.name, f".{claim.name}{NEW}"):
            storage.remove_folder(host, top / name)
    host.remove(claim_path(claim.name))


def sweep_network(host: Host) -> None:
    """The vif script takes its rules away when an interface goes; this does it where that was not so."""
    with contextlib.suppress(XenableError):
        host.run(["sh", str(data_file("network/network")), "sweep"], check=False)


def forget_name(host: Host, name: str) -> None:
    """Withdraw a guest's name where it, or a part of it, was published. Errors: XenableError."""
    host.clean(names.FOLDER / name)
    host.clean(names.HOSTS)
    if host.exists(names.FOLDER / name) or f" {name}.{names.DOMAIN} " in host.text(names.HOSTS):
        names.withdraw(host, name)
