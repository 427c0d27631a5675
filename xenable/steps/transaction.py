# SPDX-License-Identifier: GPL-2.0-or-later
"""One transaction of apt, through python3-apt: locked, with progress, and never asking anything.

The module is imported by the steps that need it, when they need it: it costs tens of milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import apt
import apt.cache
import apt.progress.base
import apt_pkg

from xenable.datafiles import data_file
from xenable.errors import XenableError
from xenable.facts.dpkg import STATUS
from xenable.host import ENVIRONMENT, LOGS, CommandError, Host
from xenable.model import Progress

LOG = LOGS / "packages.log"
LOCKS = (
    Path("/var/lib/dpkg/lock-frontend"),
    Path("/var/lib/dpkg/lock"),
    Path("/var/cache/apt/archives/lock"),
)
READ_BY_APT = (
    Path("/var/lib/dpkg/status"),
    Path("/var/lib/apt/extended_states"),
    Path("/var/lib/apt/lists"),
    Path("/etc/apt/sources.list"),
    Path("/etc/apt/sources.list.d"),
)
"""What a cache of apt's is made of."""

Stamp = tuple[int, int, int] | None

HELD_MENU = "hold/menu/update-grub"
"""Stands in for update-grub while packages come and go."""

HELD_RELOADS = "hold/reload/systemctl"
"""Stands in for systemctl while packages go: it leaves out the reloads."""

LOCK_PATIENCE = 60.0
"""Seconds to wait for another package manager."""

NEVER_ASK = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "APT_LISTCHANGES_FRONTEND": "none",
    # Without a terminal it would pin packages, and stop.
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
}
DPKG_OPTIONS = ("--force-confdef", "--force-confold")

MEBIBYTE = 1 << 20
BROKEN_HINT = "run `sudo dpkg --configure -a` and read what it says, then run the command again"


@contextlib.contextmanager
def open_cache(host: Host) -> Iterator[apt.cache.Cache]:
    """Apt's view of this machine as it is now, with nothing marked. Errors: XenableError when it can't be
    read."""
    if not host.live:
        raise XenableError(f"cannot look at packages: {host.root} is a folder, not a running machine")
    # Without a pty dpkg writes to the descriptors that it inherits: to our log.
    apt_pkg.config.set("Dpkg::Use-Pty", "0")
    for option in DPKG_OPTIONS:
        _add_dpkg_option(option)
    # As in facts/apt.py, whose packages were shown before the question: a process that resumes asks for no
    # facts, and with apt's own default a marked package would bring all that it recommends.
    apt_pkg.config.set("APT::Install-Recommends", "false")
    try:
        cache = _cache_of(os.getpid(), tuple(_stamp(host, path) for path in READ_BY_APT))
        if cache.get_changes():
            cache.clear()
    except (SystemError, OSError) as e:
        raise XenableError(
            f"cannot read the package database: {_first_line(e)}",
            hint="run `sudo apt update` and read what it says",
        ) from e
    yield cache


@functools.lru_cache(maxsize=1)
def _cache_of(_process: int, _stamps: tuple[Stamp, ...]) -> apt.cache.Cache:
    """The same as long as what it is made of is the same: to open one takes longer than all else that a
    step does with it. A process and its child would read the files of one at the same position."""
    return apt.Cache(memonly=True)


def _stamp(host: Host, path: Path) -> Stamp:
    info = host.stat(path)
    return None if info is None else (info.st_ino, info.st_mtime_ns, info.st_size)


def _add_dpkg_option(option: str) -> None:
    if option not in apt_pkg.config.value_list("DPkg::Options"):
        apt_pkg.config.set("DPkg::Options::", option)


@contextlib.contextmanager
def locked(host: Host, progress: Progress) -> Iterator[None]:
    """Hold dpkg's and apt's lock. Errors: XenableError naming the holder after LOCK_PATIENCE seconds."""
    wait_for_others(host, progress)
    try:
        apt_pkg.pkgsystem_lock()
    except SystemError as e:
        raise XenableError(f"cannot lock the package database: {_first_line(e)}", hint=BROKEN_HINT) from e
    try:
        yield
    finally:
        apt_pkg.pkgsystem_unlock()


