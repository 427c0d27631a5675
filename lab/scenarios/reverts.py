# SPDX-License-Identifier: GPL-2.0-or-later
"""The way back from every state of a trial: each time, the next boot is the machine of before."""

import time

from lab import converted
from lab.converted import is_native, reboot, status, wait_native, xenable
from lab.machines import Lab, machine
from lab.scenarios.faults import FAULTS, is_fallen_back, trial_seconds
from lab.story import must, step
from lab.tree import Entry, diff_trees
from lab.vm import VM

FAULT = "hypervisor-truncated"
"""The quickest: GRUB itself goes on to the native system."""

BY_HAND = """set -e
mkdir -p /etc/xen /var/lib/xen
chmod 700 /var/lib/xen
printf '# from a backup\\nlockfile="/run/lock/xl"\\n' >/etc/xen/xl.conf
chmod 640 /etc/xen/xl.conf
printf 'XENCONSOLED_TRACE=all\\n' >/etc/default/xen
"""
"""What an administrator has where the packages have theirs: a purge would take it along."""

DEAD_MAN = "cat /sys/class/watchdog/*/state"


def run(lab: Lab) -> None:
    """Revert of a trial that is armed, of one that runs, and of one that fell back."""
    with machine(lab) as vm:
        with step("a stock machine gets xenable"):
            began = time.monotonic()
            vm.start()
            seconds = trial_seconds(time.monotonic() - began)
            converted.install(vm)
        with step("configuration of Xen is there already, made by hand"):
            vm.ssh(BY_HAND)
        before = vm.tree()
        with step("a trial is armed, and reverted"):
            xenable(vm, f"apply --yes --trial-seconds {seconds}")
            must(status(vm)["state"] == "armed", "the state is armed")
            xenable(vm, "revert --yes")
        is_as_before(vm, before)
        with step("a trial runs, and is reverted without a word to the gate"):
            xenable(vm, f"apply --yes --no-auto-confirm --trial-seconds {4 * seconds}")
            reboot(vm)
            must(status(vm)["state"] == "trying", "the state is trying")
            must("active" in vm.ssh(DEAD_MAN).stdout.split(), "the dead-man is armed")
            xenable(vm, "revert --yes")
            must("active" not in vm.ssh(DEAD_MAN).stdout.split(), "nothing resets the machine any more")
        is_as_before(vm, before)
        with step("a trial falls back, and is reverted"):
            xenable(vm, f"apply --yes --trial-seconds {seconds}")
            FAULTS[FAULT].inject(vm)
            old = vm.boot_id()
            vm.reset()
            answer = wait_native(vm, old, 2 * seconds + 400)
            is_fallen_back(vm, answer["reason"], FAULTS[FAULT].reason)
            xenable(vm, "revert --yes")
        is_as_before(vm, before)
        vm.shutdown()


def is_as_before(vm: VM, before: dict[str, Entry]) -> None:
    """Reboot, and demand the machine that the tree is of."""
    with step("the reboot is the machine of before"):
        reboot(vm)
        is_native(vm)
        must(status(vm)["state"] == "native", "the state is native")
        settled = vm.wait_settled()
        must(settled == "running", f"nothing has failed: {settled}")
        changed = diff_trees(before, vm.tree())
        must(not changed, "every file is as it was:\n" + "\n".join(changed))
