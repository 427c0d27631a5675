# SPDX-License-Identifier: GPL-2.0-or-later
"""What a purge must not take along, and what it has to: the real apt and dpkg in a sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from xenable.host import Host
from xenable.steps.base import Saved
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import build, command, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = InstallPackages(names=("tool",), recommended=("helper",))


def install() -> Saved:
    saved: Saved = json.loads(json.dumps(dict(STEP.save(HOST))))
    STEP.do(HOST, saved, tell)
    return saved


def apt(words: str) -> None:
    command(f"apt-get -qq -y {words} >/dev/null 2>&1")


def packages() -> set[str]:
    return set(command("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").split("\n")) - {""}


@pytest.mark.parametrize("text", ["# my own\n", "autoballoon=auto\n"], ids=["other", "as packaged"])
def test_configuration_of_nobody_s_comes_back(text: str) -> None:
    """It was there before the package, as from a backup or from an administrator's tool."""

    def work() -> None:
        files = {"/etc/xt/xl.conf": "autoballoon=auto\n", "/etc/xt/plain.conf": "p=1\n", "/srv/xt/data": "1"}
        build(
            "tool", files=files, conffiles=("/etc/xt/xl.conf", "/etc/xt/plain.conf"),
            scripts={
                "postinst": '# ucfr tool /etc/x\nif false; then\n\tucfr tool "/etc/default/xt"\nfi',
                "postrm": 'if [ "$1" = purge ]; then rm -f "/etc/default/xt"; fi',
            },
        )  # fmt: skip
        build("helper")
        publish()
        for path in ("/etc/xt/xl.conf", "/etc/default/xt", "/srv/xt/data"):
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).write_text(text)
            os.utime(path, ns=(10**18, 10**18))
            os.chown(path, 1, 2)
        Path("/etc/xt/xl.conf").chmod(0o600)
        Path("/etc/xt").chmod(0o750)
        saved = install()
        options = SetOptions(path="/etc/xt/xl.conf", options=(("autoballoon", "off"),), why="it is off")
        then = options.save(HOST)
        options.do(HOST, then, tell)
        assert Path("/srv/xt/data").read_text() == "1"
        assert STEP.obstacles(HOST, saved) == () == options.obstacles(HOST, then)
        options.undo(HOST, then, tell)
        STEP.undo(HOST, saved, tell)
        for path in ("/etc/xt/xl.conf", "/etc/default/xt", "/srv/xt/data"):
            info = Path(path).stat()
            assert Path(path).read_text() == text, path
            assert (info.st_mtime_ns, info.st_uid, info.st_gid) == (10**18, 1, 2), path
        assert Path("/etc/xt/xl.conf").stat().st_mode & 0o777 == 0o600
        assert HOST.names("/etc/xt") == ("xl.conf",) and Path("/etc/xt").stat().st_mode & 0o777 == 0o750

    inside(work)


def test_an_empty_folder_of_nobody_s_comes_back() -> None:
    def work() -> None:
        build("tool", files={"/srv/xt/dump/core": "1"})
        build("helper")
        publish()
        Path("/srv/xt/dump").mkdir(parents=True)
        Path("/srv/xt/dump").chmod(0o700)
        os.chown("/srv/xt/dump", 1, 2)
        saved = install()
        STEP.undo(HOST, saved, tell)
        info = Path("/srv/xt/dump").stat()
        assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o700, 1, 2)

    inside(work)


def test_what_a_newer_metapackage_brought_goes_too() -> None:
    """But not what somebody else needs by now, nor what was garbage of others before."""

    def work() -> None:
        build("tool", Depends="linux-image-1, lib")
        for name in ("linux-image-1", "helper", "lib", "own"):
            build(name, files={f"/srv/{name}/x": "1"})
        build("theirs", Depends="shared, own")
        build("litter", Depends="own-litter")
        build("own-litter")
        publish()
        before = packages()
        saved = install()
        for version, kernel in (("2.0", "linux-image-2"), ("3.0", "linux-image-3")):
            build("tool", version, Depends=f"{kernel}, lib, shared, more")
            build(kernel, files={f"/srv/{kernel}/x": "1"})
            if version == "2.0":
                build("shared")
                build("more")
            publish()
            apt("dist-upgrade")
        apt("install theirs litter")
        apt("remove litter")
        assert {"linux-image-2 installed", "linux-image-3 installed", "more installed"} <= packages()
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        others = {f"{name} installed" for name in ("theirs", "shared", "own", "own-litter")}
        assert packages() == before | others
        assert STEP.remains(HOST, saved) == ()

    inside(work)


