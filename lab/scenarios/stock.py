# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock machine itself: what every other scenario takes for granted."""

from lab.machines import Lab, machine
from lab.story import must, step
from lab.tree import diff_trees
from lab.vm import VM


def run(lab: Lab) -> None:
    """A stock machine boots natively, survives its reset button, and changes nothing by booting."""
    with machine(lab) as vm:
        with step("the machine boots and answers"):
            vm.boot()
            vm.wait_ssh()
        with step("it runs natively and nothing failed"):
            is_healthy(vm)
        with step("both users are let in"):
            must(vm.ssh("id -un", user="debian").stdout == "debian\n", "the user debian can log in")
            must(vm.ssh("sudo -n id -u", user="debian").stdout == "0\n", "debian may become root")
        with step("note what is stored on it"):
            before = vm.tree()
        with step("the reset button brings it back by itself"):
            old = vm.boot_id()
            vm.reset()
            must(vm.wait_new_boot(old) != old, "the boot id is a new one")
            is_healthy(vm)
        with step("the second boot changed nothing"):
            changed = diff_trees(before, vm.tree())
            must(not changed, "the trees of two boots are equal:\n" + "\n".join(changed))
        with step("it switches itself off"):
            vm.shutdown()


def is_healthy(vm: VM) -> None:
    """Demand a native kernel, a finished boot and no failed unit."""
    vm.wait_settled()
    failed = vm.ssh("systemctl list-units --failed --plain --no-legend").stdout.strip()
    must(not failed, f"no unit failed: {failed}")
    must(vm.ssh("systemd-detect-virt", check=False).stdout.strip() != "xen", "the machine runs natively")
    must(vm.ssh("test -e /sys/hypervisor/type", check=False).code == 1, "no hypervisor is seen")
