# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel of the lab: what its own record says of the time it took, and on whose machine it is built."""

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lab import xenkernel
from lab.errors import LabError
from lab.recipe import Release
from lab.scenarios import kernel
from xenable.checks.kernels import GENERIC_ADDED

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would have been run. Each run with an odd number builds, as the command does after a change."""
    monkeypatch.setenv("XENABLE_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(xenkernel, "own_release", lambda: Release.BOOKWORM)
    found: list[tuple[str, ...]] = []
    rows: list[dict[str, Any]] = []

    def run(argv: list[str], **_: object) -> str:
        found.append(tuple(argv))
        if len(found) % 2:
            rows.append({"revision": len(rows) + 1, "seconds": 700 + len(rows)})
        record = tmp_path / "kernel-bookworm/var/xenable/kernels/builds.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"schema": 1, "builds": rows}))
        return ""

    monkeypatch.setattr(xenkernel, "run", run)
    return found


def test_how_long_it_took_is_said_also_of_an_earlier_build(
    asked: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kernel-bookworm"
    assert xenkernel.build() == xenkernel.Built(folder, 700, fresh=True)
    assert asked[0][-2:] == ("--jobs", "2")
    assert "700 s with 2 jobs, in this run" in capsys.readouterr().err
    assert xenkernel.build() == xenkernel.Built(folder, 700, fresh=False)
    assert "700 s with 2 jobs, in an earlier run" in capsys.readouterr().err
    assert xenkernel.build() == xenkernel.Built(folder, 701, fresh=True)


def test_the_release_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["trixie"]
    monkeypatch.setattr(xenkernel, "own_codename", lambda: said[0])
    assert xenkernel.own_release() is Release.TRIXIE
    said[0] = "noble"
    with pytest.raises(LabError, match="bookworm or trixie"):
        xenkernel.own_release()


def test_words_of_the_scenario_are_those_of_the_program() -> None:
    """Text that every machine gets to see proves nothing."""
    assert kernel.OFFERED not in GENERIC_ADDED.remedy
    assert kernel.OFFERED in (CHECKOUT / "xenable/checks/kernels.py").read_text()
    how_to = CHECKOUT / "docs/how-to/kernel-for-a-guest.md"
    assert textwrap.indent(kernel.OWN_ENTRY, "    ") in how_to.read_text()


@pytest.mark.realtool
def test_the_entry_of_a_guest(tmp_path: Path) -> None:
    """With the real shell and GRUB's own parser; only the folder and the disk are others."""
    boot = tmp_path / "boot"
    boot.mkdir()
    findmnt = tmp_path / "findmnt"
    findmnt.write_text("#!/bin/sh\necho 6b2f2c5e\n")
    findmnt.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(kernel.OWN_ENTRY.replace("/boot", str(boot)))
    subprocess.run(["shellcheck", script], check=True)

    def entry() -> str:
        run = ["env", f"PATH={tmp_path}:/usr/bin:/bin", "sh", str(script)]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        return done.stdout

    assert entry() == ""
    for version in ("6.12.9-2-xen-lean", "6.12.9-10-xen-lean", "6.1.0-9-amd64"):
        (boot / f"linux-{version}").touch()
    subprocess.run(["grub-script-check"], input=entry(), check=True, text=True)
    assert f"linux {boot}/linux-6.12.9-10-xen-lean root=UUID=6b2f2c5e ro console=hvc0\n" in entry()
    assert f"initrd {boot}/initrd.img-6.12.9-10-xen-lean\n" in entry()
