# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a boot under Xen was not judged good: from what it left behind, on the system that came after it."""

from __future__ import annotations

from datetime import UTC, datetime

from xenable.boot.commandline import DEADLINE, kernel_words
from xenable.boot.environment import UNKNOWN, Environment
from xenable.boot.slots import SLOTS, read_manifest, verify_slot
from xenable.facts.files import modified
from xenable.health import BEFORE
from xenable.host import Host
from xenable.trialrecord import Trial, of_last_boot, reason_on_record

CLOCKS_DIFFER = 600
"""Seconds that the machine's own clock, which GRUB reads, may be ahead of the system's."""


PSTORE = "/sys/fs/pstore"

NEVER_SAID = (
    "Xen or dom0's kernel stopped before dom0's user space ran; or it never began: GRUB could not load it, "
    "BootNext was taken back, kexec came before it, or the firmware did not heed its BootNext or its entry "
    "(`efibootmgr -v`)"
)
"""Where GRUB can note nothing, and dom0 left nothing."""


def diagnose(host: Host, env: Environment, trial: Trial | None) -> str:
    """Why the last boot under Xen was not judged good, from what it left behind."""
    slot = env.trying
    if env.stage not in ("started", "refused"):
        if env.stage == UNKNOWN and trial is not None and of_last_boot(env, trial):
            return reason_on_record(trial)
        damaged = verify_slot(host, slot) if slot in SLOTS else ()
        if env.stage == UNKNOWN and not damaged:
            return _lost_root(host, env) or NEVER_SAID
        what = "; ".join(damaged) or "GRUB could not load the hypervisor, the kernel or the initrd"
        return f"GRUB could not start Xen: {what}"
    if trial is None or not of_last_boot(env, trial):
        return _before_userspace(host, env)
    panic = _crash_message(host, env)
    if panic and trial.verdict == "waiting":
        return f"dom0's kernel panicked after {trial.seconds} s: {panic}"
    return reason_on_record(trial, elapsed(host, env.started))


def _before_userspace(host: Host, env: Environment) -> str:
    if lost := _lost_root(host, env):
        return lost
    args = _arguments(host, env)
    panic = _crash_message(host, env)
    if panic:
        return f"dom0's kernel panicked before its user space ran: {panic}"
    took = elapsed(host, env.started)
    limit = kernel_words(args).get(DEADLINE, "")
    if took is None or not limit.isdecimal():
        return (
            "Xen or dom0's kernel stopped before dom0's user space ran (a panic, a hang in the initrd, "
            "or no root file system)"
        )
    if took < int(limit):
        return (
            "Xen or dom0's kernel panicked, or the machine was reset or lost its power, early in its start: "
            f"within {took} s of GRUB's hand-over, and before its time limit of {limit} s"
        )
    return (
        f"dom0 hung early in its start, and its time limit of {limit} s ran out; or it panicked, and the "
        f"machine was off or slow to start: this system began {took} s after GRUB's hand-over"
    )


def _arguments(host: Host, env: Environment) -> str:
    manifest = read_manifest(host, env.trying) if env.trying in SLOTS else None
    return manifest.dom0_arguments if manifest else ""


def _lost_root(host: Host, env: Environment) -> str:
    """That the root file system of a slot is not there, if so."""
    args = _arguments(host, env)
    root = next((word[5:] for word in args.split() if word.startswith("root=")), "")
    kind, _, value = root.partition("=")
    folder = {
        "UUID": "/dev/disk/by-uuid",
        "PARTUUID": "/dev/disk/by-partuuid",
        "LABEL": "/dev/disk/by-label",
    }
    device = f"{folder[kind]}/{value}" if kind in folder else root
    # Else it is no path: ZFS=pool/name.
    if device.startswith("/") and not host.exists(device):
        return f"dom0's initrd did not find the root file system: there is no {root} on this machine"
    return ""


def _crash_message(host: Host, env: Environment) -> str:
    """The panic line that pstore kept of this trial, if the firmware has a place for it."""
    began = _started(host, env.started)
    if began is None:
        # It may be of any crash that this machine ever had.
        return ""
    armed = modified(host, BEFORE) or 0
    for folder in ("/var/lib/systemd/pstore", PSTORE):
        for path in _files_below(host, folder):
            # systemd-pstore moves a dump at the boot after the crash; before, it has the time of the crash.
            if (modified(host, path) or 0) < began.timestamp() - CLOCKS_DIFFER:
                continue
            # What was moved before the trial was armed is of another one: both by the system's clock.
            if folder != PSTORE and (modified(host, path) or 0) < armed:
                continue
            for line in host.text(path).splitlines():
                if "Kernel panic - not syncing" in line:
                    return line[line.index("Kernel panic") :].strip()
    return ""


def _files_below(host: Host, folder: str, depth: int = 2) -> list[str]:
    found: list[str] = []
    for name in reversed(host.names(folder)):
        path = f"{folder}/{name}"
        if host.is_dir(path):
            found += _files_below(host, path, depth - 1) if depth else []
        else:
            found.append(path)
    return found


def elapsed(host: Host, started: str) -> int | None:
    """Seconds from GRUB's hand-over, at started by its clock, to the start of this kernel.

    None when that makes no sense.
    """
    boot = next(
        (line.split()[1] for line in host.text("/proc/stat").splitlines() if line.startswith("btime ")), ""
    )
    began = _started(host, started)
    if began is None or not boot:
        return None
    seconds = int(int(boot) - began.timestamp())
    return seconds if 0 < seconds < 86400 else None


def _started(host: Host, started: str) -> datetime | None:
    """When GRUB handed over to Xen, by the machine's clock; None when it had none."""
    try:
        began = datetime.strptime(started, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    # The machine's clock is read as it is, and the third line of adjtime_config(5) says what it shows.
    local = host.text("/etc/adjtime").splitlines()[2:3] == ["LOCAL"]
    return began.astimezone() if local else began.replace(tzinfo=UTC)
