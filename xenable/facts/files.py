# SPDX-License-Identifier: GPL-2.0-or-later
"""Small ways of reading that never fail: what can't be read is None or empty."""

from __future__ import annotations

import re

from xenable.errors import XenableError
from xenable.host import Host, StrPath


def content(host: Host, path: StrPath) -> bytes | None:
    """All bytes of a file, or None when it is not there or may not be read."""
    try:
        return host.read(path)
    except XenableError:
        return None


def part(host: Host, path: StrPath, size: int, offset: int = 0) -> bytes:
    """Up to `size` bytes from `offset`; a negative offset counts from the end. Empty when unreadable."""
    try:
        with host.path(path).open("rb") as f:
            f.seek(offset, 2 if offset < 0 else 0)
            return f.read(size)
    except (OSError, ValueError):
        return b""


def line(host: Host, path: StrPath) -> str:
    """The text of a one-line file without its end."""
    return host.text(path).strip().strip("\0")


def number(text: str) -> int | None:
    """A decimal number, or None."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip(), re.ASCII) else None


def modified(host: Host, path: StrPath) -> float | None:
    """When a file or folder was last modified, in seconds since 1970."""
    try:
        return host.path(path).stat().st_mtime
    except OSError:
        return None
