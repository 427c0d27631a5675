# SPDX-License-Identifier: GPL-2.0-or-later
"""What a trial must survive: each fault ends, untouched, on the native system, with its reason on record."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import converted
from lab.converted import (
    disarm,
    is_dom0,
    is_native,
    reboot,
    report,
    status,
    wait_native,
    wait_state,
    xenable,
)
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.vm import VM

TRIAL_SECONDS = 200
"""Under emulation dom0 answers after about 70 s."""

SLOT = "/boot/xenable/a"

HANG = """[Unit]
DefaultDependencies=no
Before=sysinit.target
ConditionKernelCommandLine=lab.hang
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
TimeoutStartSec=infinity
[Install]
WantedBy=sysinit.target
"""


HOOK = "/etc/xenable/health.d/lab"
HOOK_SAYS = """#!/bin/sh
[ ! -e /var/lib/lab-repaired ] || exit 0
echo the array is degraded
exit 1
"""


@dataclass(frozen=True)
class Fault:
    """How to break the boot under Xen, natively and before it; and what `status` must say afterwards."""

    inject: Callable[[VM], None]
    reason: str
    """A regular expression."""
    serial: str
    """Another, for what the serial port has to show of the trial: who reset the machine."""


def edit(vm: VM, script: str, expected: str) -> None:
    """Change the slot's script for GRUB, by sed, and wait until GRUB can read that off the disk."""
    place = f"{SLOT}/boot.cfg"
    vm.ssh(f"sed -i '{script}' {place} && grep -q '{expected}' {place} && sync")


def kernel_argument(word: str) -> Callable[[VM], None]:
    """Add a word to dom0's kernel line in the slot."""
    return lambda vm: edit(vm, f"/module2 .*vmlinuz/s|$| {word}|", word)


def lost_root(vm: VM) -> None:
    """The root file system that dom0's kernel line names is on no disk."""
    gone = "root=UUID=00000000-1111-2222-3333-444444444444"
    vm.ssh(f"sed -i 's|root=UUID=[0-9a-f-]*|{gone}|' {SLOT}/manifest.json")
    edit(vm, f"/module2 .*vmlinuz/s|root=[^ ]*|{gone}|", gone)


def hang(vm: VM) -> None:
    """A unit before sysinit.target that never ends."""
    vm.write("/etc/systemd/system/lab-hang.service", HANG.encode())
    vm.ssh("systemctl enable lab-hang.service")
    kernel_argument("lab.hang")(vm)


def too_little(vm: VM) -> None:
    """Xen can't make a dom0 of what it is to give it."""
    edit(vm, "s|dom0_mem=[^ ]*|dom0_mem=8M|", "dom0_mem=8M")


def truncated(vm: VM) -> None:
    """The hypervisor's file ends in the middle."""
    vm.ssh(f"truncate -s 1M {SLOT}/xen && sync")


hang_early = kernel_argument("init=/bin/sleep -- infinity")
"""What follows the two dashes is for init: nothing of dom0's user space ever runs, and nothing ends."""

NO_XEN = r"(?s)\A(?!.*\(XEN\) )"
DEAD_MAN = r"\(XEN\) Watchdog timer fired for domain 0(?s:.*)shutdown: watchdog rebooting"
GAVE_UP = r"\(XEN\) .*Dom.*0 shutdown: (watchdog )?rebooting"
"""The gate's own reset; on a busy host systemd may take longer than what is left to the dead-man then."""

