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

_VALUE = r"""(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*'|(?P<quote>\\+["'])[^\n]*?(?P=quote)|\\*["'][^\n]*|[^\s"']+)"""
"""A word in quotes, in quotes of a text within a text, behind one that never ends, or without any."""

_NAME = r"(?<![\w.@-])([\w.@-]*"
_QUOTED = r"\\*[\"']\s*[:=]\s*"
"""What follows a name in JSON, where there need be no blank."""

_SECRET = r"(?:passw|passphrase|secret|token|credential|apikey|psk|(?:(?<![a-z])|crypt|luks)key(?![a-z]))"
"""In a name, it says that the value is a secret."""
_SHORT = r"(?:(?<!by)pass|pw|pwd|(?<!mon)(?<!hot)key)[0-9]*"
"""At the end of a name, the same; in prose such a word may well stand before a colon."""

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        "",
    ),
    (re.compile(r"\b((?:ssh|ecdsa|sk)-[a-z0-9@.-]+ )AAAA[A-Za-z0-9+/=]+"), r"\1"),
    (re.compile(r"grub\.pbkdf2\.[\w.]+"), ""),
    (re.compile(r"(^\s*(?:password|password_pbkdf2)\s+\S+\s+).+$", re.M), r"\1"),
    # ifupdown's, whose value goes to the end of the line.
    (
        re.compile(r"(\b(?:wpa|wireless)-(?!key-mgmt)[\w-]*(?:psk|key|passw|passphrase)[\w-]*[ \t]+).+"),
        r"\1",
    ),
    # crypt(5) hashes, as in /etc/shadow and cloud-init's log.
    (re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy)\$[^\s:\"']+"), ""),
    # Tokens that tell by themselves what they are, of GitHub, GitLab, Slack and AWS, and JSON web tokens.
    (re.compile(r"\b(?:gh[opsru]_|github_pat_|glpat-|xox[a-z]-)[\w-]{16,}|\bAKIA[0-9A-Z]{16}\b"), ""),
    (re.compile(r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*"), ""),
    # User and password before a host: up to the last @, for either may have one. A port is no password.
    (
        re.compile(
            r"(\b[a-z][a-z0-9+.-]*://)(?:[^\s/\"']{1,300}|[^\s/:@\"'\[]{1,300}:(?!\d+/)[^\s\"']{1,300})(?=@)",
            re.I,
        ),
        r"\1",
    ),
    (re.compile(r"(\b(?:net)?root=(?!zfs)[a-z]+:)[^\s\"']+(?=@)"), r"\1"),
    (re.compile(r"(\bauthorization:\s*(?:\w+\s+)?)[^\s\"',]+", re.I), r"\1"),
    (re.compile(r"(\b(?:set-)?cookie:[ \t]+)[^\n\"']+", re.I), r"\1"),
    # Options of commands: `--password SECRET`, `mysql -pSECRET`, `curl -u joe:SECRET`.
    (
        re.compile(
            r"((?<![\w-])--?+(?!ssh-key)[\w-]*(?:passwd|password|passphrase|secret|token|credentials?|psk|"
            rf"{_SHORT})[ \t]+)"
            rf"(?![-|;&<>]){_VALUE}",
            re.I,
        ),
        r"\1",
    ),
    (re.compile(rf"(\b(?:mysql|mariadb)[\w-]*\b[^\n|;]{{0,300}}?\s-p){_VALUE}"), r"\1"),
    (re.compile(rf"(\bsshpass\b[^\n|;]{{0,300}}?\s-p[ \t]*){_VALUE}"), r"\1"),
    (
        re.compile(
            r"((?:\bcurl\b[^\n|;]{0,300}?\s-[a-zA-Z]*[uU]|\s--(?:proxy-)?user[= ])\s*[\"']?"
            r"(?!\d+:\d+\b)[^\s:\"']+:)[^\s\"']+"
        ),
        r"\1",
    ),
    # `name=value` and `name: value` whose name says that the value is a secret: kernel command lines, logs.
    (
        re.compile(
            rf"{_NAME}{_SECRET}[\w.@-]*(?:{_QUOTED}|\s*(?:=[ \t]*|:\s+))){_VALUE}",
            re.I,
        ),
        r"\1",
    ),
    (re.compile(rf"{_NAME}{_SHORT}(?:{_QUOTED}|[ \t]*=[ \t]*)){_VALUE}", re.I), r"\1"),
    # As in YAML.
    (re.compile(rf"(^[ \t]*(?:-[ \t]+)?[\w.@-]*{_SHORT}:[ \t]+){_VALUE}", re.I | re.M), r"\1"),
)

# More than six numbers are a DHCP client's identifier, a DUID, InfiniBand's, or what a firewall logs. Before
# them may stand a name that ends in two digits: ifname=bond10:52:54:….
_OCTETS = re.compile(
    r"(?P<log>\bMAC=)?(?<![0-9a-f])(?<!(?<![0-9a-z])[0-9a-f]{2}[:-])"
    r"(?P<octets>[0-9a-f]{2}(?P<between>[:-])(?:[0-9a-f]{2}(?P=between)){4,}[0-9a-f]{2})(?![0-9a-f])",
    re.I,
)
_BARE_MAC = re.compile(r"(\b(?:en|wl|ww)x|\bMAC[(:])([0-9a-f]{12})(?![0-9a-f])", re.I)
# The node of a path to a network card, as efibootmgr prints it.
_EFI_MAC = re.compile(r"(\b03 0b 25 00 )([0-9a-f]{2}(?: [0-9a-f]{2}){5})\b", re.I)
_BARE_DUID = re.compile(r"(\bDUID[\w/-]*[\s:=]+(?:0x)?)([0-9a-f]{12,})\b", re.I)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:]|\.\d)", re.I)


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
        text = _BARE_DUID.sub(lambda m: m[1] + self._mac(m[2], ""), text)
        text = _EFI_MAC.sub(lambda m: m[1] + self._mac(m[2], " "), text)
        text = _OCTETS.sub(self._octets, text)
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

    def _octets(self, found: re.Match[str]) -> str:
        between, numbers = found["between"], found["octets"].split(found["between"])
        count = len(numbers)
        if found["log"] and count == 14:
            # Where to, where from, and the kind of packet.
            pair = (self._mac(between.join(part), between) for part in (numbers[:6], numbers[6:12]))
            return found["log"] + between.join([*pair, *numbers[12:]])
        # A DHCP client's identifier begins with the kind of hardware, 01 for Ethernet; a DUID made of the
        # address alone has 00:03 before it.
        kept = {7: 1, 10: 4}.get(count, 0)
        shown = [*numbers[:kept], self._mac(between.join(numbers[kept:]), between)]
        return (found["log"] or "") + between.join(shown)

    def _mac(self, text: str, separator: str) -> str:
        plain = text.replace(separator, "").lower() if separator else text.lower()
        # 02 is the "locally administered" bit: no maker owns such an address.
        if not plain.strip("0") or not plain.strip("f") or plain.startswith("02000000"):
            return text
        number = self._macs.setdefault(plain, len(self._macs) + 1)
        made_up = f"02{number:0{len(plain) - 2}x}"
        return separator.join(made_up[i : i + 2] for i in range(0, len(made_up), 2))

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
        if _OCTETS.fullmatch(text):
            return text
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
