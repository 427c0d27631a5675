# SPDX-License-Identifier: GPL-2.0-or-later
"""Installing packages where things go wrong: the real apt and dpkg in a sandbox."""

from __future__ import annotations

import fcntl
import http.server
import os
import signal
import socketserver
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from xenable.errors import XenableError
from xenable.host import Host
from xenable.steps import transaction
from xenable.steps.fetch import FetchPackages
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages

from .sandbox import build, command, configure_apt, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = InstallPackages(names=("tool",), recommended=("helper",))
FETCH = FetchPackages(names=("tool",), recommended=("helper",))


def tell(fraction: float, text: str) -> None:
    assert 0.0 <= fraction <= 1.0


def refused(work: Callable[[], object]) -> XenableError:
    with pytest.raises(XenableError) as caught:
        work()
    return caught.value


def status(name: str) -> str:
    return command(f"dpkg-query -W -f '${{db:Status-Status}}' {name} 2>/dev/null || true")


@pytest.mark.parametrize("default", ["true", "false"])
def test_only_chosen_recommended_ones_come_and_they_stay(default: str) -> None:
    """Whatever apt's own setting is, also in a process that has asked apt for no facts: one that resumes."""

    def work() -> None:
        build("tool", Recommends="helper, chatter")
        for name in ("helper", "chatter"):
            build(name)
        publish()
        configure_apt(f'APT::Install-Recommends "{default}";\n')
        detail = STEP.preview(HOST).detail
        assert "new tool 1.0" in detail and "new helper 1.0" in detail and "chatter" not in detail
        seen: list[tuple[float, str]] = []
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, lambda fraction, text: seen.append((fraction, text)))
        assert status("helper") == "installed" and status("chatter") != "installed"
        command("apt-get -qq -y autoremove >/dev/null 2>&1")
        command("apt-get -qq -y -o APT::AutoRemove::RecommendsImportant=false autoremove >/dev/null 2>&1")
        assert status("helper") == "installed"
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions) and fractions[-1] > 0.8
        assert any("tool" in text for _, text in seen)
        assert "Setting up tool" in Path("/var/log/xenable/packages.log").read_text()

    inside(work)


def test_marks_come_back() -> None:
    def work() -> None:
        build("tool")
        build("helper")
        publish()
        command("apt-get -qq -y install helper >/dev/null 2>&1; apt-mark auto helper")
        marks = Path("/var/lib/apt/extended_states")
        before = marks.read_bytes()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        assert command("apt-mark showmanual").split() == ["helper", "tool"]
        STEP.undo(HOST, saved, tell)
        assert marks.read_bytes() == before
        assert status("helper") == "installed" and status("tool") == ""

    inside(work)


def test_package_scripts_do_not_make_the_menu() -> None:
    """Xen's packages run update-grub each; the conversion makes the menu once, at its end."""

    def work() -> None:
        build("tool", scripts={"postinst": "command -v update-grub >/srv/found && update-grub >/srv/said"})
        build("helper")
        publish()
        STEP.do(HOST, STEP.save(HOST), tell)
        assert Path("/srv/found").read_text().endswith("/hold/menu/update-grub\n")
        assert "held back" in Path("/srv/said").read_text()

    inside(work)


def test_systemd_reads_its_units_once_when_packages_have_gone() -> None:
    """Each script asks for a reload, which can take seconds; all else reaches the real systemctl."""
    script = "systemctl --system daemon-reload; systemctl disable --quiet tool.service"

    def work() -> None:
        build("tool", scripts={"prerm": f"echo going >>/srv/said; {script}", "postrm": script})
        build("helper")
        publish()
        real = Path("/usr/bin/systemctl")
        real.write_text('#!/bin/sh\necho "$@" >>/srv/said\n')
        Path("/run/systemd/system").mkdir(parents=True)
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        Path("/srv/said").unlink(missing_ok=True)
        STEP.undo(HOST, saved, tell)
        said = Path("/srv/said").read_text().splitlines()
        assert said[:2] == ["going", "disable --quiet tool.service"], said
        assert said[-1] == "daemon-reload" and said.count("daemon-reload") == 1, said

    inside(work)


