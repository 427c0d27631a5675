# SPDX-License-Identifier: GPL-2.0-or-later
"""What make says while it builds a kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.kernels.makeoutput import Counter, first_error


def test_what_is_compiled_is_counted_and_nothing_else() -> None:
    counter = Counter(done=0, expected=10)
    said = (
        "  CC      init/main.o",
        "  AS [M]  arch/x86/crypto/x.o",
        "  CC [M]  drivers/net/dummy.o",
        "  LD      vmlinux.o",
        "  HOSTCC  scripts/basic/fixdep",
        "  CC      tools/x.c",
        "make[1]: Entering directory '/x'",
    )
    assert [counter.feed(line) for line in said] == [True, True, True, False, False, False, False]
    assert counter.done == 3 and counter.fraction == 0.3


def test_an_estimate_never_says_that_all_is_done() -> None:
    assert Counter(done=500, expected=100).fraction < 1.0
    assert Counter(done=500, expected=100).text(60.0) == "compiling: 500 of about 500 files"


def test_the_time_left_is_of_this_run_s_pace() -> None:
    counter = Counter(done=900, expected=1200)
    assert counter.text(10.0) == "compiling: 900 of about 1200 files"
    for _ in range(100):
        counter.feed("  CC      a.o")
    assert counter.text(60.0) == "compiling: 1000 of about 1200 files, about 2 min left"


@given(st.lists(st.booleans()), st.integers(0, 50), st.integers(0, 100))
def test_progress_never_goes_back(lines: list[bool], done: int, expected: int) -> None:
    counter = Counter(done=done, expected=expected)
    seen = []
    for compiled in lines:
        counter.feed("  CC      a.o" if compiled else "noise")
        seen.append(counter.fraction)
        counter.text(1.0)
    assert seen == sorted(seen) and all(0 <= fraction < 1 for fraction in seen)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "  CC a.o\nfs/x.c:3:1: error: unknown type\nmake[2]: *** [a] Error 1\n",
            "fs/x.c:3:1: error: unknown type",
        ),
        ("gcc: fatal error: Killed signal\n", "gcc: fatal error: Killed signal"),
        (
            "ld: a.o: undefined reference to `x'\nmake: *** [vmlinux] Error 1",
            "ld: a.o: undefined reference to `x'",
        ),
        ('ERROR: modpost: "x" undefined!\n', 'ERROR: modpost: "x" undefined!'),
        (
            "make: *** [debian/rules:9: binary] Error 2\ndpkg-buildpackage: error: debian/rules binary\n",
            "make: *** [debian/rules:9: binary] Error 2",
        ),
        ("dpkg-buildpackage: error: cannot read\n", "dpkg-buildpackage: error: cannot read"),
        ("  CC      kernel/error.o\nall well\n", ""),
        ("", ""),
    ],
)
def test_the_first_line_that_says_what_is_wrong(output: str, expected: str) -> None:
    assert first_error(output) == expected
