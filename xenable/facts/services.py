# SPDX-License-Identifier: GPL-2.0-or-later
"""Units that failed already, where ssh listens, and os-prober."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from xenable.facts.dpkg import Known, installed
from xenable.facts.menu import grub_settings
from xenable.host import Host
from xenable.model import Answer, Services

SSH_SOCKET = "/run/systemd/units/invocation:ssh.socket"


def probe_services(host: Host, known: Mapping[str, Known]) -> Services:
    failed: tuple[str, ...] | None = None
    listen: tuple[str, ...] = ()
    if host.live:
        result = host.run(
            ("systemctl", "list-units", "--failed", "--output=json", "--no-pager"), check=False, timeout=10
        )
        failed = parse_units(result.stdout) if result.code == 0 else None
        sockets = host.run(("ss", "-H", "-l", "-t", "-n", "-p"), check=False, timeout=10).stdout
        listen = parse_sockets(sockets, _socket_ports(host))
    return Services(
        known=failed is not None,
        failed=failed or (),
        ssh_listen=listen,
        os_prober=_os_prober(host, known),
    )


def parse_units(text: str) -> tuple[str, ...] | None:
    """Names in the JSON of `systemctl list-units`; None when it is none."""
    try:
        rows = json.loads(text)
    except ValueError:
        return None
    if not isinstance(rows, list):
        return None
    return tuple(str(row["unit"]) for row in rows if isinstance(row, dict) and "unit" in row)


def parse_sockets(text: str, socket_ports: frozenset[str]) -> tuple[str, ...]:
    """address:port of listening ssh daemons in the output of `ss -Hltnp`.

    systemd itself counts for the ports of ssh.socket.
    """
    found = []
    for row in text.splitlines():
        words = row.split()
        if len(words) < 6 or words[0] != "LISTEN":
            continue
        programs = set(re.findall(r'\("([^"]+)",pid=', words[5]))
        port = words[3].rpartition(":")[2]
        if programs & {"sshd", "dropbear"} or ("systemd" in programs and port in socket_ports):
            found.append(words[3])
    return tuple(dict.fromkeys(found))


def _socket_ports(host: Host) -> frozenset[str]:
    """Ports of an ssh.socket that systemd holds open; empty when there is none."""
    if not host.exists("/sys/fs/cgroup/system.slice/ssh.socket") and not host.exists(SSH_SOCKET):
        return frozenset()
    text = host.text("/etc/ssh/sshd_config")
    for folder in ("/run/systemd/generator/ssh.socket.d", "/etc/systemd/system/ssh.socket.d"):
        for name in host.names(folder):
            text += "\n" + host.text(f"{folder}/{name}")
    ports = re.findall(r"^\s*(?:Port\s+|ListenStream\s*=\s*(?:\S*:)?)(\d+)\s*$", text, re.MULTILINE)
    return frozenset(ports or ("22",))


def _os_prober(host: Host, known: Mapping[str, Known]) -> Answer:
    if not installed(known, "os-prober"):
        return Answer.NO if known else Answer.UNKNOWN
    setting = grub_settings(host).get("GRUB_DISABLE_OS_PROBER", "true")
    # Off unless it is switched on, since GRUB 2.06.
    return Answer.UNKNOWN if setting is None else Answer.of(setting == "false")
