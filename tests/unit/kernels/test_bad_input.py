# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with a machine, or with what is asked for: one clear sentence, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tree import make_tree
from xenable.errors import XenableError
from xenable.host import Host, Result
from xenable.kernels import build, configure, packaging, repository
from xenable.kernels.archive import Archive
from xenable.kernels.build import Request
from xenable.kernels.flavours import Flavour, flavour
from xenable.kernels.packaging import Naming
from xenable.kernels.places import WORK
from xenable.kernels.stages import Stage, State

LEAN = flavour("lean")
ARCHIVE = Archive(path=Path("/s/linux_6.12.9.orig.tar.xz"), sha256="a" * 64, version="6.12.9", date=0)
NAMING = Naming(upstream="6.12.9", revision=1, flavour="lean")
SMALL = replace(LEAN, fragments={"lean.config": "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=y # since 6.13\n"})
TREE = WORK / "lean/tree"
Run = Callable[[list[str]], Result]


def said(code: int, stdout: str = "", stderr: str = "") -> Result:
    return Result(code=code, stdout=stdout, stderr=stderr)


def quiet(fraction: float, text: str) -> None:
    assert 0 <= fraction <= 1 and text


def stand_in(monkeypatch: pytest.MonkeyPatch, act: Run) -> list[list[str]]:
    """Commands are answered by a function; returns the list that they are put into."""
    calls: list[list[str]] = []

    def run(host: Host, cmd: Sequence[str | Path], **_: Any) -> Result:
        calls.append([str(word) for word in cmd])
        return act(calls[-1])

    monkeypatch.setattr(Host, "run", run)
    return calls


# ---------------------------------------------------------------------------------------------- the machine


def test_what_is_not_installed_is_named_before_anything_is_done(tmp_path: Path) -> None:
    wanted = (*packaging.build_depends(packaging.templates()["control.in"]), *repository.NEEDED)
    stanza = "Package: {}\nStatus: {} ok {}\nVersion: 1\nArchitecture: amd64\n\n"

    def machine(*missing: str, half: str = "") -> Host:
        here = [name for name in wanted if name not in (*missing, half)]
        text = "".join(stanza.format(name, "install", "installed") for name in here)
        text += stanza.format(half, "deinstall", "config-files") if half else ""
        return make_tree(tmp_path, {"/var/lib/dpkg/status": text})

    build.check_tools(machine())
    with pytest.raises(XenableError, match=r"not installed here: flex, gpg-agent$") as caught:
        build.check_tools(machine("gpg-agent", half="flex"))
    assert caught.value.hint == "sudo apt install --no-install-recommends flex gpg-agent"
    with pytest.raises(XenableError, match=r"not installed here: apt-utils, gpg$"):
        build.check_tools(machine("gpg", "apt-utils"))


def test_a_full_disk_is_seen_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path)
    calls = stand_in(monkeypatch, lambda cmd: said(0))
    monkeypatch.setattr(Host, "free_bytes", lambda host, path: LEAN.room - 1)
    request = Request(flavour=LEAN, archive=ARCHIVE, patches=(), base="", jobs=1)
    with pytest.raises(XenableError, match="has 4095 MiB free, and 4096 MiB are needed") as caught:
        build.build(host, request, quiet)
    assert "free some space" in caught.value.hint
    assert host.names(WORK) == () and not any("tar" in call for call in calls)
    # Who can't say how much is free is believed to have enough.
    monkeypatch.setattr(Host, "free_bytes", lambda host, path: None)
    build._check_room(host, LEAN)


@pytest.mark.parametrize(
    ("output", "reason", "hint"),
    [
        ("cc1: fatal error: x.o: No space left on device\n", "the disk is full", "it goes on from here"),
        (
            "  CC      a.o\na.c:3:1: error: expected ';'\nmake[2]: *** [x: a.o] Error 1\n",
            "a.c:3:1: error: expected ';'",
            "build.log has all that was said",
        ),
        ("", "dpkg-buildpackage ended with status 29", "Nothing was installed"),
    ],
    ids=["disk", "source", "mute"],
)
def test_a_build_that_breaks_says_why_and_where_to_read_on(output: str, reason: str, hint: str) -> None:
    error = build._build_error(LEAN, WORK / "lean", said(29, output))
    assert error.message == f"cannot build the lean kernel: {reason}" and hint in error.hint


