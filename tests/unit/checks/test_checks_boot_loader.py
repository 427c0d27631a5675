# SPDX-License-Identifier: GPL-2.0-or-later
"""Which menu entry is the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.factory import ENTRIES, HEALTHY, SUBMENU, make_config, make_facts
from tests.unit.checks.cases.common import ADDS_KERNEL, ids_of
from xenable.checks import run_checks
from xenable.checks.boot_loader import default_entries
from xenable.machine import GrubSetting


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("0", "0"),
        ("gnulinux-simple-6e0b", "0"),
        ("Debian GNU/Linux", "0"),
        ("1>1", "1>1"),
        ("1", "1>0 1>1"),
        (SUBMENU, "1>0 1>1"),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12", "1>0"),
        (f"{SUBMENU}>gnulinux-6.12-recovery-6e0b", "1>1"),
        (f"{SUBMENU}>0", "1>0"),
        (f"{SUBMENU}>2", ""),
        ("2>0", ""),
        ("0>0", ""),
        ("0 and more", "0"),
        ("", ""),
    ],
)
def test_default_entries(wanted: str, numbers: str) -> None:
    assert " ".join(e.numbers for e in default_entries(HEALTHY.menu, wanted)) == numbers


@pytest.mark.parametrize(
    ("wanted", "moves"),
    [
        ("0", False),
        ("gnulinux-simple-6e0b", False),
        ("Debian GNU/Linux", False),
        ("0 and more", True),
        ("1", True),
        ("1>1", True),
        (SUBMENU, True),
        (f"{SUBMENU}>0", True),
        (f"{SUBMENU}>gnulinux-6.12-advanced-6e0b", False),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12", False),
    ],
)
def test_defaults_that_a_new_kernel_moves(wanted: str, moves: bool) -> None:
    def ids(**changes: Any) -> set[str]:
        facts = make_facts(menu={"grub_default": wanted}, **changes)
        return {f.id for f in run_checks(facts, make_config())}

    assert ("boot/default-moves" in ids(**ADDS_KERNEL)) == moves
    assert "boot/default-moves" not in ids()


def test_an_entry_before_those_of_linux_is_not_taken_for_one() -> None:
    """`0` would be moved to the newest kernel, and it means something else here."""
    own = replace(ENTRIES[0], id="own", path="own", title="Own", titles="Own")
    facts = make_facts(menu={"entries": (own, *ENTRIES[1:])}, **ADDS_KERNEL)
    (found,) = (f for f in run_checks(facts, make_config()) if f.id == "boot/default-moves")
    assert "GRUB_DEFAULT='own'" in found.remedy


def test_default_entry_with_a_greater_sign() -> None:
    entry = replace(ENTRIES[0], titles="a >> b")
    assert default_entries(replace(HEALTHY.menu, entries=(entry,)), "a >> b") == (entry,)


@pytest.mark.parametrize(
    "settings",
    [
        {"GRUB_CMDLINE_LINUX": 'quiet "a=b c"', "GRUB_CMDLINE_XEN": "dom0_mem=1G reboot=t"},
        # Words that others take the place of, and words that only a shell knows.
        {"GRUB_CMDLINE_LINUX": "a=$b", "GRUB_CMDLINE_LINUX_XEN_REPLACE": "a=b"},
        {"GRUB_CMDLINE_LINUX": "a=$b", "GRUB_CMDLINE_LINUX_XEN_REPLACE": None},
        {"GRUB_CMDLINE_LINUX_DEFAULT": "a=$b", "GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT": None},
        {"GRUB_CMDLINE_XEN_DEFAULT": None},
    ],
)
def test_command_lines_that_will_do(settings: dict[str, str | None]) -> None:
    lines = tuple(GrubSetting(name=name, value=value) for name, value in settings.items())
    assert "boot/command-line" not in ids_of(make_facts(menu={"command_lines": lines}))
