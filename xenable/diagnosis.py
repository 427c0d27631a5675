# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a boot under Xen was not judged good: from what it left behind, on the system that came after it."""

from __future__ import annotations

from datetime import UTC, datetime

from xenable.boot.environment import Environment
from xenable.boot.slots import SLOTS, read_manifest, verify_slot
from xenable.host import Host
from xenable.trialrecord import Trial, of_last_boot, reason_on_record


def diagnose(host: Host, env: Environment, trial: Trial | None) -> str:
    """Why the last boot under Xen was not judged good, from what it left behind."""
    slot = env.trying
    if env.stage not in ("started", "refused"):
        damaged = verify_slot(host, slot) if slot in SLOTS else ()
        what = "; ".join(damaged) or "GRUB could not load the hypervisor, the kernel or the initrd"
        return f"GRUB could not start Xen: {what}"
    if trial is None or not of_last_boot(env, trial):
        return _before_userspace(host, env)
    panic = _crash_message(host)
    if panic and trial.verdict == "waiting":
        return f"dom0's kernel panicked after {trial.seconds} s: {panic}"
    return reason_on_record(trial)


def _before_userspace(host: Host, env: Environment) -> str:
    manifest = read_manifest(host, env.trying) if env.trying in SLOTS else None
    args = manifest.dom0_arguments if manifest else ""
    root = next((word[5:] for word in args.split() if word.startswith("root=")), "")
    kind, _, value = root.partition("=")
    folder = {
        "UUID": "/dev/disk/by-uuid",
        "PARTUUID": "/dev/disk/by-partuuid",
        "LABEL": "/dev/disk/by-label",
    }
    device = f"{folder[kind]}/{value}" if kind in folder else root
    if root and not host.exists(device):
        return f"dom0's initrd did not find the root file system: there is no {root} on this machine"
    panic = _crash_message(host)
    if panic:
        return f"dom0's kernel panicked before its user space ran: {panic}"
    took = _elapsed(host, env)
    tail = f"; the machine reset itself within {took} s of GRUB's hand-over" if took else ""
    return (
        "Xen or dom0's kernel stopped before dom0's user space ran (a panic, a hang in the initrd, "
        f"or no root file system){tail}"
    )


def _crash_message(host: Host) -> str:
    """The panic line that pstore kept from a crash, if the firmware has a place for it."""
    for folder in ("/var/lib/systemd/pstore", "/sys/fs/pstore"):
        for path in _files_below(host, folder):
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


def _elapsed(host: Host, env: Environment) -> int | None:
    """Seconds from GRUB's hand-over to the start of this kernel; None when the clock makes no sense."""
    boot = next(
        (line.split()[1] for line in host.text("/proc/stat").splitlines() if line.startswith("btime ")), ""
    )
    try:
        began = datetime.strptime(env.started, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        seconds = int(int(boot) - began.timestamp())
    except ValueError:
        return None
    return seconds if 0 < seconds < 86400 else None
