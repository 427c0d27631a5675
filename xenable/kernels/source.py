# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock upstream source: of the distribution's own source package `linux`, or an archive that is named.

apt fetches and verifies it, with a configuration of its own: nothing in /etc changes, and apt's lists stay
as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import CommandError, Host
from xenable.kernels.archive import Archive, open_archive
from xenable.kernels.lists import SourceVersion, source_list, source_versions
from xenable.kernels.places import SOURCES
from xenable.kernels.table import Series, show
from xenable.model import Progress

PACKAGE = "linux"
APT = SOURCES / "apt"

OPTIONS = (
    "Dir::Etc::sourcelist=/dev/null",
    f"Dir::Etc::sourceparts={APT}/sources.list.d",
    f"Dir::State::lists={APT}/lists",
    f"Dir::Cache={APT}/cache",
    "Acquire::Languages=none",
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "Acquire::AllowDowngradeToInsecureRepositories=false",
    "APT::Get::AllowUnauthenticated=false",
)
"""As options, which come after all files: in a file of its own they would come before those in /etc/apt."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    archive: Archive
    newer: tuple[str, ...] = ()
    """Versions that the archive's lists name, but whose source it does not have."""


def fetch_source(host: Host, series: Series, progress: Progress) -> Fetched:
    """The newest source of a kernel series that the distribution's archive has.

    Errors: XenableError when it has none, or can't be reached.
    """
    with host.lock_folder(SOURCES):
        progress(0.0, "reading the archive's lists")
        _update(host)
        known = source_versions(_apt(host, "apt-cache", "showsrc", PACKAGE), PACKAGE)
        fitting = tuple(version for version in known if version.upstream[:2] == series)
        if not fitting:
            raise XenableError(
                f"cannot get the source of Linux {show(series)}: this release's archive does not have it",
                hint=_others(known),
            )
        if all(version.upstream[2:] in ((), (0,)) for version in fitting):
            # So it is in Ubuntu, whose fixes are in the patches on top.
            raise XenableError(
                f"cannot take the source of Linux {show(series)}: the archive has its first release alone, "
                "without any fix since",
                hint="give --tarball FILE --sha256 HEX with the newest release of a long-term series",
            )
        missing: list[str] = []
        for version in fitting:
            path = SOURCES / version.archive
            if _fetch(host, version, path, progress):
                archive = open_archive(host, path, version.sha256)
                return Fetched(archive=archive, newer=tuple(missing))
            missing.append(version.version)
        raise XenableError(
            f"cannot get the source of Linux {show(series)}: the archive has none of {', '.join(missing)}",
            hint="try again later, or give --tarball FILE --sha256 HEX with an archive from kernel.org",
        )


def take_tarball(host: Host, path: Path, sha256: str, progress: Progress) -> Archive:
    """An archive of upstream source that somebody has, and whose sum is known from elsewhere.

    Errors: XenableError for another sum, or for what is no Linux.
    """
    path = host.resolve(path)
    what = f"cannot use the source {path.name}"
    if not host.is_file(path):
        raise XenableError(f"{what}: there is no such file")
    with host.lock_folder(SOURCES):
        # A copy: it could be changed between a look at it and its use. Only what is good gets to the others.
        aside = SOURCES / ".tarball"
        copy, target = aside / path.name, SOURCES / path.name
        progress(0.0, f"reading {path.name}")
        try:
            host.run(["rm", "-rf", "--", aside])
            host.make_folder(aside)
            host.run(["cp", "--reflink=auto", "--", path, copy], timeout=None)
            found = host.sha256(copy)
            if found != sha256:
                raise XenableError(
                    f"{what}: its SHA-256 is {found}, and not {sha256}",
                    hint="nothing of it was looked at; get it again, and the sum from who signs it",
                )
            archive = open_archive(host, copy, sha256)
            host.rename(copy, target)
        finally:
            host.run(["rm", "-rf", "--", aside])
        return replace(archive, path=target)


def drop_others(host: Host, archive: Archive) -> None:
    """Remove the archives of the same series that were used before: each is more than 100 MB."""
    series = re.compile(rf"linux[_-]{re.escape(show(archive.series))}[.].*\.tar\.[a-z0-9]+")
    with host.lock_folder(SOURCES):
        for name in host.names(SOURCES):
            if name != archive.path.name and series.fullmatch(name):
                host.remove(SOURCES / name)


