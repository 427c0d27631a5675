# SPDX-License-Identifier: GPL-2.0-or-later
"""What there is to say about every guest: those that run, and those that could.

Sources: `xl list -v`, `xl list -l`, `xl uptime`, the files in /etc/xen, Xenable's records, nft. Each is left
out where it can't be read: without root rights, or not under Xen.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from xenable.errors import XenableError
from xenable.guests import images, qcow2, records, storage, xl, xlcfg
from xenable.guests.images import Base
from xenable.guests.model import Format, Guest
from xenable.guests.xl import Details, Domain
from xenable.host import Host
from xenable.network.counters import spoofed

NO_XEN = "no Xen"
STOPPED = "stopped"
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A guest; None and empty texts for what is not known, or not so for one that does not run."""

    name: str
    state: str
    """running, paused, shut down, crashed, dying, stopped; `no Xen` where none can run, `unknown` without
    root rights."""
    kind: str = ""
    """pv, pvh or hvm."""
    memory: int | None = None
    """MiB: what it has, or would get."""
    vcpus: int | None = None
    cpu_seconds: float | None = None
    uptime: int | None = None
    """Seconds."""
    addresses: tuple[str, ...] = ()
    """IPv4 first."""
    release: str = ""
    disk_bytes: int | None = None
    disk_used: int | None = None
    """Bytes of dom0's storage; blocks that are shared count."""
    autostart: bool = False
    isolated: bool | None = None
    spoofed: int | None = None
    """Frames with a false sender that were dropped since it was started."""
    ours: bool = False
    """Whether Xenable made it."""
    domain: int | None = None
    """Number of its domain."""
    problem: str = ""
    """What of it can't be read, or is not as it should be."""


UNGUARDED = (
    "nothing keeps it from sending under false addresses: its rules are gone, as after `nft flush ruleset`; "
    "`sudo systemctl reload-or-restart xenable-network` sets them up again"
)


def rows(host: Host) -> tuple[Row, ...]:
    """Every guest, by name."""
    found: dict[str, Row] = {}
    for row in (*_records(host), *_files(host)):
        known = found.get(row.name)
        found[row.name] = row if known is None else _merge(known, row)
    state, running = _domains(host)
    found = {name: replace(row, state=state) for name, row in found.items()}
    dropped = spoofed(host) if running else None
    details = xl.details(host) if running else {}
    for domain in running:
        told = details.get(domain.id, Details())
        found[domain.name] = _live(found.get(domain.name), domain, told, dropped)
    return tuple(found[name] for name in sorted(found))


def _records(host: Host) -> list[Row]:
    """Guests that Xenable made, by their records."""
    found: list[Row] = []
    guests: list[Guest] = []
    for name in records.names(host):
        try:
            guests.append(records.read(host, name))
        except XenableError as e:
            found.append(Row(name=name, state=UNKNOWN, ours=True, problem=e.message))
    groups = {storage.group_of(guest.disk) for guest in guests if guest.format is Format.BLOCK}
    volumes = storage.used_volumes(host, frozenset(groups))
    for guest in guests:
        used = volumes.get(guest.disk)
        if guest.format is not Format.BLOCK:
            used = storage.used_bytes(host, guest.disk, guest.format)
        found.append(
            Row(
                name=guest.name,
                state=UNKNOWN,
                kind=guest.kind.value,
                memory=guest.memory,
                vcpus=guest.vcpus,
                addresses=tuple(filter(None, (guest.ipv4, guest.ipv6))),
                release=guest.release,
                disk_bytes=guest.disk_bytes,
                disk_used=used,
                isolated=not host.exists(records.folder(guest.name) / "open"),
                ours=True,
            )
        )
    return found


def _files(host: Host) -> tuple[Row, ...]:
    """Guests of the files in /etc/xen: edited ones, and those that others wrote."""
    found: dict[str, Row] = {}
    for path in records.cfg_files(host):
        row = _file(host, path)
        if row is None:
            continue
        known = found.get(row.name, row)
        # Of several files the one of that name has the say, as for `start`: another may be an old copy. But
        # xendomains starts whatever is in its folder.
        say = row if path == records.cfg(row.name) else known
        found[row.name] = replace(say, autostart=row.autostart or known.autostart)
    return tuple(found.values())


