# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every write of the journal, for steps that run real tools: in a sandbox with real paths."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from xenable.host import Host
from xenable.journal import read_journal
from xenable.model import EntryState
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.files import WriteFile
from xenable.steps.loader import OwnLoader
from xenable.steps.menu import Menu, RefreshMenu
from xenable.steps.slot import Arm, FillSlot
from xenable.steps.statoverride import StatOverride
from xenable.steps.units import EnableUnit

from ..contract.kinds import (
    ENTRY,
    ESP,
    PACKAGES,
    furnish_firmware,
    furnish_packages,
    furnish_slot,
    furnish_units,
)
from ..contract.sandbox import boot_menu, command, inside, needs_sandbox
from ..contract.trees import Tree, contents, difference, tree
from .dying import die, finish, put_back

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STOCK_GENERATOR = "/etc/grub.d/20_linux_xen"
MENU_STEPS: tuple[Step, ...] = (
    Menu(),
    StatOverride(path=STOCK_GENERATOR, mode=0o644),
    WriteFile(path="/etc/grub.d/90_xenable", content=f"#!/bin/sh\ncat <<'E'\n{ENTRY}E\n", mode=0o755),
    RefreshMenu(entry_ids=("xenable-a",)),
)
BOOT_STEPS: tuple[Step, ...] = (
    BootEnvironment(folder="/boot/grub"),
    EnableUnit(unit="probe.service"),
    FillSlot(deadline=300, hold=False),
    Arm(),
)
FIRMWARE_STEPS: tuple[Step, ...] = (
    OwnLoader(folder=f"{ESP}/EFI/xenable"),
    BootEnvironment(folder="/boot/grub", by_firmware=True),
    FillSlot(deadline=300, hold=False),
    Arm(),
)
FOLDERS = (
    "sys/firmware",
    "etc/default",
    "etc/grub.d",
    "etc/systemd",
    "etc/apt",
    "boot",
    "srv",
    "var/lib/dpkg",
    "var/lib/apt",
)


def furnish_menu() -> None:
    for path in Path("/etc/grub.d").iterdir():
        path.unlink()
    native = Path("/etc/grub.d/40_custom")
    native.write_text("#!/bin/sh\necho \"menuentry 'Debian' { true }\"\n")
    native.chmod(0o755)
    Path(STOCK_GENERATOR).write_text("#!/bin/sh\n")
    boot_menu()


def furnish_boot() -> None:
    furnish_units()
    furnish_slot(Path("/"))


def furnish_mirror() -> None:
    furnish_slot(Path("/"))
    furnish_firmware()


def look() -> Tree:
    return tree(folders=FOLDERS)


def packages() -> set[str]:
    return set(command("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n'").splitlines())


def count(work: Callable[[Host], object]) -> int:
    """How many moments to die at a piece of work has; the work is done then."""
    moments = Path("/run/moments")
    assert die(HOST, work, 0, moments, journal_only=True) == 0
    return int(moments.read_text())


def die_at(work: Callable[[Host], object], number: int) -> None:
    assert die(HOST, work, number, Path("/run/moments"), journal_only=True) == signal.SIGKILL


def put_back_whole(original: Tree, had: set[str], when: str) -> None:
    put_back(HOST)
    assert difference(original, look()) == [], when
    assert packages() == had, when
    assert read_journal(HOST) == (), when


@pytest.mark.parametrize(
    ("steps", "prepare"),
    [
        (MENU_STEPS, furnish_menu),
        (BOOT_STEPS, furnish_boot),
        (FIRMWARE_STEPS, furnish_mirror),
        ((PACKAGES,), furnish_packages),
    ],
    ids=["menu", "boot", "firmware", "packages"],
)
def test_kill_at_every_line_of_the_journal(steps: tuple[Step, ...], prepare: Callable[[], None]) -> None:
    apply = partial(finish, steps=steps)

    def work() -> None:
        prepare()
        original, had = look(), packages()
        of_apply = count(apply)
        done, have = contents(look()), packages()
        of_revert = count(put_back)
        assert difference(original, look()) == [] and packages() == had
        # A line when the plan is made, and two a step; those and putting the journal away.
        assert of_apply == 2 + 4 * len(steps) and of_revert == 2 + 4 * len(steps)
        for number in range(1, of_apply + 1):
            when = f"moment {number} of {of_apply}"
            die_at(apply, number)
            put_back_whole(original, had, f"apply died at {when}, then revert")
            die_at(apply, number)
            apply(HOST)
            assert difference(done, contents(look())) == [], f"apply died at {when}, then apply"
            assert packages() == have
            assert {record.state for record in read_journal(HOST)} == {EntryState.DONE}
            die_at(put_back, number)
            put_back_whole(original, had, f"revert died at {when}, then revert")

    inside(work)
