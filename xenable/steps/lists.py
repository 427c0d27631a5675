# SPDX-License-Identifier: GPL-2.0-or-later
"""What dpkg forgets of a package when it fails, and what it keeps: a purge would leave that behind."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from xenable.errors import XenableError
from xenable.facts.dpkg import INFO, file_lists, read_status
from xenable.host import Host
from xenable.steps.conffiles import ARCHIVES

if TYPE_CHECKING:
    from apt_inst import DebFile

SCRATCH = Path("/var/lib/dpkg/tmp.ci")
"""Control files of the package that dpkg unpacks."""


def restore_lists(host: Host, packages: Collection[tuple[str, str]]) -> None:
    """Give dpkg the list of files of packages that it unpacked and could not write one for.

    Packages are names and versions. Such a package is half installed, and without its list (dpkg,
    src/main/unpack.c) dpkg would remove it and none of its files. The list is made of its archive in apt's
    cache. Errors: XenableError for a full disk, and for an archive that is damaged or gone.
    """
    known = read_status(host)
    for package, version in packages:
        name = package.partition(":")[0]
        if name not in known or known[name].state != "half-installed":
            continue
        if file_lists(host, name):
            continue
        start = f"{name}_{version.replace(':', '%3a')}_"
        archive = next((n for n in host.names(ARCHIVES) if n.startswith(start) and n.endswith(".deb")), "")
        try:
            target, text = _list_of(host.path(ARCHIVES / archive))
        except (SystemError, OSError) as e:
            raise XenableError(
                f"cannot find out which files of {name} are here: its archive is "
                f"{'damaged' if archive else 'no longer in ' + str(ARCHIVES)}",
                hint=f"cd {ARCHIVES} && sudo apt-get download {name}={version}, then run the command again",
            ) from e
        host.write(INFO / target, text.encode())


def _list_of(archive: Path) -> tuple[str, str]:
    """How dpkg calls the list of a package's files, and what is in it. Errors: SystemError, OSError."""
    import apt_inst
    import apt_pkg

    package = apt_inst.DebFile(str(archive))
    fields = apt_pkg.TagSection(package.control.extractdata("control"))
    # Of such packages there may be one of each architecture (dpkg, lib/dpkg/db-ctrl-access.c).
    ending = f":{fields['Architecture']}" if fields.get("Multi-Arch") == "same" else ""
    text = "".join(f"{name}\n" for name in members(package))
    return f"{fields['Package']}{ending}.list", text


def members(package: DebFile) -> list[str]:
    """Paths of all that is in a package, as dpkg lists them; the folder of all is `/.`."""
    names: list[str] = []
    package.data.go(lambda member, _data: names.append(member.name))
    return [f"/{name.removeprefix('./').rstrip('/') or '.'}" for name in names]


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
