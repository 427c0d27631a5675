# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenarios say of Xenable, through its own commands and over ssh alone."""

import json
import tarfile
import time
from pathlib import Path
from typing import Any

from lab import preload
from lab.errors import LabError, ScenarioFailed
from lab.host import CHECKOUT
from lab.story import must, say, step
from lab.vm import VM

BLOCKS = ("/boot/grub/xenable.env", "/boot/efi/EFI/xenable/xenable.env")
"""Where GRUB's environment block of Xenable may be; on the ESP where GRUB can't write to what / is on."""

DISARM = (
    "".join(f"[ ! -e {block} ] || grub-editenv {block} unset xenable_try\n" for block in BLOCKS) + "sync"
)


def package() -> Path:
    """The built Debian package of this checkout; LabError when `make deb` was not run."""
    built = sorted((CHECKOUT / "dist").glob("xenable_*_all.deb"))
    if not built:
        raise LabError("cannot find dist/xenable_*_all.deb: run `make deb` first")
    return built[-1]


def install(vm: VM, *, recommended: bool = False) -> None:
    """Put the package on a machine as a user would: apt install ./xenable_*_all.deb.

    recommended: with what it recommends, which only guests need; it takes an emulated machine a while.
    """
    preload.give(vm)
    deb = package()
    vm.put(deb, f"/root/{deb.name}")
    option = "" if recommended else "--no-install-recommends"
    vm.ssh(f"DEBIAN_FRONTEND=noninteractive apt-get install -y {option} /root/{deb.name}", timeout=900)
    vm.ssh(f"rm /root/{deb.name}")


def apt_install(vm: VM, packages: str) -> str:
    """Install packages on a machine, without what they recommend; returns all that apt said."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
    return vm.ssh(f"{install} {packages} 2>&1", timeout=1800).stdout


def xenable(vm: VM, command: str, *, code: int = 0, timeout: float = 900) -> str:
    """Run `xenable COMMAND` as root and demand its exit status; returns what it printed on stdout."""
    result = vm.ssh(f"xenable {command}", check=False, timeout=timeout)
    if result.code != code:
        said = (result.stdout + result.stderr).strip()[-3000:]
        raise ScenarioFailed(f"`xenable {command}` exited {result.code} instead of {code}:\n{said}")
    return result.stdout


def disarm(vm: VM) -> None:
    """Take the armed trial out of GRUB's environment block, unknown to Xenable: the next boot is native."""
    vm.ssh(DISARM)


def status(vm: VM) -> dict[str, Any]:
    """What `xenable status --json` says, asked as an ordinary user; as root where that one may not know."""
    # Not by a login of that user's own: it would take an emulated dom0 seconds.
    command = "xenable status --json"
    result = vm.ssh(f"runuser -u debian -- {command}", check=False)
    if result.code == 1 and "sudo xenable status" in result.stdout:
        result = vm.ssh(command)
    answer: dict[str, Any] = json.loads(result.stdout)
    must(answer["schema"] == 1, "the status has schema 1")
    return answer


def wait_state(vm: VM, state: str, timeout: float = 900) -> dict[str, Any]:
    """Wait until `xenable status` says the word; returns the whole answer."""
    deadline = time.monotonic() + timeout
    # Asking costs an emulated processor seconds: not while it still boots.
    vm.wait_settled(timeout)
    answer: dict[str, Any] = {}
    while time.monotonic() < deadline:
        answer = status(vm)
        if answer["state"] == state:
            return answer
        time.sleep(3)
    raise ScenarioFailed(f"the state is not {state} within {timeout:.0f} s: {answer}")


def reboot(vm: VM, timeout: float = 600) -> None:
    """`systemctl reboot`, and wait until another boot answers over ssh."""
    old = vm.boot_id()
    vm.ssh("systemctl reboot", check=False)
    vm.wait_new_boot(old, timeout)


def wait_native(vm: VM, old_boot_id: str, timeout: float) -> dict[str, Any]:
    """Wait, touching nothing, until the machine has come back natively; returns its status.

    The boots in between may answer over ssh too (dom0 before its time is up): it asks until one is native.
    """
    deadline = time.monotonic() + timeout
    boot = old_boot_id
    while time.monotonic() < deadline:
        boot = vm.wait_new_boot(boot, deadline - time.monotonic())
        answer = status(vm)
        if answer["running"] == "native":
            return answer
        say(f"dom0 answers: {answer['reason']}")
    raise ScenarioFailed(f"the machine is not back on the native system within {timeout:.0f} s")


def report(vm: VM, folder: Path, name: str, members: tuple[str, ...]) -> None:
    """Have a report written, and keep it in a folder: its facts.json is a recorded machine.

    members: names of files that it has to have.
    """
    with step(f"a report of the {name} system has what it should have"):
        archive = f"/var/tmp/{name}.tar.gz"
        xenable(vm, f"report --output {archive}")
        kept = folder / f"report-{name}.tar.gz"
        vm.get(archive, kept)
        with tarfile.open(kept) as tar:
            there = {member.rpartition("/")[2] for member in tar.getnames()}
        must(there >= set(members), f"the archive has {members}: {there}")


ACTIVE = """for second in $(seq 30); do
    grep -qx active /sys/class/watchdog/*/state
    case $? in
    0) sleep 1 ;;
    1) exit 0 ;;
    *) exit 2 ;;
    esac
done
exit 1
"""
"""The gate stops it right after it has made the slot the default, and that is what `status` tells."""


def is_dom0(vm: VM) -> None:
    """Demand a working dom0 that has passed, as a person would see it: nothing will reset it."""
    must(vm.ssh("cat /sys/hypervisor/type").stdout.strip() == "xen", "the machine runs under Xen")
    must("control_d" in vm.ssh("cat /proc/xen/capabilities").stdout, "it is the control domain")
    must("Domain-0" in vm.ssh("xl list").stdout, "xl lists Domain-0")
    must("xenable: dead-man armed" in vm.ssh("dmesg").stdout, "its initrd has armed the dead-man")
    kept = vm.ssh("cat /sys/module/watchdog/parameters/stop_on_reboot").stdout.strip()
    must(kept == "0", f"a reset that hangs does not stop it: stop_on_reboot is {kept}")
    must(vm.ssh(ACTIVE, check=False).code == 0, "the dead-man runs no longer")


def is_native(vm: VM) -> None:
    """Demand a machine without a hypervisor."""
    must(vm.ssh("test -e /sys/hypervisor/type", check=False).code == 1, "the machine runs natively")
