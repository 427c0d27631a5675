# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door to the machine: nothing else runs a command or writes a file.

A write is a temporary file in the same folder, fsync, rename, fsync of the folder: after a power cut there
is the old content or the new, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xenable.errors import XenableError

StrPath = str | Path

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""What every command gets, so that its output can be read by a program."""

STATE = Path("/var/lib/xenable")
"""Journal, saved files and records of the trial."""


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

    # ------------------------------------------------------------------------------------------- reading

    def exists(self, path: StrPath) -> bool:
        """Whether there is anything by that name, a dangling link included."""
        return os.path.lexists(self.path(path))

    def is_dir(self, path: StrPath) -> bool:
        return self.path(path).is_dir()

    def read(self, path: StrPath) -> bytes:
        """The bytes of a file. Errors: XenableError when it can't be read."""
        try:
            return self.path(path).read_bytes()
        except OSError as e:
            raise XenableError(f"cannot read {path}: {e.strerror}") from e

    def text(self, path: StrPath, default: str = "") -> str:
        """The text of a file, or default when it is not there or may not be read."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return default

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
        except OSError:
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
            raise XenableError(f"cannot read {path}: {e.strerror}") from e

    def xattrs(self, path: StrPath) -> dict[str, bytes]:
        """Extended attributes of a file, access control lists included; empty where there are none."""
        target = self.path(path)
        try:
            names = sorted(os.listxattr(target, follow_symlinks=False))
            return {name: os.getxattr(target, name, follow_symlinks=False) for name in names}
        except OSError as e:
            if e.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                return {}
            raise XenableError(f"cannot read {path}: {e.strerror}") from e

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
        target = self.path(path)
        temporary = _temporary(target)
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            # 0600 until the content is whole: it may be a secret.
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as f:
                f.write(data)
                f.flush()
                if owner is not None:
                    os.fchown(f.fileno(), *owner)
                os.fchmod(f.fileno(), mode)
                for name, value in (xattrs or {}).items():
                    os.setxattr(f.fileno(), name, value)
                if mtime_ns is not None:
                    os.utime(f.fileno(), ns=(mtime_ns, mtime_ns))
                os.fsync(f.fileno())
            temporary.rename(target)
            _sync_folder(target.parent)
        except OSError as e:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise _write_error(path, e) from e

    def poke(self, path: StrPath, data: bytes) -> None:
        """Write to a device: no temporary file, no truncation."""
        try:
            fd = os.open(self.path(path), os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        except OSError as e:
            raise _write_error(path, e) from e

    def overwrite(self, path: StrPath, data: bytes) -> None:
        """Put new bytes into a file of the same length: same inode, same blocks, on disk when this returns.

        For a file that a boot loader writes through its blocks; everything else goes through `write`.
        Errors: XenableError when the file is not there or of another length.
        """
        try:
            fd = os.open(self.path(path), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_size != len(data):
                    raise XenableError(f"cannot write {path}: it is not {len(data)} bytes long")
                if os.pwrite(fd, data, 0) != len(data):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as e:
            raise _write_error(path, e) from e

    def append(self, path: StrPath, data: bytes) -> None:
        """Append to a file and wait until it is on disk; a new file is mode 0644."""
        target = self.path(path)
        try:
            new = not target.exists()
            fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(fd).st_size
                try:
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    os.ftruncate(fd, size)
                    raise
                os.fsync(fd)
            finally:
                os.close(fd)
            if new:
                _sync_folder(target.parent)
        except OSError as e:
            raise _write_error(path, e) from e

    def make_folder(self, path: StrPath, mode: int = 0o755) -> None:
        """Make a folder and those above it; nothing happens when it is there."""
        target = self.path(path)
        try:
            target.mkdir(mode=mode, parents=True, exist_ok=True)
            _sync_folder(target.parent)
        except OSError as e:
            raise _write_error(path, e) from e

    def symlink(self, path: StrPath, to: str) -> None:
        target = self.path(path)
        temporary = _temporary(target)
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            temporary.symlink_to(to)
            temporary.rename(target)
            _sync_folder(target.parent)
        except OSError as e:
            raise _write_error(path, e) from e

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
        _sync_folder(target.parent)

    def rename(self, source: StrPath, path: StrPath) -> None:
        try:
            self.path(source).rename(self.path(path))
            _sync_folder(self.path(path).parent)
        except OSError as e:
            raise _write_error(path, e) from e

    def clean(self, path: StrPath) -> None:
        """Remove what a write that was killed left beside a file."""
        try:
            _temporary(self.path(path)).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as e:
            raise XenableError(f"cannot remove {_temporary(Path(path))}: {e.strerror}") from e

    def remove(self, path: StrPath) -> None:
        """Remove a file, a link or an empty folder; nothing happens when it is not there."""
        target = self.path(path)
        self.clean(path)
        try:
            if stat.S_ISDIR(target.lstat().st_mode):
                target.rmdir()
            else:
                target.unlink()
            _sync_folder(target.parent)
        except FileNotFoundError:
            return
        except OSError as e:
            raise XenableError(f"cannot remove {path}: {e.strerror}") from e

    def chmod(self, path: StrPath, mode: int) -> None:
        try:
            self.path(path).chmod(mode)
        except OSError as e:
            raise _write_error(path, e) from e

    def chown(self, path: StrPath, uid: int, gid: int) -> None:
        """Give a file to another owner; the kernel then clears set-user-id bits."""
        try:
            os.chown(self.path(path), uid, gid, follow_symlinks=False)
        except OSError as e:
            raise _write_error(path, e) from e

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
        words = [os.fspath(word) for word in cmd]
        if not self.live:
            raise XenableError(f"cannot run {words[0]}: {self.root} is a folder, not a running machine")
        try:
            done = subprocess.run(
                words,
                check=False,
                input=data if data is not None else "",
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, **ENVIRONMENT, **(env or {})},
                timeout=timeout,
            )
            result = Result(done.returncode, done.stdout, done.stderr)
        except FileNotFoundError:
            result = Result(127, "", f"{words[0]}: not found")
        except PermissionError:
            result = Result(126, "", f"{words[0]}: may not be executed")
        except subprocess.TimeoutExpired:
            result = Result(124, "", f"no answer within {timeout:g} s")
        if check and result.code != 0:
            raise CommandError(words, result)
        return result

    # ---------------------------------------------------------------------------------------------- lock

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the one lock of every run that changes the machine. Errors: XenableError when it is taken."""
        self.make_folder(STATE)
        fd = os.open(self.path(STATE / "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
                raise XenableError(
                    f"cannot start: another xenable works on this machine (process {pid or 'unknown'})",
                    hint="wait until it ends",
                ) from e
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(fd)


def _temporary(target: Path) -> Path:
    """Where the new content of a file is until it is whole."""
    return target.with_name(f".{target.name}.xenable-new")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as e:
        # vfat on some kernels can't sync a folder; the file itself is on disk.
        if e.errno not in (errno.EINVAL, errno.EROFS):
            raise
    finally:
        os.close(fd)


def _write_error(path: StrPath, e: OSError) -> XenableError:
    hints = {
        errno.ENOSPC: "free some space on its file system, then run the command again",
        errno.EROFS: "its file system is mounted read-only: the kernel's log says why; then remount it",
        errno.EACCES: "run the command as root",
        errno.EPERM: "run the command as root; lsattr shows whether the file is immutable",
    }
    return XenableError(f"cannot write {path}: {e.strerror}", hint=hints.get(e.errno or 0, ""))
