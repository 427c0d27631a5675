# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch says about itself and what it touches."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.kernels.dep3 import NOTHING, Touched, flaws, headers, title, touched

HEAD = "Description: xen/gntdev: do not leak\n More of it.\nOrigin: upstream, 1234abcd\n"
CHANGE = "--- a/drivers/xen/gntdev.c\n+++ b/drivers/xen/gntdev.c\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n"
MAIL = (
    "From 1234 Mon Sep 17 00:00:00 2001\nFrom: Jo Doe <jo@example.org>\n"
    "Date: Mon, 1 Jan 2026 00:00:00 +0000\nSubject: [PATCH 1/2] xen/netback: count\n frames\n\n"
    "This is XSA-999.\n\nSigned-off-by: Jo Doe <jo@example.org>\n---\n drivers/xen/gntdev.c | 2 +-\n"
)


def test_fields_and_their_other_lines() -> None:
    assert headers(HEAD + CHANGE) == {
        "Description": "xen/gntdev: do not leak\nMore of it.",
        "Origin": "upstream, 1234abcd",
    }
    assert flaws(HEAD + CHANGE) == () and title(HEAD) == "xen/gntdev: do not leak"


def test_a_mail_of_git_has_them_too() -> None:
    assert flaws(MAIL + CHANGE) == ()
    assert title(MAIL) == "xen/netback: count"
    assert headers(MAIL)["From"] == "Jo Doe <jo@example.org>"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", ["no Description", "no Origin"]),
        ("Description: x\n", ["no Origin"]),
        ("Author: x\n", ["no Description"]),
        ("Description:\nAuthor: x\n", ["no Description"]),
        ("Subject: x\nOrigin: somewhere\n", ["Origin is 'somewhere'"]),
        ("Subject: x\nOrigin: vendor\n", []),
        ("Subject: x\nOrigin: https://xenbits.xen.org/xsa/\n", []),
        ("Subject: x\nFrom: y\nLast-Update: 2026-13-01\n", ["Last-Update is '2026-13-01'"]),
        ("description: x\nAUTHOR: y\n", []),
    ],
)
def test_what_is_missing(head: str, expected: list[str]) -> None:
    found = flaws(head + CHANGE)
    assert len(found) == len(expected)
    assert all(part in flaw for part, flaw in zip(expected, found, strict=True))


def test_fields_in_the_change_are_none() -> None:
    assert flaws("Origin: other\n" + CHANGE + "+Description: x\n")[0].startswith("there is no Description")


def test_files() -> None:
    new = f"--- {NOTHING}\n+++ b/drivers/xen/new.c\n@@ -0,0 +1 @@\n+x\n"
    assert touched(HEAD + CHANGE + new) == (
        Touched(old="a/drivers/xen/gntdev.c", new="b/drivers/xen/gntdev.c"),
        Touched(old=NOTHING, new="b/drivers/xen/new.c"),
    )


def test_removed_lines_that_look_like_headers() -> None:
    """Of a file that is itself a patch, or of SQL's comments."""
    change = (
        "--- a/d/f\n+++ b/d/f\n@@ -1,3 +1,3 @@\n--- a/../etc/passwd\n+++ b/../etc/passwd\n"
        "-@@ -1 +1 @@\n+@@ -2 +2 @@\n x\n"
    )
    assert touched(change) == (Touched(old="a/d/f", new="b/d/f"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no change at all\n",
        CHANGE.replace("a/drivers", "/drivers").replace("b/drivers", "/drivers"),
        CHANGE.replace("drivers/xen", "drivers/.."),
        CHANGE.replace("b/drivers/xen/gntdev.c", "b"),
        CHANGE.replace("gntdev.c", "gnt;dev"),
        CHANGE.removesuffix("+TWO\n"),
        CHANGE.replace("-two", "two"),
        f"--- {NOTHING}\n+++ {NOTHING}\n@@ -0,0 +1 @@\n+x\n",
        CHANGE + "GIT binary patch\n",
    ],
)
def test_what_is_no_change(text: str) -> None:
    with pytest.raises(ValueError):
        touched(text)


LINES = st.lists(st.text(alphabet="ab-+@ \\", max_size=6), max_size=12)


@given(LINES, LINES)
def test_what_difflib_makes_is_read(old: list[str], new: list[str]) -> None:
    made = list(difflib.unified_diff(old, new, "a/x/y.c", "b/x/y.c", lineterm="", n=2))
    if made:
        assert touched("\n".join([*made, ""])) == (Touched(old="a/x/y.c", new="b/x/y.c"),)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    headers(text)
    flaws(text)
    title(text)
    try:
        found = touched(text)
    except ValueError:
        return
    assert all(not path.startswith("/") or path == NOTHING for t in found for path in (t.old, t.new))
