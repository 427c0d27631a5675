# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest network in effect: /etc/xenable/network.env, which the scripts of data/network read as well.

A line is `KEY=value`. The shell sources the file, so a value has no character that means something to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TypeVar

from xenable.errors import XenableError
from xenable.host import Host

PATH = Path("/etc/xenable/network.env")

GROUP = 30821
"""Device group of the interfaces that vif-xenable looks after: "xe"."""

HINT = "xenable apply has written that file: undo what was changed in it since"

T = TypeVar("T")

KEYS = (
    "MODE",
    "INTERFACE",
    "ADDRESS4",
    "NETWORK4",
    "ADDRESS6",
    "NETWORK6",
    "GROUP",
    "UPLINK",
    "BRIDGE",
)


class Mode(StrEnum):
    ROUTED = "routed"
    """Guests reach dom0, and each other where both may; nothing else."""
    NAT = "nat"
    """And the outside, behind dom0's address."""
    BRIDGE = "bridge"
    """Guests are on a bridge of the administrator's, and all of this leaves them alone."""


@dataclass(frozen=True, kw_only=True)
class GuestNet:
    mode: Mode
    interface: str
    """Dummy interface of dom0 that holds the addresses."""
    ipv4: IPv4Network
    ipv6: IPv6Network | None
    uplink: str = ""
    """With NAT the interface of the default route."""
    bridge: str = ""
    """With BRIDGE the bridge."""

    @property
    def address4(self) -> IPv4Address:
        """Of dom0: the first host."""
        return self.ipv4[1]

    @property
    def address6(self) -> IPv6Address | None:
        """Of dom0: the first host; None where there is no IPv6."""
        return None if self.ipv6 is None else self.ipv6[1]


def render(net: GuestNet) -> str:
    """The text of the file. Errors: XenableError when it could not be read back."""
    values = {
        "MODE": net.mode.value,
        "INTERFACE": net.interface,
        "ADDRESS4": str(net.address4),
        "NETWORK4": str(net.ipv4),
        "ADDRESS6": str(net.address6 or ""),
        "NETWORK6": str(net.ipv6 or ""),
        "GROUP": str(GROUP),
        "UPLINK": net.uplink,
        "BRIDGE": net.bridge,
    }
    text = "# Written by xenable: the network of guests that is in effect. Shell scripts source it.\n"
    text += "".join(f"{key}={values[key]}\n" for key in KEYS)
    parse(text)
    return text


def parse(text: str) -> GuestNet:
    """The network that such a text describes. Errors: XenableError that names the line."""
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or key not in KEYS:
            raise _error(number, f"{line!r} is none of its settings, which are {', '.join(KEYS)}")
        if key in values:
            raise _error(number, f"{key} is in line {lines[key]} already")
        if not re.fullmatch(r"[A-Za-z0-9./:_-]*", value):
            raise _error(
                number, f"{key} can't be {value!r}: only letters, digits and . / : _ - are possible"
            )
        values[key], lines[key] = value, number
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise XenableError(f"cannot read {PATH}: {missing[0]} is missing", hint=HINT)

    def take(key: str, reader: Callable[[str], T]) -> T:
        try:
            return reader(values[key])
        except ValueError as e:
            raise _error(lines[key], f"{key} can't be {values[key]!r}: {e}") from e

    net = GuestNet(
        mode=take("MODE", _mode),
        interface=take("INTERFACE", _interface),
        ipv4=take("NETWORK4", _network4),
        ipv6=take("NETWORK6", lambda value: _network6(value) if value else None),
        uplink=take("UPLINK", lambda value: _interface(value) if value else ""),
        bridge=take("BRIDGE", lambda value: _interface(value) if value else ""),
    )
    wanted = {"ADDRESS4": str(net.address4), "ADDRESS6": str(net.address6 or ""), "GROUP": str(GROUP)}
    for key, value in wanted.items():
        if values[key] != value:
            raise _error(lines[key], f"{key} has to be {value or 'empty'}, not {values[key]!r}")
    for mode, key in ((Mode.NAT, "UPLINK"), (Mode.BRIDGE, "BRIDGE")):
        if net.mode == mode and not values[key]:
            raise _error(lines[key], f"with MODE={mode} {key} is needed")
    return net


def read_effective(host: Host) -> GuestNet:
    """The network in effect. Errors: XenableError when the machine has none, or the file can't be read."""
    if not host.exists(PATH):
        raise XenableError(
            "cannot use the guest network: this machine is not converted",
            hint="convert it first: sudo xenable apply",
        )
    return parse(host.text(PATH))


def _error(number: int, why: str) -> XenableError:
    return XenableError(f"cannot read {PATH}: line {number}: {why}", hint=HINT)


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError as e:
        raise ValueError(f"it is one of {', '.join(Mode)}") from e


def _interface(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}", text):
        raise ValueError("that is no name of an interface")
    return text


def _network4(text: str) -> IPv4Network:
    network = IPv4Network(text)
    if str(network) != text or not 8 <= network.prefixlen <= 29:
        raise ValueError("a network with a prefix length from /8 to /29 is needed")
    return network


def _network6(text: str) -> IPv6Network:
    network = IPv6Network(text)
    if str(network) != text or network.prefixlen != 64:
        raise ValueError("a network with the prefix length /64 is needed")
    return network
