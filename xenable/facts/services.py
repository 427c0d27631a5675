# SPDX-License-Identifier: GPL-2.0-or-later
"""Units that failed already, where ssh listens, who feeds watchdogs, and os-prober."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from xenable.facts.dpkg import Known, installed
from xenable.facts.menu import grub_settings
from xenable.host import Host
from xenable.machine import Answer, Services

ACTIVE = "/run/systemd/units/invocation:{}"
"""A link that systemd keeps for each unit that is active."""
SSH_SOCKET = ACTIVE.format("ssh.socket")
SSHD_CONFIG = "/etc/ssh/sshd_config"
LOOPBACK = ("127.", "[::1]", "[::ffff:127.")

CONF_PLACES = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")
"""From the weakest to the strongest (systemd-system.conf(5))."""
UNITS = "/etc/systemd/system"
DAEMONS = frozenset(("sshd", "dropbear"))

WATCHDOG_UNITS = (
    *("watchdog.service", "wd_keepalive.service", "watchdog-mux.service", "watchdogd.service"),
    "sbd.service",
)
"""Of the packages watchdog, pve-ha-manager, watchdogd and sbd."""


def probe_services(host: Host, known: Mapping[str, Known]) -> Services:
    failed: tuple[str, ...] | None = None
    listen: tuple[str, ...] = ()
    system = ""
    hidden: tuple[str, ...] = ()
    if host.live:
        # Before the units that failed: no failure falls between.
        system = host.run(("systemctl", "is-system-running"), check=False, timeout=15).stdout.strip()
        result = host.run(
            ("systemctl", "list-units", "--failed", "--output=json", "--no-pager"), check=False, timeout=10
        )
        failed = parse_units(result.stdout) if result.code == 0 else None
        sockets = host.run(("ss", "-H", "-l", "-t", "-n", "-p"), check=False, timeout=10).stdout
        ports = _socket_ports(host), sshd_ports(host)
        listen = parse_sockets(sockets, *ports, partial(_is_session, host))
        hidden = parse_hidden(sockets, ports[0] | ports[1])
    return Services(
        known=failed is not None,
        failed=failed or (),
        ssh_listen=listen,
        ssh_hidden=hidden,
        os_prober=_os_prober(host, known),
        watchdog_daemons=_watchdog_daemons(host),
        runtime_watchdog=runtime_watchdog(host),
        system=system,
    )


def with_jobs(host: Host, services: Services) -> Services:
    """The same, with what systemd still waits for; the gate, which looks often, asks once, at its end."""
    if not services.is_starting:
        return services
    return replace(services, jobs=jobs(host, timeout=10))


def jobs(host: Host, *, timeout: float) -> tuple[str, ...]:
    """Units whose jobs keep systemd from finishing its start, or what else it is at."""
    cmd = ("systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain")
    return parse_jobs(host.run(cmd, check=False, timeout=timeout).stdout)


def parse_jobs(text: str) -> tuple[str, ...]:
    """Units in the output of `systemctl list-jobs`: those whose job runs, or all where none does."""
    rows = [row.split() for row in text.splitlines()]
    jobs = [row for row in rows if len(row) == 4 and row[0].isdecimal()]
    return tuple(row[1] for row in [job for job in jobs if job[3] == "running"] or jobs)


def parse_units(text: str) -> tuple[str, ...] | None:
    """Names in the JSON of `systemctl list-units`; None when it is none."""
    try:
        rows = json.loads(text)
    except ValueError:
        return None
    if not isinstance(rows, list):
        return None
    return tuple(str(row["unit"]) for row in rows if isinstance(row, dict) and "unit" in row)


def parse_sockets(
    text: str,
    socket_ports: frozenset[str],
    sshd_ports: frozenset[str] = frozenset(("22",)),
    is_session: Callable[[str], bool] = lambda pid: False,
) -> tuple[str, ...]:
    """address:port of listening ssh daemons in the output of `ss -Hltnp`.

    systemd itself counts for the ports of ssh.socket. What a process of somebody's session listens on (X11,
    `ssh -R`) ends with it; on the loopback interface nothing else has a port that is not sshd's own.
    is_session: whether the process of that number is one.
    """
    found = []
    for row in text.splitlines():
        words = row.split()
        if len(words) < 6 or words[0] != "LISTEN":
            continue
        owners = re.findall(r'\("([^"]+)",pid=(\d+)', words[5])
        # The gate looks often, and most listeners are no ssh daemon's.
        programs = {n for n, pid in owners if n not in DAEMONS or not is_session(pid)}
        port = words[3].rpartition(":")[2]
        if words[3].startswith(LOOPBACK) and port not in sshd_ports | socket_ports:
            continue
        if programs & DAEMONS or ("systemd" in programs and port in socket_ports):
            found.append(words[3])
    return tuple(dict.fromkeys(found))


def _is_session(host: Host, pid: str) -> bool:
    """Whether a process of sshd's is one for a session: it is a child of another."""
    parent = re.search(r"(?m)^PPid:\s*(\d+)$", host.text(f"/proc/{pid}/status"))
    return parent is not None and host.text(f"/proc/{parent[1]}/comm").strip().startswith("sshd")


