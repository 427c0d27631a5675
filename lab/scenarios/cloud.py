# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with a cloud kernel only, which can't be dom0: it gets another, and keeps its native default."""

from dataclasses import replace

from lab import converted
from lab.converted import disarm, is_dom0, is_native, reboot, status, wait_state, xenable
from lab.machines import Lab, machine
from lab.recipe import Kernel
from lab.story import must, step
from lab.tree import diff_trees
from lab.vm import VM


def run(lab: Lab) -> None:
    """A machine whose only kernel can't be dom0 gets one that can, and still boots its own natively."""
    cloud = replace(lab, recipe=replace(lab.recipe, kernel=Kernel.CLOUD))
    with machine(cloud) as vm:
        with step("the machine boots its cloud kernel"):
            vm.start()
            own = kernel(vm)
            must(own.endswith("-cloud-amd64"), f"{own} is a cloud kernel")
            converted.install(vm)
        before = vm.tree()
        with step("apply brings a kernel for dom0"):
            xenable(vm, "apply --yes")
            must(status(vm)["state"] == "armed", "the state is armed")
        with step("a reset to the native system boots the cloud kernel"):
            disarm(vm)
            reboot(vm)
            is_native(vm)
            must(kernel(vm) == own, f"the native default is still {own}: {kernel(vm)}")
        with step("the trial boots the other one under Xen"):
            xenable(vm, "apply --yes")
            reboot(vm)
            wait_state(vm, "confirmed")
            is_dom0(vm)
            must("cloud" not in kernel(vm), f"{kernel(vm)} is no cloud kernel")
        with step("revert takes it away again"):
            xenable(vm, "revert --yes")
            reboot(vm)
            is_native(vm)
            must(kernel(vm) == own, f"the native default is still {own}: {kernel(vm)}")
            changed = diff_trees(before, vm.tree())
            must(not changed, "every file is as it was:\n" + "\n".join(changed))


def kernel(vm: VM) -> str:
    """The version of the kernel that runs."""
    return vm.ssh("uname -r").stdout.strip()
