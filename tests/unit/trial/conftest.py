# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.trial.fixtures import GRUB, SLOT_ENTRIES
from xenable.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.make_folder(GRUB)
    host.make_folder("/proc")
    host.make_folder("/sys/hypervisor")
    host.write("/boot/grub/grub.cfg", SLOT_ENTRIES.encode())
    return host