def test_nothing_asks_and_changed_configuration_stays() -> None:
    """A conffile that somebody has put there before is no question, and stays theirs."""

    def work() -> None:
        build("tool", files={"/etc/tool.conf": "theirs\n"}, conffiles=("/etc/tool.conf",))
        build("helper", scripts={"postinst": "env >/srv/environment; read -r answer && exit 1; true"})
        publish()
        Path("/etc/tool.conf").write_text("by hand\n")
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        assert Path("/etc/tool.conf").read_text() == "by hand\n"
        environment = Path("/srv/environment").read_text()
        for line in (
            "DEBIAN_FRONTEND=noninteractive",
            "NEEDRESTART_SUSPEND=1",
            "UCF_FORCE_CONFFOLD=1",
            "APT_LISTBUGS_FRONTEND=none",
        ):
            assert line in environment.splitlines()

    inside(work)


def test_configuration_of_a_package_removed_before_survives() -> None:
    def work() -> None:
        build("tool", files={"/etc/tool.conf": "theirs\n"}, conffiles=("/etc/tool.conf",))
        build("helper")
        publish()
        command("apt-get -qq -y install tool >/dev/null 2>&1")
        Path("/etc/tool.conf").write_text("by hand\n")
        command("apt-get -qq -y remove tool >/dev/null 2>&1")
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        STEP.undo(HOST, saved, tell)
        assert Path("/etc/tool.conf").read_text() == "by hand\n"
        assert status("tool") == "config-files"

    inside(work)


def test_configuration_that_a_newer_version_replaced_comes_back() -> None:
    """Unedited conffiles of a removed package become the new version's; those it adds go again."""

    def work() -> None:
        build(
            "tool",
            files={"/etc/tool.conf": "a=1\n", "/etc/tool.d": "b=1\n"},
            conffiles=("/etc/tool.conf", "/etc/tool.d"),
        )
        build("helper")
        publish()
        command("apt-get -qq -y install tool >/dev/null 2>&1")
        Path("/etc/tool.d").write_text("by hand\n")
        command("apt-get -qq -y remove tool >/dev/null 2>&1")
        new = {"/etc/tool.conf": "a=2\n", "/etc/tool.d": "b=2\n", "/etc/tool.more": "c=2\n"}
        build("tool", "2.0", files=new, conffiles=tuple(new))
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        assert Path("/etc/tool.conf").read_text() == "a=2\n" and Path("/etc/tool.more").exists()
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        assert status("tool") == "config-files"
        found = {path.name: path.read_text() for path in Path("/etc").glob("tool*")}
        assert found == {"tool.conf": "a=1\n", "tool.d": "by hand\n"}

    inside(work)


@pytest.mark.parametrize("kept", [True, False], ids=["archive kept", "archive gone"])
def test_edited_configuration_is_an_obstacle(kept: bool) -> None:
    def work() -> None:
        files = {"/etc/tool.conf": "a=1\n", "/etc/plain.conf": "b=1\n"}
        build("tool", files=files, conffiles=tuple(files))
        build("helper")
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        # What ucf leaves for a file of a package: ucf itself can't run here, for want of a debconf database.
        ucf, of_ucf = Path("/var/lib/ucf"), Path("/etc/default/tool")
        (ucf / "cache").mkdir(parents=True, exist_ok=True)
        for path in (of_ucf, ucf / "cache/:etc:default:tool"):
            path.write_text("x=1\n")
        (ucf / "hashfile").write_text(command("md5sum /etc/default/tool"))
        (ucf / "registry").write_text("tool                    /etc/default/tool\n")
        assert STEP.obstacles(HOST, saved) == ()
        if kept:
            # As apt has it from a mirror; this archive is a folder, which apt reads in place.
            command("cp /archive/*.deb /var/cache/apt/archives/")
        Path("/etc/tool.conf").write_text("a=7\n")
        of_ucf.write_text("x=7\n")
        first, second = STEP.obstacles(HOST, saved)
        assert first.what.startswith("/etc/tool.conf, configuration of tool") and not first.final
        assert second.what.startswith("/etc/default/tool, configuration of tool")
        assert "-a=1\n+a=7\n" in first.diff if kept else first.diff == ""
        assert "-x=1\n+x=7\n" in second.diff
        of_ucf.unlink()
        STEP.undo(HOST, saved, tell)
        assert not Path("/etc/plain.conf").exists() and not Path("/etc/tool.conf").exists()
        assert STEP.obstacles(HOST, saved) == ()

    inside(work)


