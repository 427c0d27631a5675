# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest may send: real frames from its end of the cable, one after the other.

Behind the rules of the interface stands a witness that counts what they let through, and after each frame
comes one that always passes: when the witness has seen that, the frame before it was judged.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address

import pytest

from tests.contract.sandbox import needs_sandbox

from . import frames as f
from .bench import Guest, at, counted, dom0, guest, must, online, wait_for

pytestmark = [pytest.mark.realtool, needs_sandbox]

MAC, OTHER = "00:16:3e:00:00:07", "00:16:3e:00:00:08"
OWN, SECOND, TWIN, GATEWAY = "172.20.216.5", "172.20.216.6", "172.20.216.8", "172.20.216.1"
OWN6, TWIN6, GATEWAY6 = "fd12:3456:789a:d8::5", "fd12:3456:789a:d8::8", "fd12:3456:789a:d8::1"
LOCAL, LOCAL2 = "fe80::216:3eff:fe00:7", "fe80::dead:beef:1:2"
SOLICITED, ALL_NODES, ALL_ROUTERS = "ff02::1:ff00:5", "ff02::1", "ff02::2"

PASS, DROP, COUNT = "passes", "is dropped", "is dropped and counted"


@dataclass(frozen=True)
class Case:
    what: str
    verdict: str
    frame: bytes


def case(what: str, verdict: str, kind: int, payload: bytes, source: str = MAC) -> Case:
    return Case(what, verdict, f.ether(source, kind, payload))


def datagram(source: str, to: str = GATEWAY, ports: tuple[int, int] = (1000, 2000)) -> bytes:
    return f.ip(source, to, f.UDP, f.udp(*ports))


def datagram6(source: str, to: str = GATEWAY6, ports: tuple[int, int] = (1000, 2000)) -> bytes:
    return f.ip6(source, to, f.UDP, f.udp(*ports))


def advert(source: str, about: str, hardware: str = MAC) -> bytes:
    return f.neighbour(source, ALL_NODES, f.ADVERT, about, hardware)


HIDDEN_ADVERT = f.ip6(
    OWN6, ALL_NODES, 0, f.hop_by_hop(f.ICMP6, f.neighbour(OWN6, ALL_NODES, f.ADVERT, TWIN6, MAC)[40:])
)
HIDDEN_SOLICITATION = f.ip6(
    OWN6,
    GATEWAY6,
    0,
    f.hop_by_hop(f.ICMP6, f.neighbour(OWN6, GATEWAY6, f.SOLICIT, GATEWAY6, OTHER)[40:]),
)
TWO_MACS = f.message(
    *(OWN6, ALL_NODES, f.ADVERT),
    bytes(4) + IPv6Address(OWN6).packed + b"".join(b"\2\1" + f.mac(mac) for mac in (MAC, OTHER)),
)
MLD2 = f.icmp6(LOCAL2, "ff02::16", f.MLD2_REPORT, bytes(4))

