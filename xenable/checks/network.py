# SPDX-License-Identifier: GPL-2.0-or-later
"""Will this machine be reached again, and will guests have a network?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.machine import DEFAULT, Answer, Facts, Interface
from xenable.model import Finding, Severity
from xenable.network.effective import Mode

UNKNOWN = Rule(
    id="network/unknown",
    severity=Severity.BLOCKER,
    title="The network is not known",
    why="The trial passes only if the network of before is back. Without something to compare with it is "
    "not armed.",
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
INTERFACE_IN_USE = Rule(
    id="network/interface-in-use",
    severity=Severity.BLOCKER,
    title="The name of dom0's interface for guests is taken",
    why="dom0 would put its address for guests on an interface that belongs to something else.",
    remedy="Choose another name: `guest-interface` in /etc/xenable/xenable.conf.",
)
NO_UPLINK = Rule(
    id="network/no-uplink",
    severity=Severity.BLOCKER,
    title="There is no way out that guests could share",
    why="With `guest-mode = nat` guests go out where dom0's IPv4 default route leads.",
    remedy="Give the machine a default route for IPv4, or set `guest-mode = routed`.",
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
    why="dom0 reaches its guests all the same: nothing is forwarded for that. What guests ask of dom0, as "
    "names, has to pass the rules for incoming traffic.",
    remedy="Nothing to do for the conversion. When you add guests, allow port 53 from their network if they "
    "are to find names.",
)
FORWARDS = Rule(
    id="network/forwards",
    severity=Severity.NOTE,
    title="This machine forwards packets already",
    why="So guests reach what it routes to, under their own addresses, where no firewall drops that.",
    remedy="Nothing to do for the conversion. If guests are to reach dom0 only, have the firewall drop what "
    "their network sends to others.",
)
MANAGER_UNKNOWN = Rule(
    id="network/manager-unknown",
    severity=Severity.NOTE,
    title="It is not known what configures the network",
    why="It may also touch the interfaces of guests.",
    remedy="Nothing to do for the conversion. When you add guests, keep it away from interfaces "
    "called vif*, and from dom0's for them.",
)

RULES = (
    RANGE_IN_USE,
    INTERFACE_IN_USE,
    NO_UPLINK,
    UNKNOWN,
    NO_DEFAULT_ROUTE,
    WIRELESS,
    FORWARD_DROP,
    FIREWALL,
    FORWARDS,
    MANAGER_UNKNOWN,
)


def check_network(facts: Facts, config: Config) -> Iterator[Finding]:
    n = facts.network
    if not n.known:
        yield UNKNOWN.found("Interfaces and routes could not be read.")
        return
    uplinks = _uplinks(facts)
    if not any(r.is_default for r in n.routes):
        yield NO_DEFAULT_ROUTE.found(f"Of {len(n.routes)} known routes, none is the default.")
    elif uplinks and all(i.kind == "wireless" for i in uplinks):
        yield WIRELESS.found(f"The default route goes through {words([i.name for i in uplinks])}.")
    unmanaged = [i.name for i in uplinks if not i.manager]
    if unmanaged:
        yield MANAGER_UNKNOWN.found(f"Nothing that Xenable knows manages {words(unmanaged)}.")


def check_guest_network(facts: Facts, config: Config) -> Iterator[Finding]:
    # Once converted, range and interface are in use by our own guests.
    if not facts.network.known or facts.conversion.state != "none":
        return
    users = [f"route {r.destination} through {r.interface}" for r in facts.network.routes]
    prefixes = [r.destination for r in facts.network.routes]
    for i in facts.network.interfaces:
        users += [f"address {a} of {i.name}" for a in i.addresses]
        prefixes += i.addresses
    for network in (config.guest_network, guest_network6(facts, config)):
        clashes = [
            user
            for user, text in zip(users, prefixes, strict=True)
            if network is not None and _overlaps(text, network)
        ]
        if clashes:
            yield RANGE_IN_USE.found(
                f"{network} overlaps with {words(clashes)}.", _way_out(network, prefixes)
            )
    taken = next((i for i in facts.network.interfaces if i.name == config.guest_interface), None)
    if taken:
        told = f" It has the address {words(taken.addresses)}." if taken.addresses else ""
        yield INTERFACE_IN_USE.found(f"There is an interface {taken.name} (kind: {taken.kind}).{told}")


def check_guest_mode(facts: Facts, config: Config) -> Iterator[Finding]:
    if config.guest_mode is Mode.NAT and facts.network.known and not ipv4_uplink(facts):
        yield NO_UPLINK.found("There is no default route for IPv4.")


def check_firewalls(facts: Facts, config: Config) -> Iterator[Finding]:
    n = facts.network
    if not n.known:
        return
    drops = n.forward_policy == "drop"
    who = f"; active {are(n.firewalls)} {words(n.firewalls)}" if n.firewalls else ""
    if drops and config.guest_mode is Mode.NAT:
        yield FORWARD_DROP.found(
            f"The policy for forwarded packets is drop{who}. With `guest-mode = nat` these are all that "
            "guests exchange with the outside.",
            _allow(n.firewalls, config.guest_network),
        )
    elif drops and config.guest_mode is Mode.BRIDGE and "docker" in n.firewalls:
        yield FORWARD_DROP.found(
            f"The policy for forwarded packets is drop{who}. With Docker it holds for what passes a bridge, "
            "too.",
            f"When you add guests: `iptables -I DOCKER-USER -i {config.guest_bridge} -o "
            f"{config.guest_bridge} -j ACCEPT`, at each boot.",
        )
    elif drops:
        yield FIREWALL.found(
            f"The policy for forwarded packets is drop{who}. Guests that are not kept apart reach one "
            "another only where it lets them.",
            _let_names_in(n.firewalls, config),
        )
    elif n.firewalls:
        policy = n.forward_policy or "not known"
        yield FIREWALL.found(
            f"Active: {words(n.firewalls)}. The policy for forwarded packets is {policy}.",
            _let_names_in(n.firewalls, config),
        )


def check_forwarding(facts: Facts, config: Config) -> Iterator[Finding]:
    n = facts.network
    if config.guest_mode is not Mode.ROUTED:
        return
    on = []
    # Where forwarded packets are dropped, the firewall's finding says so. That policy is mostly one of IPv4
    # alone (Docker's): of IPv6 it says nothing.
    if n.ip_forward is Answer.YES and n.forward_policy != "drop":
        on.append("net.ipv4.ip_forward")
    if n.ip6_forward is Answer.YES:
        on.append("net.ipv6.conf.all.forwarding")
    if on:
        yield FORWARDS.found(f"{words(on)} {are(on)} 1.")


def guest_network6(facts: Facts, config: Config) -> IPv6Network | None:
    """The IPv6 network that guests get; None where they get none, or facts that were edited name none."""
    if config.guest_network6 != "auto":
        return config.guest_network6
    try:
        return IPv6Network(facts.network.ula_prefix)
    except ValueError:
        return None


def ipv4_uplink(facts: Facts) -> str:
    """The interface of the first IPv4 default route; empty where there is none."""
    return next((r.interface for r in facts.network.routes if r.destination == DEFAULT), "")


def _let_names_in(firewalls: Sequence[str], config: Config) -> str:
    """How guests get an answer of dom0 to a question for a name; on a bridge they do not ask it."""
    if config.guest_mode is Mode.BRIDGE:
        return "Nothing to do for the conversion."
    if "ufw" in firewalls:
        line = _names_by_ufw(config.guest_network)
        return f"Nothing to do for the conversion. When you add guests: {line}, if they are to find names."
    return ""


def _names_by_ufw(network: IPv4Network) -> str:
    return f"`ufw allow from {network} to any port 53`"


def _allow(firewalls: Sequence[str], network: IPv4Network) -> str:
    """How to let the guests of a network out."""
    if "ufw" in firewalls:
        return f"When you add guests: `ufw route allow from {network}`, and {_names_by_ufw(network)}."
    if "docker" in firewalls:
        return (
            f"When you add guests, at each boot: `iptables -I DOCKER-USER -s {network} -j ACCEPT` and "
            f"`iptables -I DOCKER-USER -d {network} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`."
        )
    return ""


def _uplinks(facts: Facts) -> list[Interface]:
    names = {r.interface for r in facts.network.routes if r.is_default}
    return [i for i in facts.network.interfaces if i.name in names]


def _overlaps(text: str, network: IPv4Network | IPv6Network) -> bool:
    """Whether a destination, or an address with its prefix length, lies in the network or round it."""
    if text == DEFAULT:
        return False
    try:
        other = ip_network(text, strict=False)
    except ValueError:
        return False
    if isinstance(other, IPv4Network):
        # A route for all of IPv4, or half of it as VPNs do, leaves the more precise one alone.
        return isinstance(network, IPv4Network) and other.prefixlen > 1 and other.overlaps(network)
    # 2000::/3 is all of IPv6 that is routed between networks.
    return isinstance(network, IPv6Network) and other.prefixlen > 3 and other.overlaps(network)


def _way_out(network: IPv4Network | IPv6Network | None, prefixes: Sequence[str]) -> str:
    if isinstance(network, IPv6Network):
        return "Set `guest-network6` in /etc/xenable/xenable.conf to another prefix, or to none."
    free = (n for n in _alternatives() if not any(_overlaps(text, n) for text in prefixes))
    other = next(free, None)
    return f"Set `guest-network = {other}` in /etc/xenable/xenable.conf." if other else ""


def _alternatives() -> Iterator[IPv4Network]:
    for third in range(217, 232):
        yield IPv4Network(f"172.20.{third}.0/24")
    for third in range(216, 232):
        yield IPv4Network(f"10.216.{third}.0/24")
        yield IPv4Network(f"192.168.{third}.0/24")
