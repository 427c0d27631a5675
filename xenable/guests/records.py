# SPDX-License-Identifier: GPL-2.0-or-later
"""Where everything of a guest lies, and the records that say which guests there are.

A guest is there when its folder has a guest.json. Names that begin with a dot are work in progress.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xenable.errors import XenableError
from xenable.guests.model import Guest, from_json, to_json
from xenable.host import STATE, Host

GUESTS = STATE / "guests"
IMAGES = STATE / "images"
CFGS = Path("/etc/xen")
AUTO = CFGS / "auto"
"""What xendomains starts with dom0."""
MADE_AUTO = STATE / "made-auto"
"""Is there while AUTO is a folder that Xenable made: Debian has none."""


def folder(name: str) -> Path:
    """Record, seed and flags of a guest; its disk too, in the default storage."""
    return GUESTS / name


def cfg(name: str) -> Path:
    return CFGS / f"{name}.cfg"


def cfg_files(host: Host) -> tuple[Path, ...]:
    """Every file that may be a guest's: those of CFGS in order, then what else xendomains finds in AUTO."""
    own = tuple(CFGS / name for name in host.names(CFGS) if name.endswith(".cfg"))
    known = {_end(host, path) for path in own}
    # As a shell's *, by which xendomains takes them.
    entries = (AUTO / name for name in host.names(AUTO) if not name.startswith("."))
    return own + tuple(entry for entry in entries if host.is_file(entry) and _end(host, entry) not in known)


def _end(host: Host, path: Path) -> Path | None:
    """Where a path leads; None for a loop, which leads nowhere that xl or xendomains could follow either."""
    try:
        return host.resolve(path)
    except XenableError:
        return None


def auto_link(name: str) -> Path:
    return AUTO / f"{name}.cfg"


def add_auto_link(host: Host, file: str) -> None:
    """Let xendomains start the guest of a file of that name in CFGS with dom0. Errors: XenableError."""
    if not host.is_dir(AUTO):
        # Before the folder: without it the note means nothing.
        host.write(MADE_AUTO, b"")
        host.make_folder(AUTO)
    host.symlink(AUTO / file, f"../{file}")


def remove_auto_links(host: Host, links: Iterable[Path]) -> None:
    """Remove such links, and the folder if Xenable made it and it is empty then. Errors: XenableError."""
    for link in links:
        host.remove(link)
    if host.exists(MADE_AUTO) and not host.names(AUTO):
        host.remove(AUTO)
        host.remove(MADE_AUTO)


def auto_links(host: Host, path: Path) -> tuple[Path, ...]:
    """What lets xendomains start the guest of that file with dom0: links to it by any name, as 10-web1; or a
    copy by its own name."""
    found = []
    for name in host.names(AUTO):
        entry = AUTO / name
        if not host.link_target(entry):
            same = name == path.name
        else:
            same = _end(host, entry) == _end(host, path) is not None
        if same:
            found.append(entry)
    return tuple(found)


def record(name: str) -> Path:
    return folder(name) / "guest.json"


def names(host: Host) -> tuple[str, ...]:
    """Names of the guests that Xenable made, in order."""
    found = (name for name in host.names(GUESTS) if not name.startswith("."))
    return tuple(name for name in found if host.exists(record(name)))


def read(host: Host, name: str) -> Guest:
    """Errors: XenableError when there is no such guest, or its record is damaged."""
    path = record(name)
    if not host.exists(path):
        raise XenableError(
            f"cannot find the guest {name}: Xenable made none of that name",
            hint=f"`xenable guest list` names all guests; one of somebody else's is changed in {CFGS}",
        )
    return from_json(host.read(path).decode("utf-8", "replace"), str(path))


def read_all(host: Host) -> tuple[Guest, ...]:
    """Every guest that Xenable made. Errors: XenableError for a damaged record."""
    return tuple(read(host, name) for name in names(host))


def write(host: Host, guest: Guest, path: Path | None = None) -> None:
    """Write a record, at its place or, while the guest is made, at another."""
    host.write(path or record(guest.name), to_json(guest).encode())
