# SPDX-License-Identifier: GPL-2.0-or-later
"""What bash and zsh offer for the program's words."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tests.unit.cli.commands import (
    GROUPS,
    MAN,
    NAMES,
    PATHS,
    SETTING_OPTIONS,
    TOP,
    Words,
    arguments,
    below,
    choices,
    options,
)
from xenable.checks import RULES
from xenable.guests.words import RELEASES
from xenable.model import Severity

BASH = TOP / "data/completion/bash/xenable"
ZSH = TOP / "data/completion/zsh/_xenable"
OVERRIDES = sorted(rule.id for rule in RULES if rule.severity is Severity.OVERRIDABLE)


def complete(*words: str, script: Path = BASH) -> list[str]:
    """What bash offers for the last word."""
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _xenable; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", script, "xenable", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.realtool
def test_bash_offers_every_command_and_option() -> None:
    assert complete("ch") == ["check"]
    for path in GROUPS:
        assert set(complete(*path, "")) == {*below(path), *options(path)}, path
    for path in PATHS:
        assert set(complete(*path, "--")) == options(path), path
        if path not in GROUPS and not arguments(path):
            assert set(complete(*path, "")) == options(path), path
    assert set(complete("--debug", "revert", "--")) == options(("revert",))


@pytest.mark.realtool
def test_bash_offers_values() -> None:
    assert complete("check", "--override", "") == OVERRIDES
    assert complete("apply", "--override", "=", "packages/h") == ["packages/held"]
    assert complete("check", "--override", "=") == OVERRIDES
    assert complete("plan", "--auto-confirm", "") == ["yes", "no"]
    assert complete("plan", "--trial-seconds", "") == []
    for path in (("kernel", "build"), ("kernel", "add-patch")):
        for option in ("--linux", "--xen", "--sha256"):
            assert complete(*path, option, "") == [], (path, option)
    assert str(TOP / "docs") in complete("check", "--root", str(TOP / "do"))
    assert str(MAN) in complete("report", "-o", str(MAN)[:-2])


@pytest.mark.realtool
def test_bash_offers_values_for_guests(tmp_path: Path) -> None:
    for path in PATHS:
        for parameter, words in choices(path):
            before = ["web1"] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
            assert complete(*path, *before, "") == words, path
    create = ("guest", "create")
    assert complete(*create, "web1", "--release", "=", "") == [r.codename for r in RELEASES]
    assert complete(*create, "--memory", "") == complete(*create, "--mirror", "=") == []
    for name in ("id.pub", "id", "keys/old.pub"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert complete(*create, "--ssh-key", f"{tmp_path}/") == [f"{tmp_path}/keys", f"{tmp_path}/id.pub"]
    assert sorted(complete(*create, "--image", f"{tmp_path}/i")) == [f"{tmp_path}/id", f"{tmp_path}/id.pub"]


@pytest.mark.realtool
def test_bash_offers_the_guests_and_images_that_there_are(tmp_path: Path) -> None:
    script, guests, images = tmp_path / "script", tmp_path / "xen", tmp_path / "images"
    text = BASH.read_text(encoding="utf-8")
    for place, folder in (("/etc/xen ", guests), ("/var/lib/xenable/images ", images)):
        assert place in text
        text = text.replace(place, f"{folder} ")
    script.write_text(text)
    named = [path for path in PATHS if path[0] == "guest" and arguments(path) and path[1] != "create"]
    assert all(complete(*path, "", script=script) == [] for path in named)
    assert complete("guest", "images", "--remove", "", script=script) == []
    for file in (
        "xen/web1.cfg",
        "xen/db.cfg",
        "xen/xl.conf",
        "images/trixie-amd64.json",
        "images/trixie-amd64.raw",
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert complete("guest", "images", "--remove", "=", "", script=script) == ["trixie-amd64"]
    for path in named:
        assert complete(*path, "", script=script) == ["db", "web1"], path
        assert complete(*path, "--json", "w", script=script) == ["web1"], path
    # The value of an option is no name, and after the name there are options.
    resize = ("guest", "resize")
    for words in (("--memory", "1G"), ("--memory", "=", "1G"), ("--vcpus=2",)):
        assert complete(*resize, *words, "w", script=script) == ["web1"]
        assert set(complete(*resize, *words, "web1", "", script=script)) == options(resize)
    assert "--memory" in complete("guest", "create", "", script=script)


def zsh_branches(path: Words) -> dict[str, str]:
    """Name and text of each branch of the script's `case` over the commands of a group."""
    text = ZSH.read_text(encoding="utf-8")
    for depth, name in enumerate(path):
        indent = " " * (12 + 16 * depth)
        text = text[text.index(f"\n{indent}{name})\n") + 1 :].partition(f"\n{indent[:-4]}esac")[0]
        text = re.split(rf"^{indent}(?!{name}\))[\w-]+\)$", text, maxsplit=1, flags=re.M)[0]
    indent = " " * (12 + 16 * len(path))
    found = re.finditer(rf"^{indent}([a-z-]+)\)\n(.*?);;", text, re.M | re.S)
    return {branch[1]: branch[2] for branch in found}


def zsh_list(name: str) -> str:
    """The text of one of the script's arrays."""
    return ZSH.read_text(encoding="utf-8").partition(f"\n{name}=(\n")[2].partition("\n)")[0]


def test_zsh_offers_every_command_and_option() -> None:
    named = re.compile(r"--[a-z][a-z0-9-]*")
    assert set(named.findall(zsh_list("settings"))) >= SETTING_OPTIONS
    for group in GROUPS:
        listed = re.findall(r"^    '([a-z-]+):", zsh_list("_".join((*group, "commands"))), re.M)
        assert sorted(listed) == sorted(below(group)), group
        branches = zsh_branches(group)
        assert sorted(branches) == sorted(below(group)), group
        for name, branch in branches.items():
            path = (*group, name)
            offered = set(named.findall(re.sub(r"\[[^]]*\]", "", branch)))
            if "$settings" in branch:
                offered |= SETTING_OPTIONS
            assert offered == options(path), path
            for _, words in choices(path):
                assert f"({' '.join(words)})" in branch, path
            # `1:command:` of a group is none of its own.
            assert len(re.findall(r" '::?[a-z]+:", branch)) == len(arguments(path)), path
    assert re.findall(r"^    '([a-z]+):", zsh_list("commands"), re.M) == NAMES
    assert f"({' '.join(r.codename for r in RELEASES)})" in zsh_branches(("guest",))["create"]
    assert zsh_list("overrides").split() == OVERRIDES


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_understands_the_script() -> None:
    subprocess.run(["zsh", "-n", ZSH], check=True)