def parse_hidden(text: str, ports: frozenset[str]) -> tuple[str, ...]:
    """address:port of listeners on these ports whose program `ss -Hltnp` does not tell: without root rights
    it knows only those of one's own."""
    rows = (row.split() for row in text.splitlines())
    found = [words[3] for words in rows if len(words) == 5 and words[0] == "LISTEN"]
    return tuple(dict.fromkeys(place for place in found if place.rpartition(":")[2] in ports))


def _socket_ports(host: Host) -> frozenset[str]:
    """Ports of an ssh.socket that systemd holds open; empty when there is none.

    systemd itself says which; by its files, which may be anywhere, only where it does not answer.
    """
    if not host.exists("/sys/fs/cgroup/system.slice/ssh.socket") and not host.exists(SSH_SOCKET):
        return frozenset()
    told = host.run(("systemctl", "show", "--property=Listen", "ssh.socket"), check=False, timeout=10).stdout
    if found := re.findall(r"(?m)^Listen=\S*?(\d+) \(Stream\)$", told):
        return frozenset(found)
    text = host.text("/etc/ssh/sshd_config")
    for folder in ("/run/systemd/generator/ssh.socket.d", "/etc/systemd/system/ssh.socket.d"):
        for name in host.names(folder):
            text += "\n" + host.text(f"{folder}/{name}")
    ports = re.findall(r"^\s*(?:Port\s+|ListenStream\s*=\s*(?:\S*:)?)(\d+)\s*$", text, re.MULTILINE)
    return frozenset(ports or ("22",))


def sshd_ports(host: Host) -> frozenset[str]:
    """Ports that sshd_config(5) and its folder name in Port and ListenAddress; 22 where there is none."""
    folder = f"{SSHD_CONFIG}.d"
    text = "\n".join(
        host.text(path) for path in (SSHD_CONFIG, *(f"{folder}/{n}" for n in host.names(folder)))
    )
    found = re.findall(
        r"^[ \t]*(?:Port[ \t=]+|ListenAddress[ \t=]+(?:\[[^]\s]*\]|[^\s:]+):)\"?(\d+)", text, re.M | re.I
    )
    named = re.search(r"^[ \t]*Port[ \t=]", text, re.M | re.I)
    return frozenset(found if named else (*found, "22"))


def runtime_watchdog(host: Host) -> str:
    """`RuntimeWatchdogSec=30 in /etc/systemd/system.conf` where PID 1 is to feed a watchdog; else empty."""
    main = [f"{place}/system.conf" for place in reversed(CONF_PLACES)]
    files = [next((path for path in main if host.exists(path)), main[0])]
    # One name counts once, from the strongest place; all are read in the order of their names.
    drop_ins = {
        name: f"{place}/system.conf.d/{name}"
        for place in CONF_PLACES
        for name in host.names(f"{place}/system.conf.d")
        if name.endswith(".conf")
    }
    files += [path for _, path in sorted(drop_ins.items())]
    found = ""
    for path in files:
        for value in re.findall(
            r"^[ \t]*RuntimeWatchdogSec[ \t]*=[ \t]*(.*?)[ \t]*$", host.text(path), re.M
        ):
            off = value in ("", "off") or re.fullmatch(r"0+[a-z]*", value)
            found = "" if off else f"RuntimeWatchdogSec={value} in {path}"
    return found


def _watchdog_daemons(host: Host) -> tuple[str, ...]:
    folders = [f"{UNITS}/{name}" for name in host.names(UNITS) if name.endswith((".wants", ".requires"))]
    enabled = {name for folder in folders for name in host.names(folder)}
    return tuple(unit for unit in WATCHDOG_UNITS if unit in enabled or host.exists(ACTIVE.format(unit)))


def _os_prober(host: Host, known: Mapping[str, Known]) -> Answer:
    if not installed(known, "os-prober"):
        return Answer.NO if known else Answer.UNKNOWN
    setting = grub_settings(host).get("GRUB_DISABLE_OS_PROBER", "true")
    # Off unless it is switched on, since GRUB 2.06.
    return Answer.UNKNOWN if setting is None else Answer.of(setting == "false")
