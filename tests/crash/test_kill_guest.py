# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every write of a guest's creation: for another process there is nothing of it, or all of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.guests.machine import DIRECTORY, ELSEWHERE, KEY, NET, Xen, alive, make_xen, quiet, state
from xenable.guests import claims, create, lifecycle, records, xlcfg
from xenable.guests.claims import Swept
from xenable.guests.create import Request
from xenable.guests.model import Kind
from xenable.guests.storage import Storage
from xenable.host import Host, Result

from .dying import die

REQUEST = Request(
    name="web1", kind=Kind.PV, memory=512, vcpus=1, disk_bytes=32 << 20, keys=(KEY,), release="trixie",
    isolate=False, autostart=True,
)  # fmt: skip

State = tuple[dict[str, str], dict[str, str], dict[str, int]]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of fsyncs take no time there."""
    base = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=base if base.is_dir() else tmp_path) as folder:
        yield Path(folder)


class Shared:
    """A dom0 whose domains outlive the process that starts them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.xen: Xen = make_xen(root, monkeypatch)
        self.file = root.with_name("running")
        self.file.unlink(missing_ok=True)
        self.act = self.xen.do_xl
        monkeypatch.setattr(self.xen, "do_xl", self.do_xl)

    def do_xl(self, words: list[str]) -> Result:
        result = self.act(words)
        self.file.write_text(json.dumps(self.xen.running))
        return result

    def create(self, place: Storage) -> None:
        alive(self.xen.host, os.getpid(), 100)
        create.create(self.xen.host, REQUEST, place, NET, quiet)

    def bury(self) -> None:
        """The processes that died are no more in /proc; what they started is."""
        for path in self.xen.host.path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                shutil.rmtree(path)
        if self.file.exists():
            self.xen.running = json.loads(self.file.read_text())


@pytest.mark.parametrize("place", [DIRECTORY, ELSEWHERE])
def test_kill_at_every_write_of_a_creation(
    memory: Path, monkeypatch: pytest.MonkeyPatch, place: Storage
) -> None:
    moments = memory / "moments"

    def killed(number: int) -> tuple[Shared, State]:
        root = memory / "machine"
        shutil.rmtree(root, ignore_errors=True)
        shared = Shared(root, monkeypatch)
        before = state(shared.xen)
        ended = die(shared.xen.host, lambda host: shared.create(place), number, moments)
        assert ended == (signal.SIGKILL if number else 0)
        return shared, before

    killed(0)
    total = int(moments.read_text())
    assert total > 50
    wrong: list[str] = []
    whole = 0
    for number in range(1, total + 1):
        shared, before = killed(number)
        host, when = shared.xen.host, f"moment {number} of {total}"
        begun = host.exists(claims.claim_path("web1"))
        committed = host.exists(records.cfg("web1"))
        shared.bury()
        running = dict(shared.xen.running)
        swept = claims.sweep(host)
        if committed:
            whole += 1
            wrong += [f"{when}: {line}" for line in missing(host)]
            if swept != Swept(kept=("web1",) if begun else ()) or shared.xen.running != running:
                wrong.append(f"{when}: {swept}, {running} before and {shared.xen.running} after")
            lifecycle.start(host, "web1")
            lifecycle.remove(host, "web1", force=True)
        elif swept != Swept(taken_back=("web1",) if begun else ()):
            wrong.append(f"{when}: {swept}")
        wrong += [f"{when}: {name}" for name in differing(before, state(shared.xen))]
    assert wrong == []
    assert 3 < whole < total - 30


def differing(before: State, after: State) -> list[str]:
    """What is left, or gone, or another."""
    found = [
        name for name in before[0].keys() | after[0].keys() if before[0].get(name) != after[0].get(name)
    ]
    return found + ([] if before[1:] == after[1:] else [f"{before[1:]} and then {after[1:]}"])


def missing(host: Host) -> list[str]:
    """What a guest that is kept lacks, or has too much."""
    guest = records.read(host, "web1")
    found = [str(path) for path in (guest.disk, guest.seed, guest.kernel) if not host.exists(path)]
    if host.text(records.cfg("web1")) != xlcfg.render(guest):
        found.append("its configuration")
    if host.link_target(records.auto_link("web1")) != "../web1.cfg":
        found.append("its link")
    if "172.20.216.2 web1.xen.internal web1" not in host.text("/etc/hosts"):
        found.append("its name")
    return found + [str(path) for path in host.root.rglob(".*") if "/proc/" not in str(path)]
