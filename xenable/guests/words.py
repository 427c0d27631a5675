# SPDX-License-Identifier: GPL-2.0-or-later
"""What people may write: each function takes a text and returns its value.

What it returns can be written into xl.cfg, a file name, a command or YAML as it is.
Errors: ValueError, whose text says what is needed instead.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path

from xenable.config import number

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_ANY_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*")
PATH = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+")
"""No comma, colon, quote, blank or backslash: they mean something to xl.cfg, to disk strings or to QEMU."""
_WRITTEN_PATH = re.compile(r"[A-Za-z0-9._+@/-]*[A-Za-z0-9._+@-]/*")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""Of a bridge: as the kernel takes it, without what shells and xl take for something else."""
KERNEL_ARGUMENTS = re.compile(r"[A-Za-z0-9 ._=,:/@+-]*")
RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""Code name, or the file name of an image."""

RESERVED = frozenset(
    ("dom0", "domain-0", "localhost", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters")
)
"""Names that dom0, and every hosts file, has already."""

MIB = 1 << 20
_UNITS = {"M": MIB, "G": 1 << 30, "T": 1 << 40}

LEAST_MEMORY, MOST_MEMORY = 64, 1 << 20
"""MiB; the settings of dom0 end there too."""
LEAST_DISK, MOST_DISK = 256 * MIB, 16 << 40
"""Bytes; ext4 with blocks of 4 KiB and 32-bit numbers ends at 16 TiB, as resize2fs may."""
MOST_VCPUS = 128
"""HVM_MAX_VCPUS of Xen, which is also the limit of PVH."""


def guest_name(text: str) -> str:
    """Name of a guest: a host name without dots, and never digits only, which xl takes for a domain's id."""
    if not NAME.fullmatch(text) or text.endswith("-"):
        raise ValueError(
            "lower-case letters, digits and hyphens are needed: a letter first, no hyphen last, "
            "at most 31 of them"
        )
    if text in RESERVED:
        raise ValueError("another name is needed: this one means dom0 or this machine")
    return text


def any_name(text: str) -> str:
    """Name of a guest by whomever, who may be more liberal; it never leads to another folder."""
    if not _ANY_NAME.fullmatch(text):
        raise ValueError("letters, digits and . _ + - are needed, and no dot first")
    return text


def _size(text: str, low: int, high: int, example: str) -> int:
    """Bytes."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and len(number) < 9):
        raise ValueError(f"a whole number and M, G or T is needed, as in {example}")
    value = int(number) * _UNITS[unit]
    if not low <= value <= high:
        raise ValueError(f"a size from {show_size(low)} to {show_size(high)} is needed")
    return value


def show_size(size: int) -> str:
    """Bytes as these functions take them: 4G; rounded up to whole MiB."""
    for unit in "TG":
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{-(-size // MIB)}M"


def memory(text: str) -> int:
    """Memory of a guest in MiB: 512M, 4G."""
    return _size(text, LEAST_MEMORY * MIB, MOST_MEMORY * MIB, "512M or 4G") // MIB


def disk(text: str) -> int:
    """Size of a disk in bytes: 4G, 1T."""
    return _size(text, LEAST_DISK, MOST_DISK, "10G or 512M")


def vcpus(text: str) -> int:
    return number(text, 1, MOST_VCPUS)


# ----------------------------------------------------------------------------------------------- releases


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that an image can be made of, and what that takes."""

    codename: str
    distribution: str
    """debian or ubuntu."""
    version: str
    keyring: str
    """File that its archive is verified with; in the package of the same name."""
    components: tuple[str, ...]
    kernel: str
    """Package of a kernel that runs as a guest of Xen."""


def _debian(codename: str, version: str) -> Release:
    return Release(
        codename=codename,
        distribution="debian",
        version=version,
        keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
        components=("main",),
        # Made from the same source as the ordinary one, without the drivers of real machines.
        kernel="linux-image-cloud-amd64",
    )


def _ubuntu(codename: str, version: str) -> Release:
    return Release(
        codename=codename,
        distribution="ubuntu",
        version=version,
        keyring="/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        components=("main", "universe"),
        kernel="linux-image-virtual",
    )


RELEASES = (
    _debian("bookworm", "12"),
    _debian("trixie", "13"),
    _ubuntu("jammy", "22.04"),
    _ubuntu("noble", "24.04"),
    _ubuntu("resolute", "26.04"),
)


def release(text: str) -> Release:
    """A release by its code name."""
    for known in RELEASES:
        if known.codename == text:
            return known
    for known in RELEASES:
        if known.version == text:
            raise ValueError(f"the code name is needed: {known.codename}")
    raise ValueError("one of these is needed: " + ", ".join(known.codename for known in RELEASES))


# ------------------------------------------------------------------------------------------------ ssh keys

# Fields of the blob after its type, each with its length or None: PROTOCOL and PROTOCOL.u2f of OpenSSH,
# RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4.
_KEY_FIELDS: dict[str, tuple[int | None, ...]] = {
    "ssh-ed25519": (32,),
    "ecdsa-sha2-nistp256": (8, 65),
    "ecdsa-sha2-nistp384": (8, 97),
    "ecdsa-sha2-nistp521": (8, 133),
    "ssh-rsa": (None, None),
    "sk-ssh-ed25519@openssh.com": (32, None),
    "sk-ecdsa-sha2-nistp256@openssh.com": (8, 65, None),
}
_LEAST_RSA = 1024
"""Bits; sshd refuses less (RequiredRSASize)."""
_COMMENT = re.compile(r"[A-Za-z0-9 ._@+:=/()-]*")
_KEY = re.compile(r"([^\s]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?")


