# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses guests get."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.errors import XenableError
from xenable.network.addresses import free_address, ipv4_of, ipv6_of, ula
from xenable.network.effective import GuestNet, Mode


def net(ipv4: str = "172.20.216.0/24", ipv6: str = "fd12:3456:789a:d8::/64") -> GuestNet:
    return GuestNet(
        mode=Mode.ROUTED,
        interface="xenable0",
        ipv4=IPv4Network(ipv4),
        ipv6=IPv6Network(ipv6) if ipv6 else None,
    )


def test_the_lowest_that_is_free() -> None:
    assert free_address(net(), []) == IPv4Address("172.20.216.2")
    taken = [IPv4Address("172.20.216.2"), IPv4Address("172.20.216.4")]
    assert free_address(net(), taken) == IPv4Address("172.20.216.3")
    assert free_address(net("10.0.0.0/8"), []) == IPv4Address("10.0.0.2")


@given(st.integers(24, 29), st.data())
def test_all_are_given_out_and_none_twice(length: int, data: st.DataObject) -> None:
    network = net(f"10.1.2.0/{length}")
    usable = list(network.ipv4.hosts())[1:]
    taken = set(data.draw(st.permutations(usable))[: data.draw(st.integers(0, len(usable)))])
    while len(taken) < len(usable):
        address = free_address(network, taken)
        assert address in usable and address not in taken
        assert address == min(set(usable) - taken)
        taken.add(address)
    with pytest.raises(XenableError, match=f"all {len(usable)} of 10.1.2.0/{length} are taken"):
        free_address(network, taken)


def test_how_it_says_that_all_are_taken() -> None:
    everything = list(IPv4Network("172.20.216.0/24"))
    with pytest.raises(XenableError) as e:
        free_address(net(), everything)
    assert str(e.value) == "cannot give the guest an address: all 253 of 172.20.216.0/24 are taken"


def test_the_same_host_number() -> None:
    assert ipv6_of(net(), IPv4Address("172.20.216.5")) == IPv6Address("fd12:3456:789a:d8::5")
    wide = net("10.0.0.0/8")
    assert ipv6_of(wide, IPv4Address("10.1.2.3")) == IPv6Address("fd12:3456:789a:d8::1:203")
    assert ipv6_of(net(ipv6=""), IPv4Address("172.20.216.5")) is None
    assert ipv4_of(net(), IPv6Address("fd12:3456:789a:d8::5")) == IPv4Address("172.20.216.5")
    assert ipv4_of(wide, IPv6Address("fd12:3456:789a:d8::1:203")) == IPv4Address("10.1.2.3")
    for other in ("fd12:3456:789a:d8::1:203", "fd12:3456:789a:d8::100", "fd12::5"):
        assert ipv4_of(net(), IPv6Address(other)) is None
    assert ipv4_of(net(ipv6=""), IPv6Address("fd12:3456:789a:d8::5")) is None


def test_the_prefix_never_changes() -> None:
    # Guests have it in their files: another one for the same machine would cut them off.
    assert ula("0123456789abcdef0123456789abcdef\n") == IPv6Network("fdce:f933:dd5f:d8::/64")


@given(st.text(alphabet=string.hexdigits.lower(), min_size=32, max_size=32))
def test_the_prefix_is_a_local_one(machine_id: str) -> None:
    network = ula(machine_id)
    assert network == ula(machine_id)
    assert network.subnet_of(IPv6Network("fd00::/8"))
    assert network.prefixlen == 64 and network.network_address.packed[6:8] == b"\x00\xd8"
    assert network.network_address.packed[1:6] != bytes.fromhex(machine_id)[:5]


@pytest.mark.parametrize("text", ["", "uninitialized", "0123", "0123456789abcdef0123456789abcdeg"])
def test_no_machine_id(text: str) -> None:
    with pytest.raises(XenableError, match="no machine id"):
        ula(text)
