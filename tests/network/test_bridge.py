# SPDX-License-Identifier: GPL-2.0-or-later
"""A bridge as the real ifup and systemd-networkd make it: it takes its port's place, and only under Xen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sandbox import needs_sandbox
from xenable.facts.interface_config import ifupdown_files, parse_iaid, probe_interface_config
from xenable.host import Host
from xenable.machine import Answer, Interface, Network
from xenable.network.bridge import Made, make_bridge

from .bench import Guest, at, dom0, guest, must, reaches, wait_for

pytestmark = [pytest.mark.realtool, needs_sandbox]

PORT, BRIDGE = "lan-0", "xbr0"
MAC = "52:54:00:12:34:56"
WORLD, WORLD6 = "192.0.2.1", "2001:db8::1"
FILE = Path("/etc/network/interfaces")
NETWORKD = "/usr/lib/systemd/systemd-networkd"

STATIC = f"""\
# This file describes the network interfaces available on your system
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

auto {PORT}
iface {PORT} inet static
	address 192.0.2.5/24
	gateway {WORLD}
	mtu 1480
	up ip route add 198.51.100.0/24 \\
		via {WORLD}

iface {PORT} inet6 static
	address 2001:db8::5
	netmask 64
	gateway {WORLD6}
	dad-attempts 0
"""

DHCP = f"""\
auto lo
iface lo inet loopback

allow-hotplug {PORT}
iface {PORT} inet dhcp
"""


@dataclass(frozen=True)
class Seen:
    """What an interface has; for each address its prefix length."""

    addresses: set[str]
    routes: set[str]
    mac: str
    mtu: int


def look(name: str) -> Seen:
    (link,) = query(f"address show dev {name}")
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}
    routes = {
        f"{r['dst']} via {r['gateway']}"
        for family in ("-4", "-6")
        for r in query(f"{family} route show dev {name}")
        if "gateway" in r
    }
    return Seen(addresses=addresses, routes=routes, mac=link["address"], mtu=link["mtu"])


def query(words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(must(f"ip -json {words}"))
    return found


def ifupdown(words: str) -> None:
    """Its scripts and dhclient say what they do on stderr."""
    must(f"{words} >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}")


def world() -> Guest:
    """Another machine, at the other end of the port's cable."""
    one = guest(99, vif=PORT)
    must(f"ip link set {PORT} address {MAC}")
    with at(one):
        must(
            f"ip address add {WORLD}/24 dev eth0; ip address add {WORLD6}/64 dev eth0 nodad; "
            "ip link set eth0 up"
        )
    return one


def made(manager: str, index: int = 2) -> Made:
    """What the facts of this machine make of the port: the files are written."""
    card = Interface(name=PORT, mac=MAC, kind="physical", up=True, addresses=(), manager=manager)
    host = Host()
    network = Network(
        known=True,
        interfaces=(card,),
        routes=(),
        firewalls=(),
        forward_policy="",
        ip_forward=Answer.NO,
        configs=tuple(probe_interface_config(host, card, str(index), ifupdown_files(host))),
    )
    found = make_bridge(network, PORT, BRIDGE)
    for file in found.files:
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        Path(file.path).write_text(file.text)
        Path(file.path).chmod(file.mode)
    return found


def bridged() -> None:
    """Have a bridge as a boot under Xen has it: the files written, and the unit's mount done."""
    found = made("ifupdown")
    (unit,) = (file.text for file in found.files if Path(file.path).name == found.unit)
    what, where = (re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE) for key in ("What", "Where"))
    options = re.findall(r"^Options=(.*)$", unit, re.MULTILINE)
    must(f"mount -o {options[0]} {what[0]} {where[0]}")


def furnish(text: str) -> None:
    Path("/run/network").mkdir(exist_ok=True)
    FILE.write_text(text)
    FILE.chmod(0o644)
    # What this machine itself has there is none of ours.
    must("rm -rf /etc/network/interfaces.d; mkdir /etc/network/interfaces.d")


def dhcp_server(one: Guest) -> None:
    """As routers have it: who comes under another name than before gets another address."""
    with at(one):
        must(
            "dnsmasq --conf-file=/dev/null --user=root --port=0 --interface=eth0 --bind-interfaces "
            "--dhcp-range=192.0.2.10,192.0.2.200,1h --dhcp-leasefile=/tmp/leases "
            "--pid-file=/tmp/dnsmasq --dhcp-authoritative --no-ping"
        )


def test_addresses_move_to_the_bridge_and_back() -> None:
    def work() -> None:
        one = world()
        furnish(STATIC)
        ifupdown("ifup -a")
        native = look(PORT)
        assert native.addresses == {"192.0.2.5/24", "2001:db8::5/64"} and native.mtu == 1480
        assert {f"default via {WORLD}", f"default via {WORLD6}"} <= native.routes
        ifupdown("ifdown -a")

        bridged()
        ifupdown("ifup -a")
        assert look(BRIDGE) == native
        port = query(f"-details link show dev {PORT}")[0]
        assert port["master"] == BRIDGE and port["mtu"] == 1480
        assert look(PORT).addresses == look(PORT).routes == set()
        assert query(f"-details link show dev {BRIDGE}")[0]["linkinfo"]["info_data"]["forward_delay"] == 0
        assert reaches(one, None, "192.0.2.5") and reaches(one, None, "2001:db8::5")

        ifupdown("ifdown -a")
        assert BRIDGE not in [link["ifname"] for link in query("link show")]
        assert "master" not in query(f"link show dev {PORT}")[0]
        must(f"umount {FILE}")
        assert FILE.read_text() == STATIC
        ifupdown("ifup -a")
        assert look(PORT).addresses >= {"192.0.2.5/24"}

    dom0(work)