def ssh_key(text: str) -> str:
    """A public key as one line of authorized_keys, from the text of a .pub file, without a newline.

    A comment that is not plain is left out: nothing needs it.
    """
    if "PRIVATE KEY" in text or text.startswith("PuTTY-User-Key-File"):
        raise ValueError(
            "this is a private key, which nobody but you may have: the public one is needed, "
            "in the file of the same name with .pub"
        )
    lines = [line for line in text.splitlines() if line.strip()]
    if text.startswith("---- BEGIN SSH2 PUBLIC KEY"):
        raise ValueError("a key in the form of OpenSSH is needed: ssh-keygen -i -f FILE prints it so")
    if len(lines) != 1:
        raise ValueError(f"one line with one public key is needed, not {len(lines)} lines")
    found = _KEY.fullmatch(lines[0].strip(" \t"))
    kind = lines[0].split()[0]
    if kind not in _KEY_FIELDS:
        if "-cert-v01@" in kind:
            raise ValueError("the key itself is needed, not its certificate")
        raise ValueError("a public key is needed, without options, that begins with " + _kinds())
    if found is None:
        raise ValueError(f"{kind} has to be followed by the key in base64, and by nothing but a comment")
    _check_blob(kind, found[2])
    comment = (found[3] or "").strip()
    return f"{kind} {found[2]}" + (f" {comment}" if comment and _COMMENT.fullmatch(comment) else "")


def _kinds() -> str:
    names = list(_KEY_FIELDS)
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _check_blob(kind: str, encoded: str) -> None:
    damaged = "the key is damaged: was a part of it lost when it was copied?"
    try:
        fields = _fields(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as e:
        raise ValueError(damaged) from e
    wanted = _KEY_FIELDS[kind]
    if not fields or fields[0] != kind.encode():
        raise ValueError(f"the key is damaged: it says {kind}, and holds another kind of key")
    if len(fields) != len(wanted) + 1:
        raise ValueError(damaged)
    if any(n is not None and len(field) != n for field, n in zip(fields[1:], wanted, strict=True)):
        raise ValueError(damaged)
    if kind == "ssh-rsa" and int.from_bytes(fields[2], "big").bit_length() < _LEAST_RSA:
        raise ValueError(f"an RSA key of {_LEAST_RSA} bits and more is needed: sshd refuses shorter ones")


def _fields(blob: bytes) -> list[bytes]:
    """The strings of a key: each is four bytes of length, then that many. Errors: ValueError."""
    fields = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < max(end, 4):
            raise ValueError("cut off")
        fields.append(blob[4:end])
        blob = blob[end:]
    return fields


# ------------------------------------------------------------------------------ paths, mirrors, addresses


def path(text: str) -> Path:
    """A path as it was written: `Host.resolve` says where it leads. It need not be there."""
    if not text:
        raise ValueError("a path is needed")
    if not _WRITTEN_PATH.fullmatch(text):
        raise ValueError(f"a path of letters, digits and . _ + @ - is needed, not {text!r}")
    return Path(text)


_MIRROR = re.compile(
    r"(?:https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|file://)"
    r"(?:/[A-Za-z0-9._~%+=-]*)*"
)


def mirror(text: str) -> str:
    """Address of an archive of packages, without a slash at its end."""
    if "@" in text:
        raise ValueError("an address without a user's name is needed: it stays in the image")
    if not _MIRROR.fullmatch(text) or text.rstrip("/") in ("file:", "http:", "https:"):
        raise ValueError("an address that begins with http://, https:// or file:/// is needed")
    return text.rstrip("/")


_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def mac(text: str) -> str:
    """Hardware address in lower case."""
    low = text.lower()
    # lower() makes ASCII of two foreign letters.
    if not text.isascii() or not _MAC.fullmatch(low):
        raise ValueError("six pairs of hexadecimal digits with colons are needed, as in 00:16:3e:01:02:03")
    if int(low[:2], 16) & 1 or low == "00:00:00:00:00:00":
        raise ValueError("the address of one interface is needed; this one is for groups, or nobody's")
    return low


def ipv4(text: str) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except AddressValueError as e:
        raise ValueError("an IPv4 address is needed, as in 172.20.216.5") from e
    _check_host(address)
    return address


def ipv6(text: str) -> IPv6Address:
    try:
        if "%" in text:
            raise AddressValueError(text)
        address = IPv6Address(text)
    except AddressValueError as e:
        raise ValueError("an IPv6 address is needed, as in fd12:3456:789a:d8::5") from e
    _check_host(address)
    return address


def _check_host(address: IPv4Address | IPv6Address) -> None:
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        raise ValueError("an address of one machine is needed: this one is kept for something else")
    if isinstance(address, IPv4Address) and (address.is_reserved or address.packed[0] == 0):
        raise ValueError("an address of one machine is needed: this one is kept for something else")
