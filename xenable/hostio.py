# SPDX-License-Identifier: GPL-2.0-or-later
"""What the one door is made of: system calls on paths as they are for this process.

Only xenable.host imports this. Errors: OSError, as the kernel has it; Host turns it into words.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

FICLONE = 0x40049409
"""_IOW(0x94, 9, int) of linux/fs.h."""
NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
"""What file systems say that can't share blocks between these two files."""

Said = tuple[int, str, str]
"""Exit status, stdout and stderr."""


# ---------------------------------------------------------------------------------------------------- files


def temporary(target: Path) -> Path:
    """Where the new content of a file is until it is whole."""
    return target.with_name(f".{target.name}.xenable-new")


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as e:
        # vfat on some kernels can't sync a folder; the file itself is on disk.
        if e.errno not in (errno.EINVAL, errno.EROFS):
            raise
    finally:
        os.close(fd)


def settle(target: Path | None) -> None:
    """Put all that is in memory, metadata included, where it belongs on disk: sync(2). With a file or folder
    that of its file system alone, syncfs(2): another one may hang."""
    if target is None:
        os.sync()
        return
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def write(
    target: Path,
    data: bytes,
    *,
    mode: int,
    owner: tuple[int, int] | None,
    xattrs: Mapping[str, bytes],
    mtime_ns: int | None,
) -> None:
    """Replace a file, or make it: on disk, with all of that, before it has its name."""
    new = temporary(target)
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        # 0600 until the content is whole: it may be a secret.
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            if owner is not None:
                os.fchown(f.fileno(), *owner)
            os.fchmod(f.fileno(), mode)
            for name, value in xattrs.items():
                os.setxattr(f.fileno(), name, value)
            if mtime_ns is not None:
                os.utime(f.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(f.fileno())
        new.rename(target)
        sync_folder(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def make_folder(target: Path, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make a folder, and those above it as 0755, whatever the umask; one that is there stays as it is."""
    if not target.parent.exists():
        make_folder(target.parent, 0o755)
    try:
        target.mkdir(mode=mode)
    except FileExistsError:
        if not target.is_dir():
            raise
    else:
        if owner is not None:
            os.chown(target, *owner)
        target.chmod(mode)
    sync_folder(target.parent)


def symlink(target: Path, to: str) -> None:
    """Replace a file or link by a symbolic link, or make it."""
    new = temporary(target)
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(to)
    new.rename(target)
    sync_folder(target.parent)


def append(target: Path, data: bytes) -> None:
    """Append all of it or nothing, on disk when this returns; a new file is mode 0644."""
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
        sync_folder(target.parent)


def overwrite(target: Path, data: bytes) -> bool:
    """New bytes in a file of the same length, in place and on disk; False when its length is another."""
    fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_size != len(data):
            return False
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)
        return True
    finally:
        os.close(fd)


def poke(target: Path, data: bytes) -> None:
    """Write to a device."""
    fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def set_variable(target: Path, data: bytes | None) -> None:
    """Write a file of efivarfs in one call, or remove it: it knows no other names, and so no renaming."""
    if data is None:
        target.unlink(missing_ok=True)
        return
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
    finally:
        os.close(fd)


def clone(source: Path, target: Path) -> bool:
    """A new file, mode 0600, with the blocks of another one; False, and no file, where that can't be."""
    with source.open("rb") as old:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.ioctl(fd, FICLONE, old.fileno())
        except OSError as e:
            target.unlink()
            if e.errno in NO_CLONE:
                return False
            raise
        finally:
            os.close(fd)
    return True


def lengthen(target: Path, size: int) -> None:
    """Make a file longer with a hole; a longer one stays as it is."""
    fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_size < size:
            os.ftruncate(fd, size)
    finally:
        os.close(fd)


# ---------------------------------------------------------------------------------------------------- locks


@contextlib.contextmanager
def opened(target: Path, flags: int) -> Iterator[int]:
    """A descriptor for the length of a with block; a new file is mode 0600."""
    fd = os.open(target, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def flock(fd: int, *, wait: bool) -> bool:
    """Lock an open file or folder for this process; False when it is taken and `wait` is off."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def read_note(fd: int) -> str:
    """The text that `write_note` left in a lock's file."""
    return os.pread(fd, 20, 0).decode("ascii", "replace").strip()


def write_note(fd: int, text: str) -> None:
    """Replace what an open file says, as far as there is room: for people, and nothing depends on it."""
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{text}\n".encode(), 0)


# ------------------------------------------------------------------------------------------------- network


DISCARD = 9
"""RFC 863: what is sent there is thrown away."""


def knock(address: str, interface: str) -> None:
    """Send an empty datagram to a neighbour, IPv4 or IPv6; that it can't be sent is no error."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
        if family == socket.AF_INET6:
            sender.sendto(b"", (address, DISCARD, 0, socket.if_nametoindex(interface)))
        else:
            sender.sendto(b"", (address, DISCARD))


# ------------------------------------------------------------------------------------------------- commands


def run(words: Sequence[str], data: str, env: Mapping[str, str], timeout: float | None) -> Said:
    """Run a command and wait for it. What keeps it from running or ending is a status too, as in a shell."""
    try:
        done = subprocess.run(
            words,
            check=False,
            input=data,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            timeout=timeout,
        )
    except FileNotFoundError:
        return 127, "", f"{words[0]}: not found"
    except PermissionError:
        return 126, "", f"{words[0]}: may not be executed"
    except OSError as e:
        # A script without #!, a program for another processor, too many arguments.
        return 126, "", f"{words[0]}: {e.strerror}"
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout:g} s"
    return done.returncode, done.stdout, done.stderr


def stream(words: Sequence[str], env: Mapping[str, str], on_line: Callable[[str], None]) -> Said:
    """Run a command with umask 022; `on_line` gets each line of stdout and stderr when it is written.

    Returns when nobody can write any more. The command is killed when this process dies, however that is,
    and when `on_line` raises.
    """
    # Bound to the thread that starts it, which is in here for as long as the command runs.
    bound = ("setpriv", "--pdeathsig", "KILL", "--", *words)
    try:
        process = subprocess.Popen(
            bound,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            umask=0o022,
        )
    except FileNotFoundError:
        return 127, "", f"{bound[0]}: not found"
    said: list[str] = []
    assert process.stdout is not None
    with process.stdout as out:
        try:
            for line in out:
                said.append(line)
                on_line(line.rstrip("\n"))
            return process.wait(), "".join(said), ""
        except BaseException:
            process.kill()
            process.wait()
            raise
