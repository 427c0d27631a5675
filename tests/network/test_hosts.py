# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of guests come back into /etc/hosts where a boot has made the file anew, as with cloud-init."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.contract.sandbox import REPOSITORY, command, inside, needs_sandbox
from xenable.host import Host
from xenable.network.names import FOLDER, HOSTS, publish, withdraw

pytestmark = [pytest.mark.realtool, needs_sandbox]

SCRIPT = REPOSITORY / "data/network/hosts"
UNIT = REPOSITORY / "data/systemd/xenable-names.service"


def no_guests() -> None:
    shutil.rmtree("/var/lib/xenable", ignore_errors=True)
    Path("/var/lib/xenable/guests").mkdir(parents=True)


@pytest.mark.parametrize("text", [b"127.0.0.1 localhost\n", b"127.0.0.1 localhost", b""])
def test_the_names_come_back_as_they_were(text: bytes) -> None:
    def work() -> None:
        host = Host()
        no_guests()
        HOSTS.write_bytes(text)
        HOSTS.chmod(0o640)
        command(str(SCRIPT))
        assert HOSTS.read_bytes() == text
        for name, number in (("web1", 2), ("web-2", 3), ("Web", 4)):
            publish(host, name, (f"172.20.216.{number}",))
        (FOLDER / ".left-over").write_text("127.0.0.9 nothing\n")
        whole = HOSTS.read_bytes()
        HOSTS.write_bytes(text)
        # Again, and whatever the file has already, nothing changes.
        for _ in range(2):
            assert command(f"{SCRIPT} 2>&1") == ""
            assert HOSTS.read_bytes() == whole
        assert HOSTS.stat().st_mode & 0o777 == 0o640
        for name in ("web1", "web-2", "Web"):
            withdraw(host, name)
        assert HOSTS.read_bytes() == text

    inside(work)


def test_what_is_damaged_or_not_there_stays_so() -> None:
    def work() -> None:
        no_guests()
        HOSTS.write_bytes(b"")
        publish(Host(), "web1", ("172.20.216.2",))
        damaged = HOSTS.read_bytes().splitlines(keepends=True)[0]
        HOSTS.write_bytes(damaged)
        command(str(SCRIPT))
        assert HOSTS.read_bytes() == damaged
        HOSTS.unlink()
        command(str(SCRIPT))
        assert not HOSTS.exists()

    inside(work)


def test_it_runs_after_what_makes_the_file_anew() -> None:
    unit = UNIT.read_text().splitlines()
    assert "ExecStartPre=-+/usr/share/xenable/network/hosts" in unit
    after = next(line for line in unit if line.startswith("After=")).split()
    # As of cloud-init 24.3 the second name.
    assert {"cloud-init.service", "cloud-init-network.service"} <= set(after)