FAULTS: dict[str, Fault] = {
    "hypervisor-truncated": Fault(truncated, r"GRUB could not start Xen.*xen", NO_XEN),
    "xen-panic": Fault(
        too_little, r"Xen or dom0's kernel panicked.*within \d+ s", r"\(XEN\) Panic on CPU 0"
    ),
    "kernel-panic": Fault(
        kernel_argument("rdinit=/nonexistent"),
        r"kernel panicked.*within \d+ s",
        r"Kernel panic - not syncing(?s:.*)\(XEN\) .*Dom.*0 crashed: rebooting",
    ),
    "root-not-found": Fault(
        lost_root, r"root file system.*00000000-1111", r"\(XEN\) .*Dom.*0 shutdown: rebooting"
    ),
    "hung-early": Fault(hang_early, r"hung early.*time limit", DEAD_MAN),
    "early-hang": Fault(
        hang, r"systemd: the system is initializing.*do not finish their start: .*lab-hang", GAVE_UP
    ),
    # Without its driver, and not by masking a service: udev starts the interface too.
    "no-network": Fault(kernel_argument("module_blacklist=virtio_net"), r"the network", GAVE_UP),
    "sshd-masked": Fault(kernel_argument("systemd.mask=ssh.service"), r"sshd", GAVE_UP),
    "xenstored-masked": Fault(
        kernel_argument("systemd.mask=xen.service"), r"xenstored|control domain", GAVE_UP
    ),
}


def prepared(lab: Lab) -> Path:
    """The disk of a converted machine whose trial is not armed: where every fault starts from."""
    with machine(lab, "prepare") as vm:
        with step("a stock machine is converted"):
            vm.start()
            converted.install(vm)
            xenable(vm, f"apply --yes --trial-seconds {TRIAL_SECONDS}")
            disarm(vm)
            vm.shutdown()
        return vm.snapshot("converted")


def one(lab: Lab, name: str, base: Path, *, again: bool = False) -> None:
    """Arm the trial, break it, reset once, and wait for the native system without touching anything.

    again: then start another trial, without the fault, which has to pass.
    """
    fault = FAULTS[name]
    with machine(lab, name, base=base) as vm:
        with step(f"{name}: the machine boots natively"):
            began = time.monotonic()
            vm.boot()
            vm.wait_ssh()
            seconds = trial_seconds(time.monotonic() - began)
            is_native(vm)
        with step(f"{name}: the trial is armed, then broken"):
            xenable(vm, f"apply --yes --trial-seconds {seconds}")
            must(status(vm)["state"] == "armed", "the state is armed")
            fault.inject(vm)
        with step(f"{name}: after one reset it comes back natively by itself"):
            old, since = vm.boot_id(), len(vm.serial())
            vm.reset()
            answer = wait_native(vm, old, 2 * seconds + 400)
        with step(f"{name}: and says why"):
            say(str(answer["reason"]))
            is_fallen_back(vm, answer["reason"], fault.reason)
            must(re.search(fault.serial, vm.serial()[since:]), f"the serial port shows {fault.serial!r}")
        if again:
            report(vm, lab.folder, name, ("facts.json", "journal-trial-boot.txt", "trial-boot.log"))
            with step(f"{name}: another trial, without the fault, passes"):
                xenable(vm, f"apply --yes --trial-seconds {4 * seconds}")
                must(status(vm)["state"] == "armed", "the state is armed again")
                reboot(vm, 900)
                wait_state(vm, "confirmed", 4 * seconds)
                is_dom0(vm)
        vm.shutdown()


def trial_seconds(native_boot: float) -> int:
    """A trial's limit by what a native boot took, in seconds.

    A boot of dom0 takes up to three times as long, and on a busy host both take longer.
    """
    return round(max(TRIAL_SECONDS, 4 * native_boot))


