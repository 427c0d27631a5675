# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses guests get. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from xenable.errors import XenableError
from xenable.network.effective import GuestNet

SUBNET = 0xD8
"""Subnet id of the guests in this machine's RFC 4193 prefix; the other 65535 are the administrator's."""


def free_address(net: GuestNet, taken: Collection[IPv4Address]) -> IPv4Address:
    """The lowest address that no guest has; never that of the network, of dom0, or for broadcasts.

    Errors: XenableError when all are taken.
    """
    taken = frozenset(taken)
    for number in range(int(net.ipv4[2]), int(net.ipv4.broadcast_address)):
        if IPv4Address(number) not in taken:
            return IPv4Address(number)
    raise XenableError(
        f"cannot give the guest an address: all {net.ipv4.num_addresses - 3} of {net.ipv4} are taken",
        hint="remove a guest that is not needed: sudo xenable guest list",
    )


def ipv6_of(net: GuestNet, address: IPv4Address) -> IPv6Address | None:
    """The IPv6 address that goes with it, with the same host number; None where there is no IPv6."""
    if net.ipv6 is None:
        return None
    return net.ipv6[int(address) - int(net.ipv4.network_address)]


def ipv4_of(net: GuestNet, address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that goes with an IPv6 address of the network; None where none does."""
    if net.ipv6 is None or address not in net.ipv6:
        return None
    number = int(address) - int(net.ipv6.network_address)
    return net.ipv4[number] if number < net.ipv4.num_addresses else None


def ula(machine_id: str) -> IPv6Network:
    """A /64 in a unique local prefix (RFC 4193) that is the same every time on one machine.

    machine_id is the text of machine-id(5), which says that it is hashed before others see something of it.
    Errors: XenableError when it is none.
    """
    machine_id = machine_id.strip()
    if not re.fullmatch(r"[0-9a-f]{32}", machine_id):
        raise XenableError(
            "cannot choose IPv6 addresses for guests: /etc/machine-id has no machine id",
            hint="sudo systemd-machine-id-setup makes one",
        )
    digest = hmac.new(bytes.fromhex(machine_id), b"xenable guest network", hashlib.sha256).digest()
    prefix = b"\xfd" + digest[:5] + SUBNET.to_bytes(2)
    return IPv6Network((prefix + bytes(8), 64))
