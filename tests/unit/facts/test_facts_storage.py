# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import make_tree
from tests.unit.boot.firmware import ATTRIBUTES, PARTUUID, add_firmware, variable
from xenable.boot import loader
from xenable.boot.environment import FOLDERS
from xenable.facts.boot_loader import GRUB, probe_boot_loader
from xenable.facts.firmware import probe_firmware
from xenable.facts.storage import ESP_PLACES, device_stack, parse_fstab, parse_mountinfo, probe_storage
from xenable.host import Host
from xenable.machine import FileSystem, LoaderKind

BLOCK = "/sys/devices/pci/block"


def disk(name: str, *partitions: str) -> tuple[dict[str, str | bytes], dict[str, str]]:
    """A disk and its partitions in sysfs."""
    files: dict[str, str | bytes] = {f"{BLOCK}/{name}/device/": ""}
    links = {f"/sys/class/block/{name}": f"../../devices/pci/block/{name}"}
    for part in partitions:
        files[f"{BLOCK}/{name}/{part}/partition"] = "1\n"
        links[f"/sys/class/block/{part}"] = f"../../devices/pci/block/{name}/{part}"
    return files, links


def virtual(name: str, uuid: str, *slaves: str) -> tuple[dict[str, str | bytes], dict[str, str]]:
    """A device of the device mapper, or of md when it has no uuid."""
    folder = f"/sys/devices/virtual/block/{name}"
    files: dict[str, str | bytes] = {f"{folder}/dm/uuid": uuid} if uuid else {f"{folder}/md/level": "raid1"}
    files |= {f"{folder}/slaves/{slave}": "" for slave in slaves}
    return files, {f"/sys/class/block/{name}": f"../../devices/virtual/block/{name}"}


def machine(root: Path, mountinfo: str, *parts: tuple[dict[str, str | bytes], dict[str, str]]) -> Host:
    files: dict[str, str | bytes] = {"/proc/self/mountinfo": mountinfo}
    links: dict[str, str] = {}
    for more_files, more_links in parts:
        files |= more_files
        links |= more_links
    return make_tree(root, files, links)


def number(device: str, name: str) -> tuple[dict[str, str | bytes], dict[str, str]]:
    return {}, {f"/sys/dev/block/{device}": f"../../class/block/{name}"}


def environment(host: Host) -> tuple[str, str]:
    loader = probe_boot_loader(host, probe_firmware(host), probe_storage(host), {})
    return loader.environment, loader.environment_obstacle


def some(file_system: FileSystem | None) -> FileSystem:
    assert file_system is not None
    return file_system


ROOT = "22 1 254:2 / / rw,relatime shared:1 - ext4 /dev/vda2 rw\n"
ESP = "30 22 254:1 / /boot/efi rw - vfat /dev/vda1 rw\n"


def test_a_plain_disk(tmp_path: Path) -> None:
    host = machine(
        tmp_path,
        ROOT + ESP,
        disk("vda", "vda1", "vda2"),
        number("254:2", "vda2"),
        number("254:1", "vda1"),
        ({}, {"/dev/disk/by-uuid/1234-ABCD": "../../vda1"}),
    )
    storage = probe_storage(host)
    assert some(storage.root).stack == ("part", "disk")
    assert storage.boot == storage.root
    assert some(storage.esp).uuid == "1234-ABCD"
    assert some(storage.root).free is None, "the space of a folder's machine can't be known"
    assert environment(host) == ("/boot/grub", "")


@pytest.mark.parametrize(("uuid", "layer"), [("LVM-x", "lvm"), ("CRYPT-LUKS2-x", "crypt"), ("", "raid")])
def test_below_lvm_crypt_and_raid_the_esp_holds_the_environment(
    tmp_path: Path, uuid: str, layer: str
) -> None:
    host = machine(
        tmp_path,
        ROOT.replace("254:2", "253:0") + ESP,
        disk("vda", "vda1", "vda2"),
        virtual("dm-0", uuid, "vda2"),
        number("253:0", "dm-0"),
        number("254:1", "vda1"),
    )
    assert some(probe_storage(host).root).stack == (layer, "part", "disk")
    place, obstacle = environment(host)
    assert place == "/boot/efi/EFI/xenable"
    assert layer in obstacle


