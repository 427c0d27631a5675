# SPDX-License-Identifier: GPL-2.0-or-later
"""What a revert must not take along of what is in Xen's folders by then."""

from __future__ import annotations

import os
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
            assert obstacle.final and obstacle.what == "/var/lib/xen/disks is a mount point: unmount it"
            with pytest.raises(XenableError, match="cannot remove /var/lib/xen/disks"):
                STEP.undo(HOST, saved, lambda *_: None)
            assert Path("/var/lib/xen/disks/db.img").read_text() == "1"
            subprocess.run(["umount", folder], check=True)
        STEP.undo(HOST, saved, lambda *_: None)
        assert not HOST.exists("/var/lib/xen")

    inside(work)


def test_what_a_link_leads_to_stays() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        put("/srv/logs/site.log")
        Path("/var/log/xen").symlink_to("/srv/logs")
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, lambda *_: None)
        assert not HOST.exists("/var/log/xen") and Path("/srv/logs/site.log").read_text() == "1"

    inside(work)


def test_a_name_in_a_folder_is_not_that_of_its_folder() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        put("/var/lib/xen/qemu-save.3/db.img")
        put("/var/lib/xen/qemu-base.img")
        what = {obstacle.what.partition(" ")[0] for obstacle in STEP.obstacles(HOST, saved)}
        assert what == {"/var/lib/xen/qemu-save.3/db.img", "/var/lib/xen/qemu-base.img"}

    inside(work)


def test_what_is_mounted_in_the_place_of_a_folder() -> None:
    def work() -> None:
        saved = STEP.save(HOST)
        Path("/var/lib/xen").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", "/var/lib/xen"], check=True)
        put("/var/lib/xen/userdata-d.3.5a-b.libxl-json")
        (obstacle,) = STEP.obstacles(HOST, saved)
        assert obstacle.final and obstacle.what == "/var/lib/xen is a mount point: unmount it"
        with pytest.raises(XenableError, match="cannot remove /var/lib/xen"):
            STEP.undo(HOST, saved, lambda *_: None)
        assert Path("/var/lib/xen/userdata-d.3.5a-b.libxl-json").exists()

    inside(work)


def test_in_a_folder_that_was_there_only_what_xen_has_written_since_goes() -> None:
    def work() -> None:
        old = "/var/lib/xen/userdata-d.1.5a-b.libxl-json"
        kept = (old, "/var/lib/xen/images/db.img", "/var/log/xen/xl.log")
        Path("/var/lib/xen/empty").mkdir(parents=True)
        for path in kept:
            put(path)
        saved = STEP.save(HOST)
        put("/var/lib/xen/userdata-d.0.00-00.libxl-json")
        put("/var/log/xen/console/guest-web1.log")
        put("/var/lib/xen/images/other.img")
        Path("/var/lib/xen/theirs").mkdir()
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, lambda *_: None)
        assert all(HOST.exists(path) for path in (*kept, "/var/lib/xen/images/other.img"))
        assert not HOST.exists("/var/lib/xen/userdata-d.0.00-00.libxl-json")
        assert HOST.names("/var/log/xen") == ("xl.log",)
        assert HOST.is_dir("/var/lib/xen/empty") and HOST.is_dir("/var/lib/xen/theirs")

    inside(work)


def test_an_empty_folder_that_was_there_comes_back() -> None:
    def work() -> None:
        Path("/var/lib/xen").mkdir()
        Path("/var/lib/xen").chmod(0o750)
        os.chown("/var/lib/xen", 1, 2)
        saved = STEP.save(HOST)
        Path("/var/lib/xen").rmdir()
        STEP.undo(HOST, saved, lambda *_: None)
        info = Path("/var/lib/xen").stat()
        assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o750, 1, 2)

    inside(work)
