# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the disks of guests lie: on a thin pool of LVM, and on XFS; the guests are Debian 12."""

from pathlib import Path

from lab import baseimage
from lab.converted import apt_install, xenable
from lab.guestside import create, guests, in_guest, make_dom0, make_key, wait_guest
from lab.machines import Lab, machine
from lab.recipe import Release
from lab.story import must, say, step
from lab.vm import VM

MEMORY = 4096
DISK_BYTES = 12 << 30
TOOLS = "lvm2 thin-provisioning-tools xfsprogs"
SETTINGS = "/etc/xenable/xenable.conf"
IMAGES = "/var/lib/xenable/images"


def run(lab: Lab) -> None:
    """Guests of Debian 12 on a thin pool and on XFS: quickly made, whatever their size."""
    disks = tuple(blank(lab, name) for name in ("thin", "xfs"))
    extra = (
        *(word for disk in disks for word in ("-drive", f"if=virtio,format=raw,file={disk}")),
        *baseimage.drive(Release.BOOKWORM),
    )
    with machine(lab, "dom0", memory=MEMORY, extra=extra) as vm:
        with step("a stock machine becomes a dom0, with tools for its disks"):
            make_dom0(lab, vm)
            apt_install(vm, TOOLS)
            make_key(vm)
        with step("guests on a thin pool of LVM are snapshots of one image"):
            baseimage.give(vm)
            vm.ssh("pvcreate -q /dev/vdb && vgcreate -q guests /dev/vdb")
            vm.ssh("lvcreate -q --yes --type thin-pool -L 8G -n pool guests")
            store(vm, "lvm:guests/pool")
            first = create(vm, "thin1", "--release bookworm --disk 20G")
            later = create(vm, "thin2", "--release bookworm --disk 400G --no-start")
            say(f"the first {first:.0f} s, the second {later:.0f} s")
            must(vm.ssh("lvs --noheadings -o origin guests/xenable-thin2").stdout.strip(), "a snapshot")
        with step("it is Debian 12, and its file system fills the disk"):
            wait_guest(vm, "thin1")
            must('VERSION_ID="12"' in in_guest(vm, "thin1", "cat /etc/os-release"), "it is Debian 12")
            blocks = int(in_guest(vm, "thin1", "df --output=size -B1 / | tail -n 1"))
            must(blocks > 18 << 30, f"the file system has {blocks >> 30} GiB")
        with step("a thin guest grows while it runs, and goes without a trace"):
            xenable(vm, "guest resize thin1 --disk 21G")
            must(guests(vm)["thin1"]["disk_bytes"] == 21 << 30, f"{guests(vm)['thin1']}")
            for name in ("thin1", "thin2"):
                xenable(vm, f"guest remove --yes --force {name}")
            left = vm.ssh("lvs --noheadings -o lv_name guests").stdout.split()
            must(not [name for name in left if "thin1" in name or "thin2" in name], f"no volume: {left}")
        with step("guests on XFS share the blocks of their image"):
            vm.ssh("mkfs.xfs -q /dev/vdc && mount /dev/vdc /srv && mkdir /srv/images /srv/guests")
            vm.ssh(f"cp -a {IMAGES}/. /srv/images/ && mount --bind /srv/images {IMAGES}")
            store(vm, "/srv/guests")
            took = create(vm, "shared", "--release bookworm --disk 400G --no-start")
            say(f"{took:.0f} s")
            extents = vm.ssh("filefrag -v /srv/guests/shared/disk.raw").stdout
            must("shared" in extents, f"blocks are shared:\n{extents[-1500:]}")
            xenable(vm, "guest remove --yes --force shared")
        vm.power_cut()


def blank(lab: Lab, name: str) -> Path:
    """An empty disk."""
    path = lab.folder / f"{name}.raw"
    with path.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    return path


def store(vm: VM, place: str) -> None:
    """Put the disks of the guests that are made from now on somewhere."""
    vm.ssh(f"sed -i '/^guest-storage/d' {SETTINGS} && echo 'guest-storage = {place}' >>{SETTINGS}")
