# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a guest as data, and what differs between two such trees. Pure."""

import json
from dataclasses import dataclass
from pathlib import Path

# What a running machine changes by itself, or what is not stored at all. Everything else counts.
VOLATILE = (
    "/dev",
    "/lost+found",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/backups",
    "/var/cache",
    "/var/lib/apt/daily_lock",
    "/var/lib/apt/lists",
    "/var/lib/apt/periodic",
    "/var/lib/dhcp",
    "/var/lib/dhcpcd",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/status-old",
    "/var/lib/lastlog",
    "/var/lib/logrotate",
    "/var/lib/private/systemd",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/timers",
    "/var/lib/systemd/timesync",
    "/var/lib/wtmpdb",
    "/var/lib/xenable",
    "/var/log",
    "/var/tmp",
)


@dataclass(frozen=True)
class Entry:
    """One path; content is a file's MD5, a link's target, a device's numbers, and xattrs (name, hex)."""

    kind: str
    mode: str
    uid: int
    gid: int
    content: str
    xattrs: tuple[tuple[str, str], ...] = ()


def script() -> str:
    """The Python program that prints a guest's tree; it takes VOLATILE as its arguments."""
    return (Path(__file__).with_name("guest") / "tree.py").read_text()


def parse(text: str) -> dict[str, Entry]:
    """What the program of script() printed, as data."""
    return {
        path: Entry(**{**raw, "xattrs": tuple(sorted(raw["xattrs"].items()))})
        for path, raw in json.loads(text).items()
    }


def diff_trees(before: dict[str, Entry], after: dict[str, Entry]) -> list[str]:
    """One line per path that came (+), went (-) or changed (~), sorted by path; empty if none did."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            lines.append(f"+ {path} ({new.kind})")
        elif new is None and old is not None:
            lines.append(f"- {path} ({old.kind})")
        elif old is not None and new is not None and old != new:
            lines.append(f"~ {path} ({', '.join(changes(old, new))})")
    return lines


def changes(old: Entry, new: Entry) -> list[str]:
    """What differs between two entries of one path, in words."""
    words: list[str] = []
    for name in ("kind", "mode", "uid", "gid", "content", "xattrs"):
        was, now = getattr(old, name), getattr(new, name)
        if was == now:
            continue
        if name == "content" and old.kind == new.kind == "file":
            words.append("content")
        else:
            words.append(f"{name} {shown(was)} -> {shown(now)}")
    return words


def shown(value: object) -> str:
    """A field as a person reads it."""
    if isinstance(value, tuple):
        return ",".join(f"{name}={content}" for name, content in value) or "none"
    return str(value)
