# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests beside Docker, ufw, NetworkManager and systemd-networkd: none touches what is the other's."""

import json
import re

from lab import baseimage
from lab.converted import reboot, xenable
from lab.guestside import DOM0, create, guests, in_guest, make_dom0, make_key, wait_guest
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.vm import VM

MEMORY = 4096
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q"
SOFTWARE = "docker.io iptables ufw network-manager systemd-resolved"
DUMMY = "xenable0"

GREEDY = """set -e
printf 'auto lo\\niface lo inet loopback\\n' >/etc/network/interfaces
printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/90-all.network
printf '[keyfile]\\nunmanaged-devices=interface-name:e*\\n' >/etc/NetworkManager/conf.d/uplink.conf
systemctl enable systemd-networkd systemd-networkd-wait-online
ufw allow 22/tcp
ufw --force enable
"""
"""systemd-networkd takes each Ethernet interface there is, and the boot waits for it; NetworkManager all
that it may, but for the machine's way out."""

SERVICES = ("docker", "ufw", "NetworkManager", "systemd-networkd", "systemd-networkd-wait-online")

WAITED = (
    "systemctl show systemd-networkd-wait-online -P ExecMainStartTimestampMonotonic "
    "-P ExecMainExitTimestampMonotonic"
)


def run(lab: Lab) -> None:
    """A machine with Docker, ufw, NetworkManager and systemd-networkd gets guests, and keeps its rules."""
    with machine(lab, "dom0", memory=MEMORY, extra=baseimage.drive(lab.recipe.release)) as vm:
        with step("a stock machine gets Docker, ufw, NetworkManager and a greedy systemd-networkd"):
            vm.start()
            vm.ssh(f"{INSTALL} --no-install-recommends {SOFTWARE}", timeout=1800)
            vm.ssh(GREEDY)
            reboot(vm)
            vm.wait_settled(600)
            running(vm)
            natively = waited(vm)
            vm.shutdown()
        with step("it becomes a dom0"):
            make_dom0(lab, vm)
            running(vm)
            make_key(vm)
            forwards, rules = vm.ssh("sysctl -n net.ipv4.ip_forward").stdout, foreign_rules(vm)
            must(re.search(r"chain FORWARD \{[^}]*policy drop", rules), "forwarded packets are dropped")
        with step("a guest and dom0 reach each other all the same, and no rule of others changes"):
            baseimage.give(vm)
            create(vm, "web1", "--type pv --autostart")
            wait_guest(vm, "web1")
            vm.ssh("ping -c 2 -W 5 web1")
            in_guest(vm, "web1", f"ping -c 2 -W 5 {DOM0}")
            unchanged(vm, forwards, rules)
        with step("by its name, too, when ufw lets the question in, as check says"):
            must(in_guest(vm, "web1", "getent hosts dom0 || true") == "", "ufw drops the question")
            told = finding(vm, "network/firewall")
            commands = re.findall(r"`(ufw [^`]+)`", told)
            must(len(commands) == 1, f"check has the command: {told}")
            vm.ssh(commands[0])
            in_guest(vm, "web1", "ping -c 2 -W 5 dom0")
        with step("nobody manages the guest's interface, nor dom0's"):
            left_alone(vm)
        with step("a boot with a guest waits for the network no longer than natively"):
            reboot(vm)
            vm.wait_settled(600)
            running(vm)
            wait_guest(vm, "web1")
            under_xen = waited(vm)
            say(f"{natively:.0f} s natively, {under_xen:.0f} s under Xen")
            # An emulated dom0 takes a few times as long for all; a link that is waited for in vain, 120 s.
            must(under_xen < natively + 60, "no link was waited for in vain")
            left_alone(vm)
        with step("when the guest goes, forwarding and the rules of others stay"):
            rules = foreign_rules(vm)
            xenable(vm, "guest remove --yes --force web1")
            must(not guests(vm), "the guest is gone")
            unchanged(vm, forwards, rules)
        vm.power_cut()


def running(vm: VM) -> None:
    """Demand that everything of others has come up."""
    for service in SERVICES:
        state = vm.ssh(f"systemctl is-active {service}", check=False).stdout.strip()
        must(state == "active", f"{service} is active: {state}")


def waited(vm: VM) -> float:
    """Seconds that this boot waited until systemd-networkd called the network online."""
    began, ended = (int(line) for line in vm.ssh(WAITED).stdout.split())
    return (ended - began) / 1e6


def finding(vm: VM, name: str) -> str:
    """What `xenable check` says of one thing, on a machine that is converted already."""
    result = vm.ssh("xenable check --json", check=False)
    found = {row["id"]: row for row in json.loads(result.stdout)["findings"]}
    must(name in found, f"check has {name}: {sorted(found)}")
    return f"{found[name]['diagnosis']} {found[name]['remedy']}"


def foreign_rules(vm: VM) -> str:
    """Every rule of nftables that is not in a table of ours, without its counters."""
    tables = [line.split()[1:3] for line in vm.ssh("nft list tables").stdout.splitlines()]
    others = [f"nft list table {family} {name}" for family, name in tables if not name.startswith("xenable")]
    must(others, "others have rules")
    return re.sub(r"packets \d+ bytes \d+", "", vm.ssh("; ".join(others)).stdout)


def unchanged(vm: VM, forwards: str, rules: str) -> None:
    """Demand that dom0 forwards as it did, and by the same rules of others."""
    must(
        vm.ssh("sysctl -n net.ipv4.ip_forward").stdout == forwards, f"ip_forward is still {forwards.strip()}"
    )
    now = foreign_rules(vm)
    must(now == rules, f"no rule of others changed:\n{rules}\n{now}")


def left_alone(vm: VM) -> None:
    """Demand that both network managers see the interfaces of guests, and leave them alone."""
    names = [name for name in vm.ssh("ls /sys/class/net").stdout.split() if name.startswith("vif")]
    must(names, "a guest has an interface")
    for name in (*names, DUMMY):
        state = vm.ssh(f"nmcli -g GENERAL.STATE device show {name}").stdout
        must("unmanaged" in state, f"NetworkManager leaves {name} alone: {state}")
        row = vm.ssh(f"networkctl --no-legend list {name}").stdout
        must(row.split()[-1:] == ["unmanaged"], f"systemd-networkd leaves {name} alone: {row}")
        others = vm.ssh(f"ip -o -4 addr show dev {name} dynamic").stdout
        must(not others, f"nobody gave {name} an address: {others}")
