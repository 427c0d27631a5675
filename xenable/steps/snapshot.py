# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything about a name in the file system, as JSON, and the way back to it.

A snapshot is `{"what": "absent" | "file" | "link", …}`: of a file the digest of its bytes (they lie in
the journal's store), mode, uid, gid, mtime_ns and xattrs; of a link its target; and always `folders`,
those above it that were not there, the topmost first.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xenable.errors import XenableError
from xenable.host import Host, StrPath
from xenable.journal import load_bytes, store_bytes

Snapshot = Mapping[str, Any]


def take(host: Host, path: StrPath) -> dict[str, Any]:
    """Snapshot of a name, its bytes put into the store. Errors: XenableError for a folder, a device, …"""
    seen = look(host, path)
    if seen["what"] == "file":
        store_bytes(host, host.read(path))
    return seen


def look(host: Host, path: StrPath) -> dict[str, Any]:
    """The same without keeping the bytes, to compare with."""
    folders = missing_folders(host, path)
    info = host.stat(path)
    if info is None:
        return {"what": "absent", "folders": folders}
    if stat.S_ISLNK(info.st_mode):
        return {"what": "link", "target": host.link_target(path), "folders": folders}
    if not stat.S_ISREG(info.st_mode):
        raise XenableError(
            f"cannot replace {path}: it is no regular file", hint="move it out of the way first"
        )
    return {
        "what": "file",
        "digest": hashlib.sha256(host.read(path)).hexdigest(),
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mtime_ns": info.st_mtime_ns,
        "xattrs": {k: base64.b64encode(v).decode("ascii") for k, v in host.xattrs(path).items()},
        "folders": folders,
    }


def same(now: Snapshot, then: Snapshot) -> bool:
    """Whether two snapshots tell of the same thing, whatever folders were made in between."""
    return {**now, "folders": ()} == {**then, "folders": ()}


def same_bytes(now: Snapshot, then: Snapshot) -> bool:
    """Whether two snapshots tell of files with the same content."""
    return bool(now["what"] == then["what"] == "file" and now["digest"] == then["digest"])


def restore(host: Host, path: StrPath, snapshot: Snapshot) -> None:
    """Put back what a snapshot saw, and remove the folders that were not there if they are empty now.

    May be called again on what a killed call left. Errors: XenableError.
    """
    host.clean(path)
    if not same(look(host, path), snapshot):
        if snapshot["what"] == "absent":
            host.remove(path)
        elif snapshot["what"] == "link":
            host.symlink(path, snapshot["target"])
        else:
            host.make_folder(Path(path).parent)
            host.write(
                path,
                load_bytes(host, snapshot["digest"]),
                mode=snapshot["mode"],
                owner=(snapshot["uid"], snapshot["gid"]),
                xattrs=xattrs(snapshot),
                mtime_ns=snapshot["mtime_ns"],
            )
    remove_folders(host, snapshot["folders"])


def xattrs(snapshot: Snapshot) -> dict[str, bytes]:
    """Extended attributes as Host.write takes them; none for what is no file."""
    return {name: base64.b64decode(value) for name, value in snapshot.get("xattrs", {}).items()}


def missing_folders(host: Host, path: StrPath) -> list[str]:
    """Folders above a path that are not there, the topmost first."""
    above = list(Path(path).parents)
    return [str(folder) for folder in reversed(above) if not host.exists(folder)]


def remove_folders(host: Host, folders: list[str]) -> None:
    """Remove folders that hold nothing, the lowest first."""
    for folder in reversed(folders):
        if host.is_dir(folder) and not host.names(folder):
            host.remove(folder)


def take_folders(host: Host, paths: Iterable[StrPath]) -> dict[str, list[int]]:
    """Mode, uid and gid of those paths that are folders now."""
    found = ((str(path), host.stat(path)) for path in paths)
    return {
        path: [stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid]
        for path, info in found
        if info is not None and stat.S_ISDIR(info.st_mode)
    }


def restore_folders(host: Host, folders: Mapping[str, list[int]]) -> None:
    """Make those folders again that are gone: dpkg removes empty ones with the last package in them."""
    for path, (mode, uid, gid) in sorted(folders.items()):
        if not host.exists(path):
            host.make_folder(path, mode, owner=(uid, gid))


def diff(before: bytes | str, after: bytes | str, name_before: str, name_after: str) -> str:
    """Unified diff of two texts; bytes that are no UTF-8 show as replacement characters."""
    texts = (t if isinstance(t, str) else t.decode("utf-8", "replace") for t in (before, after))
    old, new = (t.splitlines(keepends=True) for t in texts)
    lines = difflib.unified_diff(old, new, name_before, name_after)
    return "".join(line if line.endswith("\n") else line + "\n\\ no newline at the end\n" for line in lines)