def test_the_environment_is_only_where_the_generator_looks() -> None:
    assert {f"{place}/EFI/xenable" for place in ESP_PLACES} | {GRUB} == set(FOLDERS)


def test_an_esp_on_raid_is_no_place_either(tmp_path: Path) -> None:
    host = machine(
        tmp_path,
        ROOT.replace("254:2", "9:0") + ESP.replace("254:1", "9:0"),
        disk("vda", "vda1"),
        virtual("md0", "", "vda1"),
        number("9:0", "md0"),
    )
    assert environment(host)[0] == ""


MIRRORED = ROOT.replace("254:2", "9:0") + ESP.replace("254:1", "9:0")
EFIVARFS = "40 1 0:30 / /sys/firmware/efi/efivars rw,nosuid - efivarfs efivarfs rw\n"


@pytest.mark.parametrize(
    ("mounts", "kind", "current", "partition", "why_not"),
    [
        (MIRRORED + EFIVARFS, "raid", b"\7\0", "vda1", ""),
        (MIRRORED + EFIVARFS, "raid", b"\7\0", "vdb1", "from another partition than the one at /boot/efi"),
        (MIRRORED + EFIVARFS, "raid", b"\0\0", "vda1", "from another partition"),
        (MIRRORED + EFIVARFS, "crypt", b"\7\0", "vda1", "no GRUB can start from ext4 on crypt"),
        (MIRRORED, "raid", b"\7\0", "vda1", "variables can't be written"),
        (MIRRORED + EFIVARFS.replace("rw,", "ro,"), "raid", b"\7\0", "vda1", "can't be written"),
        (ROOT.replace("254:2", "9:0") + EFIVARFS, "raid", b"\7\0", "vda1", "no EFI system partition"),
        (MIRRORED.replace("rw - vfat", "ro - vfat"), "raid", b"\7\0", "vda1", "no EFI system partition"),
        (MIRRORED.replace("ext4", "f2fs"), "raid", b"\7\0", "vda1", "no GRUB can start from f2fs"),
    ],
    ids=[
        "mirror",
        "elsewhere",
        "no-partition",
        "crypt",
        "no-variables",
        "variables-ro",
        "no-esp",
        "esp-ro",
        "f2fs",
    ],
)
def test_where_grub_can_write_nowhere_the_firmware_keeps_the_note(
    tmp_path: Path, mounts: str, kind: str, current: bytes, partition: str, why_not: str
) -> None:
    host = machine(
        tmp_path,
        mounts,
        disk("vda", "vda1"),
        virtual("md0", "CRYPT-LUKS2-x" if kind == "crypt" else "", "vda1"),
        number("9:0", "md0"),
    )
    add_firmware(host)
    host.set_variable(variable("BootCurrent"), ATTRIBUTES + current)
    host.set_variable(variable("BootOrder"), ATTRIBUTES + current)
    for path in (loader.TOOL, *loader.files()):
        host.make_folder(Path(path).parent)
        host.write(path, b"")
    host.make_folder("/dev/disk/by-partuuid")
    host.symlink(f"/dev/disk/by-partuuid/{PARTUUID}", f"../../{partition}")
    found = probe_boot_loader(host, probe_firmware(host), probe_storage(host), {})
    assert why_not in found.own_loader_obstacle and bool(why_not) == bool(found.own_loader_obstacle)
    folder = "" if why_not else "/boot/efi/EFI/xenable"
    assert (found.own_loader, found.environment) == (folder, GRUB if folder else "")
    assert "where GRUB can only read" in found.environment_obstacle


def test_btrfs_has_no_device_number_of_its_own(tmp_path: Path) -> None:
    text = "22 1 0:21 /@ / rw - btrfs /dev/vda2 rw,subvol=/@\n"
    host = machine(tmp_path, text, disk("vda", "vda2"))
    assert some(probe_storage(host).root).stack == ("part", "disk")
    assert environment(host) == ("", "the file system at / is btrfs, to which GRUB cannot write")


