# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0 on the lean kernel against dom0 on the distribution's own, on one machine: how soon, how large."""

import time
from dataclasses import replace

from lab import converted, xenkernel
from lab.bench import ROUNDS, Figure
from lab.converted import reboot, wait_state, xenable
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.vm import VM

XEN_SPEAKS = r"\(XEN\) Xen version "
INIT_RUNS = r"Run /init as init process"

SIZE = "du -scB 1 /boot/IMAGE-RELEASE /boot/initrd.img-RELEASE /lib/modules/RELEASE | tail -n 1"
USED = """echo $((
    $(xl list Domain-0 | awk 'NR == 2 { print $3 }') -
    $(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
))"""
"""MiB that Xen has given to dom0, and programs can't have: what the kernel itself takes counts."""


def run(lab: Lab) -> tuple[Figure, ...]:
    """The same dom0, with the distribution's generic kernel first and then with the lean one."""
    release = xenkernel.own_release()
    # Before a machine runs, which would take its processors away.
    built = xenkernel.build()
    with machine(replace(lab, recipe=replace(lab.recipe, release=release)), "kernel") as vm:
        with step("a stock machine becomes a dom0"):
            vm.start()
            converted.install(vm)
            xenkernel.give(vm, built)
        theirs = measured(vm, "--kernel distro", "vmlinuz")
        with step("it goes back: a conversion keeps the kernel that it began with"):
            xenable(vm, "revert --yes")
            reboot(vm)
        ours = measured(vm, "--kernel xen", "linux")
    goals = {"seconds from Xen to dom0's init": 1 / 1.5, "size of kernel, modules, initrd": 0.25}
    return tuple(
        Figure(name, theirs[name], ours[name], goals.get(name), unit=unit)
        for name, unit in (
            ("seconds from Xen to dom0's init", "s"),
            ("seconds from Xen to ssh", "s"),
            ("size of kernel, modules, initrd", "MB"),
            ("memory used in dom0 after boot", "MB"),
        )
    )


def measured(vm: VM, option: str, image: str) -> dict[str, tuple[float, ...]]:
    """Boots of dom0 with the kernel that apply takes with an option, and its size."""
    with step(f"dom0 with {option}"):
        xenable(vm, f"apply --yes {option}")
        reboot(vm)
        wait_state(vm, "confirmed", 500)
        release = vm.ssh("uname -r").stdout.strip()
        there = vm.ssh(f"test -e /boot/{image}-{release}", check=False).code == 0
        must(there, f"{release}, which runs, is /boot/{image}-{release}")
        size = vm.ssh(SIZE.replace("IMAGE", image).replace("RELEASE", release)).stdout.split()[0]
        boots = [timed_boot(vm) for _ in range(ROUNDS)]
        say(f"{release}: {boots}, {size} bytes")
    to_init, to_ssh, used = zip(*boots, strict=True)
    return {
        "seconds from Xen to dom0's init": to_init,
        "seconds from Xen to ssh": to_ssh,
        "size of kernel, modules, initrd": (int(size) / 1e6,),
        "memory used in dom0 after boot": used,
    }


def timed_boot(vm: VM) -> tuple[float, float, float]:
    """One reboot: seconds from Xen's first line to init, and to ssh; and MiB in use when all is up."""
    old, since = vm.boot_id(), len(vm.serial())
    vm.ssh("systemctl reboot", check=False)
    vm.wait_serial(XEN_SPEAKS, 600, since=since, interval=0.05)
    began = time.monotonic()
    vm.wait_serial(INIT_RUNS, 600, since=since, interval=0.05)
    to_init = time.monotonic() - began
    vm.wait_new_boot(old)
    to_ssh = time.monotonic() - began
    wait_state(vm, "confirmed", 500)
    return to_init, to_ssh, float(vm.ssh(USED).stdout)
