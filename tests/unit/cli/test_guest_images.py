# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest images`: what is listed, what may go, and what must stay."""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fixtures import document
from tests.unit.guests.fixtures import make_guest
from tests.unit.guests.machine import BASE, DIRECTORY, SIZE, THIN, Xen, tree
from tests.unit.guests.test_storage import refuse_clone
from xenable.__main__ import run
from xenable.errors import INTERRUPTED, Exit, XenableError
from xenable.guests import claims, images, lifecycle, records, storage
from xenable.guests.claims import claim_path
from xenable.guests.listing import ImageRow, image_rows
from xenable.guests.model import Format
from xenable.guests.words import Release
from xenable.host import Host, Result
from xenable.model import Progress
from xenable.ui.images import render_images
from xenable.ui.layout import plain

CLOUD = replace(
    BASE,
    name="image-0123456789abcdef",
    release="cloud.qcow2",
    path="/var/lib/xenable/images/image-0123456789abcdef.raw",
    kernel="",
    initrd="",
)


def stand_on_it(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """web1, whose disk is a qcow2 file on the image of trixie."""
    refuse_clone(monkeypatch, errno.EOPNOTSUPP)
    folder = records.folder("web1")
    xen.host.make_folder(folder)
    disk = storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, folder)
    records.write(xen.host, make_guest(disk=disk.path))


