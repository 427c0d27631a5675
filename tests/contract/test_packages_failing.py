# SPDX-License-Identifier: GPL-2.0-or-later
"""Installing packages where that can't be done, or not whole: the real apt and dpkg in a sandbox."""

from __future__ import annotations

import fcntl
import http.server
import os
import signal
import socketserver
import threading
from functools import partial
from pathlib import Path

import pytest

from xenable.host import Host
from xenable.steps import transaction
from xenable.steps.fetch import FetchPackages
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import build, command, configure_apt, inside, needs_sandbox, publish, refused, status

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = InstallPackages(names=("tool",), recommended=("helper",))
FETCH = FetchPackages(names=("tool",), recommended=("helper",))


def test_save_leaves_a_dpkg_that_was_interrupted_alone() -> None:
    def work() -> None:
        build("tool")
        build("helper")
        build("site")
        publish()
        command("dpkg --unpack /archive/site_1.0_all.deb >/dev/null 2>&1")
        before = Path("/var/lib/dpkg/status").read_bytes()
        error = refused(lambda: STEP.save(HOST))
        assert error.message == "cannot install tool: dpkg was interrupted before"
        assert "sudo dpkg --configure -a" in error.hint
        assert Path("/var/lib/dpkg/status").read_bytes() == before and status("site") == "unpacked"

    inside(work)


def test_a_package_that_would_have_to_go() -> None:
    def work() -> None:
        build("rival")
        build("tool", Conflicts="rival")
        build("helper")
        publish()
        command("apt-get -qq -y install rival >/dev/null 2>&1")
        error = refused(lambda: STEP.save(HOST))
        assert error.message.startswith("cannot install tool: ") and error.hint
        assert status("rival") == "installed" and status("tool") == ""
        assert refused(lambda: STEP.preview(HOST)).message == error.message

    inside(work)


def test_a_package_the_archive_lacks() -> None:
    def work() -> None:
        build("tool")
        publish()
        error = refused(lambda: STEP.save(HOST))
        assert error.message == "cannot install tool: the archive has no package helper"

    inside(work)


def test_a_maintainer_script_that_fails_then_works() -> None:
    def work() -> None:
        build("tool", scripts={"postinst": "test -e /srv/ready"})
        build("helper")
        publish()
        saved = STEP.save(HOST)
        error = refused(lambda: STEP.do(HOST, saved, tell))
        assert error.message.startswith("cannot change packages: ") and "tool" in error.message
        assert "sudo dpkg --configure -a" in error.hint
        assert not STEP.is_done(HOST)
        again = refused(lambda: STEP.do(HOST, saved, tell))
        assert "tool" in again.message and "dpkg" in again.message
        Path("/srv/ready").touch()
        STEP.do(HOST, saved, tell)
        assert STEP.is_done(HOST)

    inside(work)


def test_undo_after_a_maintainer_script_failed() -> None:
    def work() -> None:
        build("tool", scripts={"postinst": "exit 1"}, files={"/srv/tool": ""})
        build("helper")
        publish()
        saved = STEP.save(HOST)
        refused(lambda: STEP.do(HOST, saved, tell))
        STEP.undo(HOST, saved, tell)
        assert status("tool") == status("helper") == ""
        assert not Path("/srv/tool").exists()

    inside(work)


@pytest.mark.parametrize("forward", [True, False], ids=["do", "undo"])
def test_killed_with_dpkg_in_the_middle(forward: bool) -> None:
    """The script of a package kills dpkg and the process that runs the step, once."""

    def work() -> None:
        killer = "if [ -e /srv/armed ]; then rm /srv/armed; kill -9 $PPID $(cat /srv/pid); sleep 1; fi"
        build("tool", scripts={"postinst": killer}, files={"/srv/tool": ""})
        build("helper")
        publish()
        saved = STEP.save(HOST)
        Path("/srv/armed").touch()
        child = os.fork()
        if child == 0:
            Path("/srv/pid").write_text(str(os.getpid()))
            STEP.do(HOST, saved, tell)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert transaction.half_done(HOST)
        if forward:
            STEP.do(HOST, saved, tell)
            assert STEP.is_done(HOST)
        STEP.undo(HOST, saved, tell)
        assert status("tool") == status("helper") == ""
        assert not Path("/srv/tool").exists()

    inside(work)


def test_another_package_manager_holds_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "LOCK_PATIENCE", 0.5)

    def work() -> None:
        build("tool")
        build("helper")
        publish()
        saved = STEP.save(HOST)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with Path("/var/lib/dpkg/lock-frontend").open("w") as f:
                fcntl.lockf(f, fcntl.LOCK_EX)
                os.write(writer, b"x")
                signal.pause()
        os.read(reader, 1)
        said: list[str] = []
        error = refused(lambda: STEP.do(HOST, saved, lambda fraction, text: said.append(text)))
        assert f"(process {child}) works on them" in error.message
        assert f"(process {child}) lets go" in said[0]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        STEP.do(HOST, saved, tell)
        assert STEP.is_done(HOST)

    inside(work)


class Archive(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.mark.parametrize("gone", [True, False], ids=["package", "mirror"])
def test_an_archive_that_does_not_deliver(gone: bool) -> None:
    def work() -> None:
        build("tool")
        build("helper")
        server = socketserver.TCPServer(("127.0.0.1", 0), partial(Archive, directory="/archive"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            os.environ.pop(name, None)
        configure_apt('Acquire::Retries "0";\nAPT::Sandbox::User "root";\n')
        publish(f"http://127.0.0.1:{server.server_address[1]}")
        saved = FETCH.save(HOST)
        if gone:
            Path("/archive/helper_1.0_all.deb").unlink()
        else:
            server.shutdown()
            server.server_close()
        error = refused(lambda: FETCH.do(HOST, saved, tell))
        assert "helper" in error.message and "127.0.0.1" not in error.message
        assert ("sudo apt update" in error.hint) is gone
        assert "no package was changed" in error.hint
        assert status("tool") == status("helper") == ""

    inside(work)


def test_a_full_disk_is_seen_before_anything_changes() -> None:
    def work() -> None:
        build("tool", Installed_Size=str(1 << 40))
        build("helper")
        publish()
        saved = STEP.save(HOST)
        error = refused(lambda: STEP.do(HOST, saved, tell))
        assert "MiB" in error.message and "no package was changed" in error.hint
        assert status("tool") == status("helper") == ""

    inside(work)


def test_a_folder_has_no_packages_to_look_at(tmp_path: Path) -> None:
    error = refused(lambda: STEP.save(Host(tmp_path)))
    assert "is a folder" in error.message
    assert STEP.preview(Host(tmp_path)).detail == "tool\nhelper\n"


@pytest.mark.parametrize("state", ["unpacked", "half-configured"])
def test_an_interrupted_dpkg_is_seen_of_every_architecture(state: str) -> None:
    def work() -> None:
        stanza = "Package: lib\nStatus: install ok {}\nArchitecture: {}\nDescription: it was\n unpacked\n\n"
        both = stanza.format("installed", "amd64") + stanza.format("installed", "i386")
        Path("/var/lib/dpkg/status").write_text(both)
        assert not transaction.half_done(HOST), "a word of a description is no state"
        Path("/var/lib/dpkg/status").write_text(both + stanza.format(state, "i386"))
        assert transaction.half_done(HOST)

    inside(work)