def test_configuration_behind_a_link_is_an_obstacle_and_what_it_leads_to_stays() -> None:
    def work() -> None:
        build("tool", files={"/etc/tool.conf": "a=1\n"}, conffiles=("/etc/tool.conf",))
        build("helper")
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        Path("/srv/own.conf").write_text("a=1\n")
        Path("/etc/tool.conf").unlink()
        Path("/etc/tool.conf").symlink_to("/srv/own.conf")
        (obstacle,) = STEP.obstacles(HOST, saved)
        assert "replaced by a link to /srv/own.conf" in obstacle.what and not obstacle.final
        STEP.undo(HOST, saved, tell)
        assert not HOST.exists("/etc/tool.conf") and Path("/srv/own.conf").read_text() == "a=1\n"

    inside(work)


def test_what_our_next_step_sets_in_configuration_is_nobody_s_edit() -> None:
    """And whoever edits it after that is heard once, not twice."""

    def work() -> None:
        build("tool", files={"/etc/tool.conf": "a=1\n"}, conffiles=("/etc/tool.conf",))
        build("helper")
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        options = SetOptions(path="/etc/tool.conf", options=(("a", "2"),), why="it is two")
        then = options.save(HOST)
        options.do(HOST, then, tell)
        assert HOST.text("/etc/tool.conf").endswith("\na=2\n")
        assert STEP.obstacles(HOST, saved) == () == options.obstacles(HOST, then)
        HOST.append("/etc/tool.conf", b"# by hand\n")
        assert STEP.obstacles(HOST, saved) == ()
        (obstacle,) = options.obstacles(HOST, then)
        assert obstacle.diff.endswith("+# by hand\n")
        # Purged by hand, then reverted: nothing comes back, and nothing is missed.
        command("apt-get -qq -y purge tool >/dev/null 2>&1")
        assert options.obstacles(HOST, then) == ()
        options.undo(HOST, then, tell)
        STEP.undo(HOST, saved, tell)
        assert not HOST.exists("/etc/tool.conf")

    inside(work)


def test_upgraded_packages_are_named_at_the_end() -> None:
    def work() -> None:
        build("lib")
        build("helper")
        publish()
        command("apt-get -qq -y install lib >/dev/null 2>&1")
        build("lib", "2.0")
        build("tool", Depends="lib (>= 2)")
        publish()
        saved = STEP.save(HOST)
        assert STEP.remains(HOST, saved) == ()
        STEP.do(HOST, saved, tell)
        STEP.undo(HOST, saved, tell)
        assert STEP.remains(HOST, saved) == ("the packages lib stay upgraded",)

    inside(work)


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


def test_a_purge_is_a_few_runs_of_dpkg() -> None:
    """Remove, purge, triggers: packages cost what their scripts cost, and no start of dpkg each."""

    def work() -> None:
        for number in range(20):
            build(
                f"lib{number}", Depends=f"lib{number - 1}" if number else "base", scripts={"postrm": "true"}
            )
        build("base")
        build("tool", Depends="lib19")
        build("helper")
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        log = Path("/var/log/dpkg.log")
        before = log.read_text().count(" startup ")
        STEP.undo(HOST, saved, tell)
        assert log.read_text().count(" startup ") - before <= 4
        assert status("lib7") == ""

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


def test_undo_keeps_what_came_since_and_says_so() -> None:
    def work() -> None:
        build("tool")
        build("helper")
        build("later", Depends="tool")
        publish()
        saved = STEP.save(HOST)
        STEP.do(HOST, saved, tell)
        command("apt-get -qq -y install later >/dev/null 2>&1")
        (obstacle,) = STEP.obstacles(HOST, saved)
        assert obstacle.final and "sudo apt remove later" in obstacle.what
        error = refused(lambda: STEP.undo(HOST, saved, tell))
        assert "later" in error.message and "sudo apt remove later" in error.hint
        assert status("later") == status("tool") == status("helper") == "installed"
        command("apt-get -qq -y remove later >/dev/null 2>&1")
        STEP.undo(HOST, saved, tell)
        assert status("tool") == status("helper") == ""

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


def test_apt_s_view_is_kept_as_long_as_nothing_changes() -> None:
    def work() -> None:
        build("tool")
        publish()
        with transaction.open_cache(HOST) as first:
            first["tool"].mark_install()
        with transaction.open_cache(HOST) as again:
            assert again is first and again.get_changes() == []
        command("apt-get -qq -y install tool >/dev/null 2>&1")
        with transaction.open_cache(HOST) as after:
            assert after["tool"].is_installed and not after["tool"].is_auto_installed
        command("apt-mark auto tool >/dev/null")
        with transaction.open_cache(HOST) as marked:
            assert marked["tool"].is_auto_installed

    inside(work)


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