def test_what_somebody_has_taken_into_use_stays_with_what_it_needs() -> None:
    def work() -> None:
        build("tool", Depends="lib, other")
        build("lib", Depends="base", files={"/etc/lib.conf": "a=1\n"}, conffiles=("/etc/lib.conf",))
        for name in ("base", "other", "helper"):
            build(name)
        publish()
        saved = install()
        apt("install lib")
        Path("/etc/lib.conf").write_text("a=2\n")
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        assert packages() == {"lib installed", "base installed"}
        assert Path("/etc/lib.conf").read_text() == "a=2\n"
        assert STEP.remains(HOST, saved) == ("the packages base, lib stay: somebody uses them by now",)

    inside(work)


def test_what_brings_the_machines_bridge_up_stays() -> None:
    def work() -> None:
        build("tool", Recommends="bridge-utils", Depends="bridge-utils")
        build("bridge-utils")
        build("helper")
        publish()
        saved = install()
        Path("/etc/network").mkdir(exist_ok=True)
        Path("/etc/network/interfaces").write_text("iface br0 inet dhcp\n\tbridge_ports eth0\n")
        STEP.undo(HOST, saved, tell)
        assert packages() == {"bridge-utils installed"}
        assert "bridge-utils" in STEP.remains(HOST, saved)[0]

    inside(work)


def test_what_brings_the_machines_bridge_up_stays_though_it_was_asked_for() -> None:
    """As Xen's tools recommend it. The bridge is in a file that the first one includes."""

    def work() -> None:
        build("tool")
        build("bridge-utils")
        publish()
        step = InstallPackages(names=("tool",), recommended=("bridge-utils",))
        saved: Saved = json.loads(json.dumps(dict(step.save(HOST))))
        step.do(HOST, saved, tell)
        Path("/etc/network/own").mkdir(parents=True)
        Path("/etc/network/interfaces").write_text("source own/*\n")
        Path("/etc/network/own/br0").write_text("iface br0 inet dhcp\n\tbridge_ports eth0\n")
        assert step.obstacles(HOST, saved) == ()
        step.undo(HOST, saved, tell)
        assert packages() == {"bridge-utils installed"}
        assert "bridge-utils" in step.remains(HOST, saved)[0]

    inside(work)


def test_the_configuration_of_what_stays_is_its_own() -> None:
    """Though there was one before: of a package that had been removed, and of nobody."""

    def work() -> None:
        build("lib", files={"/etc/lib.conf": "a=1\n"}, conffiles=("/etc/lib.conf",))
        build("tool", Depends="lib")
        build("helper")
        publish()
        apt("install lib")
        apt("remove lib")
        files = {"/etc/lib.conf": "a=1\n", "/etc/lib.more": "b=1\n", "/usr/lib/x": "new"}
        build("lib", "2.0", files=files, conffiles=("/etc/lib.conf", "/etc/lib.more"))
        publish()
        Path("/usr/lib/x").write_text("old")
        saved = install()
        apt("install lib")
        Path("/etc/lib.conf").write_text("a=2\n")
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        assert packages() == {"lib installed"}
        texts = {path: Path(path).read_text() for path in files}
        assert texts == {"/etc/lib.conf": "a=2\n", "/etc/lib.more": "b=1\n", "/usr/lib/x": "new"}

    inside(work)


def test_what_stays_stays_when_a_revert_that_was_cut_off_goes_on() -> None:
    """All that is left of what came along is marked by hand then, as where apt was killed too early."""

    def work() -> None:
        build("tool", Depends="lib, other")
        for name in ("lib", "other", "helper"):
            build(name)
        publish()
        saved = install()
        apt("install lib")
        for _ in range(2):
            STEP.undo(HOST, saved, tell)
            assert packages() == {"lib installed"}

    inside(work)


def test_what_would_make_xen_the_default_must_not_stay() -> None:
    def work() -> None:
        settings = "/etc/default/grub.d/xen.cfg"
        build("common", files={settings: "1\n"}, conffiles=(settings,))
        build("tool", Depends="common")
        build("helper")
        publish()
        before = packages()
        saved = install()
        command("apt-mark manual common >/dev/null")
        (obstacle,) = STEP.obstacles(HOST, saved)
        assert obstacle.final and obstacle.what.endswith("sudo apt-mark auto common")
        command("apt-mark auto common >/dev/null")
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        assert packages() == before

    inside(work)