def test_dhcp_gives_the_bridge_the_address_of_its_port() -> None:
    def work() -> None:
        one = world()
        furnish(DHCP)
        # What dhclient calls itself has the second in it at which the machine first asked, long ago.
        Path(f"/var/lib/dhcp/dhclient.{PORT}.leases").write_text(
            'default-duid "\\000\\001\\000\\001\\001\\002\\003\\004RT\\000\\0224V";\n'
        )
        dhcp_server(one)
        try:
            ifupdown(f"ifup --allow=hotplug {PORT}")
            native = look(PORT)
            assert native.addresses and native.routes == {f"default via {WORLD}"}
            # A power cut: nothing is given back.
            must(f"pkill -F /run/dhclient.{PORT}.pid; ip address flush dev {PORT}; rm /run/network/ifstate*")
            bridged()
            ifupdown(f"ifup --allow=hotplug {PORT}")
            assert wait_for(lambda: look(BRIDGE) == native)
            assert not look(PORT).addresses
            ifupdown(f"ifdown {PORT}")
            assert BRIDGE not in [link["ifname"] for link in query("link show")]
        finally:
            must("pkill -F /tmp/dnsmasq")

    dom0(work)


# -------------------------------------------------------------------------------------- systemd-networkd


@contextlib.contextmanager
def networkd(command_line: str) -> Iterator[None]:
    """A boot, as far as systemd-networkd sees one; the power is cut at its end."""
    state = "/run/systemd/netif"
    must(f"rm -rf {state}; mkdir -p {state}/links {state}/leases; chown -R systemd-network {state}")
    with Path("/tmp/networkd.log").open("ab") as log:
        program = subprocess.Popen(
            [NETWORKD],
            env={**os.environ, "SYSTEMD_PROC_CMDLINE": command_line},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        program.kill()
        program.wait()
        must(
            f"ip link del {BRIDGE} 2>/dev/null || true; ip address flush dev {PORT}; ip link set {PORT} down"
        )


def has_lease(name: str) -> bool:
    """Whether an interface has its address and the route."""
    there = name in [link["ifname"] for link in query("link show")]
    return there and look(name).routes == {f"default via {WORLD}"} and bool(look(name).addresses)


def lease() -> list[str]:
    """The last one that was given: to which MAC address, which address, to whom by name and identity."""
    (words,) = (line.split() for line in Path("/tmp/leases").read_text().splitlines())
    return words[1:]


@pytest.mark.skipif(not Path(NETWORKD).exists(), reason="needs systemd-networkd")
def test_networkd_makes_the_bridge_under_xen_only() -> None:
    def work() -> None:
        one = world()
        # Without udev; systemd-networkd takes a /sys that can't be written for a container's.
        must("mount -o remount,bind,ro /sys")
        must("rm -rf /etc/systemd/network /run/systemd/network /usr/lib/systemd/network")
        file = Path(f"/run/systemd/network/10-netplan-{PORT}.network")
        drop_in = Path(f"/etc/systemd/network/{file.name}.d/site.conf")
        for path, text in (
            (file, f"[Match]\nName={PORT}\n\n[Network]\nDHCP=ipv4\n\n[DHCP]\nRouteMetric=100\n"),
            # So that it is known under another number than the bridge by itself would be.
            (drop_in, "[Link]\nMTUBytes=1480\n\n[DHCPv4]\nIAID=777\n"),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        dhcp_server(one)
        try:
            with networkd("ro quiet"):
                assert wait_for(lambda: has_lease(PORT), 60)
                native, known = look(PORT), lease()
                index = query(f"link show dev {PORT}")[0]["ifindex"]
                kept = Path(f"/run/systemd/netif/leases/{index}")
                assert wait_for(lambda: kept.exists() and parse_iaid(kept.read_text()) == 777)
                # By the lease alone: as if the number came from the interface's name.
                drop_in.write_text("[Link]\nMTUBytes=1480\n")
                made("netplan", index)
                drop_in.write_text("[Link]\nMTUBytes=1480\n\n[DHCPv4]\nIAID=777\n")
            with networkd("ro quiet"):
                assert wait_for(lambda: has_lease(PORT), 60)
                assert (look(PORT), lease()) == (native, known)
                assert BRIDGE not in [link["ifname"] for link in query("link show")]
            with networkd("ro quiet xenable.deadline=300"):
                assert wait_for(lambda: has_lease(BRIDGE), 60)
                assert (look(BRIDGE), lease()) == (native, known)
                port = query(f"-details link show dev {PORT}")[0]
                assert port["master"] == BRIDGE and port["mtu"] == 1480
                assert not look(PORT).addresses and look(BRIDGE).mac == MAC
        except AssertionError as e:
            raise AssertionError(Path("/tmp/networkd.log").read_text()) from e
        finally:
            must("pkill -F /tmp/dnsmasq")

    dom0(work)
