# SPDX-License-Identifier: GPL-2.0-or-later
"""What a revert must not take along of what is in Xen's folders by then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.contract.sandbox import inside, needs_sandbox
from xenable.errors import XenableError
from xenable.host import Host
from xenable.plan import XEN_FILES, XEN_FOLDERS
from xenable.steps.leftovers import Leftovers

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = Leftovers(folders=XEN_FOLDERS, own=XEN_FILES)


def put(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("1")


def test_what_xen_leaves_is_no_obstacle() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        put("/var/lib/xen/userdata-d.3.5a-b.libxl-json")
        put("/var/lib/xen/qemu-resume.3")
        put("/var/log/xen/console/guest-web1.log")
        Path("/var/lib/xen/save").mkdir()
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, lambda *_: None)
        assert not HOST.exists("/var/lib/xen") and not HOST.exists("/var/log/xen")

    inside(work)


def test_data_is_named() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        put("/var/lib/xen/images/db.img")
        put("/var/lib/xen/save/web1")
        what = [obstacle.what for obstacle in STEP.obstacles(HOST, saved)]
        assert what == [
            "/var/lib/xen/images/db.img is somebody's data: it would go with /var/lib/xen",
            "/var/lib/xen/save/web1 is somebody's data: it would go with /var/lib/xen",
        ]

    inside(work)


def test_what_is_mounted_there_stays_whatever_is_forced() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        for kind in (("-t", "tmpfs", "none"), ("--bind", "/srv")):
            folder = Path("/var/lib/xen/disks")
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", *kind, folder], check=True)
            put("/var/lib/xen/disks/db.img")
            (obstacle,) = STEP.obstacles(HOST, saved)
            assert obstacle.what == "/var/lib/xen/disks is a mount point: unmount it"
            with pytest.raises(XenableError, match="cannot remove /var/lib/xen/disks"):
                STEP.undo(HOST, saved, lambda *_: None)
            assert Path("/var/lib/xen/disks/db.img").read_text() == "1"
            subprocess.run(["umount", folder], check=True)
        STEP.undo(HOST, saved, lambda *_: None)
        assert not HOST.exists("/var/lib/xen")

    inside(work)