def test_a_disk_that_gets_full_while_it_compiles_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no room for what the build would write of itself either, and that is not the news."""
    place = WORK / "lean"
    host = make_tree(tmp_path, {f"{TREE}/debian/": "", f"{TREE}/debian/linux.config": "CONFIG_A=y\n"})
    state = State(inputs="i", version="6.12.9", revision=1, flavour="lean", stage=Stage.CONFIGURED)
    stand_in(monkeypatch, lambda cmd: said(0))

    def compiles(_host: Host, cmd: object, on_line: Callable[[str], None], **_: object) -> Result:
        monkeypatch.setattr(build, "LOG_SECONDS", -1)
        on_line("cc1: fatal error: x.o: No space left on device")
        return said(2, "cc1: fatal error: x.o: No space left on device\n")

    def full(_host: Host, path: object, *_: object, **__: object) -> None:
        raise XenableError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(Host, "stream", compiles)
    monkeypatch.setattr(Host, "write", full)
    request = Request(flavour=LEAN, archive=ARCHIVE, patches=(), base="", jobs=1)
    with pytest.raises(XenableError, match=r"^cannot build the lean kernel: the disk is full$") as caught:
        build._compile(host, request, place, state, quiet)
    assert "it goes on from here" in caught.value.hint


# ---------------------------------------------------------------------------------------- the configuration


def configured(tmp_path: Path, chosen: Flavour, final: str = "") -> str:
    """The configuration that comes out, where kbuild's answer is this one."""
    host = make_tree(tmp_path, {f"{TREE}/.config": final, f"{TREE}/debian/": ""})
    configure.configure(host, chosen, ARCHIVE, "", NAMING, TREE)
    return host.text(TREE / configure.CONFIG)


WHOLE = f'CONFIG_LOCALVERSION="{NAMING.suffix}"\n# CONFIG_LOCALVERSION_AUTO is not set\nCONFIG_A=y\n'


def test_a_configuration_that_has_all_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, lambda cmd: said(0))
    assert "CONFIG_B=m" in configured(tmp_path, SMALL, WHOLE + "CONFIG_B=m\n")
    assert [call[-1] for call in calls][-1] == "olddefconfig"
    fragments = [word for call in calls for word in call if "debian/fragments/" in word]
    assert [name.rpartition("-")[2] for name in fragments] == ["lean.config", "naming"]


def test_an_option_that_vanished_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, lambda cmd: said(0))
    with pytest.raises(
        XenableError, match=r"Linux 6\.12\.9 does not have all that is asked for: .*CONFIG_B"
    ) as e:
        configured(tmp_path, SMALL, WHOLE)
    assert "CONFIG_A" not in e.value.message and "another name in this kernel" in e.value.hint
    assert not Host(tmp_path).exists(TREE / configure.CONFIG)


def test_fragments_that_contradict_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, lambda cmd: said(0))
    both = replace(SMALL, fragments={"lean.config": "CONFIG_A=y\n", "xen.config": "CONFIG_A=m\n"})
    with pytest.raises(XenableError, match=r"cannot configure the lean kernel: .*CONFIG_A"):
        configured(tmp_path, both)
    assert calls == []


@pytest.mark.parametrize(
    ("answer", "reason", "hint"),
    [
        (
            said(2, stderr="sh: No space left on device\n"),
            "the disk is full",
            "it goes on from here",
        ),
        (said(2, stdout="\n  scripts/kconfig: syntax error \n"), "scripts/kconfig: syntax error", ""),
        (said(1), "scripts/kconfig/merge_config.sh failed", ""),
    ],
    ids=["disk", "output", "mute"],
)
def test_a_tool_of_the_kernel_that_fails(
    answer: Result, reason: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, lambda cmd: answer)
    with pytest.raises(XenableError) as caught:
        configured(tmp_path, SMALL)
    assert caught.value.message == f"cannot configure the lean kernel: {reason}"
    assert hint in caught.value.hint
