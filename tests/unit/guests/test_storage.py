# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks in directories and thin pools: how they begin, grow and go."""

from __future__ import annotations

import errno
import fcntl
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tree import make_tree
from tests.unit.guests.fixtures import make_guest
from tests.unit.guests.machine import BASE, DIRECTORY, SIZE, THIN, Xen, make_xen
from xenable.errors import XenableError
from xenable.guests import images, listing, qcow2, records, storage
from xenable.guests.model import Format
from xenable.guests.storage import Disk, StorageKind
from xenable.host import Host, Result

FOLDER = Path("/var/lib/xenable/guests/.web1.new")


@pytest.fixture
def xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Xen:
    xen = make_xen(tmp_path, monkeypatch)
    xen.host.make_folder(FOLDER)
    return xen


def refuse_clone(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: Any) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(fcntl, "ioctl", fail)


def share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can share blocks."""

    def clone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        Path(f"/proc/self/fd/{target}").write_bytes(Path(f"/proc/self/fd/{source}").read_bytes())
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)


def test_the_setting() -> None:
    assert storage.storage_of("/srv/disks").folder == Path("/srv/disks")
    thin = storage.storage_of("lvm:vg0/thin")
    assert (thin.kind, thin.group, thin.pool) == (StorageKind.THIN, "vg0", "thin")
    assert storage.folder_of(thin, "web1") is None
    assert storage.volume(thin, "web1") == "/dev/vg0/xenable-web1"


# ------------------------------------------------------------------------------------------------ directory


def test_a_disk_shares_blocks_where_it_can(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    share(monkeypatch)
    disk = storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, FOLDER)
    assert disk == Disk(path=str(FOLDER / "disk.raw"), format=Format.RAW, bytes=SIZE)
    data = xen.host.read(disk.path)
    assert data[:4096] == b"base" * 1024 and len(data) == SIZE and xen.calls == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
def test_else_it_stands_on_the_base(xen: Xen, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    refuse_clone(monkeypatch, code)
    disk = storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, FOLDER)
    assert disk.format is Format.QCOW2 and xen.host.names(FOLDER) == ("disk.qcow2",)
    assert xen.calls[0][:8] == ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
    assert qcow2.backing_file(xen.host, disk.path) == BASE.path


def test_else_it_is_a_copy(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_clone(monkeypatch, errno.EOPNOTSUPP)
    xen.host.remove("/usr/bin/qemu-img")
    disk = storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, FOLDER)
    assert disk.format is Format.RAW and len(xen.host.read(disk.path)) == SIZE
    assert xen.said("cp --sparse=always --reflink=never -- /var/lib/xenable/images/trixie-amd64.raw")


def test_a_disk_error_is_no_reason_for_another_way(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_clone(monkeypatch, errno.EIO)
    with pytest.raises(XenableError, match="cannot copy"):
        storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, FOLDER)
    assert xen.host.names(FOLDER) == ()


def test_growing(xen: Xen) -> None:
    host = xen.host
    for name, form in (("a", Format.RAW), ("b", Format.QCOW2)):
        host.write(f"/{name}", b"x" * 10)
        disk = Disk(path=f"/{name}", format=form, bytes=10)
        with pytest.raises(XenableError, match="a shorter one would lose"):
            storage.grow_disk(host, disk, 9, running=False)
        storage.grow_disk(host, disk, 10, running=True)
        assert xen.calls == [] and host.read(f"/{name}") == b"x" * 10
    storage.grow_disk(host, Disk(path="/a", format=Format.RAW, bytes=10), 4096, running=True)
    assert host.read("/a") == b"x" * 10 + bytes(4086)
    disk = Disk(path="/b", format=Format.QCOW2, bytes=10)
    with pytest.raises(XenableError, match="while the guest runs"):
        storage.grow_disk(host, disk, 4096, running=True)
    storage.grow_disk(host, disk, 4096, running=False)
    assert xen.calls == [["qemu-img", "resize", "-q", "-f", "qcow2", "/b", "4096"]]


def test_used_bytes(xen: Xen) -> None:
    xen.host.write("/a", b"x" * 5000)
    assert storage.used_bytes(xen.host, "/a", Format.RAW) == 8192
    assert storage.used_bytes(xen.host, "/none", Format.RAW) is None
    assert storage.used_bytes(xen.host, "/dev/vg/xenable-a", Format.BLOCK) is None


# ---------------------------------------------------------------------------------------------- thin pool


def test_a_base_comes_into_the_pool_once(xen: Xen) -> None:
    origin = f"xenable-base_trixie-amd64_{BASE.uuid[:8]}"
    disk = storage.create_disk(xen.host, THIN, BASE, "web1", 2 * SIZE, FOLDER)
    assert disk == Disk(path="/dev/vg/xenable-web1", format=Format.BLOCK, bytes=2 * SIZE)
    assert xen.volumes["vg/xenable-web1"] == 2 * SIZE and xen.volumes[f"vg/{origin}"] == SIZE
    (copy,) = xen.said("dd")
    assert f"of=/dev/vg/{origin}_new" in copy and "conv=sparse,nocreat,fsync" in copy
    storage.create_disk(xen.host, THIN, BASE, "web2", SIZE, FOLDER)
    assert len(xen.said("dd")) == 1
    assert xen.said("lvcreate")[-1] == [
        *("lvcreate", "-q", "--yes", "-s", "-kn", "-prw", "-n", "xenable-web2", f"vg/{origin}"),
    ]
    # Another build of the image is another origin.
    storage.create_disk(xen.host, THIN, replace(BASE, uuid="9" * 36), "web3", SIZE, FOLDER)
    assert len(xen.said("dd")) == 2


def test_a_base_that_was_half_copied_is_copied_anew(xen: Xen) -> None:
    before = dict(xen.volumes)
    xen.answers["dd"] = Result(1, "", "dd: No space left on device")
    with pytest.raises(XenableError, match="No space left"):
        storage.create_disk(xen.host, THIN, BASE, "web1", SIZE, FOLDER)
    assert xen.volumes == before
    xen.volumes[f"vg/xenable-base_trixie-amd64_{BASE.uuid[:8]}_new"] = 1
    del xen.answers["dd"]
    storage.create_disk(xen.host, THIN, BASE, "web1", SIZE, FOLDER)
    assert not any(name.endswith("_new") for name in xen.volumes)


def test_one_at_a_time_brings_a_base_in(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []

    def dd(words: list[str]) -> Result:
        try:
            with xen.host.lock_folder(records.IMAGES, wait=False):
                free.append(True)
        except XenableError:
            free.append(False)
        return Result(0, "", "")

    monkeypatch.setattr(xen, "do_dd", dd)
    storage.create_disk(xen.host, THIN, BASE, "web1", SIZE, FOLDER)
    assert free == [False]


def test_volumes_grow_and_go(xen: Xen) -> None:
    storage.create_disk(xen.host, THIN, BASE, "web1", SIZE, FOLDER)
    disk = Disk(path="/dev/vg/xenable-web1", format=Format.BLOCK, bytes=SIZE)
    storage.grow_disk(xen.host, disk, 3 * SIZE, running=True)
    assert xen.volumes["vg/xenable-web1"] == 3 * SIZE
    xen.answers["lvextend"] = Result(5, "", "  New size (8 extents) matches existing size (8 extents).")
    storage.grow_disk(xen.host, disk, 3 * SIZE, running=True)
    xen.answers["lvextend"] = Result(5, "", "  Insufficient free space")
    with pytest.raises(XenableError, match="Insufficient free space"):
        storage.grow_disk(xen.host, disk, 4 * SIZE, running=True)
    assert storage.used_volumes(xen.host, frozenset({"vg"}))["/dev/vg/xenable-web1"] == 3 * SIZE // 10
    storage.remove_disk(xen.host, disk.path, Format.BLOCK)
    storage.remove_disk(xen.host, disk.path, Format.BLOCK)
    assert len(xen.said("lvremove")) == 1 and "vg/xenable-web1" not in xen.volumes
    storage.remove_bases(xen.host, THIN)
    assert set(xen.volumes) == {"vg/pool"}


@pytest.mark.parametrize(
    "path",
    ["/dev/vg/root", "/dev/vg/xenable-base_trixie", "/dev/sda", "/dev/vg/xenable-../root", "vg/xenable-a"],
)
def test_no_other_volume_is_ever_removed(xen: Xen, path: str) -> None:
    with pytest.raises(XenableError, match="no volume that Xenable made"):
        storage.remove_disk(xen.host, path, Format.BLOCK)
    assert xen.calls == []


def test_a_group_that_is_not_seen_is_not_empty(xen: Xen) -> None:
    xen.answers["lvs"] = Result(5, "", 'Volume group "vg" not found\n  Cannot process volume group vg\n')
    with pytest.raises(XenableError, match="cannot see the volumes of vg: Cannot process volume group vg"):
        storage.remove_disk(xen.host, "/dev/vg/xenable-web1", Format.BLOCK)


def test_a_pool_that_is_none(xen: Xen) -> None:
    del xen.volumes["vg/pool"]
    with pytest.raises(XenableError, match="cannot use lvm:vg/pool: it is no thin pool") as caught:
        storage.check_room(xen.host, THIN, BASE, SIZE)
    assert "lvcreate --type thin-pool" in caught.value.hint
    xen.answers["lvs"] = Result(127, "", "lvs: not found")
    with pytest.raises(XenableError, match="lvs is missing"):
        storage.check_room(xen.host, THIN, BASE, SIZE)


# ------------------------------------------------------------------------------------- what stands on what


def test_an_image_under_disks_stays(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_clone(monkeypatch, errno.EOPNOTSUPP)
    folder = records.folder("web1")
    xen.host.make_folder(folder)
    disk = storage.create_disk(xen.host, DIRECTORY, BASE, "web1", SIZE, folder)
    records.write(xen.host, make_guest(disk=disk.path))
    assert qcow2.standing_on(xen.host, BASE.path, "trixie") == ("web1",)
    with pytest.raises(
        XenableError, match="cannot remove the image trixie-amd64: the disks of web1 stand on it"
    ):
        images.remove_base(xen.host, BASE)
    # Not even when its record got lost.
    xen.host.remove("/var/lib/xenable/images/trixie-amd64.json")
    with pytest.raises(XenableError, match="the disks of web1 stand on it"):
        images.sweep(xen.host)
    assert xen.host.exists(BASE.path) and xen.host.exists(BASE.initrd)


def test_an_image_under_disks_that_are_not_mounted_stays(xen: Xen) -> None:
    """They may be back tomorrow, and would stand on the blocks of another image."""
    for name in ("web1", "web2", "web3"):
        xen.host.make_folder(records.folder(name))
    records.write(xen.host, make_guest(disk="/srv/disks/web1/disk.qcow2"))
    records.write(xen.host, make_guest(name="web2", disk="/srv/disks/web2/disk.qcow2", release="bookworm"))
    records.write(xen.host, make_guest(name="web3", disk="/srv/disks/web3/disk.raw", format=Format.RAW))
    (row,) = listing.image_rows(xen.host)
    assert row.guests == ("web1",)
    with pytest.raises(XenableError, match="the disks of web1 stand on it"):
        images.remove_base(xen.host, BASE)
    xen.host.remove("/var/lib/xenable/images/trixie-amd64.json")
    with pytest.raises(XenableError, match=r"trixie-amd64\.raw has lost its record, and the disks of web1"):
        images.sweep(xen.host)
    for path in (BASE.path, BASE.kernel, BASE.initrd):
        assert xen.host.exists(path)
        xen.host.remove(path)
    # Which release it was is not in the name of a cloud image.
    xen.host.write("/var/lib/xenable/images/image-0123456789abcdef.raw", b"x")
    with pytest.raises(XenableError, match="the disks of web1, web2 stand on it"):
        images.sweep(xen.host)


@pytest.mark.parametrize(
    "data", [b"", b"QFI", b"QFI\xfb" + bytes(16), b"raw" * 100, b"QFI\xfb" + b"\0\0\0\3" + b"\xff" * 12]
)
def test_a_header_that_names_nothing(tmp_path: Path, data: bytes) -> None:
    assert qcow2.backing_file(make_tree(tmp_path, {"/d": data}), "/d") == ""


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_the_real_qemu_img(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"base" * 1024 * 16)
    refuse_clone(monkeypatch, errno.EOPNOTSUPP)
    real = replace(BASE, path=str(base), bytes=65536)
    host = Host()
    disk = storage.create_disk(host, DIRECTORY, real, "web1", 1 << 20, tmp_path)
    assert qcow2.backing_file(host, disk.path) == str(base)
    storage.grow_disk(host, disk, 2 << 20, running=False)
    host.run(["qemu-img", "convert", "-O", "raw", disk.path, tmp_path / "out"])
    assert (tmp_path / "out").read_bytes() == b"base" * 1024 * 16 + bytes((2 << 20) - 65536)
