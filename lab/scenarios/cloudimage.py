# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of a cloud image, which has its own boot loader, kernel and cloud-init; and it under libvirt."""

from dataclasses import replace
from pathlib import Path

from lab import baseimage
from lab.converted import apt_install, xenable
from lab.guestside import KEY, create, guests, in_guest, make_dom0, make_key, wait_guest
from lab.host import run as run_here
from lab.machines import Lab, machine
from lab.qemu import CLOUD_SLOT, file_drive
from lab.recipe import Kernel
from lab.story import must, step

MEMORY = 4096
LIBVIRT = "libvirt-daemon libvirt-daemon-driver-xen libvirt-daemon-system libvirt-clients"
SOFTWARE = "cloud-init netplan.io systemd-resolved"
BY_NETPLAN = """set -e
printf 'system_info: {network: {renderers: [netplan]}}\\n' >/etc/cloud/cloud.cfg.d/20_renderers.cfg
printf 'auto lo\\niface lo inet loopback\\n' >/etc/network/interfaces
"""
"""Debian's genericcloud has no ifupdown. Its removal here would cut the connection."""

KNOW_EMULATED = """set -e
cd /usr/share/libvirt/cpu_map
model="<model name='emulated'><decode host='on' guest='off'/><feature name='fpu'/></model>"
echo "<cpus>$model</cpus>" >x86_emulated.xml
sed -i "s|<include filename='x86_486.xml'/>|&<include filename='x86_emulated.xml'/>|" index.xml
systemctl reset-failed libvirtd
systemctl restart libvirtd
"""
"""All processors that libvirt knows have VME, QEMU's emulated one not: its Xen driver would not start."""

VIRSH = "virsh -c xen:///system"
CLOUD = "/var/tmp/lab/cloud.qcow2"


def run(lab: Lab) -> None:
    """A cloud image becomes a guest that answers by its name and takes the key; libvirt starts it, too."""
    cloud = cloud_image(lab)
    disks = (*file_drive(cloud, "cloud", CLOUD_SLOT), *baseimage.drive(lab.recipe.release))
    with machine(lab, "dom0", memory=MEMORY, extra=disks) as vm:
        with step("a stock machine becomes a dom0"):
            make_dom0(lab, vm)
            make_key(vm)
        with step("a cloud image boots its own boot loader and kernel, and takes the key"):
            vm.ssh(f"head -c {cloud.stat().st_size} /dev/disk/by-id/virtio-cloud >{CLOUD}")
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
        with step("a PV guest is made, and both are off"):
            xenable(vm, "guest stop cloud1", timeout=600)
            baseimage.give(vm)
            create(vm, "web1", "--type pv")
            wait_guest(vm, "web1")
            xenable(vm, "guest stop web1", timeout=600)
        with step("libvirt takes what is exported, and starts it"):
            apt_install(vm, LIBVIRT)
            vm.ssh(KNOW_EMULATED)
            for name in ("web1", "cloud1"):
                vm.ssh(f"xenable guest export --libvirt {name} >/var/tmp/lab/{name}.xml")
                vm.ssh(f"{VIRSH} define --validate /var/tmp/lab/{name}.xml")
                vm.ssh(f"{VIRSH} start {name}", timeout=900)
                found = guests(vm)[name]
                must((found["state"], found["problem"]) == ("running", ""), f"it runs, guarded: {found}")
            vm.ssh(f"{VIRSH} destroy cloud1")
        with step("the guest answers as before"):
            wait_guest(vm, "web1")
            in_guest(vm, "web1", "ping -c 2 -W 5 dom0")
        vm.power_cut()


def cloud_image(lab: Lab) -> Path:
    """A qcow2 image as a cloud has it: partitions, GRUB, a cloud kernel, cloud-init, and no host keys."""
    with machine(replace(lab, recipe=replace(lab.recipe, kernel=Kernel.CLOUD)), "cloud") as vm:
        with step("a machine with a cloud kernel becomes a cloud image"):
            vm.start()
            apt_install(vm, SOFTWARE)
            vm.ssh(BY_NETPLAN)
            vm.ssh("cloud-init clean --logs && rm -f /etc/ssh/ssh_host_*")
            vm.ssh("apt-get clean && rm -rf /var/lib/apt/lists/* && fstrim / ; : >/etc/machine-id")
            vm.shutdown()
        image = lab.folder / "cloud-image.qcow2"
        run_here(
            ["qemu-img", "convert", "-c", "-O", "qcow2", str(vm.disk), str(image)], doing="pack the image"
        )
    return image
