# SPDX-License-Identifier: GPL-2.0-or-later
"""Where guests come from, and where they lie: Debian 12, a cloud image, a thin pool, XFS; and libvirt."""

from dataclasses import replace
from pathlib import Path

from lab import baseimage
from lab.converted import xenable
from lab.guestside import KEY, create, guests, in_guest, make_dom0, make_key, wait_guest
from lab.host import run as run_here
from lab.machines import Lab, machine
from lab.recipe import Kernel, Release
from lab.story import must, say, step
from lab.vm import VM

MEMORY = 4096
DISK_BYTES = 12 << 30
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
TOOLS = "lvm2 thin-provisioning-tools xfsprogs qemu-utils"
LIBVIRT = "libvirt-daemon libvirt-daemon-driver-xen libvirt-daemon-system libvirt-clients"
SETTINGS = "/etc/xenable/xenable.conf"
IMAGES = "/var/lib/xenable/images"
CLOUD = "/var/tmp/lab/cloud.qcow2"


def run(lab: Lab) -> None:
    """Guests of Debian 12 and of a cloud image, on a thin pool and on XFS, and under libvirt."""
    cloud = cloud_image(lab)
    disks = tuple(blank(lab, name) for name in ("thin", "xfs"))
    extra = tuple(word for disk in disks for word in ("-drive", f"if=virtio,format=raw,file={disk}"))
    with machine(lab, "dom0", memory=MEMORY, extra=extra) as vm:
        with step("a stock machine becomes a dom0, with tools for its disks"):
            make_dom0(lab, vm)
            vm.ssh(f"{INSTALL} {TOOLS}", timeout=1800)
            make_key(vm)
        with step("guests on a thin pool of LVM are snapshots of one image"):
            baseimage.give(vm, Release.BOOKWORM)
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
        with step("a cloud image boots its own boot loader and kernel, and takes the key"):
            store(vm, "/var/lib/xenable/guests")
            vm.put(cloud, CLOUD)
            create(vm, "cloud1", f"--image {CLOUD} --disk 11G --type pvh --memory 512M")
            wait_guest(vm, "cloud1")
            must(in_guest(vm, "cloud1", "hostname").strip() == "cloud1", "it knows its name")
            in_guest(vm, "cloud1", "ping -c 2 -W 5 dom0")
            must("status: done" in in_guest(vm, "cloud1", "cloud-init status --wait", 900), "all is done")
        with step("the same as PV is refused, for GRUB can't unpack that kernel"):
            refused = vm.ssh(
                f"xenable guest create cloud2 --image {CLOUD} --disk 11G --type pv --ssh-key {KEY}.pub",
                check=False,
                timeout=900,
            )
            must(refused.code == 1 and "--type pvh" in refused.stderr, f"{refused}")
        with step("libvirt takes what is exported, and starts it"):
            xenable(vm, "guest stop cloud1", timeout=600)
            vm.ssh(f"{INSTALL} {LIBVIRT}", timeout=1800)
            vm.ssh("xenable guest export --libvirt cloud1 >/var/tmp/lab/cloud1.xml")
            vm.ssh("virsh -c xen:///system define --validate /var/tmp/lab/cloud1.xml")
            vm.ssh("virsh -c xen:///system start cloud1", timeout=600)
            wait_guest(vm, "cloud1")
            must(guests(vm)["cloud1"]["state"] != "stopped", f"xenable sees it: {guests(vm)['cloud1']}")
        vm.power_cut()


def cloud_image(lab: Lab) -> Path:
    """A qcow2 image as a cloud has it: partitions, GRUB, a cloud kernel, cloud-init, and no host keys."""
    with machine(replace(lab, recipe=replace(lab.recipe, kernel=Kernel.CLOUD)), "cloud") as vm:
        with step("a machine with a cloud kernel becomes a cloud image"):
            vm.start()
            vm.ssh(f"{INSTALL} cloud-init", timeout=1800)
            vm.ssh("cloud-init clean --logs && rm -f /etc/ssh/ssh_host_*")
            vm.ssh("apt-get clean && rm -rf /var/lib/apt/lists/* && fstrim / ; : >/etc/machine-id")
            vm.shutdown()
        image = lab.folder / "cloud-image.qcow2"
        run_here(
            ["qemu-img", "convert", "-c", "-O", "qcow2", str(vm.disk), str(image)], doing="pack the image"
        )
    return image


def blank(lab: Lab, name: str) -> Path:
    """An empty disk."""
    path = lab.folder / f"{name}.raw"
    with path.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    return path


def store(vm: VM, place: str) -> None:
    """Put the disks of the guests that are made from now on somewhere."""
    vm.ssh(f"sed -i '/^guest-storage/d' {SETTINGS} && echo 'guest-storage = {place}' >>{SETTINGS}")
