# SPDX-License-Identifier: GPL-2.0-or-later
"""What people may write, and what they are told when they may not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.guests.fixtures import blob, key
from xenable.guests import words

VALIDATORS: tuple[Callable[[str], Any], ...] = (
    words.guest_name,
    words.memory,
    words.disk,
    words.vcpus,
    words.release,
    words.ssh_key,
    words.path,
    words.mirror,
    words.mac,
    words.ipv4,
    words.ipv6,
)
DANGEROUS = set("\0\n\r\t'\"\\`$;|&<>()[]{}*?!#")


@pytest.mark.parametrize("validate", VALIDATORS)
@given(text=st.text())
@example(text="")
@example(text="4G\n")
@example(text="web1\n")
@example(text="٣")
def test_no_text_raises_anything_else(validate: Callable[[str], Any], text: str) -> None:
    try:
        value = validate(text)
    except ValueError as e:
        assert str(e)
    else:
        # The comment of an ssh key may have brackets, and is in quotes wherever it goes.
        assert not DANGEROUS & set(str(value))


@given(st.one_of(st.text(max_size=40), st.text(alphabet="az09-.A_\n ", max_size=40)))
def test_a_name_is_a_host_name(text: str) -> None:
    try:
        name = words.guest_name(text)
    except ValueError:
        return
    assert name == text and name.isascii() and len(name) <= 31
    assert name == name.lower() and name[0].isalpha() and name[-1] != "-"
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("text", ["a", "web1", "a-b", "x" * 31, "xn--bcher-kva"])
def test_names(text: str) -> None:
    assert words.guest_name(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "42", "1web", "-a", "a-", "Web", "a.b", "a_b", "a b", "x" * 32, "wéb", "web1\n", "../a"],
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        words.guest_name(text)


@pytest.mark.parametrize("text", ["dom0", "domain-0", "localhost", "ip6-localhost"])
def test_names_that_are_taken(text: str) -> None:
    with pytest.raises(ValueError, match="another name"):
        words.guest_name(text)


@pytest.mark.parametrize(
    ("text", "value"), [("64M", 64), ("512M", 512), ("4G", 4096), ("1T", 1 << 20), ("0512M", 512)]
)
def test_memory(text: str, value: int) -> None:
    assert words.memory(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("512", "a whole number and M, G or T is needed, as in 512M or 4G"),
        ("", "a whole number and"),
        ("G", "a whole number and"),
        ("-1G", "a whole number and"),
        ("1.5G", "a whole number and"),
        ("1g", "a whole number and"),
        ("4GB", "a whole number and"),
        ("4 G", "a whole number and"),
        ("4G\n", "a whole number and"),
        ("١G", "a whole number and"),
        ("9" * 5000 + "G", "a whole number and"),
        ("63M", "a size from 64M to 1T is needed"),
        ("0G", "a size from 64M to 1T is needed"),
        ("1048577M", "a size from 64M to 1T is needed"),
    ],
)
def test_memory_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words.memory(text)


def test_disk() -> None:
    assert words.disk("256M") == 256 << 20
    assert words.disk("10G") == 10 << 30
    assert words.disk("16T") == 16 << 40
    for text in ("255M", "17T"):
        with pytest.raises(ValueError, match="a size from 256M to 16T is needed"):
            words.disk(text)


@given(st.integers(256, 16 << 20))
def test_sizes_are_shown_as_they_are_written(mib: int) -> None:
    assert words.disk(words.show_size(mib << 20)) == mib << 20


def test_sizes_are_shown_rounded_up() -> None:
    assert words.show_size((1 << 20) + 1) == "2M"


def test_vcpus() -> None:
    assert (words.vcpus("1"), words.vcpus("128")) == (1, 128)
    for text in ("0", "129", "-1", "+1", "1_0", "", "²", "1" * 5000):
        with pytest.raises(ValueError, match="a whole number from 1 to 128"):
            words.vcpus(text)


def test_names_by_whomever() -> None:
    for text in ("web1", "Web_1", "a.b+c-d", "7", "_x"):
        assert words.any_name(text) == text
    for text in ("", ".", "..", ".web1.new", "../../tmp/x", "a/b", "a b", "a\n", "ä", "a\0"):
        with pytest.raises(ValueError, match="no dot first"):
            words.any_name(text)


def test_release() -> None:
    assert words.release("trixie").version == "13"
    noble = words.release("noble")
    assert (noble.distribution, noble.kernel) == ("ubuntu", "linux-image-virtual")
    with pytest.raises(ValueError, match="the code name is needed: bookworm"):
        words.release("12")
    with pytest.raises(ValueError, match="one of these is needed: bookworm, trixie, jammy"):
        words.release("Trixie")


# ------------------------------------------------------------------------------------------------ ssh keys

RSA = (b"\1\0\1", b"\0" + b"\xff" * 256)
KEYS = [
    key(),
    key("ssh-rsa", *RSA),
    key("ecdsa-sha2-nistp256", b"nistp256", bytes(65)),
    key("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
    key("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", bytes(65), b"ssh:"),
]


@pytest.mark.parametrize("text", KEYS)
def test_keys(text: str) -> None:
    assert words.ssh_key(text) == text
    assert words.ssh_key(f"{text} ann@home\n") == f"{text} ann@home"
    assert words.ssh_key(f" {text}\tann@home \r\n\n") == f"{text} ann@home"


@pytest.mark.parametrize("comment", ["Jürgens Laptop", "a'b", 'a"b', "a\\b", "$(reboot)", "a#b", "a`b"])
def test_a_comment_that_is_not_plain_is_left_out(comment: str) -> None:
    assert words.ssh_key(f"{KEYS[0]} {comment}\n") == KEYS[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", "a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "a private key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i"),
        ("", "not 0 lines"),
        ("\n \n", "not 0 lines"),
        (f"{KEYS[0]}\n{KEYS[1]}\n", "not 2 lines"),
        (f"{KEYS[0]}\x0b{KEYS[1]}", "not 2 lines"),
        (f'command="reboot" {KEYS[0]}', "without options"),
        (f"restrict {KEYS[0]}", "without options"),
        ("hello", "a public key is needed"),
        (key("ssh-dss"), "a public key is needed"),
        (key("ssh-ed25519-cert-v01@openssh.com"), "not its certificate"),
        ("ssh-ed25519", "has to be followed by the key"),
        ("ssh-ed25519 ???", "has to be followed by the key"),
        (f"ssh-ed25519 {KEYS[0][12:]}!", "has to be followed by the key"),
        (KEYS[0][:-4], "damaged: was a part of it lost"),
        (KEYS[0][:-1], "damaged: was a part of it lost"),
        (key("ssh-ed25519", bytes(31)), "damaged: was a part of it lost"),
        (key("ssh-ed25519", bytes(32), b""), "damaged: was a part of it lost"),
        (key("ssh-ed25519", inner="ssh-rsa"), "holds another kind of key"),
        (key("ssh-rsa", b"\1\0\1", b"\xff" * 64), "an RSA key of 1024 bits"),
        ("ssh-ed25519 AAAA", "damaged"),
    ],
)
def test_keys_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words.ssh_key(text)


@given(st.binary(max_size=120))
def test_no_blob_raises_anything_else(data: bytes) -> None:
    text = f"ssh-ed25519 {base64.b64encode(data).decode()}"
    try:
        words.ssh_key(text)
    except ValueError:
        return
    assert data[:-32] == blob("ssh-ed25519", bytes(32))[:-32]


# ------------------------------------------------------------------------------ paths, mirrors, addresses


@pytest.mark.parametrize("text", ["/srv/a/../image.qcow2", "image.raw", "./a/b", "-", "/a/"])
def test_paths(text: str) -> None:
    """Where they lead is not looked at here."""
    assert words.path(text) == Path(text)


@pytest.mark.parametrize(
    "text",
    ["", "/", "/a b", "/a,b", "/a:b", "/a'b", '/a"b', "/a\\b", "/a\nb", "/ä", "/a;b", "/a#b", "/a\0b"],
)
def test_paths_that_do_not_fit(text: str) -> None:
    with pytest.raises(ValueError, match="a path"):
        words.path(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("http://example.org/debian", "http://example.org/debian"),
        ("https://mirror.example.org:8443/debian/", "https://mirror.example.org:8443/debian"),
        ("http://192.0.2.7:3142/~a/b%20c", "http://192.0.2.7:3142/~a/b%20c"),
        ("http://example.org", "http://example.org"),
        ("file:///srv/mirror/", "file:///srv/mirror"),
    ],
)
def test_mirrors(text: str, value: str) -> None:
    assert words.mirror(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://example.org/debian",
        "example.org/debian",
        "http://",
        "http:///debian",
        "file://",
        "file:///",
        "file://host/a",
        "http://example.org/a b",
        "http://example.org/a\nb",
        "http://example.org/[trusted=yes]",
        "http://-x.example.org/",
        "http://example.org/debian?x=1",
        "copy:/a",
    ],
)
def test_mirrors_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        words.mirror(text)


def test_a_mirror_with_a_password() -> None:
    with pytest.raises(ValueError, match="without a user's name"):
        words.mirror("http://ann:secret@example.org/debian")


def test_mac() -> None:
    assert words.mac("00:16:3E:aB:cd:Ef") == "00:16:3e:ab:cd:ef"
    for text in ("", "00:16:3e:12:34", "00-16-3e-12-34-56", "0:16:3e:12:34:56", "00:16:3e:12:34:5g"):
        with pytest.raises(ValueError, match="six pairs"):
            words.mac(text)
    for text in ("01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"):
        with pytest.raises(ValueError, match="of one interface"):
            words.mac(text)


def test_ipv4() -> None:
    assert words.ipv4("172.20.216.5") == IPv4Address("172.20.216.5")
    for text in ("", "172.20.216", "172.20.216.05", "172.20.216.5/24", "1", "::1", "172.20.216.5 "):
        with pytest.raises(ValueError, match="an IPv4 address is needed"):
            words.ipv4(text)
    for text in ("127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "169.254.1.1"):
        with pytest.raises(ValueError, match="kept for something else"):
            words.ipv4(text)


def test_ipv6() -> None:
    assert words.ipv6("FD12::5") == IPv6Address("fd12::5")
    for text in ("", "fd12", "fd12::5/64", "fe80::1%eth0", "1.2.3.4", "fd12::5 "):
        with pytest.raises(ValueError, match="an IPv6 address is needed"):
            words.ipv6(text)
    for text in ("::", "::1", "ff02::1", "fe80::1"):
        with pytest.raises(ValueError, match="kept for something else"):
            words.ipv6(text)
