# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between two trees, and the script that lists one."""

import json
from dataclasses import replace

from lab import tree
from lab.tree import Entry, diff_trees

FILE = Entry("file", "0644", 0, 0, "aa")


def test_equal_trees_do_not_differ() -> None:
    assert diff_trees({"/a": FILE}, {"/a": FILE}) == []


def test_what_came_went_and_changed_is_sorted_by_path() -> None:
    before = {"/a": FILE, "/b": FILE, "/c": FILE}
    after = {"/0": Entry("folder", "0755", 0, 0, ""), "/a": FILE, "/b": replace(FILE, content="bb")}
    assert diff_trees(before, after) == ["+ /0 (folder)", "~ /b (content)", "- /c (file)"]


def test_each_changed_property_is_named() -> None:
    changed = Entry("file", "4755", 1, 2, "aa", (("user.x", "00"),))
    assert diff_trees({"/a": FILE}, {"/a": changed}) == [
        "~ /a (mode 0644 -> 4755, uid 0 -> 1, gid 0 -> 2, xattrs none -> user.x=00)"
    ]


def test_a_link_tells_its_targets() -> None:
    link = Entry("link", "0777", 0, 0, "there")
    assert diff_trees({"/a": link}, {"/a": replace(link, content="here")}) == [
        "~ /a (content there -> here)"
    ]


def test_what_the_guest_prints_becomes_entries() -> None:
    raw = {
        "kind": "file",
        "mode": "0644",
        "uid": 0,
        "gid": 0,
        "content": "aa",
        "xattrs": {"b": "1", "a": "2"},
    }
    assert tree.parse(json.dumps({"/a": raw})) == {"/a": replace(FILE, xattrs=(("a", "2"), ("b", "1")))}


def test_the_guest_script_is_valid_python() -> None:
    compile(tree.script(), "tree.py", "exec")
