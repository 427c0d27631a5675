# SPDX-License-Identifier: GPL-2.0-or-later
"""A bridge of the only network card: it comes up under Xen alone, and one that is wrong undoes itself."""

import time

from lab import baseimage, converted
from lab.converted import is_dom0, is_native, reboot, status, wait_native, wait_state, xenable
from lab.errors import ScenarioFailed
from lab.guestside import create, make_key
from lab.machines import Lab, machine
from lab.recipe import INTERFACES
from lab.scenarios.faults import is_fallen_back
from lab.story import must, say, step
from lab.tree import diff_trees
from lab.vm import VM

TRIAL_SECONDS = 400
COPY = "/etc/xenable/bridge/interfaces"
GUEST = "10.0.2.16"
"""What QEMU's DHCP server gives the second machine that asks."""


def run(lab: Lab) -> None:
    """A bridge of the only card: none natively, one with its address under Xen, and a wrong one undone."""
    with machine(lab, extra=baseimage.drive(lab.recipe.release)) as vm:
        with step("a stock machine gets xenable"):
            vm.start()
            converted.install(vm)
        before = vm.tree()
        port = own_interface(vm)
        with step(f"apply is to make a bridge of {port}, and natively makes none"):
            wanted = f"--guest-mode bridge --guest-bridge br0 --guest-bridge-port {port}"
            xenable(vm, f"apply --yes --trial-seconds {TRIAL_SECONDS} {wanted}")
            must("br0" not in interfaces(vm), f"there is no bridge: {interfaces(vm)}")
        with step("a bridge that does not get its port falls back by itself"):
            vm.ssh(f"cp -a {COPY} {COPY}.good && sed -i 's/ master br0/ master br9/' {COPY} && sync")
            old = vm.boot_id()
            vm.reset()
            answer = wait_native(vm, old, TRIAL_SECONDS + 500)
            say(str(answer["reason"]))
            is_fallen_back(vm, answer["reason"], r"the network")
            must("br0" not in interfaces(vm), f"there is no bridge: {interfaces(vm)}")
        with step("the right one comes up under Xen with the machine's address, and is confirmed"):
            vm.ssh(f"mv {COPY}.good {COPY}")
            xenable(vm, f"apply --yes --trial-seconds {4 * TRIAL_SECONDS}")
            reboot(vm, 900)
            wait_state(vm, "confirmed", 4 * TRIAL_SECONDS)
            is_dom0(vm)
            shown = vm.ssh("ip -brief address show br0; ip route; bridge link").stdout
            say(shown)
            must("10.0.2.15/24" in shown and "default via 10.0.2.2 dev br0" in shown, "br0 has all of it")
            must(f"{port}:" in shown and "master br0" in shown, f"{port} is its port")
        with step("a guest is on the bridge, and gets an address there"):
            make_key(vm)
            baseimage.give(vm)
            create(vm, "web1", "--type pv")
            wait_ping(vm, GUEST)
        with step("revert takes the bridge away, and the machine is the one of before"):
            xenable(vm, "revert --yes --remove-guests")
            reboot(vm)
            is_native(vm)
            must("br0" not in interfaces(vm), f"there is no bridge: {interfaces(vm)}")
            must(status(vm)["state"] == "native", "the state is native")
            changed = diff_trees(before, vm.tree())
            must(not changed, "every file is as it was:\n" + "\n".join(changed))


def own_interface(vm: VM) -> str:
    """The name of the machine's one card."""
    names = interfaces(vm)
    found = [name for name in INTERFACES if name in names]
    must(len(found) == 1, f"one card has a name that the image knows: {names}")
    return found[0]


def interfaces(vm: VM) -> list[str]:
    """Names of all interfaces."""
    return vm.ssh("ls /sys/class/net").stdout.split()


def wait_ping(vm: VM, address: str, timeout: float = 600) -> None:
    """Wait until an address answers dom0."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if vm.ssh(f"ping -c 1 -W 3 {address}", check=False).code == 0:
            return
        time.sleep(3)
    raise ScenarioFailed(f"{address} does not answer within {timeout:.0f} s")
