# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.gate.fixtures import BOOT_ID, GRUB, WATCHDOG, Clock, Dom0
from xenable.boot.environment import Environment, write_environment
from xenable.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Dom0(tmp_path)
    for folder in (GRUB, "/proc/sys/kernel/random", "/sys/hypervisor"):
        host.make_folder(folder)
    host.write("/proc/cmdline", b"root=UUID=1 ro xenable.deadline=100\n")
    host.write("/proc/sys/kernel/random/boot_id", f"{BOOT_ID}\n".encode())
    host.write("/sys/hypervisor/type", b"xen\n")
    for folder in (WATCHDOG, "/dev"):
        host.make_folder(folder)
    host.write(f"{WATCHDOG}/identity", b"xen_wdt\n")
    host.write(f"{WATCHDOG}/state", b"active\n")
    host.write("/dev/watchdog1", b"")
    write_environment(host, GRUB, Environment(trying="a", stage="started"))
    host.write(f"{GRUB}/grub.cfg", b"menuentry 'slot' $menuentry_id_option 'xenable-a' { true }\n")
    return host


@pytest.fixture
def clock(host: Host, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(host)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


@pytest.fixture
def native(host: Host) -> Iterator[Host]:
    host.remove("/sys/hypervisor/type")
    yield host
