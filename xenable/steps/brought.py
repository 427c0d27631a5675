# SPDX-License-Identifier: GPL-2.0-or-later
"""What is at the places of files that packages will bring, and belongs to no package: a purge would take it.

A hand-made /etc/xen/xl.conf stays when the package comes, and dpkg removes it when the package goes.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from xenable.errors import XenableError
from xenable.facts.dpkg import INFO
from xenable.host import Host
from xenable.steps.lists import members

if TYPE_CHECKING:
    from apt_inst import TarFile

_MERGED = re.compile(r"/usr(?=/(?:bin|sbin|lib|lib32|lib64|libx32)(?:/|$))")
"""Before the names that some packages have without it: file-hierarchy(7)."""


def brought(archives: Iterable[Path]) -> frozenset[str]:
    """Paths of the files in packages, as their control files name them: md5sums, conffiles, and for what ucf
    looks after the script. That is a small part of an archive, and a list of all members, which has links
    too, means unpacking it: that is done where a package has no md5sums.

    Errors: XenableError for an archive that is gone or damaged.
    """
    import apt_inst

    found: set[str] = set()
    for archive in archives:
        try:
            package = apt_inst.DebFile(str(archive))
            control = package.control
            sums, conffiles, script = (
                _member(control, name) for name in ("md5sums", "conffiles", "postinst")
            )
        except (SystemError, OSError) as e:
            raise XenableError(
                f"cannot look into {archive}: it is damaged or gone",
                hint="run `sudo apt clean`, then run the command again",
            ) from e
        if not sums:
            found |= set(members(package))
        found |= {f"/{name}" for name in re.findall(r"(?m)^[0-9a-f]{32}  (?:\./)?(.+)$", sums)}
        found |= {line.split()[-1] for line in conffiles.splitlines() if line.strip()}
        # dh_ucf(1) writes such a line for each file.
        found |= set(re.findall(r'(?m)^\s*ucfr\s+(?:-\S+\s+)*[\w.+-]+\s+"?(/[^"\s]+)"?\s*$', script))
    return frozenset(found)


def _member(control: TarFile, name: str) -> str:
    try:
        return control.extractdata(name).decode("utf-8", "replace")
    except LookupError:
        return ""


def unowned(host: Host, files: Collection[str]) -> tuple[str, ...]:
    """Those of these paths where a file or a link of nobody's is."""
    infos = ((path, host.stat(path)) for path in files)
    here = {p for p, info in infos if info and (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode))}
    return tuple(sorted(_nobodys(host, here)))


def unowned_folders(host: Host, files: Collection[str]) -> tuple[str, ...]:
    """Folders above these paths that are there, and that no package has: a purge removes them when they are
    empty."""
    above = {str(folder) for path in files for folder in PurePath(path).parents}
    return tuple(sorted(_nobodys(host, {folder for folder in above if host.is_dir(folder)})))


def _nobodys(host: Host, paths: set[str]) -> set[str]:
    left = paths - {"/"}
    lists = (name for name in host.names(INFO) if name.endswith(".list"))
    for name in lists:
        if not left:
            break
        lines = set(host.text(INFO / name).splitlines())
        left = {path for path in left if path not in lines and short_name(path) not in lines}
    return left


def short_name(path: str) -> str:
    """A path as packages of before /usr was merged name it."""
    return _MERGED.sub("", path)
