# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorded machines in tests/machines: facts.json of a report under a name, or its whole archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from xenable.facts.record import facts_from_json
from xenable.machine import Facts

MACHINES = Path(__file__).with_name("machines")
GOLDEN = MACHINES / "golden"
ENDS = (".json", ".tar.gz")
FACTS = "xenable-report/facts.json"


def machine_names(folder: Path = MACHINES) -> tuple[str, ...]:
    """Sorted, without what their files end in."""
    return tuple(sorted(path.name.removesuffix(e) for e in ENDS for path in folder.glob(f"*{e}")))


def machine_text(name: str, folder: Path = MACHINES) -> str:
    """The document that `xenable facts --json` printed there."""
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        return (folder / f"{name}.json").read_text(encoding="utf-8")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(FACTS)
        assert member is not None, f"{archive} has no {FACTS}"
        return member.read().decode()


def facts_of(name: str) -> Facts:
    return facts_from_json(json.loads(machine_text(name)))
