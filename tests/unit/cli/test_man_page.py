# SPDX-License-Identifier: GPL-2.0-or-later
"""The man page and the files of the package that say what the program does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.commands import (
    GROUPS,
    MAN,
    PATHS,
    SETTING_OPTIONS,
    TOP,
    arguments,
    below,
    choices,
    options,
)
from xenable.config import SETTINGS, load_config
from xenable.host import Host


def test_the_man_page_has_every_command_and_option_and_no_other() -> None:
    text = MAN.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.It .*?Fl -([a-z0-9-]+)", text, re.M))
    documented |= set(re.findall(r"^\.It .*, Fl -([a-z0-9-]+)", text, re.M))
    every = set().union(options(()), *(options(path) for path in PATHS))
    assert {f"--{name}" for name in documented} == every
    told = [tuple(words.split()) for words in re.findall(r"^\.It Cm ([a-z]+(?: [a-z-]+)*)", text, re.M)]
    assert sorted(told) == sorted(PATHS)
    for setting in SETTINGS:
        assert setting.default in text


def test_the_man_page_s_synopsis_is_that_of_each_command() -> None:
    text = MAN.read_text(encoding="utf-8")
    synopsis = text[: text.index(".Sh DESCRIPTION")]
    assert len(re.findall(r"^\.Cm ", synopsis, re.M)) == len(PATHS) - len(GROUPS) + 1
    for path in PATHS:
        if path in GROUPS:
            continue
        used = synopsis[synopsis.index(f".Cm {' '.join(path)}\n") :].partition(".Nm")[0]
        long = {f"--{word}" for word in re.findall(r"Fl -([a-z0-9-]+)", used)}
        short = {"--output"} if "Fl o" in used else set()
        assert long | short | {"--help"} == options(path) - SETTING_OPTIONS, path
        assert (".Op Ar setting" in used) is bool(options(path) & SETTING_OPTIONS), path
        assert (".Ar NAME" in used) is any(a.name == "name" for a in arguments(path)), path
        for _, words in choices(path):
            assert " Ns | Ns ".join(f"Cm {word}" for word in words) in used, path


def test_the_man_page_has_every_option_of_a_group_where_the_group_is_told_of() -> None:
    for group in GROUPS[1:]:
        title = f".Ss Options of {' '.join(group)}\n"
        part = MAN.read_text(encoding="utf-8").partition(title)[2]
        part = re.split(r"^\.S[hs] ", part, maxsplit=1, flags=re.M)[0]
        told = set(re.findall(r"^\.It Fl (-[a-z0-9-]+)", part, re.M))
        every = set().union(*(options((*group, name)) for name in below(group)))
        assert {f"-{name}" for name in told} == every - {"--json", "--help"}


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_man_page_is_clean() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", MAN], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.realtool
@pytest.mark.skipif(shutil.which("man") is None, reason="man-db is not installed")
def test_man_shows_the_page_as_one_of_this_system() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", MAN], capture_output=True, text=True, check=True
    )
    assert done.stderr == "" and "BSD" not in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("Linux")


def test_the_package_recommends_what_every_guest_begins_with() -> None:
    """apply takes in what its packages recommend, not what those recommend in turn."""
    text = (TOP / "debian/control").read_text(encoding="utf-8")
    (stanza,) = [part for part in text.split("\n\n") if part.startswith("Package: xenable\n")]
    recommended = stanza.partition("\nRecommends:\n")[2].partition("\nSuggests:")[0]
    assert [name.strip(" ,") for name in recommended.splitlines()] == ["mmdebstrap", "qemu-utils"]


@pytest.mark.realtool
def test_the_conffile_says_the_defaults(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, TOP / "debian/conffile.py"], capture_output=True, text=True, check=True
    ).stdout
    path = tmp_path / "etc/xenable/xenable.conf"
    path.parent.mkdir(parents=True)
    path.write_text(made, encoding="utf-8")
    assert load_config(Host(tmp_path)) == load_config(Host(tmp_path / "nowhere"))
    path.write_text(re.sub(r"^#(\S)", r"\1", made, flags=re.M), encoding="utf-8")
    assert load_config(Host(tmp_path)) == load_config(Host(tmp_path / "nowhere"))
    assert [row.partition(" = ")[0][1:] for row in made.splitlines() if " = " in row] == [
        s.key for s in SETTINGS
    ]
