# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: what to start (pure), starting it, and talking to its monitor."""

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

# A processor of few abilities, and SVM for PVH guests. Seen with QEMU 7.2 under TCG, with all that it has:
# smap kills a PV dom0 at its first exception, rdtscp kills a PVH guest, and with xsave dom0 and guests spoil
# one another's registers. What else it has makes programs choose code that takes an emulator longer.
CPU = "qemu64,+svm,+npt,+nrip-save,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf_lm"

# Always the same slot, so that udev gives the NIC the same name whatever other devices there are.
NIC_SLOT = "0x10"

# Late ones: what other disks are called does not depend on these.
CLOUD_SLOT, IMAGES_SLOT, DEBS_SLOT = "0x1c", "0x1d", "0x1e"


@dataclass(frozen=True)
class DirectBoot:
    """A Linux started by QEMU itself, without firmware menu or boot loader."""

    kernel: Path
    initrd: Path
    command_line: str


@dataclass(frozen=True)
class Spec:
    """All that decides how QEMU is started. firmware_vars is None on a BIOS machine; memory is in MiB."""

    folder: Path
    disk: Path
    ssh_port: int
    firmware_vars: Path | None = None
    memory: int = 3072
    cpus: int = 2
    reboot: bool = True
    direct: DirectBoot | None = None
    extra: tuple[str, ...] = ()

    @property
    def serial(self) -> Path:
        """The serial log; it grows over all boots of the machine."""
        return self.folder / "serial.log"

    @property
    def monitor(self) -> Path:
        """The unix socket of QEMU's machine protocol (QMP)."""
        return self.folder / "qmp"


def disk_format(disk: Path) -> str:
    """The format of a disk image, told by its name; never probed, as a guest could fake it."""
    return "raw" if disk.suffix == ".raw" else "qcow2"


def argv(spec: Spec) -> list[str]:
    """The whole QEMU command line, to be started in the folder of the machine."""
    pflash: list[str] = []
    if spec.firmware_vars is not None:
        pflash = [
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={quoted(OVMF_CODE)}",
            "-drive", f"if=pflash,unit=1,format=raw,file={quoted(spec.firmware_vars)}",
        ]  # fmt: skip
    direct: list[str] = []
    if spec.direct is not None:
        direct = [
            "-kernel", os.fspath(spec.direct.kernel),
            "-initrd", os.fspath(spec.direct.initrd),
            "-append", spec.direct.command_line,
        ]  # fmt: skip
    return [
        "qemu-system-x86_64",
        "-nodefaults",
        # Servers have a display or none, and so have these: drawing on one takes seconds of each boot.
        "-vga", "none" if spec.firmware_vars is not None else "std",
        "-accel", "tcg,thread=multi",
        "-machine", "q35",
        "-cpu", CPU,
        "-smp", str(spec.cpus),
        "-m", f"{spec.memory}M",
        "-display", "none",
        *pflash,
        "-drive", f"if=virtio,format={disk_format(spec.disk)},cache=unsafe,file={quoted(spec.disk)}",
        "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{spec.ssh_port}-:22",
        "-device", f"virtio-net-pci,netdev=net0,addr={NIC_SLOT}",
        "-chardev", f"file,id=serial0,append=on,path={quoted(spec.serial)}",
        "-serial", "chardev:serial0",
        "-qmp", f"unix:{spec.monitor.name},server=on,wait=off",
        *([] if spec.reboot else ["-no-reboot"]),
        *direct,
        *spec.extra,
    ]  # fmt: skip


def quoted(path: Path) -> str:
    """A path inside a QEMU option, where a comma has to be doubled."""
    return os.fspath(path).replace(",", ",,")


def file_drive(path: Path, name: str, slot: str) -> tuple[str, ...]:
    """Options that give a machine a file as a read-only disk, /dev/disk/by-id/virtio-NAME in it.

    Over ssh the same would take minutes. slot: of the PCI bus.
    """
    return (
        "-drive", f"if=none,id={name},format=raw,readonly=on,file={quoted(path)}",
        "-device", f"virtio-blk-pci,drive={name},serial={name},addr={slot}",
    )  # fmt: skip


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(spec: Spec) -> subprocess.Popen[bytes]:
    """Start QEMU and wait until its monitor answers (LabError otherwise); it dies with this process."""
    spec.monitor.unlink(missing_ok=True)
    log = spec.folder / "qemu.log"
    with log.open("ab") as stream:
        # setpriv rather than a preexec function: QEMU must not outlive a lab that was killed.
        command = ["setpriv", "--pdeathsig", "KILL", *argv(spec)]
        process = subprocess.Popen(
            command, cwd=spec.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            monitor(spec.monitor, "query-status")
            return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise LabError(
        f"cannot start QEMU: {log.read_text(errors='replace').strip() or 'its monitor does not answer'}"
    )


def monitor(path: Path, command: str) -> object:
    """Run one QMP command without arguments, return what it returns.

    Raises OSError when QEMU is not there (or leaves before it answers), LabError when it refuses.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        # A socket's path has at most 107 bytes, and a run folder may well lie deeper than that.
        folder = os.open(path.parent, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        with connection.makefile("rw", encoding="utf-8") as stream:
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}) + "\n")
            stream.flush()
            answers: list[object] = []
            while len(answers) < 2:
                line = stream.readline()
                if not line:
                    raise ConnectionError("QEMU closed its monitor")
                message = json.loads(line)
                if "error" in message:
                    raise LabError(f"cannot tell QEMU to {command}: {message['error'].get('desc')}")
                if "return" in message:
                    answers.append(message["return"])
            return answers[1]
