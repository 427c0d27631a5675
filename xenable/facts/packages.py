# SPDX-License-Identifier: GPL-2.0-or-later
"""State of apt and dpkg, and what installing Xen would bring."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from xenable.facts.apt import KERNELS_DEBIAN, KERNELS_UBUNTU, LISTS, Simulation, simulate
from xenable.facts.dpkg import STATUS, Known
from xenable.facts.files import line, modified
from xenable.host import Host
from xenable.machine import Answer, Candidate, Distribution, Kernel, Packages

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)

XEN_PACKAGE = re.compile(
    r"(xen-(system|hypervisor|utils|doc)|libxen|xenstore-utils|qemu-system-xen|grub-xen)\b.*"
)

CLEAN_STATES = ("installed", "config-files", "not-installed")


def probe_packages(
    host: Host,
    distribution: Distribution,
    kernels: Sequence[Kernel],
    known: Mapping[str, Known],
    *,
    xen_kernel: bool = False,
    dkms: bool = False,
) -> Packages:
    """On a folder only what dpkg has on record is known: apt is asked on a running machine.

    The generic kernel counts as something to install when no kernel of the distribution here can be a dom0;
    or, with `xen_kernel`, the one for Xen alone. With `dkms` its headers come too.
    """
    ubuntu = "ubuntu" in (distribution.id, *distribution.like)
    found = None
    if host.live:
        found = simulate(
            host,
            KERNELS_UBUNTU if ubuntu else KERNELS_DEBIAN,
            with_kernel=not any(kernel.dom0 is Answer.YES and not kernel.xen_only for kernel in kernels),
            xen_kernel=xen_kernel,
            with_headers=dkms,
            names=known,
        )
    told = found or Simulation()
    return Packages(
        usable=Answer.of(bool(known) and found is not None) if host.live else Answer.UNKNOWN,
        problem=_interrupted(host) or told.problem,
        locked_by=_locked_by(host),
        half_installed=tuple(
            sorted(p.name for p in known.values() if p.state not in CLEAN_STATES or p.flag != "ok")
        ),
        held=tuple(sorted(p.name for p in known.values() if p.want == "hold")),
        lists_age_days=_lists_age_days(host),
        install_recommends=told.install_recommends,
        xen=told.xen,
        xen_series=told.xen_series,
        kernel=told.kernel,
        recommended=told.recommended,
        installed_xen=tuple(
            Candidate(name=p.name, version=p.version)
            for p in sorted(known.values(), key=lambda p: p.name)
            if p.installed and XEN_PACKAGE.fullmatch(p.name)
        ),
        new=told.new,
        removed=told.removed,
        download_bytes=told.download_bytes,
        installed_kib=told.installed_kib,
        upgraded=told.upgraded,
        xen_kernel=told.xen_kernel,
    )


def lock_holders(locks: str, inode: int) -> tuple[int, ...]:
    """Processes that hold a POSIX write lock on an inode, from /proc/locks."""
    holders = []
    for row in locks.splitlines():
        words = row.split()
        # N: POSIX ADVISORY WRITE PID MAJOR:MINOR:INODE START END; `->` marks one that waits.
        writes = len(words) >= 6 and words[1:4] == ["POSIX", "ADVISORY", "WRITE"] and words[4].isdecimal()
        if writes and words[5].rpartition(":")[2] == str(inode):
            holders.append(int(words[4]))
    return tuple(holders)


def _locked_by(host: Host) -> str:
    locks = host.text("/proc/locks")
    for path in LOCKS if locks else ():
        try:
            inode = host.path(path).stat().st_ino
        except OSError:
            continue
        for pid in lock_holders(locks, inode):
            # Device numbers are of no use on btrfs; the process's open files tell inodes apart.
            if any(host.link_target(f"/proc/{pid}/fd/{fd}") == path for fd in host.names(f"/proc/{pid}/fd")):
                return f"{line(host, f'/proc/{pid}/comm')} (process {pid})"
    return ""


def _interrupted(host: Host) -> str:
    # dpkg merges its numbered journal files into the status file at the end of each run.
    if any(name.isdecimal() for name in host.names("/var/lib/dpkg/updates")):
        return "dpkg was interrupted: `dpkg --configure -a` corrects that"
    return "" if host.exists(STATUS) else f"{STATUS} is missing"


def _lists_age_days(host: Host) -> int | None:
    if not any(
        "_Packages" in name or "_InRelease" in name or "_Release" in name for name in host.names(LISTS)
    ):
        return None
    # The lists themselves carry the server's times; the folders are touched by every `apt update`.
    places = (LISTS, f"{LISTS}/partial", "/var/lib/apt/periodic/update-success-stamp")
    times = [when for path in places if (when := modified(host, path)) is not None]
    return max(int(time.time() - max(times)) // 86400, 0) if times else None
