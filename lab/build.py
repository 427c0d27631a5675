# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a stock image: mmdebstrap, a partitioned file, and a first boot that finishes the machine."""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from lab import qemu, recipe
from lab.cache import cache_dir, locked, new_run_folder, ssh_key
from lab.errors import LabError, ScenarioFailed
from lab.host import run
from lab.qemu import DirectBoot
from lab.recipe import Filesystem, Firmware, Recipe
from lab.story import step
from lab.vm import VM, vars_of

SECTOR = 512


def image(wanted: Recipe) -> Path:
    """The cached image of a stock machine, built first if need be. Raises LabError when that fails."""
    key = ssh_key()
    public = key.with_suffix(".pub").read_text().strip()
    folder = cache_dir() / "images"
    folder.mkdir(exist_ok=True)
    disk = folder / recipe.image_name(wanted, public)
    with locked(disk.name):
        if not disk.exists():
            with step(f"build {disk.name}"):
                build(wanted, disk, key, public)
    return disk


def build(wanted: Recipe, disk: Path, key: Path, public: str) -> None:
    """Build the image of a recipe at the path disk, which appears only when all is done."""
    run_folder = new_run_folder(f"build-{disk.stem}")
    prefix = f".{disk.stem}-"
    for left_over in disk.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=disk.parent) as scratch_name:
        scratch = Path(scratch_name)
        root_tar = scratch / "root.tar"
        draft = scratch / "disk.raw"
        uefi = wanted.firmware is Firmware.UEFI
        with step("install the packages"):
            bootstrap(wanted, public, root_tar, run_folder / "mmdebstrap.log")
        with step("make the disk"):
            make_disk(draft, root_tar, scratch, wanted.filesystem, esp=uefi)
            if uefi:
                shutil.copyfile(qemu.OVMF_VARS, vars_of(draft))
            direct = kernel_of(root_tar, scratch)
        with step("let the machine finish itself"):
            try:
                seed_boot(draft, run_folder, key, direct, wanted.firmware)
            except ScenarioFailed as error:
                raise LabError(f"cannot build {disk.name}: {error} (logs: {run_folder})") from error
        # The variables first: an image is complete when the disk itself is there.
        if uefi:
            vars_of(draft).rename(vars_of(disk))
        draft.rename(disk)


def bootstrap(wanted: Recipe, public: str, root_tar: Path, log: Path) -> None:
    """Install the packages of a recipe into a tar, from mmdebstrap's default mirror; root is not needed."""
    environment = {
        **os.environ,
        "LAB_PUBLIC_KEY": public,
        "LAB_ROOT_UUID": recipe.ROOT_UUID,
        "LAB_ROOT_TYPE": wanted.filesystem.value,
        "LAB_ESP_UUID": recipe.ESP_UUID if wanted.firmware is Firmware.UEFI else "",
        "LAB_INTERFACES": " ".join(recipe.INTERFACES),
    }
    run(
        [
            "mmdebstrap",
            "--mode=auto",
            "--variant=important",
            f"--include={','.join(recipe.packages(wanted))}",
            f"--customize-hook={recipe.GUEST / 'customize.sh'}",
            wanted.release.value,
            os.fspath(root_tar),
        ],
        doing=f"install Debian {wanted.release.value}",
        env=environment,
        log=log,
    )


