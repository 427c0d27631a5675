# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose EFI system partition is a mirror: GRUB can write nowhere, the firmware keeps its note."""

import json
from dataclasses import replace

from lab import converted
from lab.converted import apt_install, is_dom0, is_native, reboot, status, wait_native, wait_state, xenable
from lab.machines import Lab, machine
from lab.recipe import Filesystem, Firmware
from lab.scenarios.faults import is_fallen_back, truncated
from lab.scenarios.places import blank
from lab.story import must, say, step
from lab.tree import diff_trees
from lab.vm import VM

MIRROR = """set -e
esp=$(findmnt -n -o SOURCE /boot/efi)
id=$(blkid -s UUID -o value "$esp" | tr -d -)
cp -a /boot/efi /root/esp
umount /boot/efi
mdadm --create /dev/md/esp --run --quiet --homehost=any --metadata=1.0 --level=1 --raid-devices=2 \
--assume-clean "$esp" /dev/vdb
mkfs.vfat -i "$id" /dev/md/esp
udevadm settle
mount /boot/efi
cp -r /root/esp/. /boot/efi
rm -r /root/esp
mdadm --detail --scan >>/etc/mdadm/mdadm.conf
update-initramfs -u
"""
"""What installers of hosting companies do, with the superblock at the end, where no firmware looks."""

TRIAL_SECONDS = 600


def run(lab: Lab) -> None:
    """On btrfs with its EFI system partition on RAID a machine becomes a dom0, falls back, and returns."""
    recipe = replace(lab.recipe, firmware=Firmware.UEFI, filesystem=Filesystem.BTRFS)
    disk = blank(lab, "mirror")
    extra = ("-drive", f"if=virtio,format=raw,file={disk}")
    with machine(replace(lab, recipe=recipe), extra=extra) as vm:
        with step("a stock machine gets a mirror for its EFI system partition"):
            vm.start()
            apt_install(vm, "mdadm dosfstools efibootmgr")
            vm.ssh(MIRROR, timeout=600)
            reboot(vm)
            vm.wait_settled()
            source = vm.ssh("findmnt -n -o SOURCE /boot/efi").stdout.strip()
            must(source.startswith("/dev/md"), f"/boot/efi is on {source}")
            converted.install(vm)
        before, entries = vm.tree(), vm.ssh("efibootmgr -v").stdout
        with step("check finds the machine ready, and says who keeps the note"):
            answer = json.loads(xenable(vm, "check --json"))
            ids = [finding["id"] for finding in answer["findings"]]
            must(answer["ready"] and "boot/one-shot-by-firmware" in ids, f"it is ready: {answer}")
        with step("apply arms the trial in the firmware"):
            xenable(vm, f"apply --yes --trial-seconds {TRIAL_SECONDS}")
            must(status(vm)["state"] == "armed", "the state is armed")
            must(boot_next(vm), "BootNext is set")
        with step("the reset boots Xen, and the gate confirms it"):
            reboot(vm)
            confirmed(vm)
        with step("after a power cut it is there again"):
            vm.power_cut()
            vm.boot()
            vm.wait_ssh()
            confirmed(vm)
        with step("the power goes while it is tried, and that ends natively"):
            since, old = len(vm.serial()), vm.boot_id()
            vm.reset()
            vm.wait_serial(r"\(XEN\) Xen version", 300, since=since)
            vm.power_cut()
            vm.boot()
            fell_back(vm, old, r"before dom0's user space ran")
        with step("another trial passes"):
            xenable(vm, f"apply --yes --trial-seconds {TRIAL_SECONDS}")
            reboot(vm)
            confirmed(vm)
        with step("a hypervisor that is damaged is started once, and the machine comes back natively"):
            truncated(vm)
            old = vm.boot_id()
            vm.reset()
            fell_back(vm, old, r"GRUB could not start Xen.*xen")
        with step("and stays there"):
            reboot(vm)
            is_native(vm)
        with step("revert takes everything back, in the firmware too"):
            xenable(vm, "revert --yes")
            must(not boot_next(vm), "BootNext is not set")
            reboot(vm)
            is_native(vm)
            vm.wait_settled()
            changed = diff_trees(before, vm.tree())
            must(not changed, "every file is as it was:\n" + "\n".join(changed))
            now = vm.ssh("efibootmgr -v").stdout
            must(now == entries, f"the firmware's entries are as they were:\n{entries}\n{now}")


def confirmed(vm: VM) -> None:
    """Demand a dom0 that passed, and that the next start of the machine is it again."""
    answer = wait_state(vm, "confirmed")
    must(answer["running"] == "xen" and answer["next_boot"] == "xen", f"it runs and boots Xen: {answer}")
    is_dom0(vm)
    must(boot_next(vm), "BootNext is set")


def fell_back(vm: VM, old_boot_id: str, expected: str) -> None:
    """Demand that it comes back natively by itself, says why, and that the next start is native too."""
    reason = str(wait_native(vm, old_boot_id, 600)["reason"])
    say(reason)
    is_fallen_back(vm, reason, expected)
    must(not boot_next(vm), "BootNext is not set")


def boot_next(vm: VM) -> bool:
    """Whether the firmware has a one-shot."""
    return "BootNext:" in vm.ssh("efibootmgr").stdout
