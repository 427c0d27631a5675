# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces and who manages them, routes, firewalls and forwarding."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from xenable.facts.files import line
from xenable.facts.firewall import probe_firewalls
from xenable.facts.interface_config import ifupdown_files, probe_interface_config
from xenable.host import Host
from xenable.machine import DEFAULT, DEFAULT6, Answer, Interface, Network, Route
from xenable.network.addresses import ula

SYS = "/sys/class/net"
KINDS = ("bridge", "bond", "vlan", "dummy", "veth")

ASKED = "address show\nroute show table all type unicast\n"
"""Of `ip` in one call, for a gate asks again and again."""

WATCHERS = (("networkmanager", "/run/NetworkManager"), ("networkd", "/run/systemd/netif/state"))
"""What each makes when it starts."""

RTF_UP, RTF_ANYCAST, RTF_LOCAL = 0x1, 0x00100000, 0x80000000
"""Flags of a route (Linux: include/uapi/linux/route.h, ipv6_route.h)."""


def probe_network(host: Host) -> Network:
    links: list[dict[str, Any]] | None = None
    others: tuple[Route, ...] = ()
    if host.live:
        command = ("ip", "-json", "-details", "-force", "-batch", "-")
        said = host.run(command, data=ASKED, check=False, timeout=10).stdout.splitlines()
        links = parse_rows(said[0]) if said else None
        others = policy_routes(parse_rows(said[1]) or ()) if len(said) > 1 else ()
    known = any("ifname" in link for link in links or ())
    if not known or links is None:
        links = [{"ifname": name} for name in host.names(SYS) if host.is_dir(f"{SYS}/{name}")]
    firewalls, policy = probe_firewalls(host)
    files = ifupdown_files(host)
    ifupdown = _ifupdown(host, files)
    links = [link for link in links if link.get("ifname")]
    interfaces = tuple(_interface(host, link, ifupdown) for link in links)
    return Network(
        known=known,
        interfaces=interfaces,
        routes=(
            *parse_ipv4_routes(host.text("/proc/net/route")),
            *others,
            *parse_ipv6_routes(host.text("/proc/net/ipv6_route")),
        ),
        firewalls=firewalls,
        forward_policy=policy,
        ip_forward=_switch(host, "/proc/sys/net/ipv4/ip_forward"),
        ip6_forward=_switch(host, "/proc/sys/net/ipv6/conf/all/forwarding"),
        ula_prefix=_ula_prefix(host),
        configs=tuple(
            config
            for link, interface in zip(links, interfaces, strict=True)
            for config in probe_interface_config(host, interface, _index(host, link), files)
        ),
        watchers=tuple(name for name, sign in WATCHERS if host.exists(sign)),
    )


def _switch(host: Host, path: str) -> Answer:
    text = line(host, path)
    return Answer.of(text == "1" if text in ("0", "1") else None)


def parse_rows(text: str) -> list[dict[str, Any]] | None:
    """The JSON of `ip -json address` or `route`; None when it is none."""
    try:
        rows = json.loads(text)
    except ValueError:
        return None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def policy_routes(rows: Sequence[Mapping[str, Any]]) -> tuple[Route, ...]:
    """IPv4 routes of tables of their own, as VPNs have them, which /proc/net/route leaves out.

    Not their default routes: rules say when those count, and the machine's own is the main table's.
    """
    routes = []
    for row in rows:
        try:
            prefix = IPv4Network(str(row["dst"]))
        except (KeyError, ValueError):
            continue
        hops = [row, *(hop for hop in row.get("nexthops") or () if isinstance(hop, dict))]
        device = next((str(hop["dev"]) for hop in hops if hop.get("dev")), "")
        if row.get("table", "main") not in ("main", "local") and prefix.prefixlen and device:
            gateway = next((str(hop["gateway"]) for hop in hops if hop.get("gateway")), "")
            routes.append(_route(prefix, device, gateway))
    return tuple(routes)


def parse_ipv4_routes(text: str) -> tuple[Route, ...]:
    """Routes that are up, from /proc/net/route: numbers there are hexadecimal, addresses byte-swapped."""
    routes = []
    for row in text.splitlines()[1:]:
        words = row.split()
        try:
            name, flags = words[0], int(words[3], 16)
            to, via, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 2, 7))
            length = mask.bit_count()
            prefix = IPv4Network((to, length), strict=False)
        except (ValueError, IndexError):
            continue
        # Those that lead nowhere (blackhole, unreachable, prohibit) have no interface.
        if flags & RTF_UP and name != "*":
            routes.append(_route(prefix, name, str(IPv4Address(via)) if via else ""))
    return tuple(routes)


def parse_ipv6_routes(text: str) -> tuple[Route, ...]:
    """Routes to other machines that are up, from /proc/net/ipv6_route."""
    routes = []
    for row in text.splitlines():
        words = row.split()
        try:
            to, via = (IPv6Address(bytes.fromhex(words[n])) for n in (0, 4))
            prefix = IPv6Network((to, int(words[1], 16)), strict=False)
            flags, name = int(words[8], 16), words[9]
        except (ValueError, IndexError):
            continue
        if flags & RTF_UP and not flags & (RTF_ANYCAST | RTF_LOCAL) and name != "lo" and not to.is_multicast:
            routes.append(_route(prefix, name, str(via) if int(via) else ""))
    return tuple(routes)


