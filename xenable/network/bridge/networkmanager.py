# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager: two profiles that match under Xen only, and go before the one of now. Pure.

nm-settings-keyfile(5) says what the sections mean.
"""

from __future__ import annotations

import re
import uuid

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

FOLDER = "/etc/NetworkManager/system-connections"
BRIDGE = "xenable-bridge.nmconnection"
PORT = "xenable-port.nmconnection"
PRIORITY = 100
"""The profile of now has 0, if nobody has changed it."""

NAMES = {"802-3-ethernet": "ethernet"}
"""Older names of sections."""

NO_MATTER = ("user", "match")
"""Sections without a meaning for a bridge: notes of programs, and which interface was meant."""

TO_BRIDGE = ("zone", "metered", "mdns", "llmnr", "dns-over-tls", "stable-id")
CONNECTION_KEYS = frozenset(
    (
        *("id", "uuid", "type", "interface-name", "timestamp", "permissions", "wait-device-timeout"),
        *("autoconnect", "autoconnect-priority", "autoconnect-retries", "lldp"),
        *TO_BRIDGE,
    )
)
TO_PORT = ("mtu", "auto-negotiate", "speed", "duplex", "wake-on-lan")
ETHERNET_KEYS = frozenset(
    ("mac-address", "mac-address-blacklist", "mac-address-denylist", "cloned-mac-address", *TO_PORT)
)

# What is refused of keys that are known: with these values a bridge would have another address, or none.
REFUSED = {
    ("ipv4", "method"): ("shared",),
    ("ipv6", "method"): ("shared",),
    ("ipv4", "dhcp-client-id"): ("duid", "ipv6-duid", "perm-mac", "stable"),
    ("connection", "autoconnect"): ("false", "no", "0"),
}


def make(configs: tuple[InterfaceConfig, ...], port: str, bridge: str, mac: str) -> Made:
    """Errors: Unfit."""
    config = one_text(configs)
    found: dict[str, list[tuple[str, str]]] = {}
    for section in sections(config.text, config.file):
        name = NAMES.get(section.name, section.name)
        if name in NO_MATTER:
            continue
        if name not in ("connection", "ethernet", "ipv4", "ipv6"):
            raise Unfit(f"{config.file} has a section that can't be carried over to a bridge: [{name}]")
        _check(config.file, name, section, port, bridge)
        found.setdefault(name, []).extend(section.settings)
    connection, ethernet = found.get("connection", []), found.get("ethernet", [])
    match = render("match", [("kernel-command-line", f"{KERNEL_WORD};")])
    of_bridge = (
        render(
            "connection",
            [
                ("id", f"{bridge} (Xenable)"),
                ("uuid", _uuid("bridge", port, bridge)),
                ("type", "bridge"),
                ("interface-name", bridge),
                ("autoconnect-priority", str(PRIORITY)),
                *((key, value) for key, value in connection if key in TO_BRIDGE),
            ],
        ),
        match,
        render("bridge", [("mac-address", mac), ("stp", "false")]),
        *(render(name, found[name]) for name in ("ipv4", "ipv6") if name in found),
    )
    settings = [(key, value) for key, value in ethernet if key in TO_PORT]
    of_port = (
        render(
            "connection",
            [
                ("id", f"{port} (Xenable)"),
                ("uuid", _uuid("port", port, bridge)),
                ("type", "ethernet"),
                ("interface-name", port),
                ("master", bridge),
                ("slave-type", "bridge"),
                ("autoconnect-priority", str(PRIORITY)),
            ],
        ),
        match,
        *((render("ethernet", settings),) if settings else ()),
    )
    return Made(
        files=tuple(
            # NetworkManager ignores a profile that others may read.
            File(path=f"{FOLDER}/{name}", text="\n".join(parts), mode=0o600)
            for name, parts in ((BRIDGE, of_bridge), (PORT, of_port))
        )
    )


def _check(file: str, name: str, section: Section, port: str, bridge: str) -> None:
    known = {"connection": CONNECTION_KEYS, "ethernet": ETHERNET_KEYS}.get(name)
    for key, value in section.settings:
        if (known is not None and key not in known) or not _fits(name, key, value):
            line = quoted(f"{key}={value}")
            raise Unfit(f"{file} has a line that can't be carried over to a bridge: {line}")
        # In [connection] only the profile's own name for itself is left, and which interface it is for.
        for other in (port, bridge):
            if name != "connection" and mentions(other, value):
                line = quoted(f"{key}={value}")
                raise Unfit(f"{file} names {other} where a bridge would change the meaning: {line}")


def _fits(section: str, key: str, value: str) -> bool:
    if value.lower() in REFUSED.get((section, key), ()):
        return False
    match key:
        case "type":
            return value in ("ethernet", *NAMES)
        case "permissions":
            return not value
        case "autoconnect-priority":
            # Ours has to be higher.
            return re.fullmatch(r"-?[0-9]{1,4}", value) is not None and int(value) < PRIORITY
        case "cloned-mac-address":
            return value in ("", "preserve", "permanent")
        case "mtu":
            return value in ("", "0", "auto") or MTU.fullmatch(value) is not None
    return True


def _uuid(what: str, port: str, bridge: str) -> str:
    """The same at each plan, so that a plan can be compared with what is there."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"xenable:{what}:{port}:{bridge}"))
