# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests beside Docker, ufw, NetworkManager and systemd-networkd: none touches what is the other's."""

import json
import re

from lab import baseimage
from lab.converted import apt_install, reboot, xenable
from lab.guestside import DOM0, INTERFACE, create, guests, in_guest, make_dom0, make_key, wait_guest
from lab.machines import Lab, machine
from lab.recipe import INTERFACES
from lab.story import must, step
from lab.vm import VM

MEMORY = 4096
SOFTWARE = "docker.io iptables ufw network-manager systemd-resolved"

UPLINK = ";".join(f"interface-name:{name}" for name in INTERFACES)

GREEDY = f"""set -e
printf 'auto lo\\niface lo inet loopback\\n' >/etc/network/interfaces
printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/90-all.network
printf '[keyfile]\\nunmanaged-devices={UPLINK}\\n' >/etc/NetworkManager/conf.d/uplink.conf
systemctl enable systemd-networkd systemd-networkd-wait-online
ufw allow 22/tcp
ufw --force enable
"""
"""systemd-networkd takes each Ethernet interface there is, and the boot waits for it; NetworkManager all
that it may, but for the machine's way out."""

SERVICES = ("docker", "ufw", "NetworkManager", "systemd-networkd", "systemd-networkd-wait-online")


def run(lab: Lab) -> None:
    """A machine with Docker, ufw, NetworkManager and systemd-networkd gets guests, and keeps its rules."""
    with machine(lab, "dom0", memory=MEMORY, extra=baseimage.drive(lab.recipe.release)) as vm:
        with step("a stock machine gets Docker, ufw, NetworkManager and a greedy systemd-networkd"):
            vm.start()
            apt_install(vm, SOFTWARE)
            vm.ssh(GREEDY)
            reboot(vm)
            vm.wait_settled(600)
            running(vm)
            vm.shutdown()
        with step("it becomes a dom0"):
            make_dom0(lab, vm)
            running(vm)
            make_key(vm)
            forwards, rules = vm.ssh("sysctl -n net.ipv4.ip_forward").stdout, foreign_rules(vm)
            must(re.search(r"chain FORWARD \{[^}]*policy drop", rules), "forwarded packets are dropped")
        with step("a guest and dom0 reach each other all the same, and no rule of others changes"):
            baseimage.give(vm)
            create(vm, "web1", "--type pv")
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
        with step("nor when they start anew, and no boot waits for a guest"):
            vm.ssh("systemctl restart NetworkManager systemd-networkd")
            # It ends with an error while any interface that it waits for is not online.
            vm.ssh("/usr/lib/systemd/systemd-networkd-wait-online --timeout=60")
            running(vm)
            left_alone(vm)
            in_guest(vm, "web1", f"ping -c 2 -W 5 {DOM0}")
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
    return re.sub(r"packets \d+ bytes \d+", "", vm.ssh(" && ".join(others)).stdout)


def unchanged(vm: VM, forwards: str, rules: str) -> None:
    """Demand that dom0 forwards as it did, and by the same rules of others."""
    must(
        vm.ssh("sysctl -n net.ipv4.ip_forward").stdout == forwards, f"ip_forward is still {forwards.strip()}"
    )
    now = foreign_rules(vm)
    must(now == rules, f"no rule of others changed:\n{rules}\n{now}")


def left_alone(vm: VM) -> None:
    """Demand that both network managers see dom0's interfaces for guests, and leave them alone.

    Also the card that dom0 gets of QEMU on Debian 13 (data/udev).
    """
    names = vm.ssh("ls /sys/class/net").stdout.split()
    guests_own = [name for name in names if name.startswith(("vif", "enX"))]
    must(any(name.startswith("vif") for name in guests_own), f"a guest has an interface: {names}")
    for name in (INTERFACE, *guests_own):
        state = vm.ssh(f"nmcli -g GENERAL.STATE device show {name}").stdout
        must("unmanaged" in state, f"NetworkManager leaves {name} alone: {state}")
        row = vm.ssh(f"networkctl --no-legend list {name}").stdout
        must(row.split()[-1:] == ["unmanaged"], f"systemd-networkd leaves {name} alone: {row}")
