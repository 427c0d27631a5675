# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk gets full while dpkg works: with room again, revert leaves nothing of the packages behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenable.errors import XenableError
from xenable.host import Host
from xenable.steps.base import Saved
from xenable.steps.fetch import FetchPackages
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import build, command, configure_apt, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = InstallPackages(names=("tool",), recommended=())
FETCH = FetchPackages(names=("tool",), recommended=())
LIBRARIES = tuple(f"lib{number}" for number in range(6))
DATABASE = "/var/lib/dpkg"


def furnish() -> None:
    build("site", files={"/srv/site/run": "1\n"})
    for name in LIBRARIES:
        build(name, files={f"/srv/{name}/data": "1" * 2000}, scripts={"postinst": "true"})
    build("tool", files={"/srv/tool/run": "1\n"}, Depends=", ".join(LIBRARIES))
    # Copied to apt's cache, as what comes from afar.
    publish("copy:/archive")
    command("apt-get -qq -y install site >/dev/null 2>&1")


def fetch() -> Saved:
    saved = FETCH.save(HOST)
    FETCH.do(HOST, saved, tell)
    return saved


def seen() -> str:
    return command(f"cat {DATABASE}/status; find {DATABASE} /srv | sort")


@pytest.mark.parametrize("room", [40, 60, 80, 100, 120, 140, 160])
def test_nothing_is_left_behind(room: int) -> None:
    """room: KiB for dpkg's database to grow, in a file system of its own."""

    def work() -> None:
        furnish()
        before = seen()
        fetched, saved = fetch(), STEP.save(HOST)
        used = int(command(f"df -k --output=used {DATABASE} | tail -n 1"))
        command(f"mount -o remount,size={used + room}k {DATABASE}")
        with pytest.raises(XenableError, match="the disk is full"):
            STEP.do(HOST, saved, tell)
        try:
            # At once it may fail again; what counts is that it can be repeated.
            STEP.undo(HOST, saved, tell)
        except XenableError as e:
            assert "full" in e.message or "interrupted" in e.message or "No space" in e.message
        command(f"mount -o remount,size=100m {DATABASE}")
        STEP.undo(HOST, saved, tell)
        assert seen() == before
        FETCH.undo(HOST, fetched, tell)
        kept = [name for name in HOST.names("/var/cache/apt/archives") if name.endswith(".deb")]
        assert kept == ["site_1.0_all.deb"]

    inside(work)


DIES = """#!/bin/sh
ulimit -f 2000
exec env --default-signal=XFSZ dpkg "$@"
"""
"""dpkg, which a signal ends when a file of a package gets larger than a megabyte."""


def half_unpacked() -> Saved:
    """A library of which dpkg has unpacked a part when it dies, as by a power cut."""
    build("lib0", files={"/srv/lib0/data": "1" * 3_000_000}, Architecture="amd64", Multi_Arch="same")
    build("lib0", "0.9", files={"/srv/lib0/old": "1\n"}, Architecture="amd64", Multi_Arch="same")
    build("tool", files={"/srv/tool/run": "1\n"}, Depends="lib0")
    publish("copy:/archive")
    # One that is older was downloaded once.
    command("apt-get -qq -y --download-only install lib0=0.9 >/dev/null 2>&1")
    fetch()
    saved = STEP.save(HOST)
    Path("/srv/dpkg").write_text(DIES)
    Path("/srv/dpkg").chmod(0o755)
    configure_apt('Dir::Bin::dpkg "/srv/dpkg";\n')
    with pytest.raises(XenableError):
        STEP.do(HOST, saved, tell)
    configure_apt('Dir::Bin::dpkg "/usr/bin/dpkg";\n')
    Path("/srv/dpkg").unlink()
    assert Path("/srv/lib0").exists()
    assert "half-installed" in command("dpkg-query -W -f '${db:Status-Status}' lib0")
    return saved


def test_nothing_is_left_of_a_library_that_was_unpacked_in_part() -> None:
    def work() -> None:
        saved = half_unpacked()
        STEP.undo(HOST, saved, tell)
        assert not Path("/srv/lib0").exists()
        assert "lib0" not in command(f"cat {DATABASE}/status; find {DATABASE}")
        assert HOST.exists("/var/cache/apt/archives/lib0_0.9_amd64.deb")

    inside(work)


@pytest.mark.parametrize("damage", ["truncate -s 900", "rm"], ids=["truncated", "gone"])
def test_without_the_archive_nobody_knows_what_was_unpacked(damage: str) -> None:
    def work() -> None:
        saved = half_unpacked()
        command(f"{damage} /var/cache/apt/archives/lib0_1.0_amd64.deb")
        with pytest.raises(XenableError, match="cannot find out which files of lib0 are here") as caught:
            STEP.undo(HOST, saved, tell)
        words = caught.value.hint.partition(", then")[0].replace("sudo ", "")
        command(words)
        STEP.undo(HOST, saved, tell)
        assert not Path("/srv/lib0").exists()

    inside(work)


def test_dpkg_does_not_go_on_wishing_for_packages() -> None:
    """apt says so before it unpacks, and a failure leaves it in dpkg's status."""

    def work() -> None:
        furnish()
        before = seen()
        fetch()
        saved = STEP.save(HOST)
        status = Path(f"{DATABASE}/status")
        for name in ("tool", LIBRARIES[0]):
            wish = f"Package: {name}\nStatus: install ok not-installed\nPriority: optional\nSection: misc\n"
            status.write_text(f"{status.read_text()}{wish}\n")
        assert seen() != before
        STEP.undo(HOST, saved, tell)
        assert seen() == before

    inside(work)
