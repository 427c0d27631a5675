# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tree import make_tree
from xenable.facts import gather
from xenable.facts.record import facts_from_json, facts_to_json
from xenable.host import Host, Result, StrPath
from xenable.machine import Answer

PLACES = (
    *("/etc/os-release", "/proc/cpuinfo", "/proc/meminfo", "/proc/self/mountinfo", "/proc/modules"),
    *("/proc/cmdline", "/proc/locks", "/proc/net/route", "/proc/net/ipv6_route", "/proc/1/cmdline"),
    *("/proc/sys/kernel/osrelease", "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/etc/default/grub"),
    *("/etc/default/grub.d/x.cfg", "/boot/vmlinuz-1-a", "/boot/config-1-a", "/boot/initrd.img-1-a"),
    *("/var/lib/dpkg/status", "/var/lib/dpkg/diversions", "/var/lib/xenable/journal.jsonl", "/etc/fstab"),
    *("/sys/hypervisor/type", "/sys/hypervisor/properties/features", "/etc/network/interfaces"),
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "/sys/firmware/efi/efivars/BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c",
)


def test_an_empty_folder_is_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    facts = gather(Host(tmp_path))
    assert facts.distribution.id == ""
    assert facts.memory.total is None
    assert facts.cpu.hvm is Answer.UNKNOWN
    assert not facts.network.known and not facts.services.known
    assert facts_from_json(facts_to_json(facts)) == facts


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(PLACES), st.binary(max_size=200), max_size=len(PLACES)))
def test_no_file_however_strange_makes_a_probe_fail(files: dict[str, bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        facts = gather(make_tree(Path(folder), dict(files)))
        assert facts_from_json(facts_to_json(facts)) == facts


def test_folders_in_place_of_files(tmp_path: Path) -> None:
    gather(make_tree(tmp_path, {f"{place}/": "" for place in PLACES}))


@pytest.mark.realtool
def test_this_machine() -> None:
    """Also prints how long it took: what is left after apt's own reading of its lists has to be quick."""
    commands: list[str] = []

    class Counting(Host):
        def run(self, cmd: Sequence[StrPath], **options: Any) -> Result:
            commands.append(" ".join(map(str, cmd)))
            return super().run(cmd, **options)

    start = time.process_time()
    facts = gather(Counting())
    print(f"gathered in {time.process_time() - start:.2f} s of processor time; ran {commands}")
    assert facts.distribution.id and facts.cpu.architecture and facts.memory.total
    assert facts.packages.usable is not Answer.UNKNOWN
    assert len(commands) == len(set(commands)) <= 5
    assert facts_from_json(facts_to_json(facts)) == facts


@pytest.mark.realtool
def test_importing_the_package_is_cheap() -> None:
    code = "import sys, xenable.facts; print([m for m in ('dacite', 'apt_pkg', 'json') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
