# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden menus. `XENABLE_UPDATE_GOLDEN=1 pytest` writes them anew: then read the difference."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.boot.fixtures import make_boot
from xenable.boot.inputs import gather, root_device
from xenable.boot.menu import render
from xenable.boot.script import join, quote, split_words
from xenable.boot.slots import boot_cfg, listed_pairs
from xenable.errors import XenableError
from xenable.host import Host

GOLDEN = Path(__file__).parent / "golden"
PREPARE = "insmod part_gpt\ninsmod ext2\nsearch --no-floppy --fs-uuid --set=root 1111-2222\n"
OURS = "dom0_mem=1536M,max:1536M ucode=scan watchdog"
BASE = {
    "XENABLE_ENVIRONMENT_PATH": "/boot/grub/xenable.env",
    "XENABLE_ENVIRONMENT_UUID": "1111-2222",
    "XENABLE_BOOT_PATH": "/boot",
    "GRUB_DEVICE_BOOT_UUID": "1111-2222",
    "GRUB_DEVICE": "/dev/sda2",
    "GRUB_DEVICE_UUID": "1111-2222",
    "GRUB_DISTRIBUTOR": "Debian",
    "GRUB_FS": "ext2",
    "GRUB_CMDLINE_LINUX_DEFAULT": "quiet",
    "GRUB_CMDLINE_XEN_DEFAULT": OURS,
}
SERIAL = "com1=115200,8n1 console=com1,vga"
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]] = {
    "one-pair": (("4.20",), ("6.12.1-amd64",), {}),
    "two-by-three": (
        ("4.17", "4.20"),
        ("6.1.0-9-amd64", "6.1.0-10-amd64", "6.12.1-amd64"),
        {
            "GRUB_CMDLINE_LINUX": "console=tty0 console=ttyS0,115200n8",
            "GRUB_CMDLINE_XEN_DEFAULT": f"{OURS} {SERIAL} smt=off dom0_mem=4G,max:4G",
        },
    ),
    "odd-words": (
        ("4.20",),
        ("6.12.1-amd64",),
        {
            "GRUB_DISTRIBUTOR": 'Jörg\'s "日本語" $HOME',
            "GRUB_CMDLINE_LINUX": 'müll=日本語 \'foo=a b\' bar="c d" price=\\$5 tick="\\$x" semi\\;colon',
        },
    ),
    "flat-no-recovery-esp": (
        ("4.20",),
        ("6.12.1-amd64",),
        {
            "GRUB_DISABLE_SUBMENU": "y",
            "GRUB_DISABLE_RECOVERY": "true",
            "XENABLE_BOOT_PATH": "",
            "XENABLE_ENVIRONMENT_UUID": "ABCD-1234",
            "XENABLE_ENVIRONMENT_PATH": "/EFI/xenable/xenable.env",
        },
    ),
    "btrfs": (
        ("4.20",),
        ("6.12.1-amd64",),
        {"GRUB_FS": "btrfs", "XENABLE_ROOT_PATH": "/@rootfs", "XENABLE_BOOT_PATH": "/@rootfs/boot"},
    ),
    "no-hypervisor": ((), ("6.12.1-amd64",), {}),
}


def menu(host: Host, changes: Mapping[str, str]) -> str:
    (host.root / "dev/disk/by-uuid").mkdir(parents=True, exist_ok=True)
    (host.root / "dev/disk/by-uuid/1111-2222").touch()
    return render(gather(host, {**BASE, **changes}, PREPARE))


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, tmp_path: Path) -> None:
    xens, kernels, changes = CASES[name]
    text = menu(make_boot(tmp_path, xens, kernels), changes)
    golden = GOLDEN / f"{name}.cfg"
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.realtool
@pytest.mark.parametrize("name", CASES)
def test_golden_menus_are_grub_scripts(name: str) -> None:
    subprocess.run(["grub-script-check", GOLDEN / f"{name}.cfg"], check=True)


def test_slots_are_there_when_the_words_can_not_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for changes in (
        {"GRUB_CMDLINE_LINUX": "a=$b"},
        {"GRUB_CMDLINE_XEN": "noreboot"},
        {"GRUB_CMDLINE_XEN": "'"},
    ):
        text = menu(make_boot(tmp_path / str(len(str(changes))), ("4.20",), ("6.12",)), changes)
        assert "'xenable-a'" in text
        assert "submenu" not in text
        assert "no entries to choose Xen by hand" in capsys.readouterr().err


def test_menu_without_a_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XenableError, match="no environment block"):
        gather(make_boot(tmp_path, (), ()), {}, PREPARE)


