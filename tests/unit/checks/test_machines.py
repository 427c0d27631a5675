# SPDX-License-Identifier: GPL-2.0-or-later
"""The findings of recorded machines. `XENABLE_UPDATE_GOLDEN=1 pytest` writes them anew: read the diff."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from tests.factory import make_config
from tests.recorded import GOLDEN, facts_of, machine_names
from xenable.checks import RULES, run_checks

NAMES = machine_names()


@pytest.mark.parametrize("name", NAMES)
def test_findings(name: str) -> None:
    findings = run_checks(facts_of(name), make_config())
    assert {f.id for f in findings} <= {rule.id for rule in RULES}
    text = json.dumps([dataclasses.asdict(f) for f in findings], indent=1, ensure_ascii=False) + "\n"
    golden = GOLDEN / f"{name}.findings.json"
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.exists(), "no golden findings: run with XENABLE_UPDATE_GOLDEN=1, and read what it wrote"
    assert text == golden.read_text()


def test_no_golden_file_without_its_machine() -> None:
    assert {p.name.removesuffix(".findings.json") for p in GOLDEN.glob("*.findings.json")} == set(NAMES)


def test_no_check_fails_on_a_recorded_machine() -> None:
    assert NAMES
    for golden in GOLDEN.glob("*.findings.json"):
        assert "internal/check-failed" not in golden.read_text(), golden.name
