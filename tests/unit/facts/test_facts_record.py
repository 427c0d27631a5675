# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recorded import machine_names, machine_text
from xenable.errors import XenableError
from xenable.facts.record import facts_from_json, facts_to_json
from xenable.host import Host
from xenable.machine import Facts
from xenable.report import make_report

NAMES = machine_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_machine_is_read_and_written_alike(name: str) -> None:
    document = json.loads(machine_text(name))
    document.pop("schema", None)  # a machine that the lab recorded has the one of `xenable facts --json`
    facts = facts_from_json(document)
    assert facts_to_json(facts) == document
    assert facts_from_json({"schema": 1, **document}) == facts


def test_the_reference_names_the_module_of_facts() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/json.md").read_text()
    assert f"`{Facts.__module__.replace('.', '/')}.py` says what each is" in text


def test_there_are_machines() -> None:
    assert len(NAMES) >= 15


def test_the_archive_of_a_report_is_a_recorded_machine(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/etc")
    host.write("/etc/os-release", b'ID=debian\nVERSION_ID="13"\n')
    (tmp_path / "machines").mkdir()
    make_report(host, tmp_path / "machines/new.tar.gz")
    assert machine_names(tmp_path / "machines") == ("new",)
    document = json.loads(machine_text("new", tmp_path / "machines"))
    assert facts_from_json(document).distribution.version_id == "13"


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
    document = json.loads(machine_text(NAMES[0])) | damage
    with pytest.raises(XenableError, match="cannot read recorded facts"):
        facts_from_json(document)