def parse_sha256(text: str) -> str:
    """Errors: ValueError for what is no SHA-256."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise ValueError("64 hexadecimal digits are needed, as `sha256sum` prints them")
    return text.lower()


def _others(known: tuple[SourceVersion, ...]) -> str:
    series = sorted({version.upstream[:2] for version in known}, reverse=True)
    if not series:
        return "look whether this machine's apt has the distribution's component main"
    has = ", ".join(show((major, minor)) for major, minor in series)
    return f"it has {has}: give --linux with that, or --tarball and --sha256 for one from kernel.org"


def _update(host: Host) -> None:
    text = source_list(_source_files(host), _own_archives(host))
    if not text:
        raise XenableError(
            "cannot get the source of Linux: apt has no source of this distribution's packages",
            hint="run `sudo apt update` and read what it says",
        )
    for folder in ("sources.list.d", "lists/partial", "cache/archives/partial"):
        host.make_folder(APT / folder)
    host.write(APT / "sources.list.d/own.sources", text.encode())
    try:
        _apt(host, "apt-get", "-q", "update")
    except CommandError as e:
        said = [line for line in e.result.stderr.splitlines() if line.startswith("E:")]
        raise XenableError(
            f"cannot read the lists of the archive: {said[0].removeprefix('E: ') if said else e.message}",
            hint="look whether it can be reached, then run the command again; nothing was changed",
        ) from e


def _apt(host: Host, program: str, *words: str) -> str:
    return host.run([program, *_options(), *words], timeout=900).stdout


def _options() -> list[str]:
    return [word for option in OPTIONS for word in ("-o", option)]


def _source_files(host: Host) -> dict[str, str]:
    parts = "/etc/apt/sources.list.d"
    paths = ["/etc/apt/sources.list", *(f"{parts}/{name}" for name in host.names(parts))]
    return {path: host.text(path) for path in paths}


def _own_archives(host: Host) -> list[tuple[str, str]]:
    """Address and suite of what this distribution itself offers, by the signed files that apt has of it."""
    ids = {"debian": "Debian", "ubuntu": "Ubuntu"}
    match = re.search(r'(?m)^ID="?([a-z]+)"?$', host.text("/etc/os-release"))
    origin = ids.get(match[1] if match else "", "")
    form = "$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)"
    rows = (
        row.split("|") for row in host.run(["apt-get", "indextargets", "--format", form]).stdout.splitlines()
    )
    return sorted({(row[2], row[3]) for row in rows if row[:2] == ["Packages", origin]})


def _fetch(host: Host, version: SourceVersion, path: Path, progress: Progress) -> bool:
    """Get one archive, unless it is there; False when the server does not have it. Errors: XenableError."""
    if host.is_file(path) and host.sha256(path) == version.sha256:
        return True
    progress(0.05, f"downloading {version.archive}")

    def listen(line: str) -> None:
        if match := re.match(r"dlstatus:[0-9]+:([0-9.]+):", line):
            progress(0.05 + 0.9 * min(float(match[1]), 100.0) / 100, f"downloading {version.archive}")

    # apt compares it with the sum in the signed list, and keeps nothing that is another one.
    cmd: list[str | Path] = ["env", "-C", SOURCES, "apt-get", *_options(), "-q", "-o", "APT::Status-Fd=1"]
    done = host.stream(
        [*cmd, "source", "--download-only", "--tar-only", f"{PACKAGE}={version.version}"], listen
    )
    if done.code == 0 and host.is_file(path) and host.sha256(path) == version.sha256:
        return True
    errors = [line.removeprefix("E: ") for line in done.stdout.splitlines() if line.startswith("E: ")]
    if any("404" in error for error in errors):
        return False
    if "No space left" in done.stdout or any("enough" in error and "space" in error for error in errors):
        raise XenableError(
            f"cannot download {version.archive}: the disk is full",
            hint=f"free some space on the file system of {SOURCES}, then run the command again",
        )
    raise XenableError(
        f"cannot download {version.archive}: {errors[0] if errors else 'apt-get gave no reason'}",
        hint="look whether the archive can be reached, then run the command again; nothing was changed",
    )
