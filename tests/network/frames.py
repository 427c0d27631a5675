# SPDX-License-Identifier: GPL-2.0-or-later
"""Ethernet frames, byte by byte: what a guest may send, and what it may not."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

BROADCAST = "ff:ff:ff:ff:ff:ff"
IP, ARP, IP6, VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
UDP, ICMP6, IGMP = 17, 58, 2
ROUTER_SOLICIT, ROUTER_ADVERT, SOLICIT, ADVERT, REDIRECT = 133, 134, 135, 136, 137
MLD_REPORT, MLD2_REPORT = 131, 143


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(source: str, kind: int, payload: bytes, to: str = "fe:ff:ff:ff:ff:ff") -> bytes:
    return (mac(to) + mac(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def vlan(source: str, tag: int, kind: int, payload: bytes) -> bytes:
    return ether(source, VLAN, struct.pack("!HH", tag, kind) + payload)


def arp(operation: int, hardware: str, source: str, target: str) -> bytes:
    head = struct.pack("!HHBBH", 1, IP, 6, 4, operation)
    return head + mac(hardware) + IPv4Address(source).packed + bytes(6) + IPv4Address(target).packed


def ip(source: str, to: str, protocol: int = UDP, payload: bytes = b"", fragment: int = 0) -> bytes:
    total = 20 + len(payload)
    addresses = IPv4Address(source).packed + IPv4Address(to).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 1, fragment, 64, protocol, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source: int, to: int, payload: bytes = b"hello") -> bytes:
    return struct.pack("!HHHH", source, to, 8 + len(payload), 0) + payload


def ip6(source: str, to: str, following: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, 255)
    return head + IPv6Address(source).packed + IPv6Address(to).packed + payload


def hop_by_hop(following: int, payload: bytes) -> bytes:
    """The extension header that a packet may have in between: here a router alert, as MLD has it."""
    return struct.pack("!BBHHH", following, 0, 0x0502, 0, 0x0100) + payload


def icmp6(source: str, to: str, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = IPv6Address(source).packed + IPv6Address(to).packed + struct.pack("!II", len(message), ICMP6)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def neighbour(source: str, to: str, kind: int, about: str, hardware: str = "") -> bytes:
    """A solicitation (135) or an advertisement (136) about an address, with the link-layer option."""
    flags = struct.pack("!I", 0x60000000 if kind == ADVERT else 0)
    option = struct.pack("!BB", 2 if kind == ADVERT else 1, 1) + mac(hardware) if hardware else b""
    return ip6(source, to, ICMP6, icmp6(source, to, kind, flags + IPv6Address(about).packed + option))


def message(source: str, to: str, kind: int, body: bytes = bytes(20)) -> bytes:
    return ip6(source, to, ICMP6, icmp6(source, to, kind, body))


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