def _file(host: Host, path: Path) -> Row | None:
    """What a file says of a guest; None when it names none."""
    auto = path.parent == records.AUTO or bool(records.auto_links(host, path))
    try:
        text = host.read(path).decode("utf-8", "replace")
        summary = xlcfg.summary(text, str(path))
    except XenableError as e:
        name = path.name.removesuffix(".cfg")
        return Row(name=name, state=UNKNOWN, autostart=auto, problem=e.message)
    if not summary.name:
        return None
    return Row(
        name=summary.name,
        state=UNKNOWN,
        kind=summary.kind,
        memory=summary.memory,
        vcpus=summary.vcpus or 1,
        addresses=summary.addresses,
        autostart=auto,
    )


def _merge(known: Row, file: Row) -> Row:
    """A guest of ours with what its file says: that is what xl goes by."""
    if file.problem or known.problem:
        return replace(known, autostart=file.autostart, problem=known.problem or file.problem)
    return replace(
        known,
        kind=file.kind,
        memory=file.memory if file.memory is not None else known.memory,
        vcpus=file.vcpus,
        addresses=file.addresses or known.addresses,
        autostart=file.autostart,
    )


def _domains(host: Host) -> tuple[str, tuple[Domain, ...]]:
    """The state of what does not run, and what runs."""
    if not xl.is_dom0(host):
        return NO_XEN, ()
    try:
        found = xl.domains(host)
    except XenableError:
        return UNKNOWN, ()
    if not found:
        return STOPPED, ()
    uptimes = xl.parse_uptime(host.run(["xl", "uptime"], check=False).stdout)
    return STOPPED, tuple(replace(domain, uptime=uptimes.get(domain.id)) for domain in found)


def _live(known: Row | None, domain: Domain, told: Details, dropped: dict[str, int] | None) -> Row:
    row = known or Row(name=domain.name, state=UNKNOWN)
    # The emulated half of an HVM guest's interface has a counter of its own.
    mine = [count for vif, count in (dropped or {}).items() if vif.removesuffix("-emu") in told.vifs]
    running = row.ours and domain.state == "running"
    unguarded = running and dropped is not None and not set(told.vifs) <= set(dropped)
    return replace(
        row,
        state=domain.state,
        kind=told.kind or row.kind,
        memory=domain.memory,
        vcpus=domain.vcpus,
        cpu_seconds=domain.cpu_seconds,
        uptime=domain.uptime,
        addresses=told.addresses or row.addresses,
        spoofed=sum(mine) if mine else None,
        domain=domain.id,
        problem=row.problem or (UNGUARDED if unguarded else ""),
    )


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """A base image, and what holds it."""

    name: str
    release: str
    """Code name, or the name of the file that was imported."""
    bytes: int
    """No guest of it has a shorter disk."""
    used: int | None
    """Bytes of dom0's storage, with its kernel; None when nobody says."""
    created: str
    """UTC, ISO 8601."""
    guests: tuple[str, ...] | None
    """Guests whose disks stand on it, or may, as they are not there now; None without root rights. Those
    with a copy can do without it."""


def image_rows(host: Host) -> tuple[ImageRow, ...]:
    """Every base image, by name. Errors: XenableError for a damaged record."""
    return tuple(_image(host, base) for base in images.bases(host))


def _image(host: Host, base: Base) -> ImageRow:
    sizes = [storage.used_bytes(host, str(path), Format.RAW) for path in images.files_of(base)]
    users: tuple[str, ...] | None = None
    with contextlib.suppress(XenableError):
        users = qcow2.standing_on(host, base.path, base.release)
    return ImageRow(
        name=base.name,
        release=base.release,
        bytes=base.bytes,
        used=sum(size for size in sizes if size is not None) if None not in sizes else None,
        created=base.created,
        guests=users,
    )
