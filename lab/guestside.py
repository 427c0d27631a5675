# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenarios do with guests: from dom0, over ssh, as a person would."""

import json
import shlex
import time
from typing import Any

from lab import converted
from lab.converted import reboot, wait_state, xenable
from lab.errors import ScenarioFailed
from lab.machines import Lab
from lab.ssh import Result
from lab.vm import VM

KEY = "/var/tmp/lab/id_ed25519"
SSH = (
    f"ssh -i {KEY} -o BatchMode=yes -o ConnectTimeout=60 -o LogLevel=ERROR "
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
)
DOM0 = "172.20.216.1"
INTERFACE = "xenable0"

ELSEWHERE = "172.20.216.200"
"""An address that no guest of a scenario has."""

SPOOFS: dict[str, str] = {
    "an IPv4 packet": f"""
ip addr add {ELSEWHERE}/32 dev $dev
ping -c 2 -W 1 -I {ELSEWHERE} {DOM0}
ip addr del {ELSEWHERE}/32 dev $dev
""",
    "an ARP request": f"""
ip addr add {ELSEWHERE}/32 dev $dev
ip neigh flush dev $dev
ping -c 2 -W 1 -I {ELSEWHERE} {DOM0}
ip addr del {ELSEWHERE}/32 dev $dev
""",
    "an IPv6 packet": """
own=$(ip -6 -o addr show dev $dev scope global | sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p')
prefix=${own%:*}
ip addr add $prefix:c8/128 dev $dev nodad
ping -6 -c 2 -W 1 -I $prefix:c8 $prefix:1
ip addr del $prefix:c8/128 dev $dev
""",
    # xen-netfront refuses another MAC while it is up (eth_mac_addr); an interface on top may have one.
    "a frame from another MAC": f"""
own=$(ip -4 -o addr show dev $dev | sed -n 's/.*inet \\([^/]*\\).*/\\1/p')
ip link add link $dev name other address 00:16:3e:7f:7f:7f type macvlan
ip addr add $own/32 dev other
ip link set other up
ip route add {DOM0}/32 dev other metric 9000
ping -c 2 -W 1 -I other {DOM0}
ip link del other
""",
}
"""What a guest's root would do; $dev is its interface."""


def make_dom0(lab: Lab, vm: VM) -> None:
    """Turn a stock machine that is off into a dom0 whose Xen is confirmed, with all that guests need."""
    vm.start()
    converted.install(vm, recommended=True)
    xenable(vm, "apply --yes")
    reboot(vm)
    wait_state(vm, "confirmed")


def start_dom0(vm: VM) -> None:
    """Switch such a machine on, and give it a key for its guests."""
    vm.boot()
    vm.wait_ssh()
    wait_state(vm, "confirmed")
    make_key(vm)


def make_key(vm: VM) -> None:
    """Give root of dom0 an ssh key."""
    vm.ssh(f"mkdir -p {KEY.rpartition('/')[0]} && ssh-keygen -q -t ed25519 -N '' -f {KEY}")


def create(vm: VM, name: str, options: str, timeout: float = 1800) -> float:
    """`xenable guest create`; returns how many seconds it took."""
    began = time.monotonic()
    xenable(vm, f"guest create {name} --memory 256M --ssh-key {KEY}.pub {options}", timeout=timeout)
    return time.monotonic() - began


def guests(vm: VM) -> dict[str, dict[str, Any]]:
    """What `xenable guest list --json` says, by name."""
    return {guest["name"]: guest for guest in json.loads(xenable(vm, "guest list --json"))["guests"]}


def try_guest(vm: VM, name: str, command: str, timeout: float = 300) -> Result:
    """Run a shell line in a guest over ssh from dom0; one that takes too long ends with code 124."""
    line = f"timeout {timeout:.0f} {SSH} root@{name} {shlex.quote(command)}"
    return vm.ssh(line, check=False, timeout=timeout + 120)


def in_guest(vm: VM, name: str, command: str, timeout: float = 300) -> str:
    """The same, and demand success; returns its stdout.

    Where no connection comes about (255) it is tried again: guests and dom0 share an emulated processor, and
    cloud-init starts sshd anew when it has been up for a while.
    """
    deadline = time.monotonic() + timeout
    result = try_guest(vm, name, command, timeout)
    while result.code == 255 and time.monotonic() < deadline:
        time.sleep(3)
        result = try_guest(vm, name, command, timeout)
    if result.code != 0:
        said = (result.stderr.strip() or result.stdout.strip())[-1500:]
        raise ScenarioFailed(f"{command!r} exited {result.code} in the guest {name}: {said}")
    return result.stdout


def wait_guest(vm: VM, name: str, old_boot_id: str = "", timeout: float = 1800) -> str:
    """Wait until root can log in to a guest at another boot than the old one; returns the boot's id.

    Emulated hardware runs a PVH guest three times as slowly as a PV one: that may take half an hour.
    """
    deadline = time.monotonic() + timeout
    said = ""
    while time.monotonic() < deadline:
        result = try_guest(vm, name, "cat /proc/sys/kernel/random/boot_id", 120)
        if result.code == 0 and result.stdout.strip() != old_boot_id:
            return result.stdout.strip()
        said = result.stderr.strip()
        time.sleep(3)
    console = vm.ssh(f"timeout 5 xl console {name} </dev/null 2>&1 | tail -n 20", check=False).stdout
    raise ScenarioFailed(f"{name} does not answer over ssh within {timeout:.0f} s: {said}\n{console}")


def reaches(vm: VM, one: str, other: str) -> bool:
    """Whether a guest gets an answer of another, by its name, which it has to know."""
    ping = f"getent hosts {other} >/dev/null && if ping -c 2 -W 5 {other} >/dev/null; then echo yes; fi"
    return in_guest(vm, one, ping).strip() == "yes"


def spoof(vm: VM, name: str, kind: str) -> None:
    """Let a guest send what is not its own. It goes on when the connection is lost on the way."""
    script = f"dev=$(ip -o route get {DOM0} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\n{SPOOFS[kind]}"
    in_guest(vm, name, f"systemd-run --quiet --wait sh -c {shlex.quote(script)} || true")
    wait_guest(vm, name)
