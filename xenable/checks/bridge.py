# SPDX-License-Identifier: GPL-2.0-or-later
"""Is there a bridge for guests, or can one be made?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, words
from xenable.config import Config
from xenable.errors import XenableError
from xenable.machine import Facts
from xenable.model import Finding, Severity
from xenable.network.bridge import Made, make_bridge
from xenable.network.effective import Mode

NO_BRIDGE = Rule(
    id="network/no-bridge",
    severity=Severity.BLOCKER,
    title="The bridge for guests is not there",
    why="With `guest-mode = bridge` no guest could start.",
    remedy="Set `guest-bridge-port` to the Ethernet interface of which one is to be made under Xen. "
    "Or make a bridge first, or set `guest-mode = nat`.",
)
BRIDGE_PORT = Rule(
    id="network/bridge-port",
    severity=Severity.BLOCKER,
    title="The bridge for guests can't be made of that interface",
    why="The bridge takes over what configures the interface, as a whole or not at all.",
    remedy="Change what is in the way, name another interface in `guest-bridge-port`, make a bridge "
    "yourself, or set `guest-mode = nat`.",
)
BRIDGED = Rule(
    id="network/bridged",
    severity=Severity.WARNING,
    title="Guests will be on the network of a bridge",
    why="Each has a MAC address of its own there. Some providers block those they do not know, or the whole "
    "machine with them.",
    remedy="On a rented machine, ask first whether more MAC addresses are allowed, or set "
    "`guest-mode = nat`.",
)
BRIDGE_NOT_USED = Rule(
    id="network/bridge-not-used",
    severity=Severity.WARNING,
    title="A bridge is set that guests will not use",
    why="`guest-bridge` has a meaning with `guest-mode = bridge` only.",
    remedy="Set `guest-mode = bridge`, or take `guest-bridge` out.",
)
PORT_NOT_USED = Rule(
    id="network/bridge-port-not-used",
    severity=Severity.WARNING,
    title="An interface is set of which no bridge will be made",
    why="`guest-bridge-port` has a meaning with `guest-mode = bridge`, for a bridge that is not there yet.",
    remedy="Nothing to do if that is as it should be; `guest-bridge-port` can be taken out.",
)

RULES = (NO_BRIDGE, BRIDGE_PORT, BRIDGED, BRIDGE_NOT_USED, PORT_NOT_USED)


def check_bridge(facts: Facts, config: Config) -> Iterator[Finding]:
    name, port = config.guest_bridge, config.guest_bridge_port
    mode = config.guest_mode
    if mode is not Mode.BRIDGE:
        if name:
            yield BRIDGE_NOT_USED.found(f"`guest-bridge` is {name}, and `guest-mode` is {mode}.")
        if port:
            yield PORT_NOT_USED.found(f"`guest-bridge-port` is {port}, and `guest-mode` is {mode}.")
        return
    if name and port and facts.conversion.state != "none":
        # Once converted, the bridge that is there, or not, is ours.
        yield BRIDGED.found(f"`guest-mode` is bridge, on {name}.")
        return
    try:
        made = bridge_of(facts, config)
    except XenableError as e:
        yield BRIDGE_PORT.found(f"{e.message[0].upper()}{e.message[1:]}.", _sentence(e.hint))
        return
    missing = "" if made else _missing_bridge(facts, name)
    if missing and port and not name:
        yield NO_BRIDGE.found(missing, f"Set `guest-bridge` to a name for the bridge of {port}, as br0.")
        return
    if missing:
        bridges = [i.name for i in facts.network.interfaces if i.kind == "bridge"]
        one = f"Set `guest-bridge` to one that is there, as {words(bridges)}, or `guest-mode = nat`."
        yield NO_BRIDGE.found(missing, one if bridges else "")
        return
    told = f", which is made of {port} under Xen" if made else ""
    yield BRIDGED.found(f"`guest-mode` is bridge, on {name}{told}.")
    if port and not made:
        yield PORT_NOT_USED.found(f"There is a bridge {name} already.")


def bridge_of(facts: Facts, config: Config) -> Made | None:
    """The bridge that is to be made; None where none is. Errors: XenableError where it can't be."""
    name, port = config.guest_bridge, config.guest_bridge_port
    there = any(i.name == name and i.kind == "bridge" for i in facts.network.interfaces)
    if config.guest_mode is not Mode.BRIDGE or not name or not port or there:
        return None
    if name == config.guest_interface:
        # The programs that configure the network are told to leave that one alone.
        raise XenableError(
            f"cannot make the bridge {name} of {port}: dom0's interface for guests is called {name}",
            hint="choose another name for `guest-bridge`",
        )
    return make_bridge(facts.network, port, name)


def _sentence(hint: str) -> str:
    return f"{hint[0].upper()}{hint[1:]}." if hint else ""


def _missing_bridge(facts: Facts, name: str) -> str:
    """What is wrong with the bridge; empty when nothing is, or nobody can tell."""
    if not name:
        return "`guest-bridge` is not set."
    found = next((i for i in facts.network.interfaces if i.name == name), None)
    if found is None:
        return f"There is no interface {name}." if facts.network.known else ""
    return "" if found.kind == "bridge" else f"{name} is no bridge (kind: {found.kind})."
