# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages are downloaded from wherever apt takes them, and nothing of that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenable.host import Host
from xenable.steps.fetch import FetchPackages
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import build, command, configure_apt, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
FETCH = FetchPackages(names=("tool",), recommended=())
STEP = InstallPackages(names=("tool",), recommended=())


@pytest.mark.parametrize("uri", ["file:/archive", "copy:/archive", "mirror+file:/etc/apt/list"])
def test_from_wherever_it_comes(uri: str) -> None:
    def work() -> None:
        build("tool", files={"/srv/tool": "theirs"})
        Path("/etc/apt/list").write_text("file:/archive\n")
        publish(uri)
        Path("/srv/tool").write_text("mine")
        fetched = FETCH.save(HOST)
        FETCH.do(HOST, fetched, tell)
        # Of a mirror's file apt does not know beforehand that it is here.
        assert FETCH.is_done(HOST) or uri.startswith("mirror")
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        assert Path("/srv/tool").read_text() == "theirs"
        STEP.undo(HOST, saved, tell)
        FETCH.undo(HOST, fetched, tell)
        assert Path("/srv/tool").read_text() == "mine"
        assert command("find /var/cache/apt/archives -name '*.deb'") == ""

    inside(work)


def test_apts_cache_is_elsewhere() -> None:
    def work() -> None:
        build("tool")
        publish("copy:/archive")
        Path("/srv/cache/partial").mkdir(parents=True)
        configure_apt('Dir::Cache::archives "/srv/cache/";\n')
        Path("/srv/cache/old_1_all.deb").touch()
        fetched = FETCH.save(HOST)
        FETCH.do(HOST, fetched, tell)
        assert "tool_1.0_all.deb" in HOST.names("/srv/cache")
        # What a kill in the middle of another download leaves.
        Path("/srv/cache/partial/tool_1.0_all.deb").touch()
        FETCH.undo(HOST, fetched, tell)
        assert command("find /srv/cache -name '*.deb'").split() == ["/srv/cache/old_1_all.deb"]

    inside(work)


def test_what_is_installed_is_not_asked_for_again() -> None:
    """A run that goes on must not stop at a source of packages that broke meanwhile."""

    def work() -> None:
        build("tool")
        publish()
        fetched = FETCH.save(HOST)
        STEP.do(HOST, STEP.save(HOST), tell)
        Path("/etc/apt/sources.list").write_text("deb nonsense\n")
        assert FETCH.is_done(HOST)
        FETCH.undo(HOST, fetched, tell)

    inside(work)


def test_what_dpkg_was_killed_in_is_finished_first() -> None:
    def work() -> None:
        build("other", scripts={"postinst": "true"})
        build("tool")
        publish()
        fetched = FETCH.save(HOST)
        command("dpkg --unpack /archive/other_1.0_all.deb >/dev/null 2>&1")
        FETCH.do(HOST, fetched, tell)
        assert command("dpkg-query -W -f '${db:Status-Status}' other") == "installed"

    inside(work)
