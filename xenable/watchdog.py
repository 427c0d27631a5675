# SPDX-License-Identifier: GPL-2.0-or-later
"""The dead-man of a trial boot: Xen's domain watchdog, as dom0's kernel shows it."""

from __future__ import annotations

from xenable.errors import XenableError
from xenable.host import Host

WATCHDOGS = "/sys/class/watchdog"


def stop_dead_man(host: Host) -> tuple[str, ...]:
    """Stop the Xen domain watchdog that the initrd opened: a V before close (the kernel's "magic close").

    Returns the names of those that can't be stopped: another program has them open, or their driver lets
    nobody stop them.
    """
    left = []
    for name in xen_watchdogs(host):
        try:
            host.poke(f"/dev/{name}", b"V")
        except XenableError:
            left.append(name)
        else:
            if _active(host, name):
                left.append(name)
    return tuple(left)


def ensure_dead_man(host: Host, seconds: int) -> None:
    """Start the dead-man from user space where the initrd could not. Errors: XenableError, also where the
    kernel does not show Xen's watchdog."""
    if any(_active(host, name) for name in xen_watchdogs(host)):
        return
    host.run(["modprobe", "-r", "xen_wdt"], check=False)
    host.run(["modprobe", "xen_wdt", f"timeout={max(seconds, 30)}"])
    names = xen_watchdogs(host)
    if not names:
        raise XenableError(f"cannot start the dead-man: {WATCHDOGS} has no watchdog of Xen's")
    for name in names:
        # Opened and closed without a V: it counts from here.
        host.poke(f"/dev/{name}", b" ")


def _active(host: Host, name: str) -> bool:
    return host.text(f"{WATCHDOGS}/{name}/state").strip() == "active"


def xen_watchdogs(host: Host) -> tuple[str, ...]:
    """Names of the watchdog devices that are Xen's (identity in drivers/watchdog/xen_wdt.c)."""
    names = host.names(WATCHDOGS)
    return tuple(n for n in names if host.text(f"{WATCHDOGS}/{n}/identity").strip() in ("xen_wdt", "wdt"))
