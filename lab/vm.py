# SPDX-License-Identifier: GPL-2.0-or-later
"""One virtual machine for the length of a with block: power, a shell inside, its serial port, its files."""

import os
import re
import shlex
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lab import qemu
from lab import ssh as shell
from lab import tree as files
from lab.errors import LabError, ScenarioFailed
from lab.host import run
from lab.qemu import DirectBoot
from lab.ssh import Result

BOOT_TIMEOUT = 400.0
COMMAND_TIMEOUT = 300.0
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
SSHD_STARTED = re.compile(r"Started [^\n]*Secure Shell server")
ASK_ANYWAY = 20.0
"""Seconds after which a machine is asked over ssh though its serial port has not said that sshd runs."""


class VM:
    """A machine on a private overlay of the disk image base, with all its logs in folder.

    base is a stock image or a snapshot: its sibling *.vars, if any, makes it a UEFI machine.
    With overlay=False it writes to base itself (how images are made). With reboot=False a reboot
    ends QEMU. memory is in MiB.
    """

    def __init__(
        self,
        base: Path,
        *,
        folder: Path,
        key: Path,
        memory: int = 3072,
        cpus: int = 2,
        overlay: bool = True,
        reboot: bool = True,
        direct: DirectBoot | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        self.base = base
        self.folder = folder
        self.key = key
        self.memory = memory
        self.cpus = cpus
        self.overlay = overlay
        self.reboot = reboot
        self.direct = direct
        self.extra = extra
        self.disk = folder / "disk.qcow2" if overlay else base
        self.vars: Path | None = None
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "VM":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare_disk()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running():
            self.power_cut()
        shell.close_kept(self.door())
        if self.overlay:
            self.disk.unlink(missing_ok=True)

    # Power

    def boot(self) -> None:
        """Switch the machine on, with the disk as it is; returns before the guest is up (see wait_ssh)."""
        if self.running():
            raise LabError("cannot boot the machine: it is running")
        shell.close_kept(self.door())
        self.port = qemu.free_port()
        self.process = qemu.start(self.spec())

    def running(self) -> bool:
        """True while the machine is switched on."""
        return self.process is not None and self.process.poll() is None

    def power_cut(self) -> None:
        """Take the power away: the guest gets no chance to do or flush anything."""
        # Not SIGKILL: QEMU keeps qcow2's own tables in memory, and without them the disk would lose even
        # what the guest had synced. QMP's quit writes those, and nothing on behalf of the guest.
        if self.process is None or not self.running():
            raise LabError("cannot cut the power: the machine is off")
        with suppress(OSError):
            qemu.monitor(self.spec().monitor, "quit")
        self._wait_exit(30, "cannot cut the power: QEMU does not quit")
        shell.close_kept(self.door())

    def reset(self) -> None:
        """Press the reset button."""
        shell.close_kept(self.door())
        try:
            qemu.monitor(self.spec().monitor, "system_reset")
        except OSError as error:
            raise LabError(f"cannot reset the machine: {error}") from None

    def shutdown(self, timeout: float = 300) -> None:
        """Power off cleanly from inside; raises ScenarioFailed when it is not off within timeout seconds."""
        self.ssh("systemctl poweroff", check=False)
        self.wait_off(timeout)

    def wait_off(self, timeout: float) -> None:
        """Wait until the machine has switched itself off; raises ScenarioFailed after timeout seconds."""
        if self.process is not None:
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise ScenarioFailed(f"the machine is still on after {timeout:.0f} s") from None
        shell.close_kept(self.door())

    def snapshot(self, name: str) -> Path:
        """Freeze the disk of the machine, which must be off, as a base for others; it goes on on top."""
        if self.running() or not self.overlay:
            raise LabError(
                f"cannot take the snapshot {name}: the machine is on or writes to its base itself"
            )
        frozen = self.folder / f"{name}.qcow2"
        if frozen.exists():
            raise LabError(f"cannot take the snapshot {name}: {frozen} exists")
        self.disk.rename(frozen)
        if self.vars is not None:
            shutil.copyfile(self.vars, vars_of(frozen))
        self.base = frozen
        self._prepare_disk()
        return frozen

    # A shell inside

    def ssh(
        self, command: str, *, check: bool = True, user: str = "root", timeout: float = COMMAND_TIMEOUT
    ) -> Result:
        """Run a shell line in the guest, now; with check, ScenarioFailed on any code but 0."""
        result = shell.call(self.door(), user, command, timeout=timeout)[1]
        return checked(command, result) if check else result

    def wait_ssh(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait until root can log in; ScenarioFailed after timeout seconds or when the machine goes off."""
        self.wait_new_boot("", timeout)

    def start(self) -> None:
        """Switch on, and wait until root can log in and systemd has started everything."""
        self.boot()
        self.wait_ssh()
        self.wait_settled()

    def wait_new_boot(self, old_boot_id: str, timeout: float = BOOT_TIMEOUT) -> str:
        """Wait until the machine answers with another boot id than the old one, and return the new one."""
        since = len(self.serial())
        asked = time.monotonic()
        deadline = asked + timeout
        while time.monotonic() < deadline:
            if not self.running():
                raise ScenarioFailed("the machine went off instead of answering over ssh")
            # Each question makes sshd fork and exec: seconds of a machine that is busy booting or leaving.
            started = SSHD_STARTED.search(self.serial(), since) is not None
            if started or time.monotonic() - asked > ASK_ANYWAY:
                asked = time.monotonic()
                boot_id = self._ask_boot_id()
                if boot_id not in ("", old_boot_id):
                    # This connection is kept: a login costs an emulated processor seconds.
                    return boot_id
                shell.close_kept(self.door())
            time.sleep(1)
        raise ScenarioFailed(f"the machine does not answer over ssh within {timeout:.0f} s of a new boot")

    def wait_settled(self, timeout: float = BOOT_TIMEOUT) -> str:
        """Wait until systemd has started everything; return its state, such as "running" or "degraded"."""
        result = self.ssh("systemctl is-system-running --wait", check=False, timeout=timeout)
        return result.stdout.strip()

    def boot_id(self) -> str:
        """The id that the kernel made up for this boot."""
        return self.ssh(BOOT_ID).stdout.strip()

    # Files

    def put(self, path: Path, remote: str) -> None:
        """Copy a file of the host into the guest, with its permission bits, owned by root."""
        self.write(remote, path.read_bytes())
        self.ssh(f"chmod {path.stat().st_mode & 0o7777:o} {shlex.quote(remote)}")

    def get(self, remote: str, path: Path) -> None:
        """Copy a file of the guest to the host."""
        command = f"cat {shlex.quote(remote)}"
        raw, result = shell.call(self.door(), "root", command, timeout=COMMAND_TIMEOUT, quiet=True)
        checked(command, result)
        path.write_bytes(raw)

    def write(self, remote: str, content: bytes) -> None:
        """Write a file of the guest; a new one gets mode 0644."""
        command = f"cat > {shlex.quote(remote)}"
        checked(command, shell.call(self.door(), "root", command, timeout=COMMAND_TIMEOUT, stdin=content)[1])

    def tree(self) -> dict[str, files.Entry]:
        """Everything that is stored in the guest, by path, but for files.VOLATILE."""
        command = shlex.join(["python3", "-c", files.script(), *files.VOLATILE])
        raw, result = shell.call(self.door(), "root", command, timeout=600, quiet=True)
        checked("(the script of lab/guest/tree.py)", result)
        return files.parse(raw.decode())

    # The serial port

    def serial(self) -> str:
        """All that the machine ever wrote to its serial port, over all boots."""
        log = self.spec().serial
        return log.read_text(errors="replace") if log.exists() else ""

    def wait_serial(
        self, regex: str, timeout: float, *, since: int = 0, interval: float = 0.5
    ) -> re.Match[str]:
        """Wait for a match in serial()[since:], looked for every interval seconds.

        Raises ScenarioFailed after timeout seconds.
        """
        deadline = time.monotonic() + timeout
        pattern = re.compile(regex, re.MULTILINE)
        while (found := pattern.search(self.serial(), since)) is None:
            if time.monotonic() > deadline:
                raise ScenarioFailed(f"{regex!r} does not appear on the serial port within {timeout:.0f} s")
            time.sleep(interval)
        return found

    # What the above is made of

    def _ask_boot_id(self) -> str:
        """The id of the boot that answers over ssh now; empty when none does."""
        if not shell.answers(self.port):
            return ""
        shell.close_kept(self.door())
        # A machine on its way down may well take the question and never answer it.
        with suppress(ScenarioFailed):
            result = self.ssh(BOOT_ID, check=False, timeout=60)
            return result.stdout.strip() if result.code == 0 else ""
        return ""

    def spec(self) -> qemu.Spec:
        """How QEMU is started for this machine."""
        return qemu.Spec(
            folder=self.folder,
            disk=self.disk,
            ssh_port=self.port,
            firmware_vars=self.vars,
            memory=self.memory,
            cpus=self.cpus,
            reboot=self.reboot,
            direct=self.direct,
            extra=self.extra,
        )

    def door(self) -> shell.Door:
        """Where this machine's sshd is reached."""
        return shell.Door(self.port, self.key, self.folder)

    def _prepare_disk(self) -> None:
        if vars_of(self.base).exists():
            self.vars = self.folder / "firmware.vars" if self.overlay else vars_of(self.base)
            if self.overlay:
                shutil.copyfile(vars_of(self.base), self.vars)
        if self.overlay:
            base = ["-b", os.fspath(self.base), "-F", qemu.disk_format(self.base)]
            run(
                ["qemu-img", "create", "-q", "-f", "qcow2", *base, os.fspath(self.disk)],
                doing="make an overlay",
            )

    def _wait_exit(self, timeout: float, message: str) -> None:
        assert self.process is not None
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise LabError(message) from None


def vars_of(disk: Path) -> Path:
    """Where the UEFI variables that belong to a disk image are; there is no such file for a BIOS machine."""
    return disk.with_suffix(".vars")


def checked(command: str, result: Result) -> Result:
    """The result itself if its code is 0; raises ScenarioFailed with what the command said otherwise."""
    if result.code == 0:
        return result
    if result.code == shell.UNREACHABLE:
        raise ScenarioFailed(
            f"the machine did not answer, or was lost, at {command!r}: {result.stderr.strip()}"
        )
    said = (result.stderr.strip() or result.stdout.strip())[-2000:]
    raise ScenarioFailed(f"{command!r} exited {result.code} in the guest: {said}")
