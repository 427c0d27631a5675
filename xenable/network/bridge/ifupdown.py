# SPDX-License-Identifier: GPL-2.0-or-later
"""ifupdown: a copy of its file in which a bridge has the port's place, mounted over it under Xen. Pure.

interfaces(5) says what such a file may have in it. What is not understood is refused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from xenable.machine import InterfaceConfig
from xenable.network.bridge.base import (
    HIDDEN,
    KERNEL_WORD,
    MTU,
    File,
    Made,
    Unfit,
    mentions,
    quoted,
    readable,
)

COPIES = "/etc/xenable/bridge"
UNITS = "/etc/systemd/system"

OPTIONS = frozenset(
    (
        *("address", "netmask", "network", "broadcast", "gateway", "metric", "pointopoint", "mtu", "scope"),
        *("hostname", "leasetime", "leasehours", "vendor", "client", "dhcp", "request_prefix"),
        *("accept_ra", "autoconf", "dad-attempts", "dad-interval", "privext", "preferred-lifetime"),
        *("pre-up", "up", "post-up", "down", "pre-down", "post-down"),
    )
)
"""Of a stanza of the port: what means the same for a bridge. And everything that begins with dns-."""

METHODS = {"inet": ("static", "dhcp", "manual"), "inet6": ("auto", "static", "dhcp", "manual")}

BRINGS_UP = ("auto", "allow-auto", "allow-hotplug")

STANZAS = ("iface", "mapping", "source", "source-directory", "rename", "no-auto-down", "no-scripts")
"""Words that begin a stanza, with auto and all that begins with allow-."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    raw: str
    """As it is written, with the lines that a backslash joins to it."""
    words: tuple[str, ...]
    """As ifupdown reads it; empty for a comment."""


@dataclass(kw_only=True)
class _Seen:
    """What the port's stanzas have in them."""

    brought_up: bool = False
    dhcp: bool = False
    mtu: int = 0


def make(configs: tuple[InterfaceConfig, ...], port: str, bridge: str) -> Made:
    """configs: every file of ifupdown. Errors: Unfit."""
    for config in configs:
        readable(config)
    lines = {c.file: tuple(_lines(c)) for c in configs}
    own = [file for file, found in lines.items() if any(line.words[:2] == ("iface", port) for line in found)]
    if not own:
        raise Unfit(f"there is no `iface {port}` stanza")
    if len(own) > 1:
        raise Unfit(f"its `iface` stanzas are in several files: {', '.join(own)}")
    (file,) = own
    # Its name goes into a unit, where spaces and % mean something.
    if not re.fullmatch(r"/etc/network/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", file) or ".." in file.split("/"):
        raise Unfit(f"{file} is not in /etc/network")
    seen = _Seen()
    for other, found in lines.items():
        if other != file:
            for line in found:
                _top(other, line, port, bridge, seen)
    text = _transformed(file, lines[file], port, bridge, seen)
    if not seen.brought_up:
        raise Unfit(f"no `auto` or `allow-hotplug` line in its file brings {port} up")
    copy = f"{COPIES}/{PurePosixPath(file).name}"
    unit = mount_unit(file)
    return Made(
        files=(File(path=copy, text=text), File(path=f"{UNITS}/{unit}", text=_unit(copy, file, bridge))),
        unit=unit,
    )


def mount_unit(path: str) -> str:
    """The name of the unit that mounts something at an absolute path: systemd.unit(5), systemd-escape(1)."""

    def escaped(index: int, char: str) -> str:
        if char == "/":
            return "-"
        plain = re.fullmatch(r"[A-Za-z0-9:_.]", char) and not (index == 0 and char == ".")
        return char if plain else "".join(f"\\x{byte:02x}" for byte in char.encode())

    inner = "/".join(part for part in path.split("/") if part)
    return ("".join(escaped(n, c) for n, c in enumerate(inner)) or "-") + ".mount"


def _lines(config: InterfaceConfig) -> Iterator[_Line]:
    """Errors: Unfit for a line of which it is not clear where it ends."""
    raw = joined = ""
    for line in config.text.removesuffix("\n").split("\n"):
        raw += line + "\n"
        if not joined and line.lstrip(" \t").startswith("#"):
            yield _Line(raw=raw, words=())
            raw = ""
            continue
        if line.endswith("\\\\"):
            raise Unfit(f"{config.file} has a line that is not understood: {quoted(line)}")
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        yield _Line(raw=raw, words=tuple(re.findall(r"[^ \t\r\f\v]+", joined + line)))
        raw = joined = ""
    if raw:
        raise Unfit(f"{config.file} ends within a line: {quoted(raw)}")


def _begins(line: _Line) -> bool:
    """Whether it begins a stanza."""
    return bool(line.words) and (
        line.words[0] in STANZAS or line.words[0] == "auto" or line.words[0].startswith("allow-")
    )


