# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/network.py."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

from tests.factory import HEALTHY, UPLINK
from tests.unit.checks.cases.common import BRIDGE, BRIDGED, DROPS, NAT, VPN, VPN6, WIFI, Case
from xenable.machine import Answer, Route

CASES: tuple[Case, ...] = (
    (
        "network/unknown",
        {"network": {"known": False}},
        {},
        "could not be read",
        "ip route",
    ),
    (
        "network/range-in-use",
        {
            "network": {
                "routes": (
                    *HEALTHY.network.routes,
                    VPN,
                )
            }
        },
        {},
        "172.20.216.0/24 overlaps with route 172.16.0.0/12 through wg0.",
        "guest-network = 10.216.216.0/24",
    ),
    (
        "network/range-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="br0", addresses=("172.20.216.9/32",)))}},
        {},
        "address 172.20.216.9/32 of br0",
        "guest-network = 172.20.217.0/24",
    ),
    (
        "network/range-in-use",
        {"network": {"routes": (*HEALTHY.network.routes, VPN6), "ula_prefix": "fd12:3456:789a:d8::/64"}},
        {},
        "fd12:3456:789a:d8::/64 overlaps with route fd12:3456:789a::/48 through wg0.",
        "Set `guest-network6` in /etc/xenable/xenable.conf to another prefix, or to none.",
    ),
    (
        "network/interface-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="xenable0", kind="dummy", addresses=()))}},
        {},
        "There is an interface xenable0 (kind: dummy). dom0 would",
        "`guest-interface`",
    ),
    (
        "network/interface-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="xenable0", addresses=("10.1.1.1/24",)))}},
        {},
        "It has the address 10.1.1.1/24.",
        "`guest-interface`",
    ),
    (
        "network/no-default-route",
        {"network": {"routes": HEALTHY.network.routes[1:]}},
        {},
        "Of 1 known routes",
        "",
    ),
    (
        "network/wireless-uplink",
        {
            "network": {
                "interfaces": (WIFI,),
                "routes": (Route(destination="default", interface="wlp2s0", gateway="10.0.2.2"),),
            }
        },
        {},
        "through wlp2s0",
        "cable",
    ),
    (
        "network/firewall",
        {"network": DROPS},
        {},
        "is drop; active are docker and ufw. Guests that are not kept apart",
        "`ufw allow from 172.20.216.0/24 to any port 53`",
    ),
    (
        "network/firewall",
        {"network": {"firewalls": ("nftables",)}},
        {},
        "Active: nftables. The policy for forwarded packets is accept. dom0 reaches its guests all the same",
        "guests",
    ),
    (
        "network/forwards",
        {"network": {"ip_forward": Answer.YES}},
        {},
        "ip_forward is 1. So guests",
        "firewall",
    ),
    (
        "network/forwards",
        {"network": {"ip6_forward": Answer.YES, "forward_policy": "drop", "ip_forward": Answer.YES}},
        {},
        "net.ipv6.conf.all.forwarding is 1. So guests",
        "firewall",
    ),
    (
        "network/forwards",
        {"network": {"ip6_forward": Answer.YES, "ip_forward": Answer.YES}},
        {},
        "net.ipv4.ip_forward and net.ipv6.conf.all.forwarding are 1.",
        "firewall",
    ),
    (
        "network/manager-unknown",
        {"network": {"interfaces": (replace(UPLINK, manager=""),)}},
        {},
        "enp0s3",
        "vif",
    ),
    (
        "network/range-in-use",
        {"network": {"routes": (*HEALTHY.network.routes, VPN6)}},
        {"guest_network6": IPv6Network("fd12:3456:789a:7::/64")},
        "fd12:3456:789a:7::/64 overlaps with route fd12:3456:789a::/48 through wg0.",
        "or to none",
    ),
    (
        "network/interface-in-use",
        {},
        {"guest_interface": "enp0s3"},
        "There is an interface enp0s3 (kind: physical). It has the address 10.0.2.15/24 and fe80::",
        "",
    ),
    (
        "network/no-uplink",
        {"network": {"routes": (Route(destination="::/0", interface="enp0s3", gateway="fe80::2"),)}},
        NAT,
        "no default route for IPv4",
        "guest-mode = routed",
    ),
    (
        "network/forward-drop",
        {"network": DROPS},
        NAT,
        "is drop; active are docker and ufw. With `guest-mode = nat`",
        "`ufw route allow from 172.20.216.0/24`, and `ufw allow from 172.20.216.0/24 to any port 53`.",
    ),
    (
        "network/forward-drop",
        {"network": {"forward_policy": "drop", "firewalls": ("docker",)}},
        NAT,
        "active is docker",
        "`iptables -I DOCKER-USER -s 172.20.216.0/24 -j ACCEPT`",
    ),
    (
        "network/forward-drop",
        {"network": {"forward_policy": "drop"}},
        NAT,
        "is drop. With",
        "Allow the",
    ),
    (
        "network/forward-drop",
        {"network": {**DROPS, "interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "With Docker it holds for what passes a bridge",
        "-i br0 -o br0",
    ),
    (
        "network/firewall",
        {"network": {"forward_policy": "drop", "firewalls": ("ufw",), "interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "active is ufw",
        "Nothing to do for the conversion.",
    ),
)
