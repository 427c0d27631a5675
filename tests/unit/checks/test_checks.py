# SPDX-License-Identifier: GPL-2.0-or-later
"""Each finding from a machine that deserves it, and from no healthy one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factory import BOOT, HEALTHY, make_config, make_facts
from tests.unit.checks.cases import (
    boot_loader,
    bridge,
    console,
    conversion,
    distribution,
    firmware,
    kernels,
    machine,
    memory,
    modules,
    network,
    packages,
    services,
    storage,
)
from tests.unit.checks.cases.common import Case, others
from xenable.checks import CHECK_FAILED, RULES, run_checks
from xenable.config import Config
from xenable.machine import Answer, Candidate, Facts, FirmwareKind
from xenable.model import Severity

TABLES = (
    boot_loader,
    bridge,
    console,
    conversion,
    distribution,
    firmware,
    kernels,
    machine,
    memory,
    modules,
    network,
    packages,
    services,
    storage,
)
CASES: tuple[Case, ...] = tuple(case for table in TABLES for case in table.CASES)


@pytest.mark.parametrize(
    ("id", "changes", "config", "diagnosis", "remedy"), CASES, ids=[case[0] for case in CASES]
)
def test_finding(
    id: str, changes: dict[str, Any], config: dict[str, Any], diagnosis: str, remedy: str
) -> None:
    found = {f.id: f for f in run_checks(make_facts(**changes), make_config(**config))}
    assert id in found
    rule = next(r for r in RULES if r.id == id)
    assert (found[id].severity, found[id].title) == (rule.severity, rule.title)
    assert diagnosis in found[id].diagnosis
    assert remedy in found[id].remedy
    stopping = {i for i, f in found.items() if f.severity in (Severity.BLOCKER, Severity.OVERRIDABLE)}
    # One thing that is wrong is one thing that stops: else people look for a second fault that is not there.
    assert stopping <= {id}


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} | {CHECK_FAILED.id} == {rule.id for rule in RULES}


def test_a_healthy_machine_has_no_finding_but_dom0_s_memory() -> None:
    assert [f.id for f in run_checks(HEALTHY, make_config())] == ["memory/dom0"]


def test_libraries_of_xen_are_no_xen() -> None:
    libraries = (Candidate(name="libxenstore4", version="4.20"),)
    assert others(make_facts(packages={"installed_xen": libraries}), make_config()) == ()


def test_a_bios_machine_has_no_finding() -> None:
    facts = make_facts(
        firmware={"kind": FirmwareKind.BIOS, "secure_boot": Answer.UNKNOWN},
        boot_loader={"platforms": ("i386-pc",)},
        storage={"boot": BOOT, "esp": None},
    )
    assert others(facts, make_config()) == ()


def test_texts_are_whole_sentences() -> None:
    for rule in RULES:
        assert not rule.title.endswith("."), rule.id
        for text in (rule.why, rule.remedy):
            assert (
                text.endswith(".")
                and "  " not in text
                and (text[0].isupper() or text.startswith(("`", "dom0", "apt ")))
            ), rule.id
    for _, changes, config, _, _ in CASES:
        for f in run_checks(make_facts(**changes), make_config(**config)):
            assert f.diagnosis.endswith(".") and f.remedy.endswith("."), f
            assert ".." not in f.diagnosis and "  " not in f.diagnosis, f


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.from_type(Facts))
def test_any_facts_are_judged(facts: Facts) -> None:
    findings = run_checks(facts, make_config())
    assert CHECK_FAILED.id not in {f.id for f in findings}
    assert {(f.id, f.severity) for f in findings} <= {(r.id, r.severity) for r in RULES}


def test_facts_that_no_check_understands_are_a_blocker() -> None:
    def broken(facts: Facts, config: Config) -> list[Any]:
        raise KeyError("nothing")

    (finding,) = run_checks(HEALTHY, make_config(), (broken,))
    assert (finding.id, finding.severity) == (CHECK_FAILED.id, Severity.BLOCKER)
    assert "broken ended with KeyError: 'nothing'" in finding.diagnosis
