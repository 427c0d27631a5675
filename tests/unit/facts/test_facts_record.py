# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from xenable.errors import XenableError
from xenable.facts.record import facts_from_json, facts_to_json
from xenable.machine import Facts

MACHINES = sorted(Path(__file__).parents[2].glob("machines/*.json"))


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_a_recorded_machine_is_read_and_written_alike(path: Path) -> None:
    document = json.loads(path.read_text())
    document.pop("schema", None)  # a machine that the lab recorded has the one of `xenable facts --json`
    facts = facts_from_json(document)
    assert facts_to_json(facts) == document
    assert facts_from_json({"schema": 1, **document}) == facts


def test_the_reference_names_the_module_of_facts() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/json.md").read_text()
    assert f"`{Facts.__module__.replace('.', '/')}.py` says what each is" in text


def test_there_are_machines() -> None:
    assert len(MACHINES) >= 15


@pytest.mark.parametrize(
    "damage",
    [
        {"cpu": None},
        {"unknown": 1},
        {"kernels": [{"version": 3}]},
        {"schema": 99},
        {"firmware": {"kind": "x"}},
    ],
)
def test_a_damaged_record_is_refused_in_one_sentence(damage: dict[str, object]) -> None:
    document = json.loads(MACHINES[0].read_text()) | damage
    with pytest.raises(XenableError, match="cannot read recorded facts"):
        facts_from_json(document)
