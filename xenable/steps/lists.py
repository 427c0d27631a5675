# SPDX-License-Identifier: GPL-2.0-or-later
"""What dpkg forgets of a package when it fails, and what it keeps: a purge would leave that behind."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from xenable.facts.dpkg import read_status
from xenable.host import Host
from xenable.steps.conffiles import ARCHIVES, INFO

SCRATCH = Path("/var/lib/dpkg/tmp.ci")
"""Control files of the package that dpkg unpacks."""


def restore_lists(host: Host, packages: Collection[str]) -> None:
    """Give dpkg the list of files of packages that it unpacked and could not write one for.

    Such a package is half installed, and without its list (dpkg, src/main/unpack.c) dpkg would remove it and
    none of its files. The list is made of its archive in apt's cache. Errors: XenableError for a full disk.
    """
    known = read_status(host)
    for name in (package.partition(":")[0] for package in packages):
        if name not in known or known[name].state != "half-installed":
            continue
        archive = next(
            (n for n in host.names(ARCHIVES) if n.startswith(f"{name}_") and n.endswith(".deb")), ""
        )
        there = [n for n in host.names(INFO) if re.fullmatch(rf"{re.escape(name)}(:[\w-]+)?\.list", n)]
        if there or not archive:
            continue
        # Where it could not be filled, it was begun, under the name that dpkg looks for.
        begun = (n for n in host.names(INFO) if re.fullmatch(rf"{re.escape(name)}(:[\w-]+)?\.list-new", n))
        target = next(begun, f"{name}.list-new").removesuffix("-new")
        host.write(INFO / target, _list_of(host.path(ARCHIVES / archive)).encode())


def _list_of(archive: Path) -> str:
    """The names in a package, as dpkg has them in its lists."""
    import apt_inst

    names: list[str] = []
    apt_inst.DebFile(str(archive)).data.go(lambda member, _data: names.append(member.name))
    return "".join(f"/{name.removeprefix('./').rstrip('/') or '.'}\n" for name in names)


def tidy(host: Host) -> None:
    """Remove what dpkg leaves of a package that it could not read to its end; only with dpkg's lock held.

    It does that itself before it reads the next one, which after a revert may be never.
    """
    for name in host.names(SCRATCH):
        host.remove(SCRATCH / name)
    host.remove(SCRATCH)


def forget_wishes(host: Host, packages: Collection[str]) -> None:
    """Take back the wish that packages be installed which are not. Only without dpkg's lock.

    apt tells dpkg so before it unpacks them, and leaves it so when that fails. Errors: XenableError.
    """
    ours = {package.partition(":")[0] for package in packages}
    wished = (p for p in read_status(host).values() if (p.want, p.state) == ("install", "not-installed"))
    wishes = "".join(f"{package.name} unknown\n" for package in wished if package.name in ours)
    if wishes:
        host.run(["dpkg", "--set-selections"], data=wishes)