def held(lab: Lab, base: Path) -> None:
    """Trials that wait for a person: the power goes, nobody comes, and somebody confirms."""
    with machine(lab, "held", base=base) as vm:
        with step("held: the trial runs and waits for a person"):
            began = time.monotonic()
            vm.boot()
            vm.wait_ssh()
            seconds = trial_seconds(time.monotonic() - began)
            xenable(vm, f"apply --yes --no-auto-confirm --trial-seconds {4 * seconds}")
            old = vm.boot_id()
            vm.reset()
            vm.wait_new_boot(old)
            must(status(vm)["state"] == "trying", "the state is trying")
        with step("held: the power goes, and comes back"):
            vm.power_cut()
            vm.boot()
            vm.wait_ssh()
            answer = status(vm)
            say(str(answer["reason"]))
            is_fallen_back(vm, answer["reason"], r"power cut")
        with step("held: nobody confirms the next one"):
            xenable(vm, f"apply --yes --no-auto-confirm --trial-seconds {seconds}")
            old = vm.boot_id()
            vm.reset()
            answer = wait_native(vm, old, 2 * seconds + 400)
            is_fallen_back(vm, answer["reason"], r"nobody ran `xenable confirm`")
        with step("held: in the next one the gate hangs, and Xen resets the machine"):
            xenable(vm, f"apply --yes --no-auto-confirm --trial-seconds {seconds}")
            old, since = vm.boot_id(), len(vm.serial())
            vm.reset()
            old = vm.wait_new_boot(old)
            wait_reason(vm, "^dom0 ")
            vm.ssh("systemctl kill --signal=STOP xenable-gate.service")
            answer = wait_native(vm, old, 2 * seconds + 400)
            is_fallen_back(vm, answer["reason"], r"dom0 hung( after \d+ s, and|:) its time limit of")
            must(re.search(DEAD_MAN, vm.serial()[since:]), f"the serial port shows {DEAD_MAN!r}")
        with step("held: a check of the administrator's own has a say too"):
            vm.ssh("mkdir -p /etc/xenable/health.d")
            vm.write(HOOK, HOOK_SAYS.encode())
            vm.ssh(f"chmod 755 {HOOK}")
            xenable(vm, f"apply --yes --no-auto-confirm --trial-seconds {4 * seconds}")
            reboot(vm, 900)
            vm.wait_settled(900)
            wait_reason(vm, re.escape(f"{HOOK}: the array is degraded"))
            vm.ssh("touch /var/lib/lab-repaired")
        with step("held: a person confirms, and it stays"):
            wait_reason(vm, "xenable confirm")
            xenable(vm, "confirm")
            must(status(vm)["state"] == "confirmed", "the state is confirmed")
            reboot(vm, 900)
            wait_state(vm, "confirmed")
            is_dom0(vm)
        with step("held: weeks later its hypervisor is damaged, and GRUB itself goes back"):
            truncated(vm)
            old = vm.boot_id()
            vm.reset()
            answer = wait_native(vm, old, 600)
            is_fallen_back(vm, answer["reason"], FAULTS["hypervisor-truncated"].reason)
        vm.shutdown()


def wait_reason(vm: VM, expected: str) -> None:
    """Wait until the trial that runs says that of what it waits for."""
    deadline = time.monotonic() + 300
    while not re.search(expected, (answer := status(vm))["reason"]):
        must(answer["state"] == "trying" and time.monotonic() < deadline, f"{expected}: {answer}")
        time.sleep(5)


def is_fallen_back(vm: VM, reason: str, expected: str) -> None:
    """Demand a native system on which all has started, and a status that names the reason."""
    is_native(vm)
    settled = vm.wait_settled()
    must(settled == "running", f"nothing has failed natively: {settled}")
    answer = status(vm)
    must(answer["state"] == "fell-back", f"the state is fell-back: {answer}")
    must(answer["next_boot"] == "native", "the next boot is native")
    must(re.search(expected, reason, re.S), f"the reason {reason!r} matches {expected!r}")


def no_network(lab: Lab) -> None:
    """A dom0 that never gets its network falls back, and a second trial without the fault passes."""
    one(lab, "no-network", prepared(lab), again=True)


def run(lab: Lab) -> None:
    """Every fault, one after the other, from the same converted machine."""
    base = prepared(lab)
    for name in FAULTS:
        one(lab, name, base)
    held(lab, base)
