# SPDX-License-Identifier: GPL-2.0-or-later
"""The real program, its completions and its man page."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from xenable import __version__
from xenable.checks import RULES
from xenable.cli import COMMANDS, STATUSES, xenable
from xenable.config import OPTIONS, SETTINGS, load_config
from xenable.errors import INTERRUPTED, Exit
from xenable.guests.words import RELEASES
from xenable.host import Host
from xenable.model import Severity

TOP = Path(__file__).resolve().parents[3]
BASH = TOP / "data/completion/bash/xenable"
ZSH = TOP / "data/completion/zsh/_xenable"
MAN = TOP / "docs/man/xenable.8"

NAMES = [name for name, _, _ in COMMANDS]
OVERRIDES = sorted(rule.id for rule in RULES if rule.severity is Severity.OVERRIDABLE)


Words = tuple[str, ...]


def command(path: Words) -> click.Command:
    """The command that these words call; the program itself for none."""
    found: click.Command = xenable
    for name in path:
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), name)
        assert below is not None
        found = below
    return found


def below(path: Words) -> list[str]:
    """Names of the sub-commands of a group; none of another command."""
    found = command(path)
    return found.list_commands(click.Context(found)) if isinstance(found, click.Group) else []


def tree(path: Words = ()) -> list[Words]:
    """Every command, those of groups too, each after what it is in."""
    return [every for name in below(path) for every in ((*path, name), *tree((*path, name)))]


PATHS = tree()
GROUPS: list[Words] = [(), *(path for path in PATHS if below(path))]
SETTING_OPTIONS = {f"--{s.key}" for s in OPTIONS} | {"--no-auto-confirm"}


def options(path: Words) -> set[str]:
    """Long options of a command."""
    found = command(path)
    parameters = found.get_params(click.Context(found))
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts) if name.startswith("--")} | {
        "--help"
    }


def arguments(path: Words) -> list[click.Argument]:
    return [p for p in command(path).params if isinstance(p, click.Argument)]


def choices(path: Words) -> Iterator[tuple[click.Parameter, list[str]]]:
    """The parameters of a command that take one of a few words, with these words."""
    for parameter in command(path).params:
        if isinstance(parameter.type, click.Choice):
            yield parameter, list(parameter.type.choices)


def program(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenable", *words], cwd=TOP, capture_output=True, text=True, check=False
    )


@pytest.mark.realtool
def test_help_lists_the_commands_and_imports_none() -> None:
    code = (
        "import sys\n"
        "from xenable.__main__ import run\n"
        "assert run(['--help']) == 0\n"
        "print(*(name for name in sys.modules if name.startswith('xenable')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    *text, modules = done.stdout.splitlines()
    assert set(modules.split()) == {"xenable", "xenable.__main__", "xenable.cli", "xenable.errors"}
    for name in NAMES:
        assert any(row.startswith(f"  {name} ") for row in text)
    assert all(len(row) <= 80 for row in text)
    assert not any("gate" in row for row in text)


def test_help_and_man_page_have_the_same_exit_statuses() -> None:
    text = MAN.read_text(encoding="utf-8").partition(".Sh EXIT STATUS\n")[2].partition(".Sh")[0]
    assert re.findall(r"^\.It (\d+)$", text, re.M) == [status for status, _ in STATUSES]
    known = {str(int(status)) for status in Exit} | {str(INTERRUPTED)}
    assert {status for status, _ in STATUSES} == known


@pytest.mark.realtool
def test_help_is_quick() -> None:
    def took(*cmd: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(cmd, cwd=TOP, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time, and the best of some, beside what Python and its parser of options take by themselves:
    # what else the machine does now is not the program's fault.
    times = [
        (
            took(sys.executable, "-c", "import click"),
            took(sys.executable, "-m", "xenable", "--help"),
        )
        for _ in range(5)
    ]
    least, ours = (min(column) for column in zip(*times, strict=True))
    assert ours < max(0.15, 2 * least)


@pytest.mark.realtool
def test_version_and_exit_status() -> None:
    assert program("--version").stdout == f"xenable {__version__}\n"
    wrong = program("chek")
    assert wrong.returncode == 1
    assert wrong.stdout == "" and wrong.stderr.startswith("xenable: cannot understand the command line: ")


@pytest.mark.realtool
def test_a_broken_pipe_is_quiet() -> None:
    shell = f"'{sys.executable}' -m xenable facts --root '{TOP}' | true"
    done = subprocess.run(["bash", "-c", shell], cwd=TOP, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.realtool
@pytest.mark.parametrize("words", [["--help"], ["facts"], ["facts", "--json"]])
def test_a_full_disk_is_a_plain_error(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xenable", *words],
            cwd=TOP,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert (
        "xenable: cannot write to standard output: No space left on device\nhint: free some" in done.stderr
    )
    assert "internal error" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.realtool
def test_an_error_that_can_not_be_written_is_said() -> None:
    """The document is for stdout, and that is full: the words are on stderr all the same."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xenable", "check", "--bogus", "--json"],
            cwd=TOP,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("xenable: cannot understand the command line: no such option: --bogus")
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.realtool
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "work", "status"),
    [
        ([], "raise XenableError('cannot do it: no', status=Exit.PUT_BACK)", Exit.PUT_BACK),
        (["--debug"], "raise XenableError('cannot do it: no', status=Exit.PUT_BACK)", Exit.PUT_BACK),
        ([], "print('a note', file=sys.stderr)", Exit.FAILED),
    ],
)
def test_the_exit_status_is_right_where_the_words_can_not_be_said(
    words: list[str], work: str, status: Exit, unbuffered: str
) -> None:
    """What stays in a buffer is written again at exit, and then Python's own status is 120."""
    program = (
        "import sys\n"
        "from xenable import __main__\n"
        "from xenable.errors import Exit, XenableError\n"
        f"def work(*words, **settings):\n    {work}\n"
        "__main__.xenable.main = work\n"
        "__main__.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reader, unread = os.pipe()
    os.close(reader)
    for stderr in (os.open("/dev/full", os.O_WRONLY), unread):
        done = subprocess.run(command, cwd=TOP, env=environment, stderr=stderr, check=False)
        os.close(stderr)
        assert done.returncode == status


@pytest.mark.realtool
def test_a_lost_connection_ends_no_work() -> None:
    program = (
        "import os, signal\n"
        "from xenable.cli.common import working\n"
        "with working():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('went on', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('not this')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, "went on\n")


@pytest.mark.realtool
@pytest.mark.parametrize("path", [(), *PATHS], ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80])
def test_every_command_has_help_within_the_columns(
    path: Words, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = program(*path, "-h")
    assert done.returncode == 0
    assert all(len(row) <= columns for row in done.stdout.splitlines())


# -------------------------------------------------------------------------------------------- completions


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


# ------------------------------------------------------------------------------------- man page, conffile


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
