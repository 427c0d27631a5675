# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd-networkd, also where netplan writes its files: three files that match under Xen only. Pure.

systemd.network(5) and systemd.netdev(5) say what the sections mean. Of the files that match an interface,
the one whose name sorts first is used.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xenable.machine import InterfaceConfig
from xenable.network.bridge.base import (
    KERNEL_WORD,
    MTU,
    File,
    Made,
    Section,
    Unfit,
    mentions,
    one_text,
    quoted,
    render,
    sections,
)

FOLDER = "/etc/systemd/network"
NETDEV = "05-xenable-bridge.netdev"
BRIDGE = "05-xenable-bridge.network"
PORT = "05-xenable-port.network"

SECTIONS = frozenset(
    (
        *("Link", "Network", "Address", "Neighbor", "Route", "RoutingPolicyRule", "NextHop"),
        *("DHCP", "DHCPv4", "DHCPv6", "IPv6AcceptRA"),
    )
)

NETWORK_KEYS = frozenset(
    (
        *("Description", "DHCP", "Address", "Gateway", "DNS", "Domains", "DNSDefaultRoute", "NTP"),
        *("DNSOverTLS", "DNSSEC", "DNSSECNegativeTrustAnchors", "LLMNR", "MulticastDNS", "LLDP", "EmitLLDP"),
        *("LinkLocalAddressing", "IPv4LLRoute", "IPv4LLStartAddress", "DefaultRouteOnDevice"),
        *("IPv6AcceptRA", "IPv6PrivacyExtensions", "IPv6DuplicateAddressDetection", "IPv6HopLimit"),
        *("IPv6LinkLocalAddressGenerationMode", "IPv6MTUBytes"),
        *("IPForward", "IPv4Forwarding", "IPv6Forwarding", "IPv4ReversePathFilter", "IPv4AcceptLocal"),
        *("KeepConfiguration", "ConfigureWithoutCarrier", "IgnoreCarrierLoss"),
    )
)
"""Of [Network]: what means the same for a bridge. Bridge=, Bond=, MACVLAN= and the like do not."""

LINK_KEYS = frozenset(
    (
        *("MTUBytes", "ARP", "Multicast", "AllMulticast"),
        *("RequiredForOnline", "RequiredFamilyForOnline", "ActivationPolicy"),
    )
)


def make(configs: tuple[InterfaceConfig, ...], port: str, bridge: str, mac: str) -> Made:
    """Errors: Unfit."""
    config = one_text(configs)
    name = PurePosixPath(config.file).name
    if name <= max(PORT, BRIDGE):
        raise Unfit(f"{config.file} sorts before {PORT}, so systemd-networkd would go by it all the same")
    found = tuple(
        s for s in sections(config.text, config.file, wrapped=True) if s.name != "Match" and s.settings
    )
    for section in found:
        _check(config.file, section, port, bridge)
    match = ("KernelCommandLine", KERNEL_WORD)
    netdev = (
        render("Match", [match]),
        render("NetDev", [("Name", bridge), ("Kind", "bridge"), ("MACAddress", mac)]),
        render("Bridge", [("STP", "no"), ("ForwardDelaySec", "0")]),
    )
    # What a boot waits for is the bridge.
    link = [("MTUBytes", value) for value in _mtu(found)[-1:]] + [("RequiredForOnline", "no")]
    of_port = (
        render("Match", [match, ("Name", port)]),
        render("Link", link),
        render("Network", [("Bridge", bridge), ("LinkLocalAddressing", "no")]),
    )
    of_bridge = (
        render("Match", [match, ("Name", bridge)]),
        *(render(section.name, section.settings) for section in found),
        *_identity(found, config.iaid),
    )
    return Made(
        files=(
            File(path=f"{FOLDER}/{NETDEV}", text="\n".join(netdev)),
            File(path=f"{FOLDER}/{BRIDGE}", text="\n".join(of_bridge)),
            File(path=f"{FOLDER}/{PORT}", text="\n".join(of_port)),
        )
    )


def _check(file: str, section: Section, port: str, bridge: str) -> None:
    if section.name not in SECTIONS:
        raise Unfit(f"{file} has a section that can't be carried over to a bridge: [{section.name}]")
    known = {"Network": NETWORK_KEYS, "Link": LINK_KEYS}.get(section.name)
    for key, value in section.settings:
        line = f"{key}={value}"
        if known is not None and key not in known:
            raise Unfit(f"{file} has a line that can't be carried over to a bridge: {quoted(line)}")
        for name in (port, bridge):
            if mentions(name, value):
                raise Unfit(f"{file} names {name} where a bridge would change the meaning: {quoted(line)}")
        # systemd takes K, M and G there as well.
        if section.name == "Link" and key == "MTUBytes" and value and not MTU.fullmatch(value):
            raise Unfit(f"{file} has a line that is not understood: {quoted(line)}")


def _mtu(found: tuple[Section, ...]) -> list[str]:
    return [value for s in found if s.name == "Link" for value in s.values("MTUBytes") if value]


def _identity(found: tuple[Section, ...], iaid: int | None) -> tuple[str, ...]:
    """A DHCP server knows a client by this number, which systemd-networkd makes of the interface's name."""
    dhcp = [s for s in found if s.name in ("DHCP", "DHCPv4")]
    kinds = [value for s in dhcp for value in s.values("ClientIdentifier")]
    if iaid is None or (kinds and kinds[-1] != "duid") or any(s.values("IAID") for s in dhcp):
        return ()
    return (render("DHCPv4", [("IAID", str(iaid))]),)
