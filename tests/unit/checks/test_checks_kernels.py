# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernels can be dom0."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.factory import CLOUD_KERNEL, KERNEL, make_facts
from tests.unit.checks.cases.common import WITH_KERNEL, WITH_LEAN, XEN_KERNEL, ids_of
from xenable.checks.kernels import dom0_kernels, readable
from xenable.config import KernelChoice
from xenable.machine import Answer


@pytest.mark.parametrize(
    ("compression", "series", "expected"),
    [
        ("zstd", "4.14", Answer.NO),
        ("zstd", "4.15", Answer.YES),
        ("zstd", "4.9", Answer.NO),
        ("lz4", "4.11", Answer.NO),
        ("gzip", "4.11", Answer.YES),
        ("zstd", "", Answer.YES),
        ("xz", "", Answer.YES),
        ("", "4.20", Answer.UNKNOWN),
    ],
)
def test_readable(compression: str, series: str, expected: Answer) -> None:
    assert readable(replace(KERNEL, compression=compression), series) is expected


def test_dom0_kernels_leave_out_what_can_not_boot() -> None:
    bare = replace(KERNEL, version="bare", initrd="")
    assert dom0_kernels(make_facts(kernels=(CLOUD_KERNEL, bare, KERNEL))) == (KERNEL,)


def test_the_watchdog_of_another_kernel_is_not_asked_for() -> None:
    """Of what is not installed yet nothing is known, and the menu's first kernel is the one that counts."""
    without = replace(KERNEL, watchdog=Answer.NO)
    older = replace(without, version="6.12.99+deb13-amd64", running=False)
    for kernels in (
        (replace(KERNEL, watchdog=Answer.UNKNOWN),),
        (older, KERNEL),
        (KERNEL, replace(XEN_KERNEL, watchdog=Answer.NO)),
        (replace(CLOUD_KERNEL, watchdog=Answer.NO),),
    ):
        facts = make_facts(kernels=kernels, packages=WITH_KERNEL)
        assert "kernel/no-watchdog" not in ids_of(facts)
    lean = make_facts(kernels=(without,), packages=WITH_LEAN)
    assert "kernel/no-watchdog" not in ids_of(lean, kernel=KernelChoice.XEN)


def test_another_native_kernel_is_a_choice_of_the_administrator() -> None:
    newer = replace(KERNEL, version="6.12.118+deb13-amd64", running=False)
    for changes in (
        {"kernels": (newer, KERNEL), "menu": {"grub_default": "saved", "saved_entry": "1>0"}},
        {"kernels": (newer, KERNEL), "conversion": {"state": "applied"}},
        {"kernels": (replace(newer, xen_only=True), KERNEL)},
        {"kernels": (replace(XEN_KERNEL, running=True),), "packages": WITH_LEAN},
    ):
        assert "kernel/not-booted" not in ids_of(make_facts(**changes))


@pytest.mark.parametrize("menu", [{}, {"grub_default": ""}, {"grub_default": "saved", "saved_entry": ""}])
def test_the_first_entry_is_the_default_where_none_is_named(menu: dict[str, str]) -> None:
    newer = replace(KERNEL, version="6.12.118+deb13-amd64", running=False)
    assert "kernel/not-booted" in ids_of(make_facts(kernels=(newer, KERNEL), menu=menu))


@pytest.mark.parametrize(
    ("loads", "asked"),
    [("6.12.0-rc1-amd64", False), ("6.12.0-amd64", True), ("", False)],
)
def test_the_menu_says_which_kernel_comes_next(loads: str, asked: bool) -> None:
    """For GRUB of Debian 12 a release candidate comes before the release, for sort -V after it."""
    release = replace(KERNEL, version="6.12.0-amd64", running=False)
    candidate = replace(KERNEL, version="6.12.0-rc1-amd64")
    first, *more = make_facts().menu.entries
    facts = make_facts(kernels=(release, candidate), menu={"entries": (replace(first, kernel=loads), *more)})
    assert ("kernel/not-booted" in ids_of(facts)) is asked


@pytest.mark.parametrize("default", ["0", "saved", "gnulinux-simple-6e0b"])
def test_a_running_kernel_that_is_not_in_boot(default: str) -> None:
    """The provider's own, one of kexec, or one whose files are gone: no default is known to have run."""
    gone = make_facts(kernels=(replace(KERNEL, running=False),), menu={"grub_default": default})
    assert ids_of(gone) == {"kernel/not-booted", "memory/dom0"}
