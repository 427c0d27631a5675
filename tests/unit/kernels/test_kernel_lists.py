# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's own sources of packages, and what apt says of source packages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.kernels.lists import (
    Entry,
    deb822_entries,
    one_line_entries,
    source_list,
    source_versions,
    stanza_fields,
)
from xenable.kernels.source import parse_sha256

MIRROR = "https://archive.example.org/debian"
ONE_LINE = f"""\
# deb {MIRROR} old main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] {MIRROR}/ bookworm main contrib
deb-src {MIRROR} bookworm main
deb {MIRROR} bookworm-updates main # every day
deb https://other.example.org/apt bookworm main
"""
DEB822 = f"""\
# made by hand
Types: deb deb-src
URIs: {MIRROR}
Suites: trixie trixie-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://off.example.org
Suites: trixie
Components: main
Enabled: no
"""
SHOWSRC = """\
Package: linux
Version: 6.12.9-1
Checksums-Sha256:
 {a} 100 linux_6.12.9-1.dsc
 {b} 200 linux_6.12.9.orig.tar.xz

Package: linux
Version: 6.12.107-1
Checksums-Sha256:
 {c} 200 linux_6.12.107.orig.tar.xz
 {a} 300 linux_6.12.107-1.debian.tar.xz

Package: linux
Version: 6.12.107-2
Checksums-Sha256:
 {c} 200 linux_6.12.107.orig.tar.xz

Package: linux
Version: 6.13~rc7-1~exp1
Checksums-Sha256:
 {a} 200 linux_6.13~rc7.orig.tar.xz

Package: linux-signed-amd64
Version: 6.14.1+1
Checksums-Sha256:
 {a} 200 linux-signed-amd64_6.14.1.orig.tar.xz
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def test_one_line_style() -> None:
    first, second, third = one_line_entries(ONE_LINE)
    assert first == Entry(
        uri=f"{MIRROR}/",
        suite="bookworm",
        components=("main", "contrib"),
        signed_by="/usr/share/keyrings/a.gpg",
    )
    assert (second.suite, second.signed_by, third.uri) == (
        "bookworm-updates",
        "",
        "https://other.example.org/apt",
    )


def test_deb822_style() -> None:
    one, two = deb822_entries(DEB822)
    assert (one.suite, two.suite) == ("trixie", "trixie-updates")
    assert one.signed_by.count("\n") == 4 and one.signed_by.endswith(" -----END PGP PUBLIC KEY BLOCK-----")


def test_only_the_distribution_s_own_become_sources_of_sources_each_once() -> None:
    files = {
        "/etc/apt/sources.list": ONE_LINE,
        "a.list": ONE_LINE,
        "b.sources": DEB822,
        "c.save": "deb x y z\n",
    }
    own = [(f"{MIRROR}/", "bookworm"), (MIRROR, "trixie")]
    text = source_list(files, own)
    assert text.count("Types: deb-src\n") == 2 and "other.example.org" not in text and "updates" not in text
    assert "Components: main\nSigned-By: /usr/share/keyrings/a.gpg\n" in text
    # What was written can be read again, the key of many lines too.
    back = list(deb822_entries(text.replace("deb-src", "deb")))
    assert [entry.suite for entry in back] == ["bookworm", "trixie"]
    assert back[1].signed_by == next(iter(deb822_entries(DEB822))).signed_by
    assert source_list(files, []) == ""


@pytest.mark.parametrize(
    ("uri", "apts"),
    [
        # What Debian's cloud images have, and how apt prints it.
        ("mirror+file:///etc/apt/mirrors/debian.list", "mirror+file:/etc/apt/mirrors/debian.list/"),
        ("file:///srv/debian", "file:/srv/debian/"),
        (f"{MIRROR}/", MIRROR),
    ],
)
def test_an_address_is_known_however_it_is_written(uri: str, apts: str) -> None:
    files = {"debian.sources": f"Types: deb deb-src\nURIs: {uri}\nSuites: trixie\nComponents: main\n"}
    text = source_list(files, [(apts, "trixie")])
    assert f"URIs: {uri}\n" in text
    assert source_list(files, [(apts.replace("debian", "other"), "trixie")]) == ""


def test_versions_of_a_source_package() -> None:
    newest, older = source_versions(SHOWSRC, "linux")
    assert (newest.version, newest.archive, newest.sha256) == (
        "6.12.107-1",
        "linux_6.12.107.orig.tar.xz",
        "c" * 64,
    )
    assert newest.upstream == (6, 12, 107) > older.upstream == (6, 12, 9)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    stanza_fields(text)
    list(one_line_entries(text))
    list(deb822_entries(text))
    source_versions(text, "linux")


def test_sums() -> None:
    assert parse_sha256("AB" * 32) == "ab" * 32
    for text in ("", "ab", "g" * 64, "a" * 65, "ä" * 64):
        with pytest.raises(ValueError):
            parse_sha256(text)
