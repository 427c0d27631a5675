# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.tree import make_tree
from xenable.facts.services import (
    _is_session,
    parse_hidden,
    parse_jobs,
    parse_sockets,
    parse_units,
    probe_services,
    runtime_watchdog,
    sshd_ports,
    with_jobs,
)
from xenable.host import Host, Result, StrPath


def test_services_output() -> None:
    assert parse_units('[{"unit":"a.service","load":"loaded"}]') == ("a.service",)
    assert parse_units("No units") is None
    text = (
        'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=5,fd=3))\n'
        'LISTEN 0 4096 *:2222 *:* users:(("systemd",pid=1,fd=40))\n'
        'LISTEN 0 4096 *:9090 *:* users:(("systemd",pid=1,fd=41))\n'
        'LISTEN 0 511 [::1]:80 [::]:* users:(("nginx",pid=9,fd=3))\n'
    )
    assert parse_sockets(text, frozenset(("2222",))) == ("0.0.0.0:22", "*:2222")


def test_what_systemd_waits_for() -> None:
    rows = "3543 multi-user.target start waiting\n 77 slow.service  start running\n"
    assert parse_jobs(rows) == ("slow.service",)
    assert parse_jobs(rows.splitlines()[0]) == ("multi-user.target",)
    assert parse_jobs("No jobs running.\n") == ()


SOCKETS = 'LISTEN 0 4096 0.0.0.0:2222 0.0.0.0:* users:(("systemd",pid=1,fd=41))\n'


@dataclass(frozen=True)
class Asked(Host):
    """A folder where systemctl answers, and keeps what it was asked."""

    state: str = "running"
    listen: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return True

    def run(self, cmd: Sequence[StrPath], **options: Any) -> Result:
        self.asked.append(str(cmd[1]))
        answers = {
            "is-system-running": f"{self.state}\n",
            "list-units": "[]",
            "list-jobs": "7 a.service start running",
            "-H": SOCKETS,
            "show": self.listen,
        }
        return Result(0, answers.get(str(cmd[1]), ""), "")


@pytest.mark.parametrize(("state", "jobs"), [("running", ()), ("starting", ("a.service",))])
def test_the_state_of_the_system(tmp_path: Path, state: str, jobs: tuple[str, ...]) -> None:
    host = Asked(tmp_path, state)
    found = probe_services(host, {})
    # The gate, which looks often, does not ask for them.
    assert (found.system, found.jobs) == (state, ()) and "list-jobs" not in host.asked
    assert host.asked.index("is-system-running") < host.asked.index("list-units")
    assert with_jobs(host, found).jobs == jobs
    assert ("list-jobs" in host.asked) is bool(jobs)


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        ("Listen=[::]:22 (Stream)\nListen=0.0.0.0:2222 (Stream)\n", ("0.0.0.0:2222",)),
        ("Listen=/run/own (Stream)\nListen=0.0.0.0:22 (Stream)\n", ()),
        # It does not answer: by its files.
        ("", ()),
    ],
)
def test_the_ports_of_a_socket_unit_are_those_that_systemd_tells(
    tmp_path: Path, listen: str, found: tuple[str, ...]
) -> None:
    """They may stand in the unit itself, wherever that is, and sshd_config has no say."""
    host = Asked(tmp_path, listen=listen)
    host.make_folder("/sys/fs/cgroup/system.slice/ssh.socket")
    assert probe_services(host, {}).ssh_listen == found


def test_without_root_rights_the_program_of_a_listener_is_not_told() -> None:
    text = (
        "LISTEN 0 128 0.0.0.0:22 0.0.0.0:* \n"
        'LISTEN 0 128 [::]:2222 [::]:* users:(("sshd",pid=5,fd=3))\n'
        "LISTEN 0 511 [::1]:80 [::]:*\n"
    )
    assert parse_sockets(text, frozenset()) == ("[::]:2222",)
    assert parse_hidden(text, frozenset(("22", "2222"))) == ("0.0.0.0:22",)


