# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in a folder, so that two moments can be compared."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

OURS = ("var/lib/xenable", "var/log", "var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin")
"""The journal and logs stay after a revert."""

DPKG = ("var/lib/dpkg/status", "var/lib/dpkg/lock", "var/lib/dpkg/updates", "var/lib/dpkg/triggers")
"""dpkg writes its database in an order of its own; the tests compare what it says instead."""

FOLDERS = ("etc", "boot", "srv", "sys/firmware", "var/lib/dpkg", "var/lib/apt", "var/cache/apt")

Tree = dict[str, tuple[object, ...]]


def tree(
    root: Path = Path("/"), folders: tuple[str, ...] = FOLDERS, skip: tuple[str, ...] = OURS + DPKG
) -> Tree:
    """Name → kind, mode, owner, of files also bytes, time and extended attributes; of links the target."""
    found: Tree = {}
    for folder in folders:
        for path in _walk(root / folder):
            name = str(path.relative_to(root))
            if name.startswith(skip):
                continue
            info = path.lstat()
            common: tuple[object, ...] = (oct(info.st_mode), info.st_uid, info.st_gid)
            if stat.S_ISLNK(info.st_mode):
                found[name] = (*common, str(path.readlink()))
            elif stat.S_ISREG(info.st_mode):
                attributes = {a: os.getxattr(path, a) for a in sorted(os.listxattr(path))}
                found[name] = (*common, path.read_bytes(), info.st_mtime_ns, str(attributes))
            else:
                found[name] = common
    return found


def contents(found: Tree) -> Tree:
    """The same without times: what two runs of one thing have in common."""
    return {name: (*seen[:4], *seen[5:]) for name, seen in found.items()}


def difference(before: Tree, after: Tree) -> list[str]:
    """Names that came, went or changed, with what they are."""
    lines = [f"- {name}" for name in sorted(before.keys() - after.keys())]
    lines += [f"+ {name}" for name in sorted(after.keys() - before.keys())]
    both = sorted(before.keys() & after.keys())
    return lines + [
        f"{name}: {before[name]} became {after[name]}" for name in both if before[name] != after[name]
    ]


def _walk(folder: Path) -> Iterator[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return
    yield folder
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path