def test_the_last_kernel_does_not_go() -> None:
    def work() -> None:
        build("old", files={"/boot/vmlinuz-1": "1"})
        build("tool", Depends="linux-image-2")
        build("linux-image-2", files={"/boot/vmlinuz-2": "2"})
        build("helper")
        publish()
        apt("install old")
        saved = install()
        assert STEP.obstacles(HOST, saved) == ()
        apt("purge old")
        (obstacle,) = STEP.obstacles(HOST, saved)
        assert obstacle.final and "/boot/vmlinuz-2 would go" in obstacle.what
        # Nor where a newer one came by the same way, and that is all there is.
        build("tool", "2.0", Depends="linux-image-3")
        files = {"/boot/vmlinuz-3": "3", "/etc/3.conf": "a=1"}
        build("linux-image-3", files=files, conffiles=("/etc/3.conf",))
        publish()
        apt("dist-upgrade")
        Path("/etc/3.conf").write_text("a=2")
        first, second = STEP.obstacles(HOST, saved)
        assert first.final and "/boot/vmlinuz-2, /boot/vmlinuz-3 would go" in first.what
        assert second.what.startswith("/etc/3.conf, configuration of linux-image-3")

    inside(work)


def test_the_native_systems_own_kernels_stay() -> None:
    """They came since, automatically, and nobody needs the older one any more."""

    def work() -> None:
        for version in ("1", "2", "3"):
            build("linux-image-cloud", version, Depends=f"linux-image-{version}.0-cloud")
            build(f"linux-image-{version}.0-cloud", files={f"/boot/vmlinuz-{version}.0-cloud": "1"})
        build("tool", Depends="linux-image-1.0-generic")
        build("linux-image-1.0-generic", files={"/boot/vmlinuz-1.0-generic": "1"})
        build("helper")
        publish()
        apt("install linux-image-cloud=1")
        saved = install()
        for version in ("2", "3"):
            apt(f"install linux-image-cloud={version}")
        command("apt-mark auto linux-image-cloud >/dev/null")
        STEP.undo(HOST, saved, tell)
        kept = {f"linux-image-{version}.0-cloud installed" for version in ("1", "2", "3")}
        assert packages() == {"linux-image-cloud installed", *kept}

    inside(work)


def test_a_link_of_nobody_s_in_the_place_of_configuration_comes_back() -> None:
    """dpkg purges through it, and has noted no hash for it."""

    def work() -> None:
        build("tool", files={"/etc/xt/xl.conf": "a=1\n"}, conffiles=("/etc/xt/xl.conf",))
        build("helper")
        publish()
        Path("/etc/xt").mkdir()
        Path("/srv/own.conf").write_text("mine\n")
        Path("/etc/xt/xl.conf").symlink_to("/srv/own.conf")
        saved = install()
        assert STEP.obstacles(HOST, saved) == ()
        STEP.undo(HOST, saved, tell)
        assert HOST.link_target("/etc/xt/xl.conf") == "/srv/own.conf"
        assert Path("/srv/own.conf").read_text() == "mine\n"

    inside(work)


def test_what_a_package_without_sums_brings_is_known_too() -> None:
    def work() -> None:
        build("tool", files={"/srv/xt/data": "1"}, sums=False)
        build("helper")
        publish()
        Path("/srv/xt").mkdir()
        Path("/srv/xt/data").symlink_to("elsewhere")
        saved = install()
        assert not HOST.link_target("/srv/xt/data")
        STEP.undo(HOST, saved, tell)
        assert HOST.link_target("/srv/xt/data") == "elsewhere"

    inside(work)


def test_a_kill_before_apt_noted_what_came_along() -> None:
    """Else all that came along would count as installed by hand, and stay for ever."""

    def work() -> None:
        build("tool", Depends="lib, lib2")
        build("lib")
        build("lib2")
        build("helper")
        publish()
        before = packages()
        saved: Saved = json.loads(json.dumps(dict(STEP.save(HOST))))
        command("dpkg -i /archive/*.deb")
        STEP.undo(HOST, saved, tell)
        assert packages() == before
        command("dpkg -i /archive/lib_1.0_all.deb")
        STEP.do(HOST, saved, tell)
        assert command("apt-mark showauto").split() == ["lib", "lib2"]
        STEP.undo(HOST, saved, tell)
        assert packages() == before

    inside(work)
