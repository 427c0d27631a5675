# SPDX-License-Identifier: GPL-2.0-or-later
"""A bridge for guests, made of an Ethernet interface, in boots under Xen only. Pure: Network -> files.

Nothing that is in effect natively is touched: what is added here waits for a word on the kernel's command
line that only the boots of Xenable's slots have. So the way back from a bridge that locks everybody out is
that of every trial: a reset. One file for each program that configures interfaces.
"""

from __future__ import annotations

import re

from xenable.errors import XenableError
from xenable.machine import Network
from xenable.network.bridge import ifupdown, networkd, networkmanager
from xenable.network.bridge.base import File, Made, Unfit

__all__ = ["File", "Made", "make_bridge"]


def make_bridge(network: Network, port: str, bridge: str) -> Made:
    """What makes a bridge of a port, with the port's addresses. Errors: XenableError where it can't be."""
    try:
        return _make(network, port, bridge)
    except Unfit as e:
        raise XenableError(f"cannot make the bridge {bridge} of {port}: {e.reason}", hint=e.hint) from e


def _make(network: Network, port: str, bridge: str) -> Made:
    # They go into commands of sh, and a dot in one would make ifupdown look for a VLAN.
    for name in (port, bridge):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,14}", name) or name in ("all", "default", "lo"):
            raise Unfit(f"{name} is no name for it: letters, digits, _ and - are possible, a letter first")
    if bridge.startswith(("vif", "tap")):
        raise Unfit("names that begin with vif or tap are for the interfaces of guests")
    if not network.known:
        raise Unfit("interfaces and routes could not be read")
    found = {i.name: i for i in network.interfaces}
    if port not in found:
        raise Unfit(f"there is no interface {port}")
    if bridge in found:
        raise Unfit(f"there is an interface {bridge} already (kind: {found[bridge].kind})")
    interface = found[port]
    if interface.kind != "physical":
        raise Unfit(f"{port} is no Ethernet card (kind: {interface.kind})")
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", interface.mac, re.IGNORECASE):
        raise Unfit(f"{port} has no MAC address of Ethernet")
    configs = tuple(c for c in network.configs if c.interface == port)
    match interface.manager:
        case "ifupdown":
            return ifupdown.make(configs, port, bridge)
        case "networkd" | "netplan":
            return networkd.make(configs, port, bridge, interface.mac)
        case "networkmanager":
            return networkmanager.make(configs, port, bridge, interface.mac)
    raise Unfit(f"nothing that Xenable knows configures {port}")