def test_listeners_of_ssh_sessions_are_not_sshd() -> None:
    places = ("0.0.0.0:22", "127.0.0.1:6010", "[::1]:6010", "127.0.0.1:2200", "[::1]:22", "0.0.0.0:2222")
    text = "".join(f'LISTEN 0 128 {place} *:* users:(("sshd",pid=5,fd=3))\n' for place in places)
    # The process of `ssh -R 0.0.0.0:9:…` with GatewayPorts.
    text += 'LISTEN 0 128 0.0.0.0:9 *:* users:(("sshd",pid=7,fd=3))\n'
    found = parse_sockets(text, frozenset(), is_session=lambda pid: pid == "7")
    assert found == ("0.0.0.0:22", "[::1]:22", "0.0.0.0:2222"), "the last is another sshd"
    others = parse_sockets(text, frozenset(), frozenset(("2200",)), lambda pid: pid == "7")
    assert others == ("0.0.0.0:22", "127.0.0.1:2200", "0.0.0.0:2222")


def test_a_session_is_a_child_of_sshd(tmp_path: Path) -> None:
    files = {"/proc/7/status": "Name:\tsshd\nPPid:\t5\n", "/proc/5/status": "Name:\tsshd\nPPid:\t1\n"}
    host = make_tree(tmp_path, files | {"/proc/5/comm": "sshd\n", "/proc/1/comm": "systemd\n"})
    assert [_is_session(host, pid) for pid in ("7", "5", "9")] == [True, False, False]


@pytest.mark.parametrize(
    ("main", "more", "ports"),
    [
        ("#Port 22\n", "", {"22"}),
        ("Port 2200\n", "", {"2200"}),
        ("port=2200\n Port 2201\n", "Port 2202", {"2200", "2201", "2202"}),
        ("ListenAddress 127.0.0.1:2200\nListenAddress [::1]:2201\n", "", {"22", "2200", "2201"}),
        ("ListenAddress ::1\nListenAddress 10.0.0.1\n", "Port 2200", {"2200"}),
    ],
)
def test_ports_of_sshd(tmp_path: Path, main: str, more: str, ports: set[str]) -> None:
    host = make_tree(tmp_path, {"/etc/ssh/sshd_config": main, "/etc/ssh/sshd_config.d/50.conf": more})
    assert sshd_ports(host) == ports


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ""),
        ({"/etc/systemd/system.conf": "[Manager]\n#RuntimeWatchdogSec=off\n"}, ""),
        ({"/etc/systemd/system.conf": "RuntimeWatchdogSec = 30s\n"}, "=30s in /etc/systemd/system.conf"),
        ({"/usr/lib/systemd/system.conf": "RuntimeWatchdogSec=9\n"}, "=9 in /usr/lib/systemd/system.conf"),
        (
            {
                "/usr/lib/systemd/system.conf": "RuntimeWatchdogSec=9\n",
                "/etc/systemd/system.conf": "[Manager]\n",
            },
            "",
        ),
        (
            {
                "/etc/systemd/system.conf": "RuntimeWatchdogSec=30\n",
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=0s\n",
            },
            "",
        ),
        (
            {
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=1min\n",
                "/etc/systemd/system.conf.d/40.conf": "RuntimeWatchdogSec=off\n",
            },
            "=1min in /usr/lib/systemd/system.conf.d/50.conf",
        ),
        (
            {
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=1min\n",
                "/etc/systemd/system.conf.d/50.conf": "",
            },
            "",
        ),
    ],
)
def test_systemds_own_watchdog(tmp_path: Path, files: dict[str, str | bytes], found: str) -> None:
    assert runtime_watchdog(make_tree(tmp_path, files)) == (f"RuntimeWatchdogSec{found}" if found else "")


def test_watchdog_daemons(tmp_path: Path) -> None:
    links = {
        "/etc/systemd/system/default.target.wants/watchdog.service": "/lib/systemd/system/watchdog.service",
        "/etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service",
        "/run/systemd/units/invocation:wd_keepalive.service": "abc",
    }
    found = probe_services(make_tree(tmp_path, {}, links), {})
    assert found.watchdog_daemons == ("watchdog.service", "wd_keepalive.service")
