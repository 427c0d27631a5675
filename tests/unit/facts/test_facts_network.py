# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from tests.tree import make_tree
from xenable.facts.firewall import parse_chains, parse_policy
from xenable.facts.network import (
    parse_ipv4_routes,
    parse_ipv6_routes,
    policy_routes,
    probe_network,
)
from xenable.host import Host, Result, StrPath
from xenable.machine import Answer


def test_routes() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    v4 = parse_ipv4_routes(
        head
        + "eth0\t00000000\t010210AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "eth0\t00D814AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        + "down\t00D814AC\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\nnonsense\n"
        # `unreachable default` and `blackhole 10.1.0.0/16`.
        + "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "*\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert [(r.destination, r.interface, r.gateway) for r in v4] == [
        ("default", "eth0", "172.16.2.1"),
        ("172.20.216.0/24", "eth0", ""),
    ]
    zero = "0" * 32
    v6 = parse_ipv6_routes(
        f"fe800000000000000000000000000000 40 {zero} 00 {zero} 100 1 0 00000001 eth0\n"
        f"{zero} 00 {zero} 00 fe800000000000000000000000000001 400 1 0 00000003 eth0\n"
        f"{zero[:-1]}1 80 {zero} 00 {zero} 0 1 0 80200001 lo\n"
        f"ff000000000000000000000000000000 08 {zero} 00 {zero} 100 1 0 00000001 eth0\n"
    )
    assert [(r.destination, r.gateway) for r in v6] == [("fe80::/64", ""), ("::/0", "fe80::1")]


def test_routes_of_other_tables() -> None:
    """As Tailscale has them, and a VRF: /proc/net/route shows the main table alone."""
    found = policy_routes(
        [
            {"dst": "172.20.0.0/16", "dev": "tailscale0", "table": "52"},
            {"dst": "10.9.8.7", "table": "vrf", "nexthops": [{"dev": "eth1", "gateway": "192.0.2.9"}]},
            {"dst": "default", "dev": "wg0", "table": "51820"},
            {"dst": "0.0.0.0/0", "dev": "wg0", "table": "51820"},
            {"dst": "192.0.2.0/24", "dev": "eth0", "table": "main"},
            {"dst": "192.0.2.0/24", "dev": "eth0"},
            {"dst": "fd00::/64", "dev": "wg0", "table": "51820"},
            {"dst": "10.0.0.0/8", "table": "52"},
            {},
        ]
    )
    assert [(r.destination, r.interface, r.gateway) for r in found] == [
        ("172.20.0.0/16", "tailscale0", ""),
        ("10.9.8.7", "eth1", "192.0.2.9"),
    ]


@pytest.mark.parametrize(
    ("file", "watchers"),
    [
        ("/run/NetworkManager/no-stub-resolv.conf", ("networkmanager",)),
        ("/run/systemd/netif/state", ("networkd",)),
        ("/run/systemd/netif/leases/2", ()),
    ],
)
def test_who_may_take_an_interface_that_appears(
    tmp_path: Path, file: str, watchers: tuple[str, ...]
) -> None:
    assert probe_network(make_tree(tmp_path, {file: ""})).watchers == watchers


@dataclass(frozen=True)
class Asked(Host):
    """A folder where `ip` answers."""

    @property
    def live(self) -> bool:
        return True

    def run(self, cmd: Sequence[StrPath], **options: Any) -> Result:
        return Result(0, "\n".join(map(json.dumps, ROWS)) if cmd[0] == "ip" else "", "")


def _address(local: str, **flags: bool) -> dict[str, Any]:
    return {"local": local, "prefixlen": 64, **flags}


BRIDGES = ("br0", "br1", "br2", "podman0")
ROWS: tuple[list[dict[str, Any]], ...] = (
    [
        {
            "ifname": "eth0",
            "addr_info": [
                _address("2001:db8::1", dynamic=True),
                _address("2001:db8:1::1", dynamic=True, deprecated=True),
                _address("2001:db8:2::1", dadfailed=True, tentative=True),
            ],
        },
        *(
            {"ifname": name, "linkinfo": {"info_kind": "bridge"}}
            for name in ("br0", "br1", "br2", "podman0")
        ),
    ],
    [],
)


def test_addresses_that_do_not_come_back_are_none(tmp_path: Path) -> None:
    """As those of a prefix that the provider has changed."""
    eth0 = probe_network(Asked(tmp_path)).interfaces[0]
    assert eth0.addresses == ("2001:db8::1/64",)


def test_a_bridge_of_guests_or_containers_leads_nowhere(tmp_path: Path) -> None:
    net = "/sys/class/net"
    files = {
        f"{net}/br0/brif/eth0/x": "",
        f"{net}/eth0/device/x": "",
        f"{net}/br1/brif/eth0.5/x": "",
        f"{net}/eth0.5/lower_eth0/x": "",
        f"{net}/br2/brif/bond0/x": "",
        f"{net}/bond0/bonding/x": "",
        f"{net}/podman0/brif/veth1/x": "",
        f"{net}/podman0/brif/tap0/x": "",
        f"{net}/veth1/x": "",
        f"{net}/tap0/tun_flags": "0x1002",
    }
    make_tree(tmp_path, files)
    inward = {i.name: i.inward for i in probe_network(Asked(tmp_path)).interfaces}
    assert inward == {"eth0": False, "br0": False, "br1": False, "br2": False, "podman0": True}


def test_interfaces_of_a_folder(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/sys/class/net/eth0/address": "52:54:00:00:00:01\n",
            "/sys/class/net/eth0/device/x": "",
            "/sys/class/net/eth0/ifindex": "2",
            "/sys/class/net/eth0/operstate": "up",
            "/sys/class/net/br0/bridge/x": "",
            "/sys/class/net/br0/ifindex": "3",
            "/sys/class/net/wl0/phy80211/x": "",
            "/sys/class/net/wl0/ifindex": "4",
            "/sys/class/net/en1/device/x": "",
            "/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=/run/10-netplan-x.network\n",
            "/run/NetworkManager/devices/4": "[device]\nmanaged=true\n",
            "/etc/network/interfaces": "source /etc/network/interfaces.d/*\niface lo inet loopback\n",
            "/etc/network/interfaces.d/b": "iface br0 inet static\n",
            "/etc/netplan/1.yaml": "network:\n  ethernets:\n    en1:\n      dhcp4: true\n",
            "/etc/ufw/ufw.conf": "ENABLED=yes\n",
            "/proc/sys/net/ipv4/ip_forward": "1\n",
            "/proc/sys/net/ipv6/conf/all/forwarding": "0\n",
        },
    )
    found = probe_network(host)
    assert not found.known
    assert [(i.name, i.kind, i.manager, i.up) for i in found.interfaces] == [
        ("br0", "bridge", "ifupdown", False),
        ("en1", "physical", "netplan", False),
        ("eth0", "physical", "netplan", True),
        ("wl0", "wireless", "networkmanager", False),
    ]
    assert (found.firewalls, found.forward_policy, found.ip_forward) == (("ufw",), "", Answer.YES)
    assert found.ip6_forward is Answer.NO


@pytest.mark.parametrize("machine_id", ["", "uninitialized\n", "0" * 31 + "\n", "x" * 32 + "\n"])
def test_without_an_identity_a_machine_has_no_prefix_of_its_own(tmp_path: Path, machine_id: str) -> None:
    assert probe_network(make_tree(tmp_path, {"/etc/machine-id": machine_id})).ula_prefix == ""


def test_a_machine_has_one_prefix_of_its_own(tmp_path: Path) -> None:
    prefixes = []
    for name, machine_id in (("a", "0" * 32), ("b", "0" * 32), ("c", "0" * 31 + "1")):
        host = make_tree(tmp_path / name, {"/etc/machine-id": machine_id + "\n"})
        prefixes.append(IPv6Network(probe_network(host).ula_prefix))
    assert prefixes[0] == prefixes[1] != prefixes[2]
    assert all(p.prefixlen == 64 and p.subnet_of(IPv6Network("fd00::/8")) for p in prefixes)


def test_firewall_output() -> None:
    chain = {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}
    assert parse_chains(json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}]})) == [chain]
    assert parse_chains("[]") is None
    assert parse_policy("-P FORWARD DROP\n-A FORWARD -j X\n") == "drop"
    assert parse_policy("") == ""
