# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel for Xen alone: dom0 and a guest run it on a machine whose own kernel is one for clouds."""

import re
from dataclasses import replace

from lab import baseimage, converted, xenkernel
from lab.converted import is_dom0, is_native, reboot, status, wait_native, wait_state, xenable
from lab.guestside import SSH, create, in_guest, make_key, wait_guest
from lab.machines import Lab, machine
from lab.recipe import Kernel
from lab.scenarios import faults
from lab.scenarios.upgrade import ARMED
from lab.story import must, say, step
from lab.tree import diff_trees
from lab.vm import VM

OWN_ENTRY = """#!/bin/sh
set -e
image=$(find /boot -name 'linux-*-xen-*' | sort -V | tail -n 1)
[ -n "$image" ] || exit 0
release=${image#/boot/linux-}
disk=$(findmnt -no UUID /)
cat <<END
menuentry 'Linux $release' --id xen-kernel {
    search --no-floppy --fs-uuid --set=root $disk
    linux $image root=UUID=$disk ro console=hvc0
    initrd /boot/initrd.img-$release
}
END
"""
"""In a guest's /etc/grub.d: it has no hypervisor of its own, and its menu no entry for such a kernel.
docs/how-to/kernel-for-a-guest.md has it."""

OFFERED = "built here, could be it too"
"""Said of a kernel that apt knows, and of none that could only be built."""

LATER = """set -e
tree=/var/tmp/later
rm -rf $tree && mkdir $tree
for name in RELEASE lean; do
    dpkg-deb --raw-extract REPOSITORY/xen-image-${name}_*.deb $tree/$name
    sed -i 's/^Version: .*/&+lab1/; s/(= \\([^)]*\\))/(= \\1+lab1)/' $tree/$name/DEBIAN/control
done
head -c 512 /dev/zero >>$tree/RELEASE/boot/linux-RELEASE
for name in RELEASE lean; do dpkg-deb --root-owner-group -Znone --build $tree/$name $tree/$name.deb; done
DEBIAN_FRONTEND=noninteractive apt-get install -y -q $tree/RELEASE.deb $tree/lean.deb 2>&1
"""
"""The same kernel as a later version of its packages, with other bytes under the same name."""

GONE = "the next reset boots the native system"
PURGE = "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q"