def test_no_id_twice_and_user_default_never_read(tmp_path: Path) -> None:
    text = menu(make_boot(tmp_path, ("4.17", "4.20"), ("6.1", "6.12")), {"GRUB_DEFAULT": "saved"})
    ids = [line.split("'")[-2] for line in text.splitlines() if "menuentry " in line]
    assert len(ids) == len(set(ids)) == 2 + 2 * 4
    assert "saved" not in text.replace("xenable_saved_root", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "UUID=1111-2222"),
        ({"GRUB_DEVICE_UUID": "9"}, "/dev/sda2"),
        ({"GRUB_DISABLE_LINUX_UUID": "true"}, "/dev/sda2"),
        (
            {
                "GRUB_DISABLE_LINUX_UUID": "true",
                "GRUB_DISABLE_LINUX_PARTUUID": "false",
                "GRUB_DEVICE_PARTUUID": "77",
            },
            "PARTUUID=77",
        ),
        ({"GRUB_DEVICE": "/dev/mapper/vg-root"}, "/dev/mapper/vg-root"),
        ({"GRUB_DEVICE": "/dev/mapper/crypt"}, "UUID=1111-2222"),
        (
            {"GRUB_FS": "zfs", "XENABLE_ROOT_LABEL": "rpool", "XENABLE_ROOT_PATH": "/ROOT/debian@/"},
            "ZFS=rpool/ROOT/debian",
        ),
    ],
)
def test_root_device(changes: dict[str, str], expected: str, tmp_path: Path) -> None:
    for folder in ("dev/disk/by-uuid", "dev/mapper", "sys/class/block/dm-0/dm", "sys/class/block/dm-1/dm"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dev/disk/by-uuid/1111-2222").touch()
    (tmp_path / "dev/mapper/vg-root").symlink_to("../dm-0")
    (tmp_path / "dev/mapper/crypt").symlink_to("../dm-1")
    (tmp_path / "sys/class/block/dm-0/dm/uuid").write_text("LVM-abc\n")
    (tmp_path / "sys/class/block/dm-1/dm/uuid").write_text("CRYPT-LUKS2-abc\n")
    assert root_device(Host(tmp_path), {**BASE, **changes}) == expected


WORDS = st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9), max_size=5)


@given(WORDS)
def test_words_survive_quoting(words: list[str]) -> None:
    assert list(split_words(join(words))) == words


@given(st.text(max_size=30))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        words = split_words(text)
    except XenableError:
        return
    assert split_words(join(words)) == words


@pytest.mark.realtool
@settings(max_examples=40, deadline=None)
@given(WORDS, WORDS)
def test_any_words_make_a_grub_script(xen: list[str], linux: list[str]) -> None:
    script = boot_cfg(tuple(xen), tuple(linux)).encode()
    subprocess.run(["grub-script-check"], input=script, check=True, capture_output=True)


@pytest.mark.parametrize(
    "text", ["a;b", "a|b", "a&", "<a", "{", "a}", "$a", '"$a"', "'a", '"a', "a\\", "#a", "a\0"]
)
def test_text_that_grub_would_take_as_something_else(text: str) -> None:
    with pytest.raises(XenableError, match="boot menu"):
        split_words(text)


def test_split_words_as_grub_does() -> None:
    assert split_words("") == ()
    text = " a  'b c'd \"e \\\" \\$ \\\\ \\x\" f\\ g ü '' x#y\n"
    assert split_words(text) == ("a", "b cd", 'e " $ \\ \\x', "f g", "ü", "", "x#y")
    assert quote("") == "''"
    with pytest.raises(XenableError, match="control"):
        quote("a\nb")


def test_listed_pairs_are_what_was_rendered(tmp_path: Path) -> None:
    changes = CASES["odd-words"][2]
    pairs = listed_pairs(menu(make_boot(tmp_path, ("4.17", "4.20"), ("6.1", "6.12")), changes))
    assert [(p.xen_version, p.kernel_version) for p in pairs] == [
        ("4.20-amd64", "6.12"),
        ("4.20-amd64", "6.1"),
        ("4.17-amd64", "6.12"),
        ("4.17-amd64", "6.1"),
    ]
    first = pairs[0]
    assert first.id == "xenable-4.20-amd64-6.12"
    assert (first.xen, first.kernel) == ("/boot/xen-4.20-amd64.gz", "/boot/vmlinuz-6.12")
    assert first.initrd == "/boot/initrd.img-6.12"
    assert first.xen_words == tuple(OURS.split())
    odd = ("müll=日本語", "foo=a b", "bar=c d", "price=$5", "tick=$x", "semi;colon")
    assert first.linux_words == ("root=UUID=1111-2222", "ro", *odd, "quiet", "panic=30")


def test_its_time_grows_as_the_number_of_kernels(tmp_path: Path) -> None:
    def took(count: int) -> float:
        kernels = tuple(f"6.{n}.0-amd64" for n in range(count))
        host = make_boot(tmp_path / str(count), ("4.17", "4.19", "4.20"), kernels)
        times = []
        for _ in range(3):
            start = time.process_time()
            text = menu(host, {})
            times.append(time.process_time() - start)
            assert text.count("menuentry ") == 2 + 3 * count * 2
        return min(times)

    assert took(50) < 10 * took(10)


@pytest.mark.parametrize(
    ("distributor", "title"),
    [("Debian", "Debian GNU/Linux"), ("Debian GNU/Linux", "Debian GNU/Linux"), ("", "GNU/Linux")],
)
def test_the_system_is_named_once(distributor: str, title: str, tmp_path: Path) -> None:
    make_boot(tmp_path, ("4.20",), ("6.12.1-amd64",))
    text = render(gather(Host(tmp_path), {**BASE, "GRUB_DISTRIBUTOR": distributor}, PREPARE))
    assert f"'{title}, with Xen (Xenable, slot A)'" in text
