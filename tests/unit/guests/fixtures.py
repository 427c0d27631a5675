# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests to test with, and hypothesis' idea of a guest that was let through."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

from xenable.guests.model import Boot, Format, Guest, Kind, Seed

UUID = "0d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55"


def make_guest(**changes: Any) -> Guest:
    fields: dict[str, Any] = {
        "name": "web1",
        "uuid": UUID,
        "kind": Kind.PVH,
        "memory": 512,
        "vcpus": 1,
        "disk_bytes": 4 << 30,
        "format": Format.QCOW2,
        "disk": "/var/lib/xenable/guests/web1/disk.qcow2",
        "seed": "/var/lib/xenable/guests/web1/seed.tar",
        "seed_kind": Seed.TAR,
        "mac": "00:16:3e:12:34:56",
        "ipv4": "172.20.216.5",
        "ipv6": "fd12:3456:789a:d8::5",
        "release": "trixie",
        "boot": Boot.GRUB,
        "isolate": True,
        "created": "2026-01-31T12:00:00Z",
    }
    return Guest(**(fields | changes))


BLOCK = {"kind": Kind.PV, "format": Format.BLOCK, "disk": "/dev/vg0/xenable-web1"}
BRIDGE = {"bridge": "br0", "ipv4": "", "ipv6": ""}
DIRECT = {
    "boot": Boot.DIRECT,
    "format": Format.RAW,
    "kernel": "/var/lib/xenable/images/trixie-amd64.vmlinuz",
    "initrd": "/var/lib/xenable/images/trixie-amd64.initrd",
    "arguments": "root=/dev/xvda ro console=hvc0",
    "ipv6": "",
}
CASES: dict[str, dict[str, Any]] = {
    "grub": {},
    "block-on-a-bridge": BLOCK | BRIDGE,
    "direct": DIRECT,
}


def blob(kind: str, *fields: bytes) -> bytes:
    return b"".join(len(f).to_bytes(4, "big") + f for f in (kind.encode(), *fields))


def key(kind: str = "ssh-ed25519", *fields: bytes, inner: str = "") -> str:
    """A public key without a comment."""
    data = blob(inner or kind, *(fields or (bytes(range(32)),)))
    return f"{kind} {base64.b64encode(data).decode()}"


_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?", fullmatch=True)
_PATHS = st.from_regex(r"(/[A-Za-z0-9._+@-]{1,12}){1,4}", fullmatch=True)


@st.composite
def guests(draw: st.DrawFn) -> Guest:
    """Any guest whose fields `words` lets through."""
    bridge = draw(st.sampled_from(["", "", "br0", "xenbr-1.5"]))
    octets = draw(st.lists(st.integers(0, 255), min_size=5, max_size=5))
    direct = draw(st.booleans())
    return make_guest(
        name=draw(_NAMES),
        uuid=str(draw(st.uuids())),
        kind=draw(st.sampled_from(Kind)),
        memory=draw(st.integers(64, 1 << 20)),
        vcpus=draw(st.integers(1, 128)),
        format=draw(st.sampled_from(Format)),
        disk=draw(_PATHS),
        seed=draw(_PATHS),
        seed_kind=draw(st.sampled_from(Seed)),
        mac=":".join(f"{n:02x}" for n in (0, *octets)),
        bridge=bridge,
        ipv4="" if bridge else str(IPv4Address(draw(st.integers(1 << 24, 0xDFFFFFFF)))),
        ipv6="" if bridge else draw(st.sampled_from(["", str(IPv6Address(0xFD << 120 | octets[0]))])),
        boot=Boot.DIRECT if direct else Boot.GRUB,
        kernel=draw(_PATHS) if direct else "",
        initrd=draw(st.one_of(st.just(""), _PATHS)) if direct else "",
        arguments=draw(st.from_regex(r"[A-Za-z0-9 ._=,:/@+-]*", fullmatch=True)) if direct else "",
    )