def test_zfs_and_nothing_at_all(tmp_path: Path) -> None:
    zfs = machine(tmp_path / "zfs", "22 1 0:21 / / rw - zfs rpool/ROOT rw\n")
    assert some(probe_storage(zfs).root).stack == ("zfs",)
    assert environment(zfs)[0] == ""
    nothing = make_tree(tmp_path / "nothing", {})
    assert probe_storage(nothing).root is None
    assert "not known" in environment(nothing)[1]


def test_a_folder_without_proc_is_read_from_fstab(tmp_path: Path) -> None:
    fstab = "# x\nUUID=u1 / ext4 defaults 0 1\nUUID=AB-CD /boot/efi vfat umask=0077 0 1\n"
    storage = probe_storage(make_tree(tmp_path, {"/etc/fstab": fstab}))
    assert some(storage.root).uuid == "u1"
    assert some(storage.esp).uuid == "AB-CD"


def test_the_longest_and_latest_mount_holds_a_path(tmp_path: Path) -> None:
    text = (
        ROOT
        + "31 22 254:1 / /boot rw - ext2 /dev/vda1 rw\n"
        + "32 22 254:3 / /boot ro - ext4 /dev/vda3 ro\n"
        + "33 22 254:4 / /boo rw - xfs /dev/vda4 rw\n"
    )
    boot = some(probe_storage(machine(tmp_path, text)).boot)
    assert (boot.kind, boot.read_only) == ("ext4", True)


def test_what_is_written_to_beside_root(tmp_path: Path) -> None:
    text = ROOT + "".join(
        f"{n} 22 254:{n} / {place} rw - ext4 /dev/vda{n} rw\n"
        for n, place in ((31, "/var"), (32, "/var/log"), (33, "/home"), (34, "/var/lib/xenable"))
    )
    others = probe_storage(machine(tmp_path, text)).others
    assert [(fs.mount_point, fs.source) for fs in others] == [
        ("/var", "/dev/vda31"),
        ("/var/lib/xenable", "/dev/vda34"),
    ]
    assert probe_storage(machine(tmp_path / "plain", ROOT)).others == ()


def test_names_with_blanks() -> None:
    (mount,) = parse_mountinfo(r"22 1 8:1 / /mnt/a\040b\134c rw master:1 - ext4 /dev/sda1 rw")
    assert mount.mount_point == "/mnt/a b\\c"


def test_devices_that_contain_each_other_end(tmp_path: Path) -> None:
    host = machine(tmp_path, "", virtual("dm-0", "LVM-a", "dm-1"), virtual("dm-1", "CRYPT-b", "dm-0"))
    assert device_stack(host, "dm-0") == ("lvm", "crypt")


@given(st.text(max_size=200))
def test_garbage_never_fails(text: str) -> None:
    parse_mountinfo(text + " - " + text)
    parse_fstab(text)


def test_grub_in_the_boot_sector_and_modules_that_miss(tmp_path: Path) -> None:
    host = machine(
        tmp_path,
        ROOT,
        disk("vda", "vda2"),
        number("254:2", "vda2"),
        (
            {
                "/sys/firmware/": "",
                "/dev/vda": b"\xeb\x63" + b"\0" * 380 + b"GRUB \0Geom" + b"\0" * 200,
                "/boot/grub/i386-pc/moddep.lst": "multiboot2: relocator boot\nnormal: gzio\n",
                **{
                    f"/boot/grub/i386-pc/{name}.mod": "" for name in ("multiboot2", "boot", "gzio", "search")
                },
            },
            {},
        ),
    )
    loader = probe_boot_loader(host, probe_firmware(host), probe_storage(host), {})
    assert loader.kind is LoaderKind.GRUB
    assert loader.platforms == ("i386-pc",)
    assert "relocator" in loader.missing_modules
    assert not {"multiboot2", "boot", "gzio", "search"} & set(loader.missing_modules)