def _transformed(file: str, lines: tuple[_Line, ...], port: str, bridge: str, seen: _Seen) -> str:
    text: list[str] = []
    place = 0
    ours = False
    for line in lines:
        if _begins(line):
            ours = line.words[:2] == ("iface", port)
            if ours:
                place = place or len(text) + 1
                text.append(_header(file, line, port, bridge, seen))
                continue
        if ours:
            _option(file, line, port, bridge, seen)
        else:
            _top(file, line, port, bridge, seen)
        if line.words[1:] == (HIDDEN,):
            raise Unfit(f"{file} has a secret in it, which a copy would spread: {quoted(line.raw)}")
        text.append(line.raw)
    text.insert(place - 1, _port_stanza(port, bridge, seen))
    return "".join(text)


def _header(file: str, line: _Line, port: str, bridge: str, seen: _Seen) -> str:
    family, method = line.words[2:] if len(line.words) == 4 else ("", "")
    if method not in METHODS.get(family, ()):
        raise _not_understood(file, line)
    seen.dhcp = seen.dhcp or method == "dhcp"
    return f"iface {bridge} {family} {method}\n"


def _option(file: str, line: _Line, port: str, bridge: str, seen: _Seen) -> None:
    if not line.words:
        return
    key = line.words[0]
    if key not in OPTIONS and not key.startswith("dns-"):
        raise _not_understood(file, line)
    _names_neither(file, line, port, bridge)
    if any(mentions("IFACE", word) for word in line.words):
        # In a command it is the interface of the stanza, which a setting of the card is not for.
        raise _not_understood(file, line)
    if key == "mtu":
        value = "".join(line.words[1:])
        if not MTU.fullmatch(value):
            raise _not_understood(file, line)
        seen.mtu = max(seen.mtu, int(value))


def _top(file: str, line: _Line, port: str, bridge: str, seen: _Seen) -> None:
    """A line that does not belong to a stanza of the port's."""
    if not line.words:
        return
    if line.words[0] in BRINGS_UP:
        seen.brought_up = seen.brought_up or port in line.words[1:]
        line = _Line(raw=line.raw, words=tuple(word for word in line.words if word != port))
    if line.words[0] == "mapping" and any(
        fnmatch.fnmatchcase(name, pattern) for pattern in line.words[1:] for name in (port, bridge)
    ):
        raise _not_understood(file, line)
    _names_neither(file, line, port, bridge)


def _names_neither(file: str, line: _Line, port: str, bridge: str) -> None:
    for name in (port, bridge):
        if any(mentions(name, word) for word in line.words):
            raise Unfit(f"{file} names {name} where a bridge would change the meaning: {quoted(line.raw)}")


def _not_understood(file: str, line: _Line) -> Unfit:
    return Unfit(f"{file} has a line that can't be carried over to a bridge: {quoted(line.raw)}")


def _port_stanza(port: str, bridge: str, seen: _Seen) -> str:
    """The bridge is made with its port, and goes with it: `auto` and `allow-hotplug` keep their meaning."""
    leases = "/var/lib/dhcp/dhclient"
    lines = [
        f"iface {port} inet manual",
        *((f"    mtu {seen.mtu}",) if seen.mtu else ()),
        f"    pre-up ip link add name {bridge} address $(cat /sys/class/net/$IFACE/address) "
        "type bridge forward_delay 0",
        "    pre-up echo 1 >/proc/sys/net/ipv6/conf/$IFACE/disable_ipv6 || true",
        # dhclient keeps by interface what it calls itself, and by that a server knows whose address it is.
        *(
            (
                f"    pre-up [ ! -s {leases}.$IFACE.leases ] || [ -e {leases}.{bridge}.leases ] || "
                f"grep ^default-duid {leases}.$IFACE.leases >{leases}.{bridge}.leases || true",
            )
            if seen.dhcp
            else ()
        ),
        f"    up ip link set dev $IFACE master {bridge} up",
        f"    up ifup {bridge}",
        f"    down ifdown {bridge}",
        f"    post-down ip link del dev {bridge}",
        "    post-down cat /proc/sys/net/ipv6/conf/default/disable_ipv6 "
        ">/proc/sys/net/ipv6/conf/$IFACE/disable_ipv6 || true",
    ]
    return "\n".join(lines) + "\n\n"


def _unit(copy: str, file: str, bridge: str) -> str:
    # Read-only: an edit under Xen would go into the copy, and be missing natively.
    return f"""\
# {bridge} is there only in boots under Xen from Xenable's slots, which have this word on
# their command line. Natively nothing is mounted, and {file} is what it is.
[Unit]
Description=Configuration of the network with {bridge}, under Xen
ConditionKernelCommandLine={KERNEL_WORD}
DefaultDependencies=no
Conflicts=umount.target
Before=systemd-udev-trigger.service networking.service network-pre.target sysinit.target umount.target

[Mount]
What={copy}
Where={file}
Type=none
Options=bind,ro

[Install]
WantedBy=sysinit.target
"""
