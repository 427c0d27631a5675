# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's source of Linux by the real apt: out of a small archive that is signed, or changed since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.places import SOURCES
from xenable.kernels.source import fetch_source

from .sandbox import command, inside, needs_sandbox

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
TAR = "linux_6.12.9.orig.tar.xz"
SUITE = "/archive/dists/trixie"

ARCHIVE = f"""set -e
mkdir -p /srv/linux-6.12.9 /archive/pool {SUITE}/main/source {SUITE}/main/binary-amd64
printf 'VERSION = 6\\nPATCHLEVEL = 12\\nSUBLEVEL = 9\\nEXTRAVERSION =\\n' >/srv/linux-6.12.9/Makefile
tar -C /srv -cJf /archive/pool/{TAR} linux-6.12.9
mkdir -p /srv/linux-6.12.9/debian/source && cd /srv/linux-6.12.9
printf 'linux (6.12.9-1) unstable; urgency=medium\\n\\n  * x\\n\\n' >debian/changelog
echo ' -- X <x@example.org>  Sat, 31 Jan 2026 12:00:00 +0000' >>debian/changelog
printf 'Source: linux\\nMaintainer: X <x@example.org>\\n\\n' >debian/control
printf 'Package: linux-image-amd64\\nArchitecture: amd64\\nDescription: x\\n' >>debian/control
echo '3.0 (quilt)' >debian/source/format
cd /archive/pool && dpkg-source -b /srv/linux-6.12.9 >/dev/null 2>&1
cd /archive
apt-ftparchive sources pool >{SUITE}/main/source/Sources
printf 'Package: base\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nFilename: pool/base.deb\nSize: 1\n' \
    >{SUITE}/main/binary-amd64/Packages
"""
SIGN = f"""set -e
export GNUPGHOME=/srv/NAME
[ -d $GNUPGHOME ] || {{
    mkdir -m 700 $GNUPGHOME
    gpg --batch --quiet --passphrase '' --quick-generate-key NAME ed25519 sign never 2>/dev/null
}}
cd {SUITE}
o=APT::FTPArchive::Release
apt-ftparchive -o $o::Origin=Debian -o $o::Suite=trixie -o $o::Codename=trixie -o $o::Components=main \\
    -o $o::Architectures=amd64 release . >/srv/Release
mv /srv/Release Release
rm -f InRelease
gpg --batch --quiet --clearsign --output InRelease Release 2>/dev/null
gpg --batch --quiet --export >/srv/NAME.gpg
gpgconf --kill all
"""
TRUSTED = "Types: deb\nURIs: file:///archive\nSuites: trixie\nComponents: main\nSigned-By: /srv/ours.gpg\n"


def sign(name: str) -> None:
    command(SIGN.replace("NAME", name))


def fetch() -> None:
    archive = fetch_source(HOST, (6, 12), lambda fraction, text: None).archive
    assert (archive.version, archive.path) == ("6.12.9", SOURCES / TAR)


def world() -> None:
    """An archive whose lists apt has, as on any machine."""
    Path("/etc/os-release").write_text("ID=debian\n")
    Path("/etc/apt/sources.list.d").mkdir(exist_ok=True)
    Path("/etc/apt/sources.list.d/debian.sources").write_text(TRUSTED)
    command(ARCHIVE)
    sign("ours")
    command("apt-get -qq update")


def test_what_the_signed_lists_name_is_taken() -> None:
    def work() -> None:
        world()
        fetch()

    inside(work)


def other_bytes() -> None:
    (Path("/archive/pool") / TAR).write_bytes(b"something else, of another length and sum")


def other_lists() -> None:
    path = Path(f"{SUITE}/main/source/Sources")
    path.write_text(path.read_text().replace("6.12.9-1", "6.12.9-2"))


def other_key() -> None:
    sign("theirs")


def no_signature() -> None:
    Path(f"{SUITE}/InRelease").unlink()


@pytest.mark.parametrize("spoil", [other_bytes, other_lists, other_key, no_signature])
def test_what_they_do_not_name_is_refused(spoil: Callable[[], None]) -> None:
    def work() -> None:
        world()
        spoil()
        with pytest.raises(XenableError) as caught:
            fetch()
        verb = "download" if spoil is other_bytes else "read the lists of the archive"
        assert caught.value.message.startswith(f"cannot {verb}"), caught.value.message
        assert not (SOURCES / TAR).exists()

    inside(work)
