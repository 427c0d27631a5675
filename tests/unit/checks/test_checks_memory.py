# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory dom0 gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factory import make_config, make_facts
from tests.unit.checks.cases.common import others
from xenable.checks import run_checks
from xenable.checks.memory import dom0_memory
from xenable.config import Config


@pytest.mark.parametrize(
    ("total", "setting", "expected"),
    [(2960, None, 1168), (7900, None, 1408), (262144, None, 8192), (None, None, None), (7900, 2000, 2000)],
)
def test_dom0_memory(total: int | None, setting: int | None, expected: int | None) -> None:
    assert dom0_memory(make_facts(memory={"total": total}), make_config(dom0_memory=setting)) == expected


@pytest.mark.parametrize(
    ("used", "expected"),
    [(None, 1408), (1000, 1408), (2049, 2880), (2200, 2880), (2304, 2880), (2305, 3200), (7300, 6912)],
)
def test_a_few_mib_more_in_use_do_not_change_dom0(used: int | None, expected: int) -> None:
    facts = make_facts(memory={"total": 7900, "used": used})
    assert dom0_memory(facts, make_config()) == expected


def test_the_cache_of_zfs_is_not_in_use() -> None:
    """ZFS gives it back: dom0 would get 55 of 62 GiB for it."""
    facts = make_facts(memory={"total": 64000, "used": 56000, "zfs_arc": 50000})
    assert dom0_memory(facts, make_config()) == 7680
    assert dom0_memory(make_facts(memory={"total": 64000, "used": 6000}), make_config()) == 7680


def test_how_much_dom0_gets_is_said() -> None:
    def said(config: Config, **memory: Any) -> list[str]:
        findings = run_checks(make_facts(memory=memory), config)
        return [f.diagnosis.partition(". ")[0] for f in findings if f.id == "memory/dom0"]

    assert said(make_config(), total=2976, used=262) == ["dom0 gets 1168 MiB of 2976 MiB"]
    assert said(make_config(dom0_memory=2000), total=2976) == ["dom0 gets 2000 MiB of 2976 MiB"]
    assert said(make_config(dom0_memory=2000), total=None) == ["dom0 gets 2000 MiB"]
    assert said(make_config(), total=None) == []
    assert said(make_config(), total=700) == []


def test_memory_as_set() -> None:
    facts = make_facts(memory={"total": 4000, "used": 2500, "zfs_arc": 500})
    (finding,) = others(facts, make_config(dom0_memory=1024))
    assert finding.diagnosis.startswith(
        "2000 MiB are in use now (without ZFS's cache of 500 MiB); dom0 will have 1024 MiB."
    )
    assert "dom0-memory = 2512`" in finding.remedy
    # dom0 gets nothing of a memory that is too small for what was asked: no word about it.
    (finding,) = run_checks(facts, make_config(dom0_memory=3900))
    assert finding.id == "memory/too-little"
    assert "4156 MiB are needed: 3900 for dom0" in finding.diagnosis
    assert finding.remedy == "Add memory, or set `dom0-memory = auto`."
