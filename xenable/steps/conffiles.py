# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration of packages: what dpkg and ucf brought, and whether somebody has edited it since."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from xenable.errors import XenableError
from xenable.facts.dpkg import INFO, STATUS, file_lists
from xenable.host import Host
from xenable.model import Obstacle
from xenable.steps import snapshot
from xenable.steps.options import MARK

UCF = Path("/var/lib/ucf")
ARCHIVES = Path("/var/cache/apt/archives")

LEFT_BY_DPKG = (".dpkg-new", ".dpkg-old", ".dpkg-dist")
"""Endings of what dpkg may put beside a conffile."""


@dataclass(frozen=True, kw_only=True)
class Conffile:
    """A file of configuration, and the MD5 of what its package brought, in hexadecimal."""

    path: str
    package: str
    md5: str
    """Empty where dpkg has not noted it, as for a place where a link was."""
    archive: str
    """Name of its package's archive in apt's cache; empty for a file that ucf looks after."""


def conffiles(host: Host, packages: Collection[str]) -> tuple[Conffile, ...]:
    """Those of these packages (`name` or `name:architecture`) that dpkg and ucf know of now."""
    return (*_of_dpkg(host, packages), *_of_ucf(host, packages))


def listed_files(host: Host, packages: Collection[str]) -> tuple[str, ...]:
    """What is there of the configuration of packages that are removed and not purged."""
    paths = {file.path for file in _of_dpkg(host, packages)}
    for package in packages:
        name = package.partition(":")[0]
        for list_name in file_lists(host, name):
            paths |= set(host.text(INFO / list_name).splitlines())
    return tuple(sorted(p for p in paths if p and not host.is_dir(p)))


def edited(host: Host, packages: Collection[str], known: Collection[str]) -> tuple[Obstacle, ...]:
    """Configuration of packages that is not as they brought it. Known are paths not to look at.

    Nor is a file that has lines of SetOptions: that kind knows to the byte what is its own in there.
    """
    found = []
    for file in conffiles(host, packages):
        if file.path in known:
            continue
        if target := host.link_target(file.path):
            what = f"{file.path}, configuration of {file.package}, was replaced by a link to {target} since"
            found.append(Obstacle(what=what))
            continue
        try:
            now = host.read(file.path)
        except XenableError:
            continue
        if not file.md5 or _md5(now) == file.md5 or MARK.encode() in now:
            continue
        before = _pristine(host, file)
        found.append(
            Obstacle(
                what=f"{file.path}, configuration of {file.package}, is not as the package brought it",
                diff=""
                if before is None
                else snapshot.diff(before, now, f"{file.path} (as it came)", file.path),
            )
        )
    return tuple(found)


def unlink(host: Host, packages: Collection[str]) -> None:
    """Remove links that stand in the place of configuration: dpkg would purge what they lead to."""
    for file in conffiles(host, packages):
        if host.link_target(file.path):
            host.remove(file.path)


def _of_dpkg(host: Host, packages: Collection[str]) -> Iterator[Conffile]:
    for paragraph in host.text(STATUS).split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Architecture|Version): (.*)$", paragraph))
        name, architecture = fields.get("Package", ""), fields.get("Architecture", "")
        if name not in packages and f"{name}:{architecture}" not in packages:
            continue
        _, _, after = paragraph.partition("\nConffiles:\n")
        version = fields.get("Version", "").replace(":", "%3a")
        for line in after.splitlines():
            if not line.startswith(" "):
                break
            known = re.match(
                r" (/.*) (?:([0-9a-f]{32})|newconffile)(?: obsolete| remove-on-upgrade)*$", line
            )
            if known:
                path, md5 = known[1], known[2] or ""
                archive = f"{name}_{version}_{architecture}.deb"
                yield Conffile(path=path, package=name, md5=md5, archive=archive)


def _of_ucf(host: Host, packages: Collection[str]) -> Iterator[Conffile]:
    """ucf(1): the registry names packages and files, the hash file what the packages brought."""
    names = {package.partition(":")[0] for package in packages}
    hashes = {path: md5 for md5, path in _pairs(host.text(UCF / "hashfile"))}
    for package, path in _pairs(host.text(UCF / "registry")):
        if package in names and path in hashes:
            yield Conffile(path=path, package=package, md5=hashes[path], archive="")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2:
            yield words[0], words[1].strip()


def _pristine(host: Host, file: Conffile) -> bytes | None:
    """The file as it came, where a copy of that is on this machine."""
    if file.archive:
        candidates = [f"{file.path}.dpkg-dist"]
    else:
        candidates = [str(UCF / "cache" / file.path.replace("/", ":"))]
    for path in candidates:
        text = host.read(path) if host.exists(path) else b""
        if _md5(text) == file.md5:
            return text
    archive = host.path(ARCHIVES / file.archive)
    if not file.archive or not archive.is_file():
        return None
    import apt_inst

    try:
        text = apt_inst.DebFile(str(archive)).data.extractdata(file.path.lstrip("/"))
    except (LookupError, SystemError, OSError):
        return None
    return text if _md5(text) == file.md5 else None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