CASES = (
    # Its own.
    case("IPv4", PASS, f.IP, datagram(OWN)),
    case("IPv4 from its second address", PASS, f.IP, datagram(SECOND)),
    case("a broadcast", PASS, f.IP, datagram(OWN, "255.255.255.255")),
    case("a later fragment", PASS, f.IP, f.ip(OWN, GATEWAY, f.UDP, bytes(24), fragment=100)),
    case("an ARP request", PASS, f.ARP, f.arp(1, MAC, OWN, GATEWAY)),
    case("an ARP answer", PASS, f.ARP, f.arp(2, MAC, SECOND, GATEWAY)),
    case("an ARP announcement", PASS, f.ARP, f.arp(1, MAC, OWN, OWN)),
    case("an ARP probe", PASS, f.ARP, f.arp(1, MAC, "0.0.0.0", OWN)),
    case("IPv6", PASS, f.IP6, datagram6(OWN6)),
    case("IPv6 from its link-local address", PASS, f.IP6, datagram6(LOCAL)),
    case("a neighbour solicitation", PASS, f.IP6, f.neighbour(OWN6, GATEWAY6, f.SOLICIT, GATEWAY6, MAC)),
    case("an advertisement", PASS, f.IP6, advert(OWN6, OWN6)),
    case("a solicitation without its MAC", PASS, f.IP6, f.neighbour(OWN6, GATEWAY6, f.SOLICIT, GATEWAY6)),
    case("an advertisement without its MAC", PASS, f.IP6, advert(OWN6, OWN6, "")),
    case("an advertisement of its link-local address", PASS, f.IP6, advert(LOCAL, LOCAL)),
    case("an advertisement of one address from the other", PASS, f.IP6, advert(LOCAL, OWN6)),
    case("duplicate address detection", PASS, f.IP6, f.neighbour("::", SOLICITED, f.SOLICIT, OWN6)),
    case("detection of its link-local address", PASS, f.IP6, f.neighbour("::", SOLICITED, f.SOLICIT, LOCAL)),
    case("an echo request", PASS, f.IP6, f.message(OWN6, GATEWAY6, 128)),
    # What is another's.
    case("another's MAC", COUNT, f.IP, datagram(OWN), OTHER),
    case("another's MAC with ARP", COUNT, f.ARP, f.arp(1, MAC, OWN, GATEWAY), OTHER),
    case("another's MAC with IPv6", COUNT, f.IP6, datagram6(OWN6), OTHER),
    case("another's MAC with anything", COUNT, 0x88CC, bytes(46), OTHER),
    case("another's IPv4", COUNT, f.IP, datagram(TWIN)),
    case("dom0's IPv4", COUNT, f.IP, datagram(GATEWAY, OWN)),
    case("an IPv4 address of elsewhere", COUNT, f.IP, datagram("8.8.8.8")),
    case("a loopback address", COUNT, f.IP, datagram("127.0.0.1", "127.0.0.1")),
    case("no IPv4 address", COUNT, f.IP, datagram("0.0.0.0")),
    case(
        "a fragment with another's address", COUNT, f.IP, f.ip(TWIN, GATEWAY, f.UDP, bytes(24), fragment=100)
    ),
    case("another's IPv4 in ARP", COUNT, f.ARP, f.arp(1, MAC, TWIN, GATEWAY)),
    case("dom0's IPv4 in ARP", COUNT, f.ARP, f.arp(2, MAC, GATEWAY, OWN)),
    case("another's MAC in ARP", COUNT, f.ARP, f.arp(2, OTHER, OWN, GATEWAY)),
    case("an ARP announcement of another's", COUNT, f.ARP, f.arp(1, MAC, TWIN, TWIN)),
    case("an ARP probe for another's", COUNT, f.ARP, f.arp(1, MAC, "0.0.0.0", TWIN)),
    case("an ARP answer from nowhere", COUNT, f.ARP, f.arp(2, MAC, "0.0.0.0", OWN)),
    case("another's IPv6", COUNT, f.IP6, datagram6(TWIN6)),
    case("dom0's IPv6", COUNT, f.IP6, datagram6(GATEWAY6, OWN6)),
    case("an IPv6 address of elsewhere", COUNT, f.IP6, datagram6("2001:db8::1")),
    case("another link-local address", COUNT, f.IP6, datagram6(LOCAL2)),
    case("no IPv6 address", COUNT, f.IP6, datagram6("::")),
    case("an advertisement with another's MAC in it", COUNT, f.IP6, advert(OWN6, OWN6, OTHER)),
    case("another's MAC behind its own", COUNT, f.IP6, TWO_MACS),
    case(
        "a solicitation with another's MAC in it",
        COUNT,
        f.IP6,
        f.neighbour(OWN6, GATEWAY6, f.SOLICIT, GATEWAY6, OTHER),
    ),
    case("a solicitation behind an extension header", COUNT, f.IP6, HIDDEN_SOLICITATION),
    case("an advertisement of another's", COUNT, f.IP6, advert(OWN6, TWIN6)),
    case("an advertisement of dom0's", COUNT, f.IP6, advert(LOCAL, GATEWAY6)),
    case("an advertisement from another's", COUNT, f.IP6, advert(TWIN6, OWN6)),
    case("an advertisement behind an extension header", COUNT, f.IP6, HIDDEN_ADVERT),
    case(
        "a solicitation from another's", COUNT, f.IP6, f.neighbour(TWIN6, GATEWAY6, f.SOLICIT, GATEWAY6, MAC)
    ),
    case("detection of another's address", COUNT, f.IP6, f.neighbour("::", SOLICITED, f.SOLICIT, TWIN6)),
    case("a router advertisement", COUNT, f.IP6, f.message(LOCAL, ALL_NODES, f.ROUTER_ADVERT)),
    case("a redirect", COUNT, f.IP6, f.message(LOCAL, GATEWAY6, f.REDIRECT, bytes(40))),
    case("a DHCP server's answer", COUNT, f.IP, datagram(OWN, "255.255.255.255", (67, 68))),
    case("a DHCPv6 server's answer", COUNT, f.IP6, datagram6(LOCAL, ALL_NODES, (547, 546))),
    # Noise that means no harm.
    case("a DHCP request", DROP, f.IP, datagram("0.0.0.0", "255.255.255.255", (68, 67))),
    case("IGMP without an address", DROP, f.IP, f.ip("0.0.0.0", "224.0.0.22", f.IGMP, bytes(8))),
    case("a DHCPv6 request", DROP, f.IP6, datagram6(LOCAL2, "ff02::1:2", (546, 547))),
    case("a router solicitation", DROP, f.IP6, f.message(LOCAL2, ALL_ROUTERS, f.ROUTER_SOLICIT, bytes(4))),
    case(
        "a router solicitation without an address",
        DROP,
        f.IP6,
        f.message("::", ALL_ROUTERS, f.ROUTER_SOLICIT),
    ),
    case("MLD from another link-local address", DROP, f.IP6, f.message(LOCAL2, ALL_ROUTERS, f.MLD_REPORT)),
    case("MLDv2, with its header", DROP, f.IP6, f.ip6(LOCAL2, "ff02::16", 0, f.hop_by_hop(f.ICMP6, MLD2))),
    case(
        "detection of some link-local address", DROP, f.IP6, f.neighbour("::", SOLICITED, f.SOLICIT, LOCAL2)
    ),
    case(
        "a router solicitation from its own address",
        DROP,
        f.IP6,
        f.message(LOCAL, ALL_ROUTERS, f.ROUTER_SOLICIT),
    ),
    # What no guest of ours speaks.
    case("LLDP", DROP, 0x88CC, bytes(46)),
    case("IEEE 802.3", DROP, 38, bytes(46)),
    Case("its own IPv4 in a VLAN", DROP, f.vlan(MAC, 5, f.IP, datagram(OWN))),
    Case("another's IPv4 in a VLAN", DROP, f.vlan(MAC, 5, f.IP, datagram(TWIN))),
    Case("another's IPv4 with a mere priority", DROP, f.vlan(MAC, 0, f.IP, datagram(TWIN))),
    Case("another's IPv6 in a VLAN", DROP, f.vlan(MAC, 5, f.IP6, datagram6(TWIN6))),
)

