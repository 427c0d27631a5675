# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets out of text, and other names for what identifies a machine on the net.

Passwords, keys and tokens become REDACTED. Hardware addresses and public IP addresses get made-up ones, the
same for the same in everything that one Redactor sees, so that a log can still be followed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

REDACTED = "REDACTED"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        "",
    ),
    (re.compile(r"\b((?:ssh|ecdsa|sk)-[a-z0-9@.-]+ )AAAA[A-Za-z0-9+/=]+"), r"\1"),
    (re.compile(r"grub\.pbkdf2\.[\w.]+"), ""),
    (re.compile(r"(^\s*(?:password|password_pbkdf2)\s+\S+\s+).+$", re.M), r"\1"),
    # crypt(5) hashes, as in /etc/shadow and cloud-init's log.
    (re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy)\$[^\s:\"']+"), ""),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.I), r"\1"),
    (re.compile(r"(\bauthorization:\s*(?:\w+\s+)?)[^\s\"',]+", re.I), r"\1"),
    # `name=value` and `name: value` whose name says that the value is a secret: kernel command lines, logs.
    (
        re.compile(
            r"(?<![\w.@-])"
            r"([\w.@-]*(?:passw|passphrase|secret|token|credential|apikey|psk|(?:(?<![a-z])|crypt|luks)key(?![a-z]))"
            r"[\w.@-]*[\"']?\s*(?:=\s*|:\s+))"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)",
            re.I,
        ),
        r"\1",
    ),
)

_MAC = re.compile(r"(?<![0-9a-f:-])[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![0-9a-f:-])", re.I)
# As a DHCP client's identifier it has the kind of hardware before it, 01 for Ethernet.
_CLIENT_ID = re.compile(
    r"(?<![0-9a-f:-])(01([:-]))([0-9a-f]{2}\2(?:[0-9a-f]{2}\2){4}[0-9a-f]{2})(?![0-9a-f:-])", re.I
)
_BARE_MAC = re.compile(r"(\benx|\bMAC\()([0-9a-f]{12})(?![0-9a-f])", re.I)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:]|\.\d)", re.I)

_NO_HARDWARE = ("000000000000", "ffffffffffff")


@dataclass
class Redactor:
    """Remembers which made-up address stands for which real one."""

    _macs: dict[str, int] = field(default_factory=dict)
    _prefixes: dict[bytes, int] = field(default_factory=dict)
    _hosts: dict[IPv6Address, int] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Text that may be shown to strangers."""
        for pattern, kept in _SECRETS:
            text = pattern.sub(kept + REDACTED, text)
        text = _BARE_MAC.sub(lambda m: m[1] + self._mac(m[2], ""), text)
        text = _CLIENT_ID.sub(lambda m: m[1] + self._mac(m[3], m[2]), text)
        text = _MAC.sub(lambda m: self._mac(m[0], m[1]), text)
        text = _IPV4.sub(lambda m: self._ipv4(m[0]), text)
        return _IPV6.sub(lambda m: self._ipv6(m[0]), text)

    def value(self, value: Any) -> Any:
        """JSON with every text in it (not the names of fields) made fit to be shown."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def _mac(self, text: str, separator: str) -> str:
        plain = text.replace(separator, "").lower() if separator else text.lower()
        # 02 is the "locally administered" bit: no maker owns such an address.
        if plain in _NO_HARDWARE or plain.startswith("02000000"):
            return text
        number = self._macs.setdefault(plain, len(self._macs) + 1)
        made_up = f"02000000{number:04x}"
        return separator.join(made_up[i : i + 2] for i in range(0, 12, 2))

    def _ipv4(self, text: str) -> str:
        try:
            address = IPv4Address(text)
        except AddressValueError:
            return text
        if not address.is_global or address.is_multicast:
            return text
        # The last number stays, so that one can see who is in one network with whom. RFC 2544's range.
        number = self._prefixes.setdefault(address.packed[:3], len(self._prefixes))
        return f"198.{18 + (number >> 8) % 2}.{number & 255}.{address.packed[3]}"

    def _ipv6(self, text: str) -> str:
        try:
            address = IPv6Address(text)
        except AddressValueError:
            return text
        if address.ipv4_mapped is not None:
            inner = str(address.ipv4_mapped)
            other = self._ipv4(inner)
            return text if other == inner else f"::ffff:{other}"
        if address.is_link_local:
            if int(address) & 0xFFFF_FFFF_FFFF_FFFF < 0x10000:
                return text
            # Its lower half may be made of the hardware address.
            return f"fe80::{self._hosts.setdefault(address, len(self._hosts) + 1):x}"
        if not address.is_global or address.is_multicast:
            return text
        number = self._prefixes.setdefault(address.packed[:8], len(self._prefixes))
        if not any(address.packed[8:]):
            return f"2001:db8:0:{number:x}::"
        return f"2001:db8:0:{number:x}::{self._hosts.setdefault(address, len(self._hosts) + 1):x}"