def wait_for_others(host: Host, progress: Progress) -> None:
    """Wait until nobody holds a lock. Errors: XenableError naming the holder after LOCK_PATIENCE seconds."""
    end = time.monotonic() + LOCK_PATIENCE
    while holder := lock_holder(host):
        if time.monotonic() >= end:
            raise XenableError(
                f"cannot change packages: {holder} works on them",
                hint="wait until it ends, then run the command again",
            )
        progress(0.0, f"waiting until {holder} lets go of the packages")
        time.sleep(min(1.0, LOCK_PATIENCE / 10))


def lock_holder(host: Host) -> str:
    """`name (process N)` of the program that holds a lock of dpkg or apt; empty when nobody else does."""
    for lock in LOCKS:
        try:
            fd = os.open(host.path(lock), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            # struct flock of fcntl(2) on Linux: type, whence, start, length, pid.
            asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        finally:
            os.close(fd)
        if kind != fcntl.F_UNLCK:
            name = host.text(f"/proc/{pid}/comm").strip() or "a program"
            return f"{name} (process {pid})"
    return ""


def finish_interrupted(host: Host, progress: Progress) -> None:
    """Let dpkg finish what a kill or a power cut left half done. Errors: XenableError when it can't."""
    if not half_done(host):
        return
    progress(0.0, "finishing what dpkg left half done")
    wait_for_others(host, progress)
    try:
        host.run(["dpkg", "--configure", "-a", *DPKG_OPTIONS], env=NEVER_ASK, timeout=3600)
    except CommandError as e:
        raise XenableError(f"cannot finish what dpkg left half done: {_reason(e)}", hint=BROKEN_HINT) from e


def prepare_purge(host: Host, progress: Progress) -> None:
    """Make a purge possible after a kill: packages that dpkg could not finish may go as they are."""
    _add_dpkg_option("--force-remove-reinstreq")
    if half_done(host):
        wait_for_others(host, progress)
        host.run(["dpkg", "--configure", "-a", *DPKG_OPTIONS], env=NEVER_ASK, timeout=3600, check=False)


def half_done(host: Host) -> bool:
    """Whether dpkg was interrupted: updates not merged, or a package between two states."""
    if any(name.isdigit() for name in host.names("/var/lib/dpkg/updates")):
        return True
    middle = {"half-configured", "unpacked", "triggers-pending", "triggers-awaited"}
    # Of every architecture; a line of a description begins with a blank.
    return not middle.isdisjoint(re.findall(r"(?m)^Status: \S+ \S+ (\S+)$", host.text(STATUS)))


def archives_folder() -> Path:
    """Where apt keeps what it has downloaded."""
    return Path(apt_pkg.config.find_dir("Dir::Cache::Archives"))


def download(cache: apt.cache.Cache, progress: Progress) -> tuple[Path, ...]:
    """Fetch what is marked; returns where the archives are: elsewhere where apt reads them in place.

    Errors: XenableError naming the packages; no package was changed then.
    """
    fetcher = apt_pkg.Acquire(_Download(progress))
    try:
        cache.fetch_archives(fetcher=fetcher)
    except (apt.cache.FetchFailedException, SystemError) as e:
        failed = [item for item in fetcher.items if item.status != item.STAT_DONE]
        names = sorted({Path(item.destfile).name.split("_")[0] for item in failed})
        errors = " ".join(item.error_text for item in failed)
        what = f"cannot download {', '.join(names) or 'packages'}: "
        if "No space left" in errors or "space" in _first_line(e):
            raise XenableError(
                what + "the disk is full", hint="free some space on /var, then run it again"
            ) from e
        if "404" in errors or "does not exist" in errors or "File not found" in errors:
            raise XenableError(
                what + "the archive does not have them any more",
                hint="run `sudo apt update`, then run the command again; no package was changed",
            ) from e
        raise XenableError(
            what + "the archive can't be reached, or sends something else than it promised",
            hint="look at the network and at apt's sources, then run it again; no package was changed",
        ) from e
    # A list of mirrors is fetched with them.
    return tuple(Path(item.destfile) for item in fetcher.items if item.destfile.endswith(".deb"))


def commit(host: Host, cache: apt.cache.Cache, progress: Progress, *, held: tuple[str, ...]) -> None:
    """Do what is marked and downloaded, in one transaction. Errors: XenableError.

    held: what stands in for commands of package scripts, HELD_MENU or HELD_RELOADS: whoever asks for it
    does what was left out when all packages have come or gone.
    """
    host.make_folder(LOGS)
    host.append(LOG, time.strftime("== %Y-%m-%d %H:%M:%S\n").encode())
    before = len(host.read(LOG))
    work = _Work(progress, host.path(LOG), held)
    try:
        cache.commit(apt.progress.base.AcquireProgress(), work)
    except (SystemError, OSError, apt.cache.FetchFailedException) as e:
        said = host.read(LOG)[before:].decode("utf-8", "replace")
        if "No space left on device" in said or any("No space left" in error for error in work.errors):
            raise XenableError(
                "cannot change packages: the disk is full",
                hint="free some space, then run the command again: it goes on from here",
            ) from e
        reason = work.errors[0] if work.errors else _first_line(e)
        raise XenableError(
            f"cannot change packages: {reason}", hint=f"{LOG} has all that dpkg said; {BROKEN_HINT}"
        ) from e
    finally:
        work.write_stream.close()
        work.status_stream.close()


class _Download(apt.progress.base.AcquireProgress):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._tell = progress

    def pulse(self, owner: apt_pkg.Acquire) -> bool:
        total = max(self.total_bytes, 1.0)
        self._tell(
            min(self.current_bytes / total, 1.0),
            f"downloading: {self.current_bytes / MEBIBYTE:.0f} of {total / MEBIBYTE:.0f} MiB",
        )
        return True


class _Work(apt.progress.base.InstallProgress):
    """Runs dpkg in a child whose output goes to our log, and passes on how far it is."""

    def __init__(self, progress: Progress, log: Path, held: tuple[str, ...]) -> None:
        super().__init__()
        self._tell = progress
        self._log = log
        self._environment = {**ENVIRONMENT, **NEVER_ASK}
        # apt sets dpkg's PATH from here, whatever the environment has (apt.conf(5)).
        path = ":".join([*(str(data_file(name).parent) for name in held), ENVIRONMENT["PATH"]])
        apt_pkg.config.set("DPkg::Path", path)
        self._unread = b""
        self._percent = 0.0
        self.errors: list[str] = []

    def fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            os.environ.update(self._environment)
            nothing = os.open(os.devnull, os.O_RDONLY)
            log = os.open(self._log, os.O_WRONLY | os.O_APPEND)
            for source, target in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
        return pid

    def update_interface(self) -> None:
        """Read all there is of apt's `pmstatus:package:percent:text` lines; the base class reads one a call
        and leaves the last ones, an error perhaps, unread."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.statusfd, 1 << 16):
                self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "replace").split(":", 3)
            if len(words) == 4 and words[0] == "pmstatus":
                with contextlib.suppress(ValueError):
                    self._percent = max(self._percent, min(float(words[2]), 100.0))
                self._tell(self._percent / 100.0, words[3].strip())
            elif len(words) == 4 and words[0] == "pmerror":
                self.errors.append(f"{Path(words[1]).name}: {words[3].strip()}")

    def wait_child(self) -> int:
        status = super().wait_child()
        self.update_interface()
        return status


def _reason(e: CommandError) -> str:
    errors = [line for line in e.result.stderr.splitlines() if line.strip()]
    return errors[0].strip().rstrip(":") if errors else e.message


def _first_line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0]
