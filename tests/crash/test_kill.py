# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every write of apply and revert: the next run finishes the job, or puts everything back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from xenable import engine, journal
from xenable.errors import XenableError
from xenable.health import BEFORE
from xenable.host import STATE, Host
from xenable.model import EntryState
from xenable.steps.base import Step
from xenable.trialrecord import TRIAL

from ..contract.kinds import furnish_slot
from ..contract.trees import Tree, contents, difference, tree
from .dying import SLOT, STEPS, die, finish, put_back

pytestmark = pytest.mark.realtool

FOLDERS = ("etc", "boot")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a thousand fsyncs take no time there."""
    base = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=base if base.is_dir() else tmp_path) as folder:
        yield Path(folder)


def machine(root: Path) -> Host:
    """A folder with what the plan will meet: a file with all that a file can have, a link, and nothing."""
    (root / "etc/grub.d").mkdir(parents=True)
    site = root / "etc/site.conf"
    site.write_text("theirs = 1\n")
    site.chmod(0o640)
    os.utime(site, ns=(10**18, 10**18 + 123_456_789))
    (root / "etc/link.conf").symlink_to("site.conf")
    (root / "etc/xen").mkdir()
    (root / "etc/xen/xl.conf").write_text('#autoballoon="auto"\n')
    furnish_slot(root)
    return Host(root)


def look(host: Host) -> Tree:
    return tree(host.root, FOLDERS)


def states(host: Host) -> set[EntryState]:
    return {record.state for record in journal.read_journal(host)}


def not_put_away(host: Host) -> list[str]:
    """What a whole revert would not have left, but for the lock, and one journal in the history."""
    names = [name for name in host.names(STATE) if name not in ("lock", "history")]
    kept = host.names(STATE / "history")
    return names if len(kept) == 1 else [*names, f"history: {kept}"]


def twin(host: Host, name: str) -> Host:
    root = host.root.with_name(name)
    shutil.copytree(host.root, root, symlinks=True)
    return Host(root)


def die_everywhere(
    start: Host, work: Callable[[Host], object], steps: tuple[Step, ...], wanted: Tree, original: Tree
) -> list[str]:
    """Kill at every moment; returns what came out wrong."""
    moments = start.root.with_name("moments")
    counted = twin(start, "counted")
    assert die(counted, work, 0, moments) == 0
    total = int(moments.read_text())
    assert total > 25
    wrong = []
    for number in range(1, total + 1):
        killed = twin(start, "killed")
        assert die(killed, work, number, moments) == signal.SIGKILL
        other = twin(killed, "other")
        begun = killed.exists(journal.JOURNAL)
        finish(killed, steps)
        put_back(other)
        found = difference(contents(wanted), contents(look(killed))) + difference(original, look(other))
        if states(killed) != {EntryState.DONE}:
            found.append("not all steps are done")
        if begun:
            found += not_put_away(other)
        wrong += [f"moment {number} of {total}: {line}" for line in found]
        for host in (killed, other):
            shutil.rmtree(host.root)
    return wrong


plans = pytest.mark.parametrize("steps", [STEPS, SLOT], ids=["files", "slot"])


@plans
def test_kill_at_every_write_of_apply(memory: Path, steps: tuple[Step, ...]) -> None:
    start = machine(memory / "machine")
    original = look(start)
    whole = twin(start, "whole")
    finish(whole, steps)
    assert look(whole) != original
    work = partial(finish, steps=steps)
    assert die_everywhere(start, work, steps, look(whole), original) == []


@plans
def test_kill_at_every_write_of_revert(memory: Path, steps: tuple[Step, ...]) -> None:
    """Until the journal is put away: a kill before that leaves one that a second revert finishes."""
    start = machine(memory / "machine")
    original = look(start)
    finish(start, steps)
    start.write(TRIAL, b"null\n")
    start.write(BEFORE, b"{}\n")
    assert die_everywhere(start, put_back, steps, look(start), original) == []


def test_a_torn_last_line_of_the_journal(memory: Path) -> None:
    """Power goes while a line is written: any part of it may be there, and its act never began."""
    start = machine(memory / "machine")
    original = look(start)
    finish(start)
    whole = look(start)
    records = journal.read_journal(start)
    lines = start.read(journal.JOURNAL).splitlines(keepends=True)
    planned = len(lines) - 2 * len(STEPS)
    for kept in range(planned, len(lines)):
        for part in (1, len(lines[kept]) // 2, len(lines[kept]) - 1):
            torn = twin(start, "torn")
            begun = len({json.loads(line)["n"] for line in lines[planned:kept]})
            engine.revert(torn, records[begun:])
            torn.path(journal.JOURNAL).write_bytes(b"".join(lines[:kept]) + lines[kept][:part])
            other = twin(torn, "other")
            finish(torn)
            put_back(other)
            assert difference(contents(whole), contents(look(torn))) == []
            assert difference(original, look(other)) == []
            assert torn.read(journal.JOURNAL).endswith(b"\n")
            for host in (torn, other):
                shutil.rmtree(host.root)


def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path) -> None:
    """Every write may be the one that no longer fits: a clear error, and revert puts everything back."""
    (tmp_path / "small").mkdir()
    small = tmp_path / "small"
    if os.geteuid() != 0:
        pytest.skip("mounts need root: run with sudo")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs", str(small)], check=True)
    try:
        failures = 0
        for room in range(0, 140, 4):
            host = machine(small / f"machine-{room}")
            original = look(host)
            filler = small / "filler"
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            filler.write_bytes(b"x" * max(0, free - room * 1024))
            try:
                finish(host)
            except XenableError as e:
                failures += 1
                assert "No space left on device" in e.message
                assert "free some space" in e.hint
            filler.unlink()
            if host.exists(STATE):
                put_back(host)
            assert difference(original, look(host)) == []
            shutil.rmtree(host.root)
        assert 3 < failures < 35
    finally:
        subprocess.run(["umount", str(small)], check=True)