def test_list(xen: Xen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_on_it(xen, monkeypatch)
    xen.host.write(CLOUD.path, b"image")
    images.write_base(xen.host, CLOUD)
    assert run(["guest", "images"]) == Exit.DONE
    head, cloud, of, trixie = capsys.readouterr().out.splitlines()
    assert head.split() == ["Name", "Disk", "Made", "Used", "by"]
    assert cloud.startswith("image-0123456789abcdef") and cloud.endswith("2026-01-31 -")
    assert of == "  of cloud.qcow2"
    assert trixie.startswith("trixie-amd64") and trixie.endswith("/8M 2026-01-31 web1")
    assert run(["guest", "images", "--json"]) == Exit.DONE
    _, row = document(capsys)["images"]
    assert (row["name"], row["bytes"], row["guests"]) == ("trixie-amd64", SIZE, ["web1"])
    info = [xen.host.stat(path) for path in images.files_of(BASE)]
    assert row["used"] == sum(found.st_blocks for found in info if found is not None) * 512


def test_there_are_none(xen: Xen, capsys: pytest.CaptureFixture[str]) -> None:
    images.remove_base(xen.host, BASE)
    assert run(["guest", "images"]) == Exit.DONE
    assert "There are no images" in capsys.readouterr().out


def test_an_ordinary_user_sees_what_may_be_seen(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_on_it(xen, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def refuse(*_: Any) -> bytes:
        raise XenableError("cannot read: Permission denied")

    monkeypatch.setattr(Host, "part", refuse)
    assert run(["guest", "images", "--json"]) == Exit.DONE
    assert document(capsys)["images"][0]["guests"] is None
    assert run(["guest", "images"]) == Exit.DONE
    assert capsys.readouterr().out.splitlines()[1].endswith(" unknown")
    assert run(["guest", "images", "--remove", "trixie-amd64"]) == Exit.FAILED
    assert "hint: sudo xenable guest images --remove …" in capsys.readouterr().err
    assert xen.host.exists(BASE.path)


def test_an_image_goes_with_all_its_files(xen: Xen, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guest", "images", "--remove", "trixie-amd64", "--json"]) == Exit.DONE
    assert document(capsys)["result"] == "removed"
    assert xen.host.names(records.IMAGES) == () and images.base_of(xen.host, "trixie") is None


def test_one_that_disks_stand_on_stays(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_on_it(xen, monkeypatch)
    assert run(["guest", "images", "--remove", "trixie-amd64"]) == Exit.FAILED
    assert "the disks of web1 stand on it" in " ".join(capsys.readouterr().err.split())
    assert xen.host.exists(BASE.path) and image_rows(xen.host)[0].guests == ("web1",)


@pytest.mark.parametrize("name", ["trixie", "../trixie-amd64", ""])
def test_no_such_image(xen: Xen, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["guest", "images", "--remove", name]) == Exit.FAILED
    assert "there is none of that name" in " ".join(capsys.readouterr().err.split())
    assert xen.host.exists(BASE.path)


def test_nothing_goes_while_something_is_made(xen: Xen) -> None:
    """The disk of a guest in the making may stand on it, and no record says so yet."""
    claim = {"name": "web2", "uuid": "u", "ipv4": "", "pid": os.getpid(), "folder": "", "volume": ""}
    claim["began"] = claims.began(xen.host, os.getpid())
    xen.host.write(claim_path("web2"), json.dumps(claim).encode())
    with pytest.raises(XenableError, match="web2 is being made"):
        lifecycle.remove_image(xen.host, DIRECTORY, "trixie-amd64")
    xen.host.remove(claim_path("web2"))
    with xen.host.lock_folder(records.IMAGES), pytest.raises(XenableError, match="another xenable"):
        lifecycle.remove_image(xen.host, DIRECTORY, "trixie-amd64")
    lifecycle.remove_image(xen.host, DIRECTORY, "trixie-amd64")


def test_what_was_brought_into_the_pool_goes_too(xen: Xen) -> None:
    storage.create_disk(xen.host, THIN, BASE, "web1", SIZE, Path("/"))
    records.write(
        xen.host, make_guest(format=Format.BLOCK, disk="/dev/vg/xenable-web1"), Path("/srv/disks/guest.json")
    )
    assert set(xen.volumes) == {"vg/pool", "vg/xenable-web1", "vg/xenable-base_trixie-amd64_11111111"}
    lifecycle.remove_image(xen.host, THIN, "trixie-amd64")
    assert set(xen.volumes) == {"vg/pool", "vg/xenable-web1"}


def test_many_guests_stay_within_the_width() -> None:
    row = ImageRow(
        name="trixie-amd64",
        release="trixie",
        bytes=1 << 30,
        used=None,
        created="2026-01-31T12:00:00Z",
        guests=tuple(f"web{number}" for number in range(40)),
    )
    text = plain(render_images((row,), 80)).splitlines()
    assert max(map(len, text)) <= 80 and len(text) > 3
    assert text[1].split()[:4] == ["trixie-amd64", "1G", "2026-01-31", "web0"]


def test_build_says_that_an_image_is_there(xen: Xen, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guest", "images", "--build", "trixie", "--json"]) == Exit.DONE
    answer = document(capsys)
    assert (answer["result"], answer["name"]) == ("present", "trixie-amd64")


def test_build_makes_what_is_not_there(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def build(host: Host, release: Release, mirror: str, progress: Progress) -> images.Base:
        asked.append((release.codename, mirror))
        return replace(BASE, name="bookworm-amd64", release="bookworm")

    monkeypatch.setattr("xenable.guests.build.build_base", build)
    words = ["guest", "images", "--build", "bookworm", "--mirror", "https://archive.example.org/debian"]
    assert run([*words, "--json"]) == Exit.DONE
    assert asked == [("bookworm", "https://archive.example.org/debian")]
    assert document(capsys)["result"] == "built"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_build_is_as_ctrl_c(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: signal.Signals
) -> None:
    """Sent for real while there is something to take back, and again while that goes."""
    died: list[int] = []

    def mine(number: int, frame: object) -> None:
        died.append(number)

    def build(host: Host, release: Release, mirror: str, progress: Progress) -> images.Base:
        with images.at_work(host, "bookworm-amd64", progress) as work:
            host.write(work / "half", b"x")
            os.kill(os.getpid(), ending)
        return BASE

    def rm(words: list[str]) -> Result:
        os.kill(os.getpid(), ending)
        return whole(words)

    whole = xen.do_rm
    before = tree(xen.host.root)
    monkeypatch.setattr("xenable.guests.build.build_base", build)
    monkeypatch.setattr(xen, "do_rm", rm)
    outside = signal.signal(ending, mine)
    try:
        assert run(["guest", "images", "--build", "bookworm"]) == INTERRUPTED
        assert signal.getsignal(ending) is mine
    finally:
        signal.signal(ending, outside)
    assert "xenable: interrupted; `xenable guest list`" in capsys.readouterr().err
    assert died == [] and tree(xen.host.root) == before


@pytest.mark.parametrize(
    "words",
    [["--build", "trixie", "--remove", "x"], ["--mirror", "https://example.org"], ["--build", "nope"]],
)
def test_what_can_not_be_built(xen: Xen, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guest", "images", *words]) == Exit.FAILED
    assert "xenable: cannot " in capsys.readouterr().err


def test_what_a_killed_build_left_goes_at_the_next_command(
    xen: Xen, capsys: pytest.CaptureFixture[str]
) -> None:
    xen.host.make_folder("/var/lib/xenable/images/.bookworm-amd64.building/root")
    assert run(["guest", "list"]) == Exit.DONE
    assert "the making of an image had been cut off" in " ".join(capsys.readouterr().err.split())
    assert not xen.host.exists("/var/lib/xenable/images/.bookworm-amd64.building")
    with xen.host.lock_folder("/var/lib/xenable/images"):
        xen.host.make_folder("/var/lib/xenable/images/.noble-amd64.building")
        assert not images.sweep_dead(xen.host)
    assert xen.host.exists("/var/lib/xenable/images/.noble-amd64.building")
