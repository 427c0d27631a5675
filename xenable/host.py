# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door to the machine: nothing else runs a command or writes a file.

A write is a temporary file in the same folder, fsync, rename, fsync of the folder: after a power cut there
is the old content or the new, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xenable import hostio
from xenable.errors import XenableError

StrPath = str | Path

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""What every command gets, so that its output can be read by a program."""

STATE = Path("/var/lib/xenable")
"""Journal, saved files and records of the trial."""
LOGS = Path("/var/log/xenable")
BOOTED = Path("/run/systemd/system")
"""Where it exists, systemd is PID 1: sd_booted(3)."""


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str


class CommandError(XenableError):
    def __init__(self, cmd: Sequence[str], result: Result, why: str = "") -> None:
        last = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        reason = why or (last[0] if last else f"exit status {result.code}")
        super().__init__(
            f"cannot run {cmd[0]}: {reason}",
            hint=f"the command was: {shlex.join(cmd)} (exit status {result.code})",
        )
        self.result = result


@dataclass(frozen=True)
class Host:
    """A machine, or a folder that looks like one (root other than /): then no command can be run on it."""

    root: Path = Path("/")

    @property
    def live(self) -> bool:
        """Whether commands can be run: a folder has files only."""
        return self.root == Path("/")

    def path(self, path: StrPath) -> Path:
        """Where a path of the machine is for this process."""
        return self.root / str(path).lstrip("/")

    def resolve(self, path: StrPath) -> Path:
        """Where a path leads, absolute and without links; nothing need be there.

        A relative one begins where this process is. Errors: XenableError for what is no path.
        """
        what = f"cannot follow {str(path)!r}"
        try:
            top = self.root.resolve()
            found = self.path(Path.cwd() / path if self.live else path).resolve()
        except (OSError, ValueError, RuntimeError) as e:
            raise XenableError(f"{what}: {e}") from e
        if not found.is_relative_to(top):
            raise XenableError(f"{what}: it leads out of {self.root}")
        return Path("/") / found.relative_to(top)

    # ------------------------------------------------------------------------------------------- reading

    def exists(self, path: StrPath) -> bool:
        """Whether there is anything by that name, a dangling link included."""
        return os.path.lexists(self.path(path))

    def is_dir(self, path: StrPath) -> bool:
        return self.path(path).is_dir()

    def is_file(self, path: StrPath) -> bool:
        """Whether it is a file with content, or a link to one."""
        return self.path(path).is_file()

    def read(self, path: StrPath) -> bytes:
        """The bytes of a file. Errors: XenableError when it can't be read."""
        try:
            return self.path(path).read_bytes()
        except OSError as e:
            raise _read_error(path, e) from e

    def part(self, path: StrPath, size: int, offset: int = 0) -> bytes:
        """Up to `size` bytes of a file from `offset`. Errors: XenableError when it can't be read."""
        try:
            with self.path(path).open("rb") as f:
                f.seek(offset)
                return f.read(size)
        except OSError as e:
            raise _read_error(path, e) from e

    def sha256(self, path: StrPath) -> str:
        """SHA-256 of a file of any size, in hexadecimal. Errors: XenableError when it can't be read."""
        try:
            with self.path(path).open("rb") as f:
                return hashlib.file_digest(f, "sha256").hexdigest()
        except OSError as e:
            raise _read_error(path, e) from e

    def text(self, path: StrPath, default: str = "") -> str:
        """The text of a file, or default when it is not there or may not be read."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError):
            # What a file names may be no path at all: one with a NUL.
            return default

    def forbidden(self, path: StrPath) -> bool:
        """Whether rights are lacking to read a file, or to see whether there is one."""
        try:
            with self.path(path).open("rb"):
                return False
        except (OSError, ValueError) as e:
            return isinstance(e, PermissionError)

    def same_content(self, one: StrPath, other: StrPath) -> bool:
        """Whether two files have the same bytes: at once where they are one file with two names."""
        try:
            if self.path(one).samefile(self.path(other)):
                return True
            return self.path(one).read_bytes() == self.path(other).read_bytes()
        except OSError:
            return False

    def begins_with(self, path: StrPath, other: StrPath) -> bool:
        """Whether the bytes of a file begin with those of another."""
        try:
            head = self.path(other).read_bytes()
            with self.path(path).open("rb") as f:
                return f.read(len(head)) == head
        except OSError:
            return False

    def names(self, path: StrPath) -> tuple[str, ...]:
        """Names in a folder, sorted; empty when there is no such folder."""
        try:
            return tuple(sorted(entry.name for entry in self.path(path).iterdir()))
        except (OSError, ValueError):
            return ()

    def link_target(self, path: StrPath) -> str:
        """Target of a symbolic link; empty when it is none."""
        try:
            return str(self.path(path).readlink())
        except OSError:
            return ""

    def stat(self, path: StrPath) -> os.stat_result | None:
        """What lstat says of a name; None when there is nothing. Errors: XenableError when it is hidden."""
        try:
            return self.path(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise _read_error(path, e) from e

    def xattrs(self, path: StrPath) -> dict[str, bytes]:
        """Extended attributes of a file, access control lists included; empty where there are none."""
        target = self.path(path)
        try:
            names = sorted(os.listxattr(target, follow_symlinks=False))
            return {name: os.getxattr(target, name, follow_symlinks=False) for name in names}
        except OSError as e:
            if e.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                return {}
            raise _read_error(path, e) from e

    def free_bytes(self, path: StrPath) -> int | None:
        """What root may still write on the file system that holds a path; None when nobody knows."""
        try:
            found = os.statvfs(self.path(path))
        except OSError:
            return None
        return found.f_frsize * found.f_bavail

    # ------------------------------------------------------------------------------------------- writing

    def write(
        self,
        path: StrPath,
        data: bytes,
        *,
        mode: int = 0o644,
        owner: tuple[int, int] | None = None,
        xattrs: Mapping[str, bytes] | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """Replace a file, or make it. Errors: XenableError with the reason (no space, read-only, …)."""
        with _writing(path):
            hostio.write(
                self.path(path), data, mode=mode, owner=owner, xattrs=xattrs or {}, mtime_ns=mtime_ns
            )

    def poke(self, path: StrPath, data: bytes) -> None:
        """Write to a device: no temporary file, no truncation."""
        with _writing(path):
            hostio.poke(self.path(path), data)

    def set_variable(self, path: StrPath, data: bytes | None) -> None:
        """Write a variable of efivarfs in one call, or remove it with None. Errors: XenableError."""
        with _writing(path):
            hostio.set_variable(self.path(path), data)

    def overwrite(self, path: StrPath, data: bytes) -> None:
        """Put new bytes into a file of the same length: same inode, same blocks, on disk when this returns.

        For a file that a boot loader writes through its blocks; everything else goes through `write`.
        Errors: XenableError when the file is not there or of another length.
        """
        with _writing(path):
            same = hostio.overwrite(self.path(path), data)
        if not same:
            raise XenableError(f"cannot write {path}: it is not {len(data)} bytes long")

    def edit(self, path: StrPath, data: bytes) -> None:
        """New content for a file that is there: its mode, owner, attributes, and a link to it stay.

        Errors: XenableError when it is no regular file, or can't be written.
        """
        target = self.resolve(path)
        info = self.stat(target)
        if info is None or not stat.S_ISREG(info.st_mode):
            raise XenableError(f"cannot change {path}: it is no regular file", hint="make it one")
        owner, mode = (info.st_uid, info.st_gid), stat.S_IMODE(info.st_mode)
        self.write(target, data, mode=mode, owner=owner, xattrs=self.xattrs(target))

    def append(self, path: StrPath, data: bytes) -> None:
        """Append to a file and wait until it is on disk; a new file is mode 0644."""
        with _writing(path):
            hostio.append(self.path(path), data)

    def clone(self, source: StrPath, path: StrPath) -> bool:
        """Make a file, mode 0600, that shares the blocks of another one, at once and in no space.

        False when the file system can't, and nothing is there then. Errors: XenableError.
        """
        try:
            return hostio.clone(self.path(source), self.path(path))
        except OSError as e:
            raise XenableError(f"cannot copy {source} to {path}: {e.strerror}") from e

    def lengthen(self, path: StrPath, size: int) -> None:
        """Make a file `size` bytes long with a hole; it never gets shorter. Errors: XenableError."""
        try:
            hostio.lengthen(self.path(path), size)
        except OSError as e:
            raise XenableError(f"cannot make {path} longer: {e.strerror}") from e

    def make_folder(self, path: StrPath, mode: int = 0o755, *, owner: tuple[int, int] | None = None) -> None:
        """Make a folder, and those above it as 0755, whatever the umask; what is there stays as it is."""
        target = self.path(path)
        with _writing(path):
            hostio.make_folder(target, mode, owner)

    def symlink(self, path: StrPath, to: str) -> None:
        with _writing(path):
            hostio.symlink(self.path(path), to)

    def link_or_copy(self, source: StrPath, path: StrPath) -> None:
        """Give a file a second name; where the file system has no hard links, a copy."""
        target = self.path(path)
        try:
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            os.link(self.path(source), target)
        except OSError as e:
            if e.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise _write_error(path, e) from e
            self.write(path, self.read(source))
            return
        hostio.sync_folder(target.parent)

    def rename(self, source: StrPath, path: StrPath) -> None:
        with _writing(path):
            self.path(source).rename(self.path(path))
            hostio.sync_folder(self.path(path).parent)

    def settle(self, path: StrPath | None = None) -> None:
        """Wait until all that was written is in its place, or what was on the file system with this path.
        fsync is content with the journal, and GRUB reads without it: it would find the names of before."""
        with _writing(path or "/"):
            hostio.settle(self.path(path) if path else None)

    def clean(self, path: StrPath) -> None:
        """Remove what a write that was killed left beside a file."""
        try:
            hostio.temporary(self.path(path)).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as e:
            raise XenableError(f"cannot remove {hostio.temporary(Path(path))}: {e.strerror}") from e

    def remove(self, path: StrPath) -> None:
        """Remove a file, a link or an empty folder; nothing happens when it is not there."""
        target = self.path(path)
        self.clean(path)
        try:
            if stat.S_ISDIR(target.lstat().st_mode):
                target.rmdir()
            else:
                target.unlink()
            hostio.sync_folder(target.parent)
        except FileNotFoundError:
            return
        except OSError as e:
            raise XenableError(f"cannot remove {path}: {e.strerror}") from e

    def chmod(self, path: StrPath, mode: int) -> None:
        with _writing(path):
            self.path(path).chmod(mode)

    def chown(self, path: StrPath, uid: int, gid: int) -> None:
        """Give a file to another owner; the kernel then clears set-user-id bits."""
        with _writing(path):
            os.chown(self.path(path), uid, gid, follow_symlinks=False)

    # ------------------------------------------------------------------------------------------ commands

    def run(
        self,
        cmd: Sequence[StrPath],
        *,
        check: bool = True,
        data: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = 120,
    ) -> Result:
        """Run a command and wait for it. Errors: CommandError when check is set and it fails."""
        words = self._words(cmd)
        result = Result(*hostio.run(words, data or "", _environment(env), timeout))
        if check and result.code != 0:
            raise CommandError(words, result)
        return result

    def stream(
        self,
        cmd: Sequence[StrPath],
        on_line: Callable[[str], None],
        *,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a long command; `on_line` gets each line of its output, stderr too, when it is written.

        Returns all of it as stdout, with whatever status. The command is killed when this process ends, by
        whatever, and when `on_line` raises; what it has started itself is its own to take along.
        """
        return Result(*hostio.stream(self._words(cmd), _environment(env), on_line))

    def knock(self, address: str, interface: str) -> None:
        """Send an empty datagram, so that the kernel asks who has an address; whatever comes of it."""
        hostio.knock(address, interface)

    def replace_process(self, cmd: Sequence[StrPath]) -> None:
        """Become another program, with this one's environment and terminal. Errors: XenableError."""
        words = self._words(cmd)
        try:
            os.execvpe(words[0], words, {**os.environ, "PATH": ENVIRONMENT["PATH"]})
        except OSError as e:
            raise XenableError(f"cannot run {words[0]}: {e.strerror}") from e

    def _words(self, cmd: Sequence[StrPath]) -> list[str]:
        words = [os.fspath(word) for word in cmd]
        if not self.live:
            raise XenableError(f"cannot run {words[0]}: {self.root} is a folder, not a running machine")
        return words

    # --------------------------------------------------------------------------------------------- locks

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the one lock of every run that changes the machine. Errors: XenableError when it is taken."""
        self.make_folder(STATE)
        with contextlib.ExitStack() as stack:
            with _writing(STATE / "lock"):
                fd = stack.enter_context(hostio.opened(self.path(STATE / "lock"), os.O_RDWR | os.O_CREAT))
            if not hostio.flock(fd, wait=False):
                raise XenableError(
                    "cannot start: another xenable works on this machine "
                    f"(process {hostio.read_note(fd) or 'unknown'})",
                    hint="wait until it ends",
                )
            hostio.write_note(fd, str(os.getpid()))
            yield

    @contextlib.contextmanager
    def lock_folder(self, path: StrPath, *, wait: bool = True) -> Iterator[None]:
        """Hold a folder, made if need be, for this process alone; the lock goes with the process.

        Errors: XenableError when it is taken and `wait` is off.
        """
        self.make_folder(path)
        # The folder itself is what is locked: no file of a lock stays behind.
        with hostio.opened(self.path(path), os.O_RDONLY | os.O_DIRECTORY) as fd:
            if not hostio.flock(fd, wait=wait):
                raise XenableError(f"cannot work in {path}: another xenable does", hint="wait until it ends")
            yield


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, **(more or {})}


@contextlib.contextmanager
def _writing(path: StrPath) -> Iterator[None]:
    """Errors of the kernel become those of Xenable."""
    try:
        yield
    except OSError as e:
        raise _write_error(path, e) from e


def _read_error(path: StrPath, e: OSError) -> XenableError:
    hints = {
        errno.ENOENT: "name a file that is there",
        errno.EACCES: "run the command as root",
        errno.EISDIR: "name a file, not a folder",
    }
    return XenableError(f"cannot read {path}: {e.strerror}", hint=hints.get(e.errno or 0, ""))


def _write_error(path: StrPath, e: OSError) -> XenableError:
    hints = {
        errno.ENOSPC: "free some space on its file system, then run the command again",
        errno.EROFS: "its file system is mounted read-only: the kernel's log says why; then remount it",
        errno.EACCES: "run the command as root",
        errno.ENOENT: "make the folder first, or name another",
        errno.ENOTDIR: "name a file in a folder that is there",
        errno.EPERM: "run the command as root; lsattr shows whether the file is immutable",
    }
    return XenableError(f"cannot write {path}: {e.strerror}", hint=hints.get(e.errno or 0, ""))
