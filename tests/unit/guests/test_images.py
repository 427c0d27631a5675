# SPDX-License-Identifier: GPL-2.0-or-later
"""Base images: made of packages, taken from cloud images, and never left half made."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guests.machine import BASE, Xen, quiet, tree
from xenable.errors import XenableError
from xenable.guests import basefiles, build, images, words
from xenable.guests.inside import kernel_inside
from xenable.guests.records import IMAGES
from xenable.host import Host, Result

TRIXIE = words.release("trixie")
SAID = [
    "I: running apt-get update...",
    "I: downloading packages with apt...",
    "I: extracting archives...",
    "I: installing essential packages...",
    "I: installing remaining packages inside the chroot...",
    "I: cleaning package lists and apt cache...",
]


class Builder:
    """Stand-ins for the programs of a build."""

    def __init__(self, xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
        self.xen = xen
        self.host = xen.host
        self.cmd: list[str] = []
        self.env: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.result = Result(0, "", "")
        self.kernels: tuple[str, ...] = ("6.12.1-cloud-amd64",)
        for name in (TRIXIE.keyring, "/usr/bin/mmdebstrap", "/usr/sbin/mke2fs"):
            host_write(self.host, name, b"")
        for ending in (".json", ".raw", ".vmlinuz", ".initrd"):
            self.host.remove(f"{BASE.path.removesuffix('.raw')}{ending}")
        monkeypatch.setattr(Host, "stream", self.mmdebstrap)
        for name, act in (("du", self.du), ("mke2fs", self.mke2fs), ("dpkg_query", self.dpkg)):
            setattr(xen, f"do_{name}", act)
        xen.answers["chroot"] = Result(0, "", "")

    def mmdebstrap(self, cmd: list[str], listen: Any, *, env: Any) -> Result:
        host, self.cmd, self.env = self.host, [str(word) for word in cmd], dict(env)
        folder = next(Path(word).parent for word in cmd if word.endswith("/root"))
        self.files = tree(host.path(folder / "files"))
        for line in SAID:
            listen(line)
        root = folder / "root"
        for version in self.kernels:
            host_write(host, root / f"boot/vmlinuz-{version}", bzimage(b"\x28\xb5\x2f\xfd"))
            host_write(host, root / f"boot/initrd.img-{version}", b"initrd")
        host_write(host, root / "etc/ssh/ssh_host_ed25519_key", b"secret")
        host_write(host, root / "etc/ssh/sshd_config", b"")
        host_write(host, root / "etc/resolv.conf", b"nameserver of dom0")
        host_write(host, root / "etc/apt/apt.conf.d/99mmdebstrap", b"")
        host_write(host, root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap", b"force-unsafe-io")
        return self.result

    def du(self, words: list[str]) -> Result:
        return Result(0, f"{500 << 20}\t{words[-1]}\n", "")

    def mke2fs(self, words: list[str]) -> Result:
        self.root = tree(self.host.path(words[-3]))
        host_write(self.host, words[-2], b"file system")
        return Result(0, "", "")

    def dpkg(self, words: list[str]) -> Result:
        return Result(0, "ii  apt 3.0\nrc  gone 1\nii  linux-image-cloud-amd64 6.12\n", "")


def host_write(host: Host, path: str | Path, data: bytes) -> None:
    target = host.path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def mode_of(host: Host, path: str) -> int:
    info = host.stat(path)
    assert info is not None
    return info.st_mode & 0o777


def bzimage(magic: bytes) -> bytes:
    """The header of a kernel, as far as its compression is concerned."""
    data = bytearray(0x1000)
    data[0x1F1] = 1
    data[0x202:0x206] = b"HdrS"
    data[0x206:0x208] = (0x20F).to_bytes(2, "little")
    data[1024 : 1024 + len(magic)] = magic
    return bytes(data)


@pytest.fixture
def builder(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> Builder:
    return Builder(xen, monkeypatch)


# ------------------------------------------------------------------------------------------------ building


def test_a_build(builder: Builder) -> None:
    seen: list[tuple[float, str]] = []
    base = build.build_base(builder.host, TRIXIE, "", lambda part, text: seen.append((part, text)))
    assert images.base_of(builder.host, "trixie") == base and images.bases(builder.host) == (base,)
    assert (base.kernel_version, base.compression) == ("6.12.1-cloud-amd64", "zstd")
    assert base.packages == ("apt 3.0", "linux-image-cloud-amd64 6.12") and base.ours
    assert base.bytes % (1 << 20) == 0 and base.bytes > 500 << 20
    assert builder.host.names(IMAGES) == tuple(
        f"trixie-amd64.{ending}" for ending in ("initrd", "json", "raw", "vmlinuz")
    )
    assert builder.host.read(base.initrd) == b"initrd" and mode_of(builder.host, base.path) == 0o600
    assert [text for _, text in seen][:2] == ["reading the archive's lists", "downloading packages"]
    assert [part for part, _ in seen] == sorted(part for part, _ in seen)
    # The second time it is there.
    builder.cmd = []
    assert build.build_base(builder.host, TRIXIE, "", quiet) == base and builder.cmd == []


def test_what_mmdebstrap_is_told(builder: Builder) -> None:
    build.build_base(builder.host, TRIXIE, "", quiet)
    cmd = builder.cmd
    assert cmd[:6] == ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    assert "--mode=root" in cmd and f"--keyring={TRIXIE.keyring}" in cmd and cmd[-2] == "trixie"
    (include,) = [word for word in cmd if word.startswith("--include=")]
    assert {"linux-image-cloud-amd64", "grub2-common", "openssh-server"} <= set(include[10:].split(","))
    assert builder.env == {"http_proxy": "http://proxy.example.org:3142"}
    builder.host.remove(IMAGES / "trixie-amd64.json")
    build.build_base(builder.host, TRIXIE, "http://mirror.example.org/debian", quiet)
    archive = f"deb [signed-by={TRIXIE.keyring}] http://mirror.example.org/debian"
    assert builder.cmd[-2:] == [f"{archive} trixie main", f"{archive} trixie-updates main"]


def test_the_files_that_come_before_the_kernel(builder: Builder) -> None:
    base = build.build_base(builder.host, TRIXIE, "", quiet)
    files = builder.files
    assert f"UUID={base.uuid} / ext4" in files["etc/fstab"] and "x-systemd.growfs" in files["etc/fstab"]
    assert "MODULES=list" in files["etc/initramfs-tools/conf.d/xenable"]
    assert "xen-blkfront" in files["usr/share/initramfs-tools/modules.d/xenable"]
    assert "console=hvc0" in files["etc/default/grub"]
    assert any(name.endswith("xenable-seed.service") for name in files)


def test_modes_do_not_depend_on_the_umask(builder: Builder) -> None:
    before = os.umask(0o077)
    try:
        host = builder.host
        build._put(host, Path("/top"), "/etc/a/b", "text", 0o644)
    finally:
        os.umask(before)
    for name, mode in (("/top", 0o755), ("/top/etc", 0o755), ("/top/etc/a", 0o755), ("/top/etc/a/b", 0o644)):
        info = host.stat(name)
        assert info is not None and info.st_mode & 0o777 == mode, name


def test_the_image_holds_nothing_of_the_build(builder: Builder) -> None:
    base = build.build_base(builder.host, TRIXIE, "", quiet)
    root = builder.root
    assert "etc/ssh/ssh_host_ed25519_key" not in root and "etc/ssh/sshd_config" in root
    assert not any(name.endswith(("99mmdebstrap", "resolv.conf")) for name in root)
    assert root["etc/machine-id"] == "444 b''"
    menu = root["boot/grub/grub.cfg"]
    assert f"linux /boot/vmlinuz-6.12.1-cloud-amd64 root=UUID={base.uuid} ro console=hvc0" in menu
    (call,) = builder.xen.said("mke2fs")
    assert base.uuid in call and "^metadata_csum_seed,^orphan_file" in call
    assert builder.xen.said("chroot")[0][2:] == [
        "systemctl",
        "--quiet",
        "enable",
        "systemd-networkd.service",
    ]


def test_a_keyring_that_is_missing_is_named(builder: Builder) -> None:
    builder.host.remove(TRIXIE.keyring)
    before = tree(builder.host.root)
    with pytest.raises(XenableError, match=r"debian-archive-keyring\.gpg is missing") as caught:
        build.build_base(builder.host, TRIXIE, "", quiet)
    assert "sudo apt install debian-archive-keyring" in caught.value.hint
    assert tree(builder.host.root) == before


def test_room_is_needed(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "free_bytes", lambda host, path: 100 << 20)
    with pytest.raises(XenableError, match="has 100 MiB free, and about 1536 MiB are needed"):
        build.build_base(builder.host, TRIXIE, "", quiet)
    assert builder.cmd == [] and builder.host.names(IMAGES) == ()


@pytest.mark.parametrize(
    ("said", "reason", "hint"),
    [
        (
            "I: a\nErr:1 http://x trixie InRelease\nE: The list is gone\nE: apt-get failed",
            "Err:1 http",
            "mirror",
        ),
        ("W: GPG error: http://x: NO_PUBKEY 1234\nE: not signed", "GPG error", "as new as it can be"),
        ("E: write: No space left on device\n", "No space left", "free some space"),
        ("", "exit status 25", "mirror"),
    ],
)
def test_a_build_that_fails_leaves_nothing(builder: Builder, said: str, reason: str, hint: str) -> None:
    before = tree(builder.host.root)
    builder.result = Result(25, said, "")
    with pytest.raises(XenableError, match="cannot make an image of trixie: mmdebstrap: ") as caught:
        build.build_base(builder.host, TRIXIE, "", quiet)
    assert reason in caught.value.message and hint in caught.value.hint
    assert tree(builder.host.root) == before


def test_an_image_without_a_kernel_is_none(builder: Builder) -> None:
    several: tuple[tuple[str, ...], ...] = ((), ("1", "2"))
    for builder.kernels in several:
        with pytest.raises(XenableError, match="did not get one kernel"):
            build.build_base(builder.host, TRIXIE, "", quiet)
        assert builder.host.names(IMAGES) == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_build_leaves_nothing(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    before = tree(builder.host.root)

    def interrupt(*_: Any, **__: Any) -> Result:
        raise error

    monkeypatch.setattr(Host, "stream", interrupt)
    with pytest.raises(error):
        build.build_base(builder.host, TRIXIE, "", quiet)
    assert tree(builder.host.root) == before


def test_what_a_killed_build_left_goes(builder: Builder) -> None:
    host = builder.host
    for name in (".trixie-amd64.building/root/x", ".bookworm-amd64.building/log"):
        host_write(host, IMAGES / name, b"")
    # Killed between the renames: without its record it is no image.
    host_write(host, IMAGES / "bookworm-amd64.raw", b"")
    base = build.build_base(host, TRIXIE, "", quiet)
    assert {name.partition(".")[0] for name in host.names(IMAGES)} == {base.name}


@pytest.mark.parametrize("end", [images.sweep, images.remove_all])
def test_what_others_put_beside_the_images_stays(xen: Xen, end: Callable[[Host], None]) -> None:
    theirs = (
        "noble.img",
        "debian-13-amd64.raw",
        "image-1.raw",
        "trixie-amd64.qcow2",
        "Trixie-amd64.raw",
        "notes.json",
    )
    ours = ("noble-amd64.vmlinuz", "image-0123456789abcdef.raw", ".noble-amd64.building")
    for name in theirs + ours:
        xen.host.write(IMAGES / name, b"x")
    xen.host.make_folder(IMAGES / "old")
    xen.host.write(IMAGES / "old/noble.raw", b"x")
    end(xen.host)
    left = {
        name for name in xen.host.names(IMAGES) if not name.startswith("trixie-amd64.") or name in theirs
    }
    assert left == {*theirs, "old"} and xen.host.names(IMAGES / "old") == ("noble.raw",)


def test_only_one_builds(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits, and takes what the first one made."""
    seen: list[str] = []
    held = os.open(builder.host.path(IMAGES), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    def listen(fraction: float, text: str) -> None:
        seen.append(text)
        if "waiting" in text:
            images.write_base(builder.host, BASE)
            os.close(held)

    assert build.build_base(builder.host, TRIXIE, "", listen) == BASE
    assert seen == ["waiting for another xenable that makes an image"] and builder.cmd == []


def test_ubuntu_and_debian_differ_in_what_they_call_it() -> None:
    for release in words.RELEASES:
        cmd = build._mmdebstrap(release, "", Path("/w"))
        (include,) = [word for word in cmd if word.startswith("--include=")]
        assert (basefiles.RESOLVED in include) is (release.codename != "jammy")
        assert f"--components={','.join(release.components)}" in cmd


def test_a_damaged_record_is_named(xen: Xen) -> None:
    for text in ("", "[]", '{"schema": 1}', '{"schema": 1, "packages": [], "colour": "red"}'):
        xen.host.write(IMAGES / "trixie-amd64.json", text.encode())
        with pytest.raises(XenableError, match=r"cannot read .*trixie-amd64.json: it is damaged") as caught:
            images.base_of(xen.host, "trixie")
        assert "remove that file" in caught.value.hint and "from a backup" in caught.value.hint
    xen.host.write(IMAGES / "trixie-amd64.json", b'{"schema": 2, "packages": []}')
    with pytest.raises(XenableError, match="a later xenable wrote it"):
        images.bases(xen.host)


# ----------------------------------------------------------------------------------------------- importing


def offer(xen: Xen, info: dict[str, Any] | str, data: bytes = b"image") -> Path:
    host_write(xen.host, "/root/cloud image.qcow2", data)
    text = info if isinstance(info, str) else json.dumps(info)
    xen.answers["qemu-img info"] = Result(0, text, "")
    return Path("/root/cloud image.qcow2")


def test_an_image_is_taken_once(xen: Xen) -> None:
    info = {"format": "qcow2", "virtual-size": 4096, "backing-filename": None}
    path = offer(xen, info, b"QFI\xfbimage")
    base = images.import_image(xen.host, path, quiet)
    assert xen.said("qemu-img convert -f qcow2 -O raw")
    assert base.release == "cloud_image.qcow2" and base.bytes == 4096 and not base.ours
    assert xen.host.read(base.path) == b"converted" and mode_of(xen.host, base.path) == 0o600
    assert images.import_image(xen.host, path, quiet) == base
    assert len(xen.said("qemu-img convert")) == 1
    other = images.import_image(
        xen.host, offer(xen, {"format": "raw", "virtual-size": 512}, b"other"), quiet
    )
    assert other.name != base.name and len(images.bases(xen.host)) == 3
    images.remove_base(xen.host, other)
    assert len(images.bases(xen.host)) == 2 and not xen.host.exists(other.path)


@pytest.mark.parametrize(
    ("info", "why"),
    [
        ({"format": "qcow2", "virtual-size": 1, "backing-filename": "/etc/shadow"}, "in other files too"),
        (
            {
                "format": "qcow2",
                "virtual-size": 1,
                "format-specific": {"type": "qcow2", "data": {"data-file": "/etc/shadow"}},
            },
            "in other files too",
        ),
        ({"format": "qcow2", "virtual-size": 1, "encrypted": True}, "it is encrypted"),
        ("not json", "says nothing about it"),
        ({"format": "raw"}, "says nothing about it"),
    ],
)
def test_images_that_must_not_be_used(xen: Xen, info: dict[str, Any] | str, why: str) -> None:
    path = offer(xen, info)
    before = tree(xen.host.root)
    with pytest.raises(XenableError, match=why):
        images.import_image(xen.host, path, quiet)
    assert tree(xen.host.root) == before and not xen.said("qemu-img convert")


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_what_an_image_names_is_not_opened(tmp_path: Path) -> None:
    """QEMU's own look at it would: here it would wait for somebody to write into the pipe."""
    os.mkfifo(tmp_path / "pipe")
    text = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    image = tmp_path / "image"
    image.write_text(f'{text}RW 8 FLAT "{tmp_path}/pipe" 0\n')
    with pytest.raises(XenableError, match="of the format vmdk, and raw or qcow2"):
        images._inspect(Host(), image, image)
    # One that hides what it is behind other bytes is raw, and nothing but that.
    image.write_bytes(b"\0" * 512 + text.encode())
    assert images._inspect(Host(), image, image) == ("raw", 1024)


@pytest.mark.realtool
def test_the_kernel_of_a_cloud_image_is_found_on_its_partition(tmp_path: Path) -> None:
    boot = tmp_path / "root/boot"
    boot.mkdir(parents=True)
    (boot / "vmlinuz-6.1.0-9-amd64").write_bytes(bzimage(b"\xfd7zXZ\0"))
    (boot / "vmlinuz-6.1.0-10-amd64").write_bytes(bzimage(b"\x28\xb5\x2f\xfd"))
    (boot / "vmlinuz").symlink_to("vmlinuz-6.1.0-9-amd64")
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(64 << 20)
    host = Host()
    host.run(["sgdisk", "--new=14:2048:4095", "--new=1:8192:0", disk])
    where = f"offset={8192 * 512}"
    host.run(["mke2fs", "-qFt", "ext4", "-d", tmp_path / "root", "-E", where, disk, "50000k"])
    before = disk.read_bytes()
    assert kernel_inside(host, disk, tmp_path / "scratch") == "zstd"
    assert disk.read_bytes() == before and not (tmp_path / "scratch").exists()
    disk.write_bytes(before[: 8192 * 512])
    assert kernel_inside(host, disk, tmp_path / "scratch") == ""
    (tmp_path / "empty.raw").write_bytes(b"")
    assert kernel_inside(host, tmp_path / "empty.raw", tmp_path / "scratch") == ""


def test_a_link_to_an_image_is_followed(xen: Xen) -> None:
    path = offer(xen, {"format": "raw", "virtual-size": 512})
    xen.host.symlink("/root/newest.raw", path.name)
    images.import_image(xen.host, Path("root/newest.raw"), quiet)
    assert {call[-2] for call in xen.said("cp")} == {str(path)}


@pytest.mark.parametrize("name", ["noble.raw", "trixie-amd64.raw", "old/noble.raw"])
def test_an_image_is_not_taken_out_of_the_folder_of_images(xen: Xen, name: str) -> None:
    offer(xen, {"format": "raw", "virtual-size": 512})
    xen.host.make_folder(IMAGES / "old")
    xen.host.write(IMAGES / name, b"x")
    xen.host.symlink("/root/link.raw", str(xen.host.path(IMAGES / name)))
    before = tree(xen.host.root)
    for path in (IMAGES / name, Path("/root/link.raw")):
        with pytest.raises(XenableError, match=r"cannot use the image .*keeps its own") as caught:
            images.import_image(xen.host, path, quiet)
        assert "another folder" in caught.value.hint
    assert tree(xen.host.root) == before


def test_what_is_looked_at_is_what_is_used(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be somebody else's, and change meanwhile."""
    path = offer(xen, {"format": "raw", "virtual-size": 512}, b"first")
    whole = xen.do_cp
    seen: list[bytes] = []

    def cp(words: list[str]) -> Result:
        done = whole(words)
        assert mode_of(xen.host, str(Path(words[-1]).parent)) == 0o700
        xen.host.path(path).write_bytes(b"second")
        return done

    def convert(words: list[str]) -> Result:
        seen.append(xen.host.read(words[-2]))
        xen.host.path(words[-1]).write_bytes(b"converted")
        return Result(0, "", "")

    monkeypatch.setattr(xen, "do_cp", cp)
    monkeypatch.setattr(xen, "do_qemu_img", convert)
    base = images.import_image(xen.host, path, quiet)
    assert seen == [b"first"] and base.name == f"image-{hashlib.sha256(b'first').hexdigest()[:16]}"
    assert not any(str(path) in call for call in xen.said("qemu-img"))
    assert xen.said("cp")[0][1:4] == ["--reflink=auto", "--sparse=always", "--"]


def test_without_qemu_img(xen: Xen) -> None:
    path = offer(xen, {"format": "raw", "virtual-size": 512})
    xen.host.remove("/usr/bin/qemu-img")
    with pytest.raises(XenableError, match=f"cannot use the image {path}: qemu-img is missing") as caught:
        images.import_image(xen.host, path, quiet)
    assert caught.value.hint == "sudo apt install qemu-utils" and xen.calls == []


def test_no_such_image(xen: Xen) -> None:
    with pytest.raises(XenableError, match="there is no such file"):
        images.import_image(xen.host, Path("/root/none"), quiet)


# ------------------------------------------------------------------------------------------- real programs


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("mke2fs") is None, reason="mke2fs is not installed")
def test_the_file_system_is_one_that_grub_reads(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "boot").mkdir(parents=True)
    (root / "boot/vmlinuz").write_bytes(b"kernel" * 10000)
    build._make_image(Host(), root, tmp_path / "image", BASE.uuid, 64 << 20)
    said = Host().run(["dumpe2fs", "-h", tmp_path / "image"]).stdout
    assert BASE.uuid in said and "Filesystem state:         clean" in said
    features = next(line for line in said.splitlines() if line.startswith("Filesystem features"))
    assert "metadata_csum_seed" not in features and "orphan_file" not in features
    out = Host().run(["debugfs", "-R", "cat /boot/vmlinuz", tmp_path / "image"]).stdout
    assert out == "kernel" * 10000
    info = (tmp_path / "image").stat()
    assert info.st_size == 64 << 20 and info.st_blocks * 512 < 16 << 20


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("grub-script-check") is None, reason="grub-common is not installed")
def test_the_first_menu_is_a_script_of_grub(tmp_path: Path) -> None:
    menu = tmp_path / "grub.cfg"
    menu.write_text(basefiles.first_menu(BASE.uuid, "6.1.0-1-cloud-amd64"))
    subprocess.run(["grub-script-check", menu], check=True)
    subprocess.run(["sh", "-n"], input=basefiles.GRUB_DEFAULTS, text=True, check=True)


def test_a_base_is_written_as_it_is_read(xen: Xen) -> None:
    other = replace(BASE, name="bookworm-amd64", release="bookworm")
    images.write_base(xen.host, other)
    assert images.bases(xen.host) == (other, BASE) and images.base_of(xen.host, "noble") is None
