# SPDX-License-Identifier: GPL-2.0-or-later
"""Will this machine be reached again, and will guests have a network?"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network

from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.model import Facts, Finding, Interface, Severity

UNKNOWN = Rule(
    id="network/unknown",
    severity=Severity.OVERRIDABLE,
    title="The network is not known",
    why="The trial passes only if the network of before is back, which can't be compared then.",
    remedy="Look whether `ip address` and `ip route` work here.",
)
# A blocker, not overridable: with two routes to one address, the machine's own way out may end at a guest.
RANGE_IN_USE = Rule(
    id="network/range-in-use",
    severity=Severity.BLOCKER,
    title="The guests' network is in use already",
    why="Guests and those machines would take each other's traffic.",
    remedy="Choose another network: `guest-network` in /etc/xenable/xenable.conf.",
)
NO_DEFAULT_ROUTE = Rule(
    id="network/no-default-route",
    severity=Severity.WARNING,
    title="There is no default route",
    why="The trial can't use it to see whether the network works, and packages may be out of reach.",
    remedy="If the machine should have one, look into its network's configuration.",
)
WIRELESS = Rule(
    id="network/wireless-uplink",
    severity=Severity.WARNING,
    title="The network is reached by wireless only",
    why="A wireless driver or its password agent may come up late in dom0. Guests can't be bridged to it.",
    remedy="Use a cable if there is one. If it does not come up in time, the trial falls back.",
)
FORWARD_DROP = Rule(
    id="network/forward-drop",
    severity=Severity.WARNING,
    title="A firewall drops forwarded traffic",
    why="dom0 and its guests reach each other, but guests reach nothing beyond until the firewall "
    "lets them.",
    remedy="Nothing to do for the conversion. Allow the guests' network in the firewall when you add "
    "guests.",
)
FIREWALL = Rule(
    id="network/firewall",
    severity=Severity.NOTE,
    title="A firewall is active",
    why="It decides what guests can reach.",
    remedy="Nothing to do for the conversion. Look at its rules when you add guests.",
)
MANAGER_UNKNOWN = Rule(
    id="network/manager-unknown",
    severity=Severity.NOTE,
    title="It is not known what configures the network",
    why="It may also touch the interfaces of guests.",
    remedy="Nothing to do for the conversion. When you add guests, keep it away from interfaces "
    "called vif*.",
)

RULES = (
    RANGE_IN_USE,
    UNKNOWN,
    NO_DEFAULT_ROUTE,
    WIRELESS,
    FORWARD_DROP,
    FIREWALL,
    MANAGER_UNKNOWN,
)


def check_network(facts: Facts, config: Config) -> Iterator[Finding]:
    n = facts.network
    if not n.known:
        yield UNKNOWN.found("Interfaces and routes could not be read.")
        return
    uplinks = _uplinks(facts)
    if not any(r.destination == "default" for r in n.routes):
        yield NO_DEFAULT_ROUTE.found(f"Of {len(n.routes)} known routes, none is the default.")
    elif uplinks and all(i.kind == "wireless" for i in uplinks):
        yield WIRELESS.found(f"The default route goes through {words([i.name for i in uplinks])}.")
    unmanaged = [i.name for i in uplinks if not i.manager]
    if unmanaged:
        yield MANAGER_UNKNOWN.found(f"Nothing that Xenable knows manages {words(unmanaged)}.")


def check_guest_network(facts: Facts, config: Config) -> Iterator[Finding]:
    # Once converted, the range is in use by our own guests.
    if not facts.network.known or facts.conversion.state != "none":
        return
    users = [f"route {r.destination} through {r.interface}" for r in facts.network.routes]
    prefixes = [r.destination for r in facts.network.routes]
    for i in facts.network.interfaces:
        users += [f"address {a} of {i.name}" for a in i.addresses]
        prefixes += i.addresses
    clashes = [
        user for user, text in zip(users, prefixes, strict=True) if _overlaps(text, config.guest_network)
    ]
    if clashes:
        other = next(
            (str(n) for n in _alternatives() if not any(_overlaps(text, n) for text in prefixes)),
            "",
        )
        yield RANGE_IN_USE.found(
            f"{config.guest_network} overlaps with {words(clashes)}.",
            f"Set `guest-network = {other}` in /etc/xenable/xenable.conf." if other else "",
        )


def check_firewalls(facts: Facts, config: Config) -> Iterator[Finding]:
    n = facts.network
    if not n.known:
        return
    if n.forward_policy == "drop":
        who = f"; active {are(n.firewalls)} {words(n.firewalls)}" if n.firewalls else ""
        yield FORWARD_DROP.found(f"The policy for forwarded packets is drop{who}.")
    elif n.firewalls:
        policy = n.forward_policy or "not known"
        yield FIREWALL.found(f"Active: {words(n.firewalls)}. The policy for forwarded packets is {policy}.")


def _uplinks(facts: Facts) -> list[Interface]:
    names = {r.interface for r in facts.network.routes if r.destination == "default"}
    return [i for i in facts.network.interfaces if i.name in names]


def _overlaps(text: str, network: IPv4Network) -> bool:
    """Whether a destination, or an address with its prefix length, lies in the network or round it."""
    if text == "default":
        return False
    try:
        other = ip_network(text, strict=False)
    except ValueError:
        return False
    # A route for all of IPv4, or half of it as VPNs do, leaves the more precise one alone.
    return isinstance(other, IPv4Network) and other.prefixlen > 1 and other.overlaps(network)


def _alternatives() -> Iterator[IPv4Network]:
    for third in range(217, 232):
        yield IPv4Network(f"172.20.{third}.0/24")
    for third in range(216, 232):
        yield IPv4Network(f"10.216.{third}.0/24")
        yield IPv4Network(f"192.168.{third}.0/24")