def _ula_prefix(host: Host) -> str:
    machine_id = line(host, "/etc/machine-id")
    # Anything else is an image that was never booted (machine-id(5)): it would be one prefix for many.
    return str(ula(machine_id)) if re.fullmatch(r"[0-9a-f]{32}", machine_id) else ""


def _route(prefix: IPv4Network | IPv6Network, name: str, gateway: str) -> Route:
    if prefix.prefixlen == 0:
        destination = DEFAULT if prefix.version == 4 else DEFAULT6
    elif prefix.prefixlen == prefix.max_prefixlen:
        destination = str(prefix.network_address)
    else:
        destination = str(prefix)
    return Route(destination=destination, interface=name, gateway=gateway)


def _interface(host: Host, link: Mapping[str, Any], ifupdown: frozenset[str]) -> Interface:
    name = str(link["ifname"])
    addresses = link.get("addr_info") or ()
    flags = link.get("flags")
    if flags is None:
        flags = ["UP"] if line(host, f"{SYS}/{name}/operstate") == "up" else []
    mac = str(link.get("address") or line(host, f"{SYS}/{name}/address"))
    loopback = name == "lo" or link.get("link_type") == "loopback"
    told = str((link.get("linkinfo") or {}).get("info_kind", ""))
    kind = "loopback" if loopback else _kind(host, name, told)
    return Interface(
        name=name,
        mac="" if loopback else mac,
        kind=kind,
        up="UP" in flags,
        carrier=_carrier(flags),
        # One that is on its way out, or that nobody can use, does not come back.
        addresses=tuple(
            f"{a['local']}/{a['prefixlen']}"
            for a in addresses
            if {"local", "prefixlen"} <= a.keys() and not any(map(a.get, ("deprecated", "dadfailed")))
        ),
        inward=kind == "bridge"
        and not any(_leads_out(host, port) for port in host.names(f"{SYS}/{name}/brif")),
        manager=_manager(host, name, _index(host, link), ifupdown),
    )


def _leads_out(host: Host, port: str) -> bool:
    """Whether a port of a bridge leads out of the machine, as none of a guest or a container does."""
    names = host.names(f"{SYS}/{port}")
    return any(name in ("device", "bonding") or name.startswith("lower_") for name in names)


def _carrier(flags: Sequence[str]) -> Answer:
    """By the flags of `ip`: LOWER_UP says that the other end of the wire is there."""
    return Answer.of(True if "LOWER_UP" in flags else False if "NO-CARRIER" in flags else None)


def _index(host: Host, link: Mapping[str, Any]) -> str:
    return str(link.get("ifindex") or line(host, f"{SYS}/{link['ifname']}/ifindex"))


def _kind(host: Host, name: str, told: str) -> str:
    if told in KINDS:
        return told
    folder = f"{SYS}/{name}"
    if host.exists(f"{folder}/wireless") or host.exists(f"{folder}/phy80211"):
        return "wireless"
    for sign, kind in (("bridge", "bridge"), ("bonding", "bond")):
        if host.is_dir(f"{folder}/{sign}"):
            return kind
    if "DEVTYPE=vlan" in host.text(f"{folder}/uevent"):
        return "vlan"
    return "physical" if host.exists(f"{folder}/device") and not told else "other"


def _manager(host: Host, name: str, index: str, ifupdown: frozenset[str]) -> str:
    """Who really manages an interface now; on a folder, whose configuration names it."""
    if name == "lo":
        return ""
    manager = host.text(f"/run/NetworkManager/devices/{index}")
    if re.search(r"^(managed=(true|full|1)|connection-uuid=.+)$", manager, re.MULTILINE):
        return "networkmanager"
    state = host.text(f"/run/systemd/netif/links/{index}")
    if re.search(r"^ADMIN_STATE=(configured|configuring|pending)$", state, re.MULTILINE):
        file = re.search(r"^NETWORK_FILE=(.*)$", state, re.MULTILINE)
        return "netplan" if file and "netplan" in file[1] else "networkd"
    if name in ifupdown:
        return "ifupdown"
    key = re.compile(rf"^\s+[\"']?{re.escape(name)}[\"']?:", re.MULTILINE)
    for file_name in host.names("/etc/netplan"):
        if key.search(host.text(f"/etc/netplan/{file_name}")):
            return "netplan"
    return ""


def _ifupdown(host: Host, files: Mapping[str, str]) -> frozenset[str]:
    """Interfaces that ifupdown has up or that its files describe."""
    state = host.text("/run/network/ifstate")
    names = {row.partition("=")[0].strip() for row in state.splitlines() if "=" in row}
    for text in files.values():
        names.update(re.findall(r"^\s*iface\s+(\S+)\s", text, re.MULTILINE))
    return frozenset(names)
