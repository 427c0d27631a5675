# SPDX-License-Identifier: GPL-2.0-or-later
"""An archive of upstream source: which Linux it is, and unpacking it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.table import Series

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*\.tar\.(xz|gz|bz2)")
"""What may be the upstream archive of a source package (dpkg-source(1), 3.0 (quilt))."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    path: Path
    sha256: str
    version: str
    """As Linux calls itself: 6.1.176."""
    date: int
    """When upstream made it, in seconds since 1970: the time that everything built of it has."""

    @property
    def series(self) -> Series:
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


def open_archive(host: Host, path: Path, sha256: str) -> Archive:
    """Look into an archive whose sum is known to be right. Errors: XenableError for what is no Linux."""
    what = f"cannot use the source {path.name}"
    if not _NAME.fullmatch(path.name):
        raise XenableError(f"{what}: it is no tar archive", hint="a .tar.xz or .tar.gz is needed")
    # The first file of that name is the one on top: tar stops there, for what follows is long.
    look: list[str | Path] = [
        "tar",
        "--occurrence=1",
        "--wildcards",
        "--no-wildcards-match-slash",
        "-f",
        path,
    ]
    listed = host.run([*look, "-tv", "--full-time", "--utc", "*/Makefile"], check=False, timeout=600)
    text = host.run([*look, "-xO", "*/Makefile"], check=False, timeout=600)
    fields = dict(
        re.findall(r"(?m)^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(.*?)[ \t]*$", text.stdout)
    )
    day = re.search(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})", listed.stdout)
    if text.code or listed.code or not day:
        said = (text.stderr or listed.stderr).strip().splitlines()
        raise XenableError(f"{what}: {said[0] if said else 'there is no Makefile in it'}")
    version = ".".join(fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) or fields.get("EXTRAVERSION"):
        raise XenableError(
            f"{what}: it is no release of Linux",
            hint="one that kernel.org calls stable or longterm is needed",
        )
    return Archive(path=path, sha256=sha256, version=version, date=_seconds(day[1], day[2]))


def _seconds(day: str, time: str) -> int:
    from datetime import UTC, datetime

    return int(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC).timestamp())


def extract(host: Host, archive: Archive, target: Path, names: Sequence[str] = ()) -> None:
    """Unpack an archive, or those files of it that are named and there, without its outermost folder.

    Errors: XenableError.
    """
    cmd: list[str | Path] = [
        "tar",
        "-C",
        target,
        "--strip-components=1",
        "--no-same-owner",
        "-f",
        archive.path,
        "-x",
    ]
    if names:
        # Where all of them are there, tar reads no further than to the last.
        cmd += ["--occurrence=1", "--wildcards", "--no-wildcards-match-slash"]
        cmd += [f"*/{_literally(name)}" for name in names]
    # Every core, where whoever packed it made that possible.
    done = host.run(cmd, check=False, timeout=3600, env={"XZ_DEFAULTS": "-T0"})
    lacking = "Not found in archive" in done.stderr
    if done.code and not (names and lacking and "Error is not recoverable" not in done.stderr):
        said = done.stderr.strip().splitlines() or ["tar failed"]
        hint = "free some space, then run the command again" if "No space left" in done.stderr else ""
        raise XenableError(f"cannot unpack {archive.path.name}: {said[0].removeprefix('tar: ')}", hint=hint)


def _literally(name: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", name)
