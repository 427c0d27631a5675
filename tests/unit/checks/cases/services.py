# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/services.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case
from xenable.machine import Answer

CASES: tuple[Case, ...] = (
    (
        "watchdog/in-use",
        {"services": {"watchdog_daemons": ("watchdog.service", "wd_keepalive.service")}},
        {},
        "watchdog.service and wd_keepalive.service are enabled or running.",
        "systemctl disable --now watchdog.service wd_keepalive.service",
    ),
    (
        "watchdog/systemd",
        {"services": {"runtime_watchdog": "RuntimeWatchdogSec=30 in /etc/systemd/system.conf"}},
        {},
        "RuntimeWatchdogSec=30",
        "Nothing to do",
    ),
    (
        "services/no-ssh",
        {"services": {"ssh_listen": ()}},
        {},
        "No sshd listens",
        "openssh-server",
    ),
    (
        "services/no-ssh",
        {"services": {"ssh_listen": ("127.0.0.1:22", "[::1]:22")}},
        {},
        "127.0.0.1:22",
        "",
    ),
    (
        "services/unknown",
        {"services": {"known": False, "ssh_listen": ()}},
        {},
        "could not be asked",
        "systemctl",
    ),
    (
        "services/unknown",
        {"services": {"ssh_listen": (), "ssh_hidden": ("0.0.0.0:22", "[::]:22")}},
        {},
        "Something listens on 0.0.0.0:22 and [::]:22, but whether it is sshd may not be seen.",
        "as root",
    ),
    (
        "services/failed",
        {"services": {"failed": ("smartd.service",)}},
        {},
        "smartd.service is",
        "systemctl status",
    ),
    (
        "services/starting",
        {"services": {"system": "starting", "jobs": ("slow.service",)}},
        {},
        "systemd says starting: it waits for slow.service.",
        "systemctl list-jobs",
    ),
    (
        "services/starting",
        {"services": {"system": "initializing"}},
        {},
        "systemd says initializing.",
        "",
    ),
    (
        "services/os-prober",
        {"services": {"os_prober": Answer.YES}},
        {},
        "switched on",
        "GRUB_DISABLE_OS_PROBER",
    ),
    (
        "services/os-prober",
        {"services": {"os_prober": Answer.UNKNOWN}},
        {},
        "could not be found out",
        "",
    ),
)
