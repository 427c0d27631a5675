# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden plans of recorded machines. `XENABLE_UPDATE_GOLDEN=1 pytest` writes them anew: read the diff."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.factory import make_config, make_facts
from xenable.datafiles import data_file
from xenable.errors import XenableError
from xenable.facts.record import facts_from_json
from xenable.model import Facts
from xenable.plan import GENERATOR, make_plan
from xenable.steps import KINDS
from xenable.steps.files import WriteFile

MACHINES = Path(__file__).parents[1] / "machines"
CONVERTIBLE = (
    "debian12-bios",
    "debian13-cloud-kernel",
    "debian13-uefi",
    "docker-ufw",
    "ubuntu2404-uefi-lvm",
)


def facts_of(name: str) -> Facts:
    return facts_from_json(json.loads((MACHINES / f"{name}.json").read_text(encoding="utf-8")))


def described(facts: Facts) -> list[dict[str, Any]]:
    """The steps as JSON; the generator's shim, which is a file of ours, by its name only."""
    steps = []
    for step in make_plan(facts, make_config()):
        fields = step.fields()
        if isinstance(step, WriteFile) and step.path == GENERATOR:
            assert step.content == data_file("grub.d/shim").read_text(encoding="utf-8")
            fields["content"] = "data/grub.d/shim"
        steps.append({"kind": step.kind, **json.loads(json.dumps(fields))})
    return steps


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_the_plan_of_a_recorded_machine(name: str) -> None:
    golden = MACHINES / "golden" / f"{name}.plan.json"
    found = described(facts_of(name))
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_a_plan_has_every_kind_of_step() -> None:
    assert {step.kind for step in make_plan(make_facts(), make_config())} == {kind.kind for kind in KINDS}


def test_the_setting_against_xen_as_default_comes_before_the_packages_and_the_arming_last() -> None:
    steps = make_plan(make_facts(), make_config())
    kinds = [step.kind for step in steps]
    early = next(n for n, s in enumerate(steps) if isinstance(s, WriteFile) and "OVERRIDE_GRUB" in s.content)
    assert early < kinds.index("install-packages")
    assert kinds[0] == "menu" and kinds[-1] == "arm"
    assert kinds.index("install-packages") < kinds.index("refresh-menu") < kinds.index("fill-slot")


def test_a_cloud_machine_gets_a_kernel_and_keeps_its_native_default() -> None:
    steps = described(facts_of("debian13-cloud-kernel"))
    packages = next(step for step in steps if step["kind"] == "install-packages")
    assert packages["names"] == ["xen-system-amd64", "linux-image-amd64"]
    assert any("XENABLE_NATIVE_FLAVOUR=cloud-amd64" in step.get("content", "") for step in steps)
    refresh = next(step for step in steps if step["kind"] == "refresh-menu")
    assert refresh["adds_kernel"] is True


def test_settings_reach_the_steps() -> None:
    config = replace(make_config(), trial_seconds=240, auto_confirm=False, dom0_memory=2048)
    steps = make_plan(make_facts(), config)
    slot = next(step for step in steps if step.kind == "fill-slot")
    assert slot.fields() == {"deadline": 240, "hold": True}
    assert any(isinstance(s, WriteFile) and "dom0_mem=2048M,max:2048M" in s.content for s in steps)


def test_a_memory_that_nobody_knows_is_refused() -> None:
    facts = make_facts(memory={"total": None, "used": None})
    with pytest.raises(XenableError, match="memory is not known"):
        make_plan(facts, replace(make_config(), dom0_memory=None))
