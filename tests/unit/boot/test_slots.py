# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.boot.fixtures import make_boot
from xenable.boot.deadman import (
    ALIGNMENT,
    HOOKS,
    MODULE,
    Member,
    append_archive,
    cpio_archive,
    deadman_archive,
    watchdog_modules,
)
from xenable.boot.environment import Environment, write_environment
from xenable.boot.inputs import gather
from xenable.boot.menu import render
from xenable.boot.room import RESERVE, room_to_keep
from xenable.boot.slots import fill_slot, free_slot, newest_pair_differs, verify_slot
from xenable.errors import XenableError
from xenable.host import Host

KERNEL = "6.12.1-amd64"
SNIPPET = (Path(__file__).parents[3] / "data/initramfs/deadman.sh").read_bytes()
DRIVER = b"\x7fELF the driver"
VARIABLES = {
    "XENABLE_ENVIRONMENT_PATH": "/boot/grub/xenable.env",
    "XENABLE_BOOT_PATH": "/boot",
    "GRUB_CMDLINE_LINUX": "console=ttyS0,115200n8 'foo=a b'",
    "GRUB_CMDLINE_XEN": "dom0_mem=512M,max:512M",
    "GRUB_DEVICE": "/dev/sda1",
}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with a pair, its generated menu and an environment block."""
    host = make_boot(tmp_path, ("4.20",), (KERNEL,))
    write_environment(host, "/boot/grub", Environment())
    menu = render(gather(host, VARIABLES, "set root=hd0\n"))
    (tmp_path / "boot/grub/grub.cfg").write_text(menu)
    add_driver(tmp_path, "kernel/drivers/watchdog/xen_wdt.ko.xz", lzma.compress(DRIVER))
    return host


def add_driver(root: Path, path: str, data: bytes) -> None:
    modules = root / "lib/modules" / KERNEL
    (modules / path).parent.mkdir(parents=True, exist_ok=True)
    (modules / path).write_bytes(data)
    (modules / "modules.dep").write_text(f"kernel/a.ko: kernel/b.ko\n{path}:\n")


def fill(host: Host, slot: str = "a") -> None:
    fill_slot(host, slot, snippet=SNIPPET, deadline=600)


def test_fill(host: Host) -> None:
    pair = fill_slot(host, "a", snippet=SNIPPET, deadline=600, hold=True)
    folder = host.path("/boot/xenable/a")
    assert pair.kernel_version == KERNEL
    assert sorted(p.name for p in folder.iterdir()) == [
        "SHA256SUMS",
        "boot.cfg",
        "initrd",
        "manifest.json",
        "vmlinuz",
        "xen",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["a"]
    assert (folder / "xen").samefile(host.path("/boot/xen-4.20-amd64.gz"))
    assert (folder / "vmlinuz").samefile(host.path(f"/boot/vmlinuz-{KERNEL}"))
    original = host.path(f"/boot/initrd.img-{KERNEL}").read_bytes()
    initrd = (folder / "initrd").read_bytes()
    assert initrd.startswith(original + b"\0")
    assert initrd[ALIGNMENT:] == deadman_archive(SNIPPET, (DRIVER,))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["xen"], manifest["kernel"]) == ("4.20-amd64", KERNEL)
    watchdog = "watchdog.stop_on_reboot=0 xen_wdt.timeout=600 xen_wdt.nowayout=0"
    ours = f"panic=30 xenable.deadline=600 systemd.watchdog_sec=0 {watchdog} xenable.hold"
    assert manifest["dom0_arguments"] == f"root=/dev/sda1 ro console=hvc0 foo=a b {ours}"
    assert f"'foo=a b' {ours}\n" in (folder / "boot.cfg").read_text()
    assert verify_slot(host, "a") == ()


@pytest.mark.realtool
def test_sums_are_those_that_everybody_knows(host: Host) -> None:
    fill(host)
    cmd = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(cmd, cwd=host.path("/boot/xenable/a"), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "xen: OK\nvmlinuz: OK\ninitrd: OK\n")


@pytest.mark.realtool
def test_script_of_a_slot(host: Host) -> None:
    fill(host)
    subprocess.run(["grub-script-check", host.path("/boot/xenable/a/boot.cfg")], check=True)


def test_survives_an_upgrade_of_the_kernel(host: Host) -> None:
    fill(host)
    host.write(f"/boot/vmlinuz-{KERNEL}", b"another kernel")
    host.remove("/boot/xen-4.20-amd64.gz")
    assert verify_slot(host, "a") == ()


def test_damage_is_named(host: Host) -> None:
    assert verify_slot(host, "a") == ("manifest.json is damaged",)
    fill(host)
    folder = host.path("/boot/xenable/a")
    (folder / "initrd").write_bytes(b"x")
    (folder / "vmlinuz").unlink()
    assert verify_slot(host, "a") == ("vmlinuz is missing", "initrd is damaged")
    (folder / "manifest.json").write_text("[]")
    assert verify_slot(host, "a") == ("manifest.json is damaged",)


def test_filled_again_over_what_was_left(host: Host) -> None:
    fill(host)
    for leftover in (".new-a", ".old-a"):
        host.make_folder(f"/boot/xenable/{leftover}")
        host.write(f"/boot/xenable/{leftover}/xen", b"half")
    fill(host)
    assert verify_slot(host, "a") == ()
    assert host.names("/boot/xenable") == ("a",)


def test_the_default_slot_is_never_touched(host: Host) -> None:
    write_environment(host, "/boot/grub", Environment(default="a"))
    for slot in ("a", "c"):
        with pytest.raises(XenableError, match="cannot fill slot"):
            fill(host, slot)
    fill(host, "b")
    assert free_slot(Environment(default="a")) == "b"
    assert free_slot(Environment(default="b")) == free_slot(Environment()) == free_slot(None) == "a"


def test_no_pair_and_no_driver(host: Host) -> None:
    host.path(f"/lib/modules/{KERNEL}/modules.dep").write_text("")
    with pytest.raises(XenableError, match="xen_wdt"):
        fill(host)
    host.path("/boot/grub/grub.cfg").write_text("menuentry 'x' $menuentry_id_option 'y' {\n}\n")
    with pytest.raises(XenableError, match="no entry"):
        fill(host)
    assert not host.exists("/boot/xenable/a")


def test_no_room(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept free is another initrd and some: update-initramfs writes the next one beside the old."""
    host.write(f"/boot/initrd.img-{KERNEL}", bytes(5 << 20))

    def free(mib: int) -> None:
        space = os.statvfs_result((1 << 20, 1 << 20, mib, mib, mib, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda path: space)

    initrd = 6
    assert room_to_keep(initrd) == initrd + RESERVE
    free(2 * initrd + RESERVE - 1)
    with pytest.raises(XenableError, match=f"has 27 MiB free, and {2 * initrd + RESERVE} are needed"):
        fill(host)
    assert not host.exists("/boot/xenable/a")
    free(2 * initrd + RESERVE)
    fill(host)
    assert verify_slot(host, "a") == ()


def test_what_may_not_be_read_is_not_said_to_be_damaged(
    host: Host, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    fill(host)
    (host.path("/boot/xenable/a") / "xen").unlink()
    none = 0o600 if os.geteuid() == 0 else 0
    for name, expected in (("initrd", ("xen is missing",)), ("manifest.json", ())):
        host.path(f"/boot/xenable/a/{name}").chmod(none)
        with as_nobody():
            assert verify_slot(host, "a") == expected


def test_what_may_not_be_read_is_not_said_to_be_newer(
    host: Host, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    """The slot's initrd is root's alone, and Ubuntu's kernels are too."""
    fill(host)
    none = 0o600 if os.geteuid() == 0 else 0
    kernel = host.path(f"/boot/vmlinuz-{KERNEL}")
    for hidden in ("/boot/xenable/a/initrd", kernel.relative_to(host.root), "/boot/xenable/a/manifest.json"):
        host.path(hidden).chmod(none)
        with as_nobody():
            assert not newest_pair_differs(host, "a")
    # Another file by that name, as an upgrade brings it.
    kernel.rename(kernel.with_name("kept"))
    kernel.write_bytes(b"newer")
    kernel.chmod(none)
    with as_nobody():
        assert not newest_pair_differs(host, "a")
    for path in (kernel, host.path("/boot/xenable/a/vmlinuz"), host.path("/boot/xenable/a/manifest.json")):
        path.chmod(0o644)
    with as_nobody():
        assert newest_pair_differs(host, "a")


# ---------------------------------------------------------------------------------------------- the dead-man


def test_modules_that_the_driver_needs_come_first(host: Host) -> None:
    folder = host.root / "lib/modules" / KERNEL
    for name in ("xen_wdt", "watchdog", "deeper"):
        (folder / f"{name}.ko").write_bytes(b"\x7fELF " + name.encode())
    (folder / "modules.dep").write_text("deeper.ko:\nxen_wdt.ko: watchdog.ko deeper.ko\n")
    modules = watchdog_modules(host, KERNEL)
    assert [module[5:] for module in modules] == [b"deeper", b"watchdog", b"xen_wdt"]
    archive = deadman_archive(b"", modules)
    names = (b"xenable-needed-0.ko", b"xenable-needed-1.ko", MODULE.encode())
    places = [archive.index(name) for name in names]
    assert places == sorted(places)


def test_driver_packed_in_other_ways(host: Host) -> None:
    add_driver(host.root, "kernel/xen_wdt.ko", DRIVER)
    assert watchdog_modules(host, KERNEL) == (DRIVER,)
    add_driver(host.root, "kernel/xen_wdt.ko.gz", gzip.compress(DRIVER))
    assert watchdog_modules(host, KERNEL) == (DRIVER,)
    add_driver(host.root, "kernel/xen_wdt.ko.xz", b"damaged")
    with pytest.raises(XenableError, match="cannot unpack"):
        watchdog_modules(host, KERNEL)
    add_driver(host.root, "kernel/xen_wdt.ko", b"no module")
    with pytest.raises(XenableError, match="no kernel module"):
        watchdog_modules(host, KERNEL)
    modules = host.path(f"/lib/modules/{KERNEL}")
    (modules / "modules.dep").write_text("")
    (modules / "modules.builtin").write_text("kernel/drivers/watchdog/xen_wdt.ko\n")
    assert watchdog_modules(host, KERNEL) == ()


class LiveFolder(Host):
    """A folder on which commands may run."""

    @property
    def live(self) -> bool:
        return True


@pytest.mark.realtool
def test_driver_packed_with_zstd(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    packed = subprocess.run(["zstd", "-q", "-c"], input=DRIVER, capture_output=True, check=True).stdout
    add_driver(tmp_path, "kernel/xen_wdt.ko.zst", packed)
    assert watchdog_modules(LiveFolder(tmp_path), KERNEL) == (DRIVER,)
    assert list((tmp_path / "run").iterdir()) == []
    add_driver(tmp_path, "kernel/xen_wdt.ko.zst", packed[:-3])
    with pytest.raises(XenableError, match="zstd"):
        watchdog_modules(LiveFolder(tmp_path), KERNEL)


def test_archive_is_aligned_and_the_same_each_time() -> None:
    archive = deadman_archive(SNIPPET, (DRIVER,))
    assert archive == deadman_archive(SNIPPET, (DRIVER,))
    assert len(archive) % ALIGNMENT == 0
    assert deadman_archive(SNIPPET, ()).count(MODULE.encode()) == SNIPPET.count(MODULE.encode()) * 2


NAMES = st.text("abcxyz0.-", min_size=1, max_size=9).filter(lambda n: n.strip("."))


@pytest.mark.realtool
@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=99), max_size=5))
def test_cpio_unpacks_it(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("cpio")
    archive = cpio_archive([Member(path=name, data=data) for name, data in files.items()])
    subprocess.run(["cpio", "-i", "--quiet"], input=archive, cwd=folder, check=True, capture_output=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files


@pytest.mark.realtool
def test_second_archive_is_found_as_the_kernel_finds_it(tmp_path: Path) -> None:
    """The kernel unpacks the first archive, passes over zeros, and wants the next at a multiple of 4."""
    main = gzip.compress(cpio_archive([Member(path="init", data=b"#!/bin/sh\n", mode=0o755)]))
    image = append_archive(main, deadman_archive(SNIPPET, (DRIVER,)))
    unpacker = zlib.decompressobj(wbits=31)
    unpacker.decompress(image)
    ours = unpacker.unused_data.lstrip(b"\0")
    assert (len(image) - len(ours)) % 4 == 0
    for name in HOOKS:
        (tmp_path / name).parent.mkdir(parents=True)
    subprocess.run(["cpio", "-i", "--quiet"], input=ours, cwd=tmp_path, check=True)
    for name in HOOKS:
        assert (tmp_path / name).read_bytes() == SNIPPET
    assert (tmp_path / MODULE).read_bytes() == DRIVER


@pytest.mark.realtool
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_snippet_is_harmless_on_native(shell: str) -> None:
    script = 'before=$(set | grep -c xenable); . "$0"; set | grep -ci "xenable_" ; echo "went on"'
    path = Path(__file__).parents[3] / "data/initramfs/deadman.sh"
    done = subprocess.run([shell, "-c", script, path], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("went on", "")
