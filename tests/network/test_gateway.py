# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate's question to the gateway, on real interfaces: addresses and routes are there in every case."""

from __future__ import annotations

import time

import pytest

from tests.contract.sandbox import needs_sandbox
from xenable import health
from xenable.facts.network import probe_network
from xenable.health import Before, Now
from xenable.host import Host
from xenable.machine import Answer, Services

from .bench import at, dom0, must
from .test_network import WORLD, world

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()


def look(before: Before) -> str:
    services = Services(known=True, failed=(), ssh_listen=(), os_prober=Answer.NO)
    now = Now(
        network=probe_network(HOST),
        services=services,
        neighbours=health.neighbours(HOST),
    )
    return health.gateway(HOST, before, now)


def wait(before: Before, said: str) -> None:
    """Look, as the gate does, until it says so."""
    deadline = time.monotonic() + 60
    while (now := look(before)) != said:
        assert time.monotonic() < deadline, now
        time.sleep(0.2)


def test_a_gateway_that_answers_or_does_not() -> None:
    def work() -> None:
        outside = world()
        before = Before(known=True, default_routes=("v4",), gateways=(WORLD,))
        # Nobody has asked it yet: the look itself does.
        must("ip neigh flush dev wan")
        wait(before, "")
        # It does not listen.
        with at(outside):
            must("ip link set eth0 arp off")
        must("ip neigh flush dev wan")
        for _ in range(3):
            assert look(before) == f"the network: the gateway {WORLD} does not answer"
            time.sleep(1.2)
        with at(outside):
            must("ip link set eth0 arp on")
        wait(before, "")
        # The wire is out.
        with at(outside):
            must("ip link set eth0 down")
        wait(before, "the network: wan, where the default route is, has no carrier")
        with at(outside):
            must("ip link set eth0 up")
        wait(before, "")

    dom0(work)


def test_routes_of_every_table_are_known() -> None:
    """A VPN with tables of its own may have the range that guests are to get."""

    def work() -> None:
        must("ip link add vpn0 type veth peer name vpn1; ip link set vpn1 up; ip link set vpn0 up")
        must("ip route add 172.20.0.0/16 dev vpn0 table 52")
        must("ip route add default dev vpn0 table 53")
        network = probe_network(HOST)
        assert network.known and "vpn0" in {i.name for i in network.interfaces}
        routes = {r.destination for r in network.routes if r.interface == "vpn0"}
        assert {route for route in routes if ":" not in route} == {"172.20.0.0/16"}

    dom0(work)