MARKER = f.ether(MAC, f.ARP, f.arp(1, MAC, OWN, GATEWAY))


def witness(vif: str) -> None:
    hook = f'type filter hook ingress device "{vif}" priority 0'
    must(
        f"nft 'table netdev witness {{ counter seen {{ }}; chain after {{ {hook}; counter name seen; }}; }}'"
    )


def seen() -> int:
    found = json.loads(must("nft -j list counter netdev witness seen"))["nftables"]
    return next(int(item["counter"]["packets"]) for item in found if "counter" in item)


def quiet(one: Guest) -> None:
    """A guest whose own stack says nothing."""
    with at(one):
        must("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 arp off up")


def test_what_a_guest_may_send() -> None:
    def work() -> None:
        one = online(guest(7, ip=f"{OWN} {SECOND} {OWN6}"))
        quiet(one)
        witness(one.vif)
        with at(one):
            cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            cable.bind(("eth0", 0))
        wrong = []
        for case in CASES:
            passed, count = seen(), counted(one.vif)
            cable.send(case.frame)
            cable.send(MARKER)
            assert wait_for(lambda: seen() > passed), case.what  # noqa: B023
            new = (seen() - passed - 1, counted(one.vif) - count)
            verdict = {(1, 0): PASS, (0, 0): DROP, (0, 1): COUNT}.get(new, str(new))
            if verdict != case.verdict:
                wrong.append(f"{case.what} {verdict}, but should be: {case.verdict}")
        assert not wrong, "\n".join(wrong)

    dom0(work)
