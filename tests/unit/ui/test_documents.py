# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference/json.md names every field that the documents have."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factory import make_facts
from tests.unit.guests.fixtures import make_guest
from tests.unit.kernels.fixtures import BUILD
from xenable.guests.listing import ImageRow, Row
from xenable.kernels.listing import KernelRow
from xenable.machine import Answer, Candidate
from xenable.model import Finding, Preview, Severity, Status
from xenable.ui import document, guests, images, kernels

TEXT = (Path(__file__).resolve().parents[3] / "docs/reference/json.md").read_text(encoding="utf-8")
FINDING = Finding(id="a", severity=Severity.NOTE, title="a", diagnosis="a", remedy="a")
PACKAGE = Candidate(name="xen", version="1")
PACKAGES = dataclasses.replace(make_facts().packages, new=(PACKAGE,), upgraded=(PACKAGE,), removed=("a",))
ROW = KernelRow(
    version="1", image="", package="", maker="", dom0=Answer.YES, guest=Answer.NO, native=Answer.NO,
    modules=True, running=True,
)  # fmt: skip
IMAGE = ImageRow(name="a", release="a", bytes=1, used=1, created="", guests=())

DOCUMENTS: dict[str, dict[str, Any]] = {
    "check": document.findings_document([FINDING], (), ready=True),
    "plan": document.plan_document([("a", Preview(title="a", detail="a\n"))], PACKAGES, ready=True),
    "status": document.status_document(Status.NATIVE, "", "native", "native", {}),
    "apply": document.result_document("applied", [("a", "a", "done")], Status.ARMED),
    "report": document.report_document("a"),
    "error": document.error_document("a", "", 1),
    "guest list": guests.guests_document([Row(name="a", state="running")]),
    "guest create": guests.guest_document("created", make_guest(), started=True),
    "guest start": guests.name_document("started", "a"),
    "guest images": images.images_document([IMAGE]),
    "kernel list": kernels.kernels_document([ROW]),
    "kernel build": kernels.build_document("built", BUILD, ()),
    "kernel add-patch": kernels.patches_document(["a"], "6.12"),
}


def fields(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from fields(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from fields(item)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_is_in_the_reference(name: str) -> None:
    named = set(re.findall(r"`([a-z0-9_]+)`", TEXT))
    assert set(fields(DOCUMENTS[name])) - named == set()


@pytest.mark.parametrize("words", [name for name in DOCUMENTS if name != "error"])
def test_every_command_is_in_the_reference(words: str) -> None:
    group, _, last = words.rpartition(" ")
    rows = [row for row in TEXT.splitlines() if row.startswith("| `")]
    assert [row for row in rows if f"`{last}`" in row or f"`{group} {last}`" in row]