def make_disk(disk: Path, root_tar: Path, scratch: Path, filesystem: Filesystem, *, esp: bool) -> None:
    """A partitioned disk image with the root file system from a tar and, if wanted, an empty ESP."""
    with disk.open("wb") as stream:
        stream.truncate(recipe.DISK_BYTES)
    first, last = recipe.BIOS_BOOT
    partitions = [f"--new=1:{first}:{last}", "--typecode=1:ef02"]
    first, last = recipe.ESP
    if esp:
        partitions += [f"--new=2:{first}:{last}", "--typecode=2:ef00"]
    partitions += [f"--new=3:{recipe.ROOT_START}:0", "--typecode=3:8300"]
    run(["sgdisk", "--set-alignment=1", *partitions, os.fspath(disk)], doing="partition the disk image")

    # As an ordinary user, fakeroot remembers between the two commands who owns what.
    root = scratch / "root"
    root.mkdir()
    state = os.fspath(scratch / "fakeroot.state")
    fake_save: list[str] = [] if os.geteuid() == 0 else ["fakeroot", "-s", state, "--"]
    fake_load: list[str] = [] if os.geteuid() == 0 else ["fakeroot", "-i", state, "--"]
    # A running machine has a file system of its own on /dev; an ordinary user could not make its nodes.
    unpack = ["tar", "-xpf", os.fspath(root_tar), "-C", os.fspath(root), "--numeric-owner"]
    keep = ["--xattrs", "--xattrs-include=*", "--exclude=./dev/*"]
    run([*fake_save, *unpack, *keep], doing="unpack the root file system")
    for make in make_root(filesystem, disk, root, scratch / "root.btrfs"):
        run([*fake_load, *make], doing="make the root file system")
    shutil.rmtree(root)
    if esp:
        write_esp(disk, scratch / "esp.img")


def make_root(filesystem: Filesystem, disk: Path, root: Path, scratch: Path) -> list[list[str]]:
    """The commands that make the root file system of a folder in a disk image."""
    start = recipe.ROOT_START * SECTOR
    size = recipe.DISK_BYTES - start - 1024 * 1024
    into, folder, uuid = os.fspath(disk), os.fspath(root), recipe.ROOT_UUID
    if filesystem is Filesystem.EXT4:
        where = ["-E", f"offset={start}", into, f"{size // 1024}k"]
        return [["mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-d", folder, *where]]
    # It knows no offset.
    alone = os.fspath(scratch)
    where = [f"seek={start >> 20}", "bs=1M", "conv=notrunc,sparse", "status=none"]
    return [
        ["truncate", "-s", str(size), alone],
        ["mkfs.btrfs", "-q", "-U", uuid, "--rootdir", folder, alone],
        ["dd", f"if={alone}", f"of={into}", *where],
        ["rm", alone],
    ]


def write_esp(disk: Path, scratch: Path) -> None:
    """Write an empty FAT file system into the ESP of a disk image."""
    first, last = recipe.ESP
    with scratch.open("wb") as stream:
        stream.truncate((last - first + 1) * SECTOR)
    run(
        ["mkfs.vfat", "-F", "32", "-i", recipe.ESP_UUID.replace("-", ""), os.fspath(scratch)],
        doing="make the ESP",
    )
    with disk.open("r+b") as target:
        target.seek(first * SECTOR)
        target.write(scratch.read_bytes())


def kernel_of(root_tar: Path, scratch: Path) -> DirectBoot:
    """Take kernel and initramfs out of a root's tar, for the boot in which there is no boot loader yet."""
    direct = DirectBoot(
        scratch / "vmlinuz", scratch / "initrd", f"root=UUID={recipe.ROOT_UUID} ro console=ttyS0,115200"
    )
    wanted = {"./boot/vmlinuz-": direct.kernel, "./boot/initrd.img-": direct.initrd}
    with tarfile.open(root_tar) as tar:
        for member in tar:
            for prefix, target in wanted.items():
                content = (
                    tar.extractfile(member) if member.isfile() and member.name.startswith(prefix) else None
                )
                if content is not None:
                    target.write_bytes(content.read())
    for prefix, target in wanted.items():
        if not target.exists():
            raise LabError(f"cannot boot the new machine: its root has no file {prefix}*")
    return direct


def seed_boot(disk: Path, folder: Path, key: Path, direct: DirectBoot, firmware: Firmware) -> None:
    """First boot, straight into the kernel: the machine installs its own boot loader, then goes off."""
    with VM(disk, folder=folder, key=key, overlay=False, direct=direct) as vm:
        vm.start()
        vm.put(recipe.GUEST / "seed.sh", "/run/seed.sh")
        vm.ssh(f"sh /run/seed.sh {firmware.value}", timeout=600)
        vm.shutdown()
