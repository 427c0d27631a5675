# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of a file that somebody else wrote: what is changed in it, and that nothing else is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import make_tree
from xenable.host import STATE, Host
from xenable.steps.options import SetOptions, with_options

MARK = "# Set by Xenable: a reason. `xenable revert` undoes it.\n"
KEYS = (("A", "1"), ("B", '""'))
STEP = SetOptions(path="/etc/xen/xl.conf", options=(("autoballoon", '"off"'),), why="a reason")


def quiet(fraction: float, text: str) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'{MARK}A=1\nB=""\n'),
        ("C=3\n", f'C=3\n\n{MARK}A=1\nB=""\n'),
        ("C=3", f'C=3\n\n{MARK}A=1\nB=""\n'),
        # A plain line is replaced where it stands, with what stands behind it; an example stays one.
        ("A=7 # seven\n#B=x\nC=3\n", f'{MARK}A=1 # seven\n#B=x\nC=3\n\n{MARK}B=""\n'),
        ("B='x y'\nA=/x\n", f'{MARK}B=""\n{MARK}A=1\n'),
        # The last line of a key has the say, and only that one is touched.
        ('A=7\nA=8\nB=""\n', f'A=7\n{MARK}A=1\nB=""\n'),
        # What is set already stays as it is.
        ('A=1\nB=""\n', 'A=1\nB=""\n'),
        ('A=1 # one\nB="" \n', 'A=1 # one\nB="" \n'),
        # Lines that are more than plain stay, and ours come last.
        ("  A=7\nexport B=x\n", f'  A=7\nexport B=x\n\n{MARK}A=1\nB=""\n'),
        ('A=1\nB=""\nA="$B"\n', f'A=1\nB=""\nA="$B"\n\n{MARK}A=1\n'),
        ('A=1\nB=""\nC=1; A=7\n', f'A=1\nB=""\nC=1; A=7\n\n{MARK}A=1\n'),
        ('B=""\nA = 7\n', f'B=""\nA = 7\n\n{MARK}A=1\n'),
        ('B=""\nC=x\\\nA=7\n', f'B=""\nC=x\\\nA=7\n\n{MARK}A=1\n'),
        ('A=1\nB=""\\', f'A=1\nB=""\\\n\n{MARK}B=""\n'),
        ('B=""\r\nA=1\n', f'B=""\r\nA=1\n\n{MARK}B=""\n'),
        # Another key that only looks like it.
        ('AA=7\nx.A=7\nB.x=1\nA=1\nB=""\n', 'AA=7\nx.A=7\nB.x=1\nA=1\nB=""\n'),
    ],
)
def test_what_is_changed(before: str, after: str) -> None:
    assert with_options(before, KEYS, "a reason") == after
    assert with_options(after, KEYS, "a reason") == after


lines = st.lists(
    st.sampled_from(
        ["A=1", "A=2 # b", "#A=3", " A=4", "B=x", 'B=""', "C=5", "", "export A=6", "C=1; B=7", "A=a\\", "é"]
    )
    | st.text(st.characters(codec="utf-8"), max_size=8)
)


@given(lines, st.booleans())
def test_nothing_else_is_changed_and_a_second_time_nothing_at_all(found: list[str], newline: bool) -> None:
    before = "\n".join(found) + ("\n" if newline else "")
    after = with_options(before, KEYS, "a reason")
    assert with_options(after, KEYS, "a reason") == after
    kept = [line for line in after.split("\n") if line + "\n" != MARK]
    gone = [line for line in before.split("\n") if line not in kept]
    assert all(line.startswith(("A=", "B=")) for line in gone)


@pytest.mark.realtool
@given(st.lists(st.sampled_from(["A=2", " A=3", "export A=4", "C=1; A=5", "#A=6", "A='x y' # z", "C='\\'"])))
def test_a_shell_finds_our_values(found: list[str]) -> None:
    text = with_options("\n".join(found), KEYS, "a reason")
    done = subprocess.run(
        ["sh", "-c", f'{text}\nprintf "%s-%s" "$A" "$B"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1-"


def test_a_file_that_is_not_there_yet_is_described(tmp_path: Path) -> None:
    host = Host(tmp_path)
    preview = STEP.preview(host)
    assert preview.title == "set autoballoon in /etc/xen/xl.conf"
    assert 'autoballoon="off"\n' in preview.detail and "a reason\n" in preview.detail
    assert not STEP.is_done(host)


def test_a_file_that_is_there_is_shown_as_a_diff(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/etc/xen/xl.conf": '#autoballoon="auto"\n'})
    detail = STEP.preview(host).detail
    assert detail.startswith("--- /etc/xen/xl.conf\n") and '\n+autoballoon="off"\n' in detail
    assert '\n #autoballoon="auto"\n' in detail
    host.write("/etc/xen/xl.conf", b'autoballoon="off"\n')
    assert STEP.preview(host).detail == "they are set already: a reason\n"
    assert STEP.is_done(host)


def test_a_file_that_went_with_its_package_is_nobody_s_loss(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/etc/xen/xl.conf": "#\n"})
    host.make_folder(STATE)
    saved = STEP.save(host)
    STEP.do(host, saved, quiet)
    host.remove("/etc/xen/xl.conf")
    host.remove("/etc/xen")
    assert STEP.obstacles(host, saved) == ()
    STEP.undo(host, saved, quiet)
    assert not host.exists("/etc/xen")


def test_what_a_later_version_would_word_otherwise_is_still_ours(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/etc/xen/xl.conf": "#\n"})
    host.make_folder(STATE)
    saved = STEP.save(host)
    STEP.do(host, saved, quiet)
    later = SetOptions(path=STEP.path, options=STEP.options, why="in other words")
    assert later.obstacles(host, saved) == ()
    host.write("/etc/xen/xl.conf", host.read("/etc/xen/xl.conf") + b"# by hand\n")
    (obstacle,) = later.obstacles(host, saved)
    assert obstacle.diff.endswith("+# by hand\n")
