# SPDX-License-Identifier: GPL-2.0-or-later
"""The way into a guest: OpenSSH's client, over one kept connection per user so that a call costs little."""

import os
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, ScenarioFailed

# What ssh itself exits with when it could not reach the machine or lost it.
UNREACHABLE = 255


@dataclass(frozen=True)
class Result:
    """What a command in the guest said and returned; code 255 also stands for a lost connection."""

    stdout: str
    stderr: str
    code: int


@dataclass(frozen=True)
class Door:
    """Where a guest's sshd is reached. folder holds the control sockets and the transcript ssh.log."""

    port: int
    key: Path
    folder: Path

    def control(self, user: str) -> Path:
        """The control socket of the kept connection of that user."""
        return self.folder / f"ssh-{user}"


def argv(door: Door, user: str, *, kept: bool = True) -> list[str]:
    """The ssh command line up to and with the destination, to be run in the door's folder.

    kept=False makes a connection of its own, from anywhere.
    """
    return [
        "ssh",
        "-F", "none",
        "-i", os.fspath(door.key),
        "-p", str(door.port),
        # Relative, as a socket's path has at most 107 bytes and a run folder may lie deeper.
        "-S", door.control(user).name if kept else "none",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=20",
        "-o", "ControlMaster=no",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "IdentitiesOnly=yes",
        # The post-quantum exchange, the default, costs an emulated CPU a noticeable time.
        "-o", "KexAlgorithms=curve25519-sha256",
        "-o", "LogLevel=ERROR",
        "-o", "ServerAliveCountMax=6",
        "-o", "ServerAliveInterval=5",
        "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null",
        f"{user}@127.0.0.1",
    ]  # fmt: skip


def answers(port: int, timeout: float = 10) -> bool:
    """True when an sshd greets on that port; QEMU itself accepts connections, so those prove nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def call(
    door: Door,
    user: str,
    command: str,
    *,
    timeout: float,
    stdin: bytes = b"",
    quiet: bool = False,
) -> tuple[bytes, Result]:
    """Run a shell line in the guest; return its raw stdout, and everything as text.

    Writes the transcript, without command and output in full when quiet.

    Raises ScenarioFailed when there is no end within timeout seconds; a failed connection is a code 255.
    """
    began = time.monotonic()
    if not door.control(user).exists():
        failed = open_kept(door, user)
        if failed is not None:
            write_transcript(door, user, command, failed, time.monotonic() - began)
            return b"", failed
    try:
        done = subprocess.run(
            [*argv(door, user), "--", command],
            cwd=door.folder,
            input=stdin,
            check=False,
            capture_output=True,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise LabError("cannot reach the guest: the command ssh is not installed") from None
    except subprocess.TimeoutExpired as error:
        so_far = Result(text(error.stdout), text(error.stderr) + "[timeout]", UNREACHABLE)
        write_transcript(door, user, command, so_far, timeout)
        raise ScenarioFailed(f"the machine did not finish {command!r} within {timeout:.0f} s") from None
    result = Result(text(done.stdout), text(done.stderr), done.returncode)
    shown = Result(f"({len(done.stdout)} bytes)", result.stderr, result.code) if quiet else result
    write_transcript(door, user, command[:80] if quiet else command, shown, time.monotonic() - began)
    return done.stdout, result


def open_kept(door: Door, user: str) -> Result | None:
    """Start the kept connection; None when it stands, else what ssh said."""
    # Separately, and with no pipe of ours: the process in the background would hold it open for ever.
    log = door.folder / "ssh-connect.log"
    with log.open("wb") as stream:
        try:
            done = subprocess.run(
                [*argv(door, user)[:-1], "-M", "-N", "-f", "-o", "ControlPersist=yes", f"{user}@127.0.0.1"],
                check=False,
                cwd=door.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                timeout=60,
            )
        except subprocess.TimeoutExpired:
            # It may have got as far as its socket, which would be taken for a connection.
            door.control(user).unlink(missing_ok=True)
            return Result("", log.read_text(errors="replace") + "[timeout]", UNREACHABLE)
    return None if done.returncode == 0 else Result("", log.read_text(errors="replace"), UNREACHABLE)


def close_kept(door: Door) -> None:
    """End all kept connections, dead ones too; never fails."""
    for control in door.folder.glob("ssh-*"):
        if not control.is_socket():
            continue
        user = control.name.removeprefix("ssh-")
        with suppress(subprocess.TimeoutExpired):
            leave = [*argv(door, user), "-O", "exit"]
            subprocess.run(leave, check=False, cwd=door.folder, capture_output=True, timeout=10)
        control.unlink(missing_ok=True)


def text(raw: bytes | None) -> str:
    """Guest output as text; bytes that are not UTF-8 are replaced."""
    return (raw or b"").decode(errors="replace")


def write_transcript(door: Door, user: str, command: str, result: Result, seconds: float) -> None:
    """Append one call to ssh.log."""
    lines = [f"{user}# {command}", result.stdout.rstrip("\n")]
    if result.stderr:
        lines.append("stderr: " + result.stderr.rstrip("\n"))
    lines.append(f"[code {result.code}, {seconds:.1f} s]\n\n")
    with (door.folder / "ssh.log").open("a", encoding="utf-8") as stream:
        stream.write("\n".join(line for line in lines if line))
