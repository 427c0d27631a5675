# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.fixtures import Machine
from tests.unit.guests.machine import KEY, NET, Xen, make_xen
from xenable.cli import guest as guest_module
from xenable.cli import guest_common, guest_images
from xenable.network import effective


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


@pytest.fixture
def xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Xen:
    root = tmp_path / "root"
    xen = make_xen(root, monkeypatch)
    host = xen.host
    # The commands say Host(), which is this machine; here it is the folder.
    for module in (guest_module, guest_common, guest_images):
        monkeypatch.setattr(module, "Host", lambda: host)
    monkeypatch.setattr("xenable.cli.revert.Host", lambda: host)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host.make_folder("/etc/xenable")
    host.write(effective.PATH, effective.render(NET).encode())
    host.make_folder("/etc")
    host.write("/etc/os-release", b"ID=debian\nVERSION_ID=13\nVERSION_CODENAME=trixie\n")
    host.make_folder(tmp_path)
    host.write(tmp_path / "key.pub", f"{KEY}\n".encode())
    monkeypatch.chdir(tmp_path)
    return xen
