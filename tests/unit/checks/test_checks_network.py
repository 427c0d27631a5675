# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks and bridges: what is no finding, and what is one only sometimes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from tests.factory import HEALTHY, UPLINK, make_config, make_facts
from tests.unit.checks.cases.common import BRIDGE, MADE, NAT, VPN, VPN6, ids_of
from xenable.checks import run_checks
from xenable.checks.network import guest_network6, ipv4_uplink
from xenable.machine import Answer, Route


def test_forwarding_that_is_wanted_or_goes_nowhere_is_not_told() -> None:
    assert "network/forwards" not in ids_of(make_facts(network={"ip_forward": Answer.YES}), **NAT)
    network = {"ip_forward": Answer.YES, "forward_policy": "drop"}
    assert "network/forwards" not in ids_of(make_facts(network=network))


def test_routes_that_leave_guests_alone() -> None:
    """All of IPv6, all that is routed of it, and a neighbour of the prefix."""
    wide = [Route(destination=d, interface="wg0", gateway="") for d in ("::/1", "8000::/1", "2000::/3")]
    next_door = Route(destination="fd12:3456:789a:d9::/64", interface="wg0", gateway="")
    routes = (*HEALTHY.network.routes, *wide, next_door)
    facts = make_facts(network={"routes": routes, "ula_prefix": "fd12:3456:789a:d8::/64"})
    assert "network/range-in-use" not in ids_of(facts)
    assert "network/range-in-use" not in ids_of(facts, guest_network6=IPv6Network("2001:db8:0:1::/64"))


def test_without_ipv6_no_prefix_of_it_is_in_use() -> None:
    facts = make_facts(
        network={"routes": (*HEALTHY.network.routes, VPN6), "ula_prefix": "fd12:3456:789a:d8::/64"}
    )
    assert "network/range-in-use" in ids_of(facts)
    assert "network/range-in-use" not in ids_of(facts, guest_network6=None)


def test_both_networks_can_be_in_use() -> None:
    routes = (*HEALTHY.network.routes, VPN, VPN6)
    facts = make_facts(network={"routes": routes, "ula_prefix": "fd12:3456:789a:d8::/64"})
    found = [f for f in run_checks(facts, make_config()) if f.id == "network/range-in-use"]
    assert [f.diagnosis.partition(" ")[0] for f in found] == ["172.20.216.0/24", "fd12:3456:789a:d8::/64"]


def test_once_converted_the_network_is_in_use_by_our_own_guests() -> None:
    ours = replace(UPLINK, name="xenable0", kind="dummy", addresses=("172.20.216.1/24",))
    network = {"interfaces": (UPLINK, ours)}
    assert {"network/range-in-use", "network/interface-in-use"} <= ids_of(make_facts(network=network))
    converted = make_facts(network=network, conversion={"state": "applied"})
    assert not {"network/range-in-use", "network/interface-in-use"} & ids_of(converted)


def test_once_converted_the_bridge_is_ours_whether_it_is_there_or_not() -> None:
    for interfaces in ((UPLINK,), (replace(UPLINK, addresses=()), BRIDGE)):
        facts = make_facts(network={"interfaces": interfaces}, conversion={"state": "applied"})
        assert {id for id in ids_of(facts, **MADE) if "bridge" in id} == {"network/bridged"}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((Route(destination="default", interface="a", gateway="10.0.0.1"),), "a"),
        ((Route(destination="::/0", interface="a", gateway="fe80::1"),), ""),
        # A route without a gateway: over a line with two ends.
        ((Route(destination="default", interface="enp0s3", gateway=""),), "enp0s3"),
        ((Route(destination="::/0", interface="six", gateway=""),), ""),
        ((Route(destination="10.0.0.0/8", interface="a", gateway="10.0.0.1"),), ""),
        (
            (
                Route(destination="::/0", interface="six", gateway="fe80::1"),
                Route(destination="default", interface="b", gateway="10.0.0.1"),
                Route(destination="default", interface="c", gateway="10.0.0.1"),
            ),
            "b",
        ),
        ((), ""),
    ],
)
def test_ipv4_uplink(routes: tuple[Route, ...], expected: str) -> None:
    six = replace(UPLINK, name="six", addresses=("fe80::1/64",))
    assert ipv4_uplink(make_facts(network={"routes": routes, "interfaces": (UPLINK, six)})) == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("fd12:3456:789a:d8::/64", IPv6Network("fd12:3456:789a:d8::/64")), ("", None), ("0", None)],
)
def test_the_machines_own_network_for_guests(prefix: str, expected: IPv6Network | None) -> None:
    """Of recorded facts somebody may have edited, as of those of a machine without an id."""
    assert guest_network6(make_facts(network={"ula_prefix": prefix}), make_config()) == expected
