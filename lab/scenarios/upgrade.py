# SPDX-License-Identifier: GPL-2.0-or-later
"""Newer kernels come to a confirmed dom0 by apt: a good one becomes the default, a bad one falls back."""

import re

from lab import converted
from lab.converted import is_dom0, reboot, status, wait_state, xenable
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.vm import VM

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q"
ARMED = "the next reset tries it once"

BAD = "99.9.9-lab"
BAD_PACKAGE = f"""set -e
tree=/var/tmp/bad
mkdir -p $tree/DEBIAN $tree/boot $tree/lib/modules/{BAD}
cp /boot/vmlinuz-KERNEL $tree/boot/vmlinuz-{BAD}
cp /boot/config-KERNEL $tree/boot/config-{BAD}
cp /lib/modules/KERNEL/modules.builtin* /lib/modules/KERNEL/modules.order $tree/lib/modules/{BAD}
cd /lib/modules/KERNEL
cp --parents kernel/drivers/watchdog/watchdog.ko* $tree/lib/modules/{BAD}
cp --parents kernel/drivers/watchdog/xen_wdt.ko* $tree/lib/modules/{BAD}
printf 'Package: linux-image-{BAD}\\nVersion: 1\\nArchitecture: amd64\\n' >$tree/DEBIAN/control
printf 'Maintainer: lab <lab@invalid>\\nDescription: a kernel without modules\\n' >>$tree/DEBIAN/control
printf '#!/bin/sh\\nset -e\\ndepmod {BAD}\\n' >$tree/DEBIAN/postinst
printf 'exec run-parts --arg={BAD} --arg=/boot/vmlinuz-{BAD} ' >>$tree/DEBIAN/postinst
echo /etc/kernel/postinst.d >>$tree/DEBIAN/postinst
chmod 755 $tree/DEBIAN/postinst
dpkg-deb --root-owner-group -Znone --build $tree /var/tmp/bad.deb
"""


def run(lab: Lab) -> None:
    """Kernels come by apt: a good one becomes the default, a bad one leads back to the last good pair."""
    with machine(lab) as vm:
        with step("a stock machine has only an older kernel"):
            vm.start()
            newer = kernel(vm)
            older = only_an_older_kernel(vm, newer)
            reboot(vm)
            must(kernel(vm) == older, f"{older} runs: {kernel(vm)}")
        with step("it is converted, and the trial passes"):
            converted.install(vm)
            xenable(vm, "apply --yes")
            reboot(vm)
            wait_state(vm, "confirmed")
            is_dom0(vm)
        with step("apt brings the newer kernel, and arms its trial"):
            said = apt_says(vm, f"--reinstall linux-image-{newer}")
            must(ARMED in said, f"apt shows that: {said[-1000:]}")
            answer = status(vm)
            must(answer["state"] == "confirmed" and "slot b once" in answer["reason"], f"{answer}")
        with step("the reboot confirms the newer kernel"):
            reboot(vm)
            wait_state(vm, "confirmed")
            is_dom0(vm)
            must(kernel(vm) == newer, f"{newer} runs: {kernel(vm)}")
        bad_kernel(vm, newer)
        with step("revert takes Xen away"):
            xenable(vm, "revert --yes")
            must(status(vm)["next_boot"] == "native", "the next boot is native")
        vm.shutdown()


def bad_kernel(vm: VM, good: str) -> None:
    """A kernel that can't find its disk comes to a dom0 on a good one, is tried once, and not again."""
    with step("apt brings a kernel that finds no disk"):
        vm.ssh(BAD_PACKAGE.replace("KERNEL", good))
        said = apt_says(vm, "/var/tmp/bad.deb")
        must(ARMED in said, f"apt shows that: {said[-1000:]}")
    with step("the reboot ends on the last good pair, by itself"):
        reboot(vm, 1200)
        answer = wait_state(vm, "confirmed")
        say(str(answer["reason"]))
        must(kernel(vm) == good, f"{good} runs: {kernel(vm)}")
        must(re.search(r"trial of slot a fell back", answer["reason"]), f"status says so: {answer}")
    with step("nothing but a person tries that kernel again"):
        vm.ssh(f"touch /boot/vmlinuz-{BAD}")
        said = apt_says(vm, "--reinstall less")
        must("tries it" not in said, said[-1000:])
        must(status(vm)["next_boot"] == "xen", "the next boot is Xen")


def apt_says(vm: VM, packages: str) -> str:
    """Install packages; returns all that a person sees, on one line."""
    return " ".join(vm.ssh(f"{INSTALL} {packages} 2>&1", timeout=1800).stdout.split())


def kernel(vm: VM) -> str:
    """The version of the kernel that runs."""
    return vm.ssh("uname -r").stdout.strip()


def only_an_older_kernel(vm: VM, newer: str) -> str:
    """Install the newest kernel of the archive that is older than the running one, whose files in /boot go.

    Returns its version.
    """
    search = "apt-cache pkgnames linux-image-6 | grep -E '^linux-image-[0-9.+deb-]+-amd64$' | sort -V"
    names = [name.removeprefix("linux-image-") for name in vm.ssh(search).stdout.split()]
    must(newer in names and names.index(newer) > 0, f"the archive has a kernel before {newer}: {names}")
    older = names[names.index(newer) - 1]
    vm.ssh(f"{INSTALL} linux-image-{older}", timeout=1800)
    # As on a machine that has not had it yet; a purge of the running kernel would ask.
    vm.ssh(f"rm /boot/*-{newer} && update-grub", timeout=600)
    return older