def run(lab: Lab) -> None:
    """The lean kernel is built from source, is dom0's and a guest's on a cloud machine, and goes again."""
    recipe = replace(lab.recipe, release=xenkernel.own_release(), kernel=Kernel.CLOUD)
    cloud = replace(lab, recipe=recipe)
    # Before a machine runs, which would take its processors away.
    built = xenkernel.build()
    with machine(cloud, extra=baseimage.drive(recipe.release)) as vm:
        with step("the machine boots its cloud kernel"):
            vm.start()
            own = kernel(vm)
            must(own.endswith("-cloud-amd64"), f"{own} is a cloud kernel")
            converted.install(vm, recommended=True)
        before, menu = vm.tree(), vm.ssh("cat /boot/grub/grub.cfg").stdout
        with step("it gets the repository, and check offers both kernels"):
            xenkernel.give(vm, built)
            said = " ".join(xenable(vm, "check").split())
            must(OFFERED in said, f"the kernel for Xen alone is offered: {said}")
        with step("apply takes the kernel for Xen alone"):
            xenable(vm, f"apply --yes --kernel xen --trial-seconds {faults.TRIAL_SECONDS}")
            must(status(vm)["state"] == "armed", "the state is armed")
            now = vm.ssh("cat /boot/grub/grub.cfg").stdout
            names = vm.ssh("ls /boot/linux-*").stdout.split()
            must(len(names) == 1, f"one such kernel is there: {names}")
            release = names[0].removeprefix("/boot/linux-")
            natives = [line for line in native_lines(now) if release in line]
            must(not natives, f"no native entry boots {release}: {natives}")
            others = vm.ssh("ls /boot/vmlinuz-* | grep -v cloud", check=False).stdout
            must(not others, f"no other kernel came: {others}")
        with step("a trial of it that hangs before user space is ended by Xen, and it is armed again"):
            faults.hang_early(vm)
            hung, since = vm.boot_id(), len(vm.serial())
            vm.reset()
            reason = str(wait_native(vm, hung, 1000)["reason"])
            faults.is_fallen_back(vm, reason, faults.FAULTS["hung-early"].reason)
            must(re.search(faults.DEAD_MAN, vm.serial()[since:]), "the serial port shows the dead-man")
            must(kernel(vm) == own, f"{own} runs: {kernel(vm)}")
            xenable(vm, "apply --yes")
        with step("the trial boots it under Xen, and is confirmed"):
            reboot(vm)
            wait_state(vm, "confirmed")
            is_dom0(vm)
            must(kernel(vm) == release and release.endswith("-xen-lean"), f"{release} runs: {kernel(vm)}")
            say(xenable(vm, "kernel list"))
        with step("update-initramfs renews the native system's initrd, and that one's after it"):
            initrds = f"stat -c %Y /boot/initrd.img-{own} /boot/initrd.img-{release}"
            old = vm.ssh(initrds).stdout.split()
            vm.ssh("update-initramfs -u", timeout=1800)
            new = vm.ssh(initrds).stdout.split()
            must(all(int(a) > int(b) for a, b in zip(new, old, strict=True)), f"{old} became {new}")
        with step("apt brings a later version of it, whose trial passes too"):
            script = LATER.replace("RELEASE", release).replace("REPOSITORY", xenkernel.REPOSITORY)
            said = " ".join(vm.ssh(script, timeout=1800).stdout.split())
            must(ARMED in said, f"apt shows that: {said[-1000:]}")
            reboot(vm)
            wait_state(vm, "confirmed")
            is_dom0(vm)
            versions = status(vm)["versions"]
            must("kernel in slot b" in versions and kernel(vm) == release, f"it runs: {versions}")
            vm.ssh(f"cmp /boot/linux-{release} /boot/xenable/b/vmlinuz")
        with step("a guest gets the same kernel by apt, and boots it"):
            make_key(vm)
            baseimage.give(vm)
            # The loader of PV guests can't unpack the image's own kernel: dom0's copy of it would be booted,
            # whatever is installed in the guest.
            create(vm, "web1", "--type pvh")
            boot = wait_guest(vm, "web1")
            same_kernel(vm, "web1", release)
            xenable(vm, "guest reboot web1")
            wait_guest(vm, "web1", boot)
            must(in_guest(vm, "web1", "uname -r").strip() == release, f"{release} runs in the guest")
            in_guest(vm, "web1", "ping -c 2 -W 5 dom0")
            vm.ssh("ping -c 2 -W 5 web1")
        with step("the package goes by apt: so does its entry, and the native system is the default"):
            xenable(vm, "guest remove --yes --force web1")
            said = " ".join(vm.ssh(f"{PURGE} xen-image-{release} 2>&1", timeout=1800).stdout.split())
            must(GONE in said, f"apt shows that: {said[-1000:]}")
            answer = status(vm)
            must(answer["next_boot"] == "native", f"the next boot is native: {answer}")
            now = vm.ssh("cat /boot/grub/grub.cfg").stdout
            must(release not in now, f"the menu has no entry of {release}")
            must(native_lines(now) == native_lines(menu), "the native entries are as before")
        with step("the reboot ends on the machine's own kernel"):
            reboot(vm)
            is_native(vm)
            must(kernel(vm) == own, f"{own} runs: {kernel(vm)}")
        with step("revert takes all the rest away, and the menu is as before"):
            xenable(vm, "revert --yes --remove-guests")
            vm.ssh(f"rm -r {xenkernel.REPOSITORY} {xenkernel.SOURCES}")
            reboot(vm)
            is_native(vm)
            must(kernel(vm) == own, f"the native default is still {own}: {kernel(vm)}")
            must(vm.ssh("cat /boot/grub/grub.cfg").stdout == menu, "the menu is byte-identical")
            # That one was made anew by hand, above.
            renewed = f"~ /boot/initrd.img-{own} (content)"
            changed = [line for line in diff_trees(before, vm.tree()) if line != renewed]
            must(not changed, "every file is as it was:\n" + "\n".join(changed))
    # Two machines side by side leave it half of the processors.
    if built.fresh and lab.cpus > 1:
        must(
            built.seconds < xenkernel.MOST_SECONDS,
            f"the kernel was built within {xenkernel.MOST_SECONDS} s: {built.seconds} s",
        )


def same_kernel(vm: VM, guest: str, release: str) -> None:
    """Install dom0's kernel in a guest from dom0's repository, and make it the guest's default."""
    place = "/etc/grub.d/09_xen_kernel"
    in_guest(vm, guest, f"cat >{place} <<'SCRIPT'\n{OWN_ENTRY}SCRIPT\nchmod 755 {place}")
    packed = f"{xenkernel.REPOSITORY}/xen-image-{release}_*.deb"
    vm.ssh(f"cat {packed} | {SSH} root@{guest} 'cat >/var/tmp/xen-image.deb'", timeout=900)
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q /var/tmp/xen-image.deb"
    in_guest(vm, guest, install, timeout=3600)
    menu = in_guest(vm, guest, "cat /boot/grub/grub.cfg")
    must(f"linux /boot/linux-{release} " in menu, f"the package's own hooks made its entry: {menu}")


def native_lines(menu: str) -> list[str]:
    """Lines of the menu that load a kernel, but those of a hypervisor's dom0."""
    return [line for line in menu.splitlines() if line.split()[:1] in (["linux"], ["initrd"])]


def kernel(vm: VM) -> str:
    """The version of the kernel that runs."""
    return vm.ssh("uname -r").stdout.strip()
