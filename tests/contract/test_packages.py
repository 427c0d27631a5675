# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes with packages, what stays and what goes: the real apt and dpkg in a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenable.host import Host
from xenable.steps import transaction
from xenable.steps.fetch import FetchPackages
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import build, command, configure_apt, inside, needs_sandbox, publish, refused, status

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = InstallPackages(names=("tool",), recommended=("helper",))
FETCH = FetchPackages(names=("tool",), recommended=("helper",))


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
