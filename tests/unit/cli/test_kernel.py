# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable kernel`: what is asked for is checked before anything is done."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click
import pytest

from tests.unit.cli.fixtures import document
from tests.unit.kernels.fixtures import BUILD
from xenable import convert, engine
from xenable.__main__ import run
from xenable.cli import kernel
from xenable.config import KernelChoice
from xenable.errors import INTERRUPTED, Exit
from xenable.host import Host
from xenable.journal import JOURNAL
from xenable.kernels import make, patches
from xenable.kernels.archive import Archive
from xenable.kernels.flavours import NAMES, Flavour
from xenable.kernels.make import Choice, Made
from xenable.kernels.patches import Patch
from xenable.kernels.table import Series
from xenable.model import Progress
from xenable.plan.texts import settings_late
from xenable.steps.files import WriteFile

MADE = Made(build=BUILD, present=False, newer=())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Choice, int]]:
    """What the builder was asked for; it says that it is done."""
    found: list[tuple[str, Choice, int]] = []

    def build(host: Host, flavour: Flavour, choice: Choice, jobs: int, progress: Progress) -> Made:
        found.append((flavour.name, choice, jobs))
        progress(0.5, "compiling")
        return replace(MADE, newer=("6.12.10-1",))

    monkeypatch.setattr(make, "make_kernel", build)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return found


def test_flavours_are_those_of_the_table() -> None:
    (option,) = (p for p in kernel.build.params if p.name == "flavour_name")
    assert isinstance(option.type, click.Choice) and tuple(option.type.choices) == NAMES


def test_build(asked: list[tuple[str, Choice, int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernel", "build", "--flavour", "generic", "--jobs", "3", "--xen", "4.20"]) == Exit.DONE
    assert asked == [("generic", Choice(xen=(4, 20)), 3)]
    said = " ".join(capsys.readouterr().err.split())
    assert "6.12.9-1-xen-lean is in the local repository" in said
    assert "the archive names Linux 6.12.10-1 and does not have its source" in said


@pytest.mark.parametrize(
    ("begun_with", "told"),
    [
        (None, "`xenable apply --kernel xen` takes it"),
        (KernelChoice.XEN, "`sudo apt install xen-image-lean` brings it, for a trial"),
        (KernelChoice.DISTRO, "keeps the distribution's kernel until `xenable revert`"),
    ],
)
def test_what_is_next_depends_on_what_the_machine_is(
    begun_with: KernelChoice | None,
    told: str,
    asked: list[tuple[str, Choice, int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a converted machine `apply` refuses `--kernel`."""
    monkeypatch.setattr(convert, "kernel_choice", lambda host: begun_with)
    assert run(["kernel", "build"]) == Exit.DONE
    assert told in " ".join(capsys.readouterr().err.split())


def test_what_a_conversion_began_with(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert convert.kernel_choice(host) is None
    for choice in KernelChoice:
        step = WriteFile(path="/etc/default/grub.d/x.cfg", content=settings_late("smt=off", kernel=choice))
        engine.plan_into_journal(host, (step,))
        assert convert.kernel_choice(host) is choice
        host.remove(JOURNAL)


def test_build_as_json(asked: list[tuple[str, Choice, int]], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tarball", "/x/linux.tar.xz", "--sha256", "AB" * 32]
    assert run(["kernel", "build", *words, "--json"]) == Exit.DONE
    ((name, choice, jobs),) = asked
    assert (name, choice.tarball, choice.sha256) == (
        "lean",
        Path("/x/linux.tar.xz"),
        "ab" * 32,
    ) and jobs >= 1
    found = document(capsys)
    assert (found["result"], found["kernel"]) == ("built", "6.12.9-1-xen-lean")
    assert found["newer"] == ["6.12.10-1"]


@pytest.mark.parametrize(
    "words",
    [
        ["--flavour", "rich"],
        ["--jobs", "0"],
        ["--jobs", "-1"],
        ["--jobs", "many"],
        ["--xen", "4"],
        ["--linux", "6.12.9"],
        ["--linux", "6.12", "--xen", "4.20"],
        ["--tarball", "x.tar.xz"],
        ["--sha256", "a" * 64],
        ["--tarball", "x.tar.xz", "--sha256", "abc"],
        ["--tarball", "x.tar.xz", "--sha256", "a" * 64, "--linux", "6.12"],
    ],
)
def test_what_can_not_be_asked_for(
    asked: list[tuple[str, Choice, int]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kernel", "build", *words]) == Exit.FAILED
    assert asked == [] and capsys.readouterr().err.startswith("xenable: cannot ")


def test_rights(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words, verb in (
        (["build"], "build a kernel"),
        (["add-patch", "x.patch"], "add a patch"),
        (["remove-repository"], "remove the repository"),
    ):
        assert run(["kernel", *words]) == Exit.FAILED
        said = capsys.readouterr().err
        assert f"cannot {verb}: root rights are needed" in said
        assert f"hint: sudo xenable kernel {words[0]}" in said


def test_ctrl_c_says_how_to_go_on(
    asked: list[tuple[str, Choice, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> Made:
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "make_kernel", stop)
    assert run(["kernel", "build"]) == INTERRUPTED
    assert "gone on with by the same command" in " ".join(capsys.readouterr().err.split())


def test_add_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(path=Path("/s/linux.tar.xz"), sha256="", version="6.12.9", date=0)
    file = tmp_path / "xsa-1.patch"
    file.write_text("Description: x\nOrigin: vendor\n--- a/d/f\n+++ b/d/f\n@@ -1 +1 @@\n-a\n+b\n")

    def add(
        host: Host, patch: Patch, series: Series, source: Archive, progress: Progress
    ) -> tuple[Patch, ...]:
        assert (series, source) == ((6, 12), archive)
        progress(1.0, "applied")
        return (Patch(name="before.patch", text=""), patch)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(make, "get_source", lambda host, choice, progress: (archive, ()))
    monkeypatch.setattr(patches, "add_patch", add)
    assert run(["kernel", "add-patch", str(file), "--json"]) == Exit.DONE
    found = document(capsys)
    assert found["patches"] == ["before.patch", "xsa-1.patch"] and found["series"] == "6.12"
    file.write_text("no header\n" + file.read_text())
    assert run(["kernel", "add-patch", str(tmp_path / "nowhere.patch")]) == Exit.FAILED
    assert "there is no such file" in " ".join(capsys.readouterr().err.split())
