# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way and back: check, plan, apply, trial, confirmed, a reboot that stays, revert, native."""

import json
import re
from enum import Enum

from lab import baseimage, converted
from lab.converted import is_dom0, is_native, reboot, report, status, wait_state, xenable
from lab.guestside import create, in_guest, make_key, wait_guest
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.tree import VOLATILE, diff_trees
from lab.vm import VM


class Stay(Enum):
    """What happens on the machine while it is a dom0."""

    SHORT = "short"
    """Nothing but looks at it."""
    REBOOT = "reboot"
    """It is rebooted, and reports are written, before and then."""
    GUEST = "guest"
    """It is rebooted, and a guest is made, which the revert takes along."""


def rehearsal(lab: Lab) -> None:
    """A stock machine becomes a dom0 and comes back, byte for byte: as quickly as that can be shown."""
    whole(lab, Stay.SHORT)


def run(lab: Lab) -> None:
    """The same with a reboot that stays in Xen, and with reports."""
    whole(lab, Stay.REBOOT)


def with_guest(lab: Lab) -> None:
    """The same with a guest, which answers over ssh by its name, and which the revert takes along."""
    whole(lab, Stay.GUEST)


def whole(lab: Lab, stay: Stay) -> None:
    """The conversion and the way back."""
    extra = baseimage.drive(lab.recipe.release) if stay is Stay.GUEST else ()
    with machine(lab, extra=extra) as vm:
        with step("the machine boots natively"):
            vm.start()
        with step("xenable is installed, and that converts nothing"):
            converted.install(vm)
            must(status(vm)["state"] == "native", "the state is native")
        before = vm.tree()
        menu = vm.ssh("cat /boot/grub/grub.cfg").stdout
        with step("check finds the machine ready and changes nothing"):
            vm.ssh("touch /run/lab-marker")
            answer = json.loads(xenable(vm, "check --json"))
            must(answer["ready"], f"the machine is ready: {answer['findings']}")
            if stay is not Stay.SHORT:
                xenable(vm, "plan")
            changed = touched(vm, "/run/lab-marker")
            must(not changed, "check and plan changed nothing:\n" + "\n".join(changed))
        if stay is Stay.REBOOT:
            report(vm, lab.folder, "native", ("facts.json", "findings.json", "plan.json", "dmesg.txt"))
        with step("apply installs Xen and arms the trial"):
            services = main_processes(vm)
            xenable(vm, "apply --yes --trial-seconds 600")
            now = main_processes(vm)
            others = {name for name, pid in services.items() if now.get(name) != pid}
            must(not others, f"no service that ran was restarted or stopped: {others}")
            answer = status(vm)
            must(answer["state"] == "armed", f"the state is armed: {answer}")
            must(answer["next_boot"] == "xen", "the next boot is Xen")
            natives = native_part(vm.ssh("cat /boot/grub/grub.cfg").stdout)
            must(natives == native_part(menu), "the native menu entries are byte-identical")
            said = vm.ssh("cat /var/log/xenable/packages.log").stdout
            must("update-grub is held back" in said, "package scripts were kept from update-grub")
            must("Generating grub configuration" not in said, "the menu was made once")
        with step("the reset boots Xen, and the gate confirms it"):
            reboot(vm)
            answer = wait_state(vm, "confirmed")
            versions = answer["versions"]
            say(f"Xen {versions['running Xen']} with Linux {versions['running kernel']}")
            must(answer["running"] == "xen" and answer["next_boot"] == "xen", "it runs and boots Xen")
            is_dom0(vm)
        if stay is not Stay.SHORT:
            with step("the next reboot stays in Xen"):
                reboot(vm)
                wait_state(vm, "confirmed")
                is_dom0(vm)
        if stay is Stay.GUEST:
            first_guest(lab, vm)
        if stay is Stay.REBOOT:
            report(
                vm, lab.folder, "xen", ("facts.json", "journal.jsonl", "journal-gate.txt", "xl-dmesg.txt")
            )
        with step("revert takes everything back"):
            xenable(vm, "revert --yes --remove-guests" if stay is Stay.GUEST else "revert --yes")
            must(status(vm)["next_boot"] == "native", "the next boot is native")
        with step("the reboot is the machine of before"):
            reboot(vm)
            is_native(vm)
            state = vm.wait_settled()
            must(state == "running", f"no unit failed: {state}")
            must(vm.ssh("cat /boot/grub/grub.cfg").stdout == menu, "the menu is byte-identical")
            after = vm.tree()
            changed = diff_trees(before, after)
            must(not changed, "every file is as it was:\n" + "\n".join(changed))
            say(f"{len(after)} files and folders are as before, and the boot menu, byte for byte")


def first_guest(lab: Lab, vm: VM) -> None:
    """Make a guest, and log in to it."""
    with step("the image of a release is put there, and a guest is made of it"):
        make_key(vm)
        baseimage.give(vm)
        say(f"{create(vm, 'web1', '--type pv'):.0f} s")
    with step("it answers over ssh, and dom0 answers it, by name"):
        wait_guest(vm, "web1")
        in_guest(vm, "web1", "ping -c 2 -W 5 dom0")
        say(xenable(vm, "guest list"))
    with step("what serves it is in no session of a person, and ends after xendomains at a shutdown"):
        scope = vm.ssh("cat /proc/$(pgrep -o -x xl)/cgroup").stdout.strip().rpartition("/")
        must(scope[0].endswith("/system.slice") and scope[2].endswith(".scope"), f"it has its own: {scope}")
        before = vm.ssh(f"systemctl show -P Before {scope[2]}").stdout.split()
        must("xendomains.service" in before, f"that is before xendomains: {before}")
    with step("root has no password, so that a key is the only way in"):
        entry = in_guest(vm, "web1", "getent shadow root").strip()
        must(entry.startswith(("root:*", "root:!")), f"its entry begins with {entry[:6]!r}")
    with step("revert refuses while it is there"):
        result = vm.ssh("xenable revert --yes", check=False)
        must(result.code == 1 and "web1" in result.stderr, f"it names the guest: {result.stderr}")


def touched(vm: VM, marker: str) -> list[str]:
    """What is stored in the guest and was changed, in whatever way, after a file was touched."""
    skip = " ".join(f"-not -path '{path}' -not -path '{path}/*'" for path in VOLATILE)
    return vm.ssh(f"find / -xdev -newercm {marker} {skip}").stdout.splitlines()


def main_processes(vm: VM) -> dict[str, str]:
    """The number of the main process of each service of the system that runs, by the unit's name."""
    running = "systemctl list-units --plain --no-legend --type=service --state=running | cut -d' ' -f1"
    said = vm.ssh(f"systemctl show --property=Id --property=MainPID $({running})").stdout
    units = (dict(row.split("=", 1) for row in part.splitlines()) for part in said.strip().split("\n\n"))
    # Those of users come and go with logins.
    return {unit["Id"]: unit["MainPID"] for unit in units if not unit["Id"].startswith("user@")}


def native_part(menu: str) -> str:
    """The menu without the sections of the Xen generators."""
    section = r"^### BEGIN /etc/grub.d/(90_xenable|20_linux_xen) ###\n.*?^### END [^\n]*\n\n?"
    return re.sub(section, "", menu, flags=re.M | re.S).rstrip("\n")
