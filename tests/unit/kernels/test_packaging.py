# SPDX-License-Identifier: GPL-2.0-or-later
"""debian/ of the source package, and the numbers of builds."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tree import make_tree
from tests.unit.kernels.fixtures import BUILD
from xenable.boot.pairs import newest_first
from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.archive import Archive
from xenable.kernels.flavours import flavour
from xenable.kernels.packaging import Naming, build_depends, changelog, debian_files, fill, templates
from xenable.kernels.patches import Patch
from xenable.kernels.places import BUILDS, WORK
from xenable.kernels.records import add_build, builds, next_naming, packages_of_last, same_build
from xenable.kernels.stages import Stage, State, reached

ARCHIVE = Archive(
    path=Path("/s/linux_6.12.9.orig.tar.xz"), sha256="a" * 64, version="6.12.9", date=1_700_000_000
)
NAMING = Naming(upstream="6.12.9", revision=2, flavour="lean")
PATCHES = (Patch(name="xsa-1.patch", text="Subject: [PATCH] xen: do not\nFrom: x\n"),)


def files() -> dict[str, str]:
    return debian_files(templates(), NAMING, flavour("lean"), ARCHIVE, PATCHES)


def test_names() -> None:
    assert (NAMING.release, NAMING.version) == ("6.12.9-2-xen-lean", "6.12.9-2")
    control = files()["control"]
    assert re.findall(r"(?m)^Package: (.*)$", control) == [
        "xen-image-6.12.9-2-xen-lean",
        "xen-headers-6.12.9-2-xen-lean",
        "xen-headers-lean",
        "xen-image-lean",
    ]
    # Nothing that a kernel of the distribution is called, and nothing in its stead.
    assert not re.search(r"(?m)^(Package|Provides|Replaces|Conflicts|Breaks):.*linux-", control)
    assert "linux-libc-dev" not in control


def test_nothing_is_left_to_be_filled_in() -> None:
    made = files()
    assert not any(re.search(r"@[A-Z]+@", name + text) for name, text in made.items())
    assert made["patches/series"] == "xsa-1.patch\n" and "patches/xsa-1.patch" in made
    assert made["release.mk"] == "RELEASE = 6.12.9-2-xen-lean\n"
    with pytest.raises(ValueError, match="@OTHER@"):
        fill("@OTHER@", {})


def test_the_day_is_that_of_the_source() -> None:
    text = changelog(NAMING, ARCHIVE, PATCHES)
    assert text.startswith("xen-kernel (6.12.9-2) unstable;")
    assert "  * xsa-1.patch: xen: do not\n" in text and "Tue, 14 Nov 2023 22:13:20 +0000" in text
    # The sum says what it was made of; under another name the same archive gives the same packages.
    assert all(len(line) <= 80 for line in text.splitlines() if line.startswith("  "))
    assert "a" * 64 in text and text == changelog(
        NAMING, replace(ARCHIVE, path=Path("/t/x.tar.xz")), PATCHES
    )


def test_what_a_build_needs() -> None:
    needed = build_depends(templates()["control.in"])
    assert {"build-essential", "bc", "debhelper", "flex", "libelf-dev", "patch"} <= set(needed)
    assert not any("(" in name or "," in name for name in needed)


@pytest.mark.realtool
def test_scripts(tmp_path: Path) -> None:
    scripts = [name for name, text in files().items() if text.startswith("#!/bin/sh")]
    assert len(scripts) == 6
    for name in scripts:
        (tmp_path / name).write_text(files()[name])
        subprocess.run(["shellcheck", tmp_path / name], check=True)


class Machine:
    """Folders and programs that stand in for those of a machine on which the scripts of a package run."""

    PLACES = ("etc/apt/apt.conf.d", "etc/initramfs", "boot", "lib/modules")

    def __init__(self, root: Path) -> None:
        self.root = root
        for place in (*self.PLACES, "bin"):
            (root / place).mkdir(parents=True)
        # There is none before a kernel makes it.
        (root / "etc/initramfs").rmdir()
        for name in ("depmod", "run-parts"):
            self.program(name, ":")
        self.image = root / "boot/linux-6.12.9-2-xen-lean"
        self.image.touch()

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, text: str, *words: str, **more: str) -> None:
        env = {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin", **more}
        subprocess.run(["sh", "-c", text, "script", *words], check=True, env=env)

    def script(self, name: str, action: str) -> None:
        text = files()[f"xen-image-6.12.9-2-xen-lean.{name}"]
        for place in self.PLACES:
            text = text.replace(f"/{place}", str(self.root / place))
        self.run(text, action)


@pytest.mark.realtool
@pytest.mark.parametrize(
    ("running", "kept"),
    [
        ("6.12.8-1-xen-lean", "^xen-image-6[.]12[.]8-1-xen-lean$"),
        # The very one that is configured, one of the distribution, and what is no name of ours.
        ("6.12.9-2-xen-lean", ""),
        ("6.12.8-cloud-amd64", ""),
        ('6.1"-xen-x', ""),
    ],
)
def test_autoremove_leaves_the_kernel_that_runs(tmp_path: Path, running: str, kept: str) -> None:
    machine = Machine(tmp_path)
    machine.program("uname", f"echo '{running}'")
    folder = tmp_path / "etc/apt/apt.conf.d"
    machine.script("postinst", "configure")
    assert [path.name for path in folder.iterdir()] == (["92xen-image"] if kept else [])
    if kept:
        told = subprocess.run(
            ["apt-config", "-c", folder / "92xen-image", "dump", "APT::NeverAutoRemove"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f'"{kept}"' in told.stdout
    # It goes with the last of these kernels, and not before.
    machine.script("postrm", "remove")
    assert bool(list(folder.iterdir())) == bool(kept)
    machine.image.unlink()
    machine.script("postrm", "remove")
    assert not list(folder.iterdir())


@pytest.mark.realtool
def test_its_initrd_follows_that_of_the_native_system(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("uname", "echo 6.12.8-cloud-amd64")
    renewed = tmp_path / "renewed"
    machine.program("update-initramfs", f"echo $* >>{renewed}; exit 1")
    # The last one has no initrd: update-initramfs does not count it.
    natives = ("6.12.8-amd64", "6.12.7-cloud-amd64", "6.12.8-amd64.old")
    machine.program("linux-version", f'[ $1 = sort ] && exec sort -V; printf "%s\\n" {" ".join(natives)}')
    for version in natives[:2]:
        (tmp_path / f"boot/initrd.img-{version}").touch()
    machine.script("postinst", "configure")
    hook = tmp_path / "etc/initramfs/post-update.d/xen-image"
    # run-parts takes nothing that is not executable.
    assert os.access(hook, os.X_OK)
    subprocess.run(["shellcheck", hook], check=True)
    for version in ("6.12.9-1-xen-lean", "6.12.9-2-xen-lean", "6.12.9-3-xen-generic", "6.12.9-10-xen-lean"):
        (tmp_path / f"boot/linux-{version}").touch()
        (tmp_path / f"boot/initrd.img-{version}").touch()
    newest = ("6.12.8-amd64", "/boot/initrd.img-6.12.8-amd64")
    # Not by an older kernel's, nor by its own: that would go on for ever; nor when a kernel is installed.
    for version in ("6.12.7-cloud-amd64", "6.12.9-10-xen-lean"):
        machine.run(hook.read_text(), version, f"/boot/initrd.img-{version}")
    machine.run(hook.read_text(), *newest, DEB_MAINT_PARAMS="configure")
    assert not renewed.exists()
    # One that fails keeps neither the other nor the native kernel from theirs.
    machine.run(hook.read_text(), *newest)
    assert renewed.read_text() == "-u -k 6.12.9-3-xen-generic\n-u -k 6.12.9-10-xen-lean\n"
    renewed.unlink()
    for path in (tmp_path / "boot").glob("*-xen-*"):
        path.unlink()
    machine.run(hook.read_text(), *newest)
    assert not renewed.exists()
    machine.script("postinst", "configure")
    machine.script("postrm", "remove")
    assert not (tmp_path / "etc/initramfs").exists()
    # A folder that was there stays.
    hook.parent.mkdir(parents=True)
    machine.script("postinst", "configure")
    assert hook.exists()
    machine.script("postrm", "remove")
    assert hook.parent.exists() and not hook.exists()


# --------------------------------------------------------------------------------------------------- numbers


def test_a_number_never_stands_for_two_things(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder(BUILDS.parent)
    assert builds(host) == () and next_naming(host, "6.12.9", "lean").revision == 1
    add_build(host, BUILD)
    add_build(host, replace(BUILD, revision=2, inputs="j"))
    add_build(host, replace(BUILD, flavour="generic", revision=7, inputs="j"))
    assert next_naming(host, "6.12.9", "lean").revision == 8
    assert next_naming(host, "6.12.10", "lean").revision == 1
    # The record is gone, and what was installed is there: its modules, or what dpkg still knows of it.
    host.remove(BUILDS)
    make_tree(tmp_path, {"/lib/modules/6.12.9-4-xen-lean/": "", "/lib/modules/6.12.91-9-xen-lean/": ""})
    assert next_naming(host, "6.12.9", "lean").revision == 5
    known = "Package: xen-image-6.12.9-6-xen-lean\nStatus: deinstall ok config-files\nVersion: 6.12.9-6\n\n"
    make_tree(tmp_path, {"/var/lib/dpkg/status": known})
    assert next_naming(host, "6.12.9", "lean").revision == 7
    # And what was begun, and is to be gone on with.
    begun = State(inputs="i", version="6.12.9", revision=7, flavour="generic", stage=Stage.BEGUN)
    host.make_folder(WORK / "generic")
    reached(host, WORK / "generic", begun, Stage.BEGUN)
    make_tree(tmp_path, {f"{WORK}/lean/state.json": "torn"})
    assert next_naming(host, "6.12.9", "lean").revision == 8


def test_what_is_built_last_is_the_newest_of_the_menu(tmp_path: Path) -> None:
    """Else another flavour that apt brings beside the first would never be tried."""
    host = Host(tmp_path)
    host.make_folder(BUILDS.parent)
    releases: list[str] = []
    for name in ("lean", "lean", "generic", "lean"):
        naming = next_naming(host, "6.12.9", name)
        add_build(host, replace(BUILD, flavour=name, revision=naming.revision, inputs=naming.release))
        releases.insert(0, naming.release)
    assert newest_first(releases) == tuple(releases)
    assert releases[0] == "6.12.9-4-xen-lean"


def test_what_can_still_be_had() -> None:
    rows = [replace(BUILD, revision=n, packages=(f"lean-{n}.deb",)) for n in (1, 2, 3)]
    rows.append(replace(BUILD, flavour="generic", packages=("generic-1.deb",)))
    assert packages_of_last(rows, 2) == {"lean-2.deb", "lean-3.deb", "generic-1.deb"}
    assert packages_of_last((), 2) == frozenset()


def test_only_the_last_build_counts_as_there() -> None:
    """A patch was added, built, and taken out again: apt must not be left with the kernel that has it."""
    first, second = BUILD, replace(BUILD, revision=2, inputs="j")
    assert same_build((first,), "6.12.9", "lean", BUILD.inputs) == first
    assert same_build((first, second), "6.12.9", "lean", BUILD.inputs) is None
    assert same_build((first, second), "6.12.9", "lean", "j") == second
    assert same_build((first, replace(second, flavour="generic")), "6.12.9", "lean", BUILD.inputs) == first
    assert same_build((first, second), "6.12.9", "lean", "k") is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": 2, "builds": []}', '{"schema": 1, "builds": [{}]}']
)
def test_a_damaged_list_is_refused(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path)
    host.make_folder(BUILDS.parent)
    host.write(BUILDS, text.encode())
    with pytest.raises(XenableError, match="damaged"):
        builds(host)
