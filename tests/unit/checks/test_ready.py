# SPDX-License-Identifier: GPL-2.0-or-later
"""When a machine is ready, and what may be overridden."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.factory import KERNEL, make_config, make_facts
from xenable.checks import RULES, ready, run_checks
from xenable.checks.__main__ import reference
from xenable.errors import XenableError
from xenable.machine import Answer
from xenable.model import Severity

REFERENCE = Path(__file__).parents[3] / "docs/reference/checks.md"


def test_ids_are_unique_and_named_after_their_subject() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+/[a-z0-9]+(-[a-z0-9]+)*", id) for id in ids)


def test_worst_first_then_in_the_order_of_the_checks() -> None:
    facts = make_facts(
        cpu={"iommu": Answer.NO},
        firmware={"secure_boot": Answer.YES},
        services={"failed": ("a.service",), "ssh_listen": ()},
        conversion={"legacy_xen": ("/usr/local/sbin/xl",)},
    )
    assert [f.id for f in run_checks(facts, make_config())] == [
        "conversion/xen-by-hand",
        "firmware/secure-boot",
        "services/no-ssh",
        "services/failed",
        "memory/dom0",
        "machine/no-iommu",
    ]


def test_ready() -> None:
    config = make_config()
    notes = run_checks(make_facts(cpu={"iommu": Answer.NO}, services={"failed": ("a.service",)}), config)
    assert len(notes) == 3 and ready(notes)
    two = run_checks(make_facts(services={"ssh_listen": ()}, memory={"used": 7300}), config)
    assert not ready(two)
    assert not ready(two, frozenset({"services/no-ssh"}))
    assert ready(two, frozenset({"services/no-ssh", "memory/in-use"}))
    blocked = run_checks(make_facts(firmware={"secure_boot": Answer.YES}), config)
    assert not ready(blocked, frozenset({"firmware/secure-boot-unknown"}))
    assert ready((), frozenset({"services/no-ssh"}))


@pytest.mark.parametrize(
    ("id", "message", "hint"),
    [
        ("service/no-ssh", "no check has this id", "did you mean 'services/no-ssh'?"),
        ("zzz", "no check has this id", "xenable check"),
        ("firmware/secure-boot", "it is a blocker", "There are three choices"),
        ("services/failed", "it is a warning, which stops nothing", "leave the option out"),
        ("machine/no-iommu", "it is a note, which stops nothing", "leave the option out"),
    ],
)
def test_overrides_that_make_no_sense(id: str, message: str, hint: str) -> None:
    with pytest.raises(XenableError, match=f"cannot override '{id}': {message}") as e:
        ready((), frozenset({id}))
    assert hint in e.value.hint


@pytest.mark.parametrize(
    ("id", "changes"),
    [
        # InstallPackages removes nothing.
        ("packages/removals", {"packages": {"removed": ("qemu-system-x86",)}}),
        # The menu lists no such kernel.
        ("kernel/compression-unknown", {"kernels": (replace(KERNEL, compression=""),)}),
        # Arm has nothing to compare the trial with.
        ("network/unknown", {"network": {"known": False}}),
        # RefreshMenu demands the native entries of before.
        ("boot/menu-stale", {"menu": {"stale": Answer.YES}}),
    ],
)
def test_what_a_step_refuses_anyway_can_not_be_overridden(id: str, changes: dict[str, Any]) -> None:
    findings = run_checks(make_facts(**changes), make_config())
    assert id in {f.id for f in findings} and not ready(findings)
    with pytest.raises(XenableError, match="it is a blocker"):
        ready(findings, frozenset({id}))


def test_a_series_of_xen_that_is_not_known_stops_nothing() -> None:
    """It is judged as the oldest one of the distributions that are supported."""
    zstd = (replace(KERNEL, compression="zstd"),)
    findings = run_checks(make_facts(kernels=zstd, packages={"xen_series": ""}), make_config())
    assert [f.id for f in findings] == ["packages/xen-series-unknown", "memory/dom0"] and ready(findings)


def test_reference_is_up_to_date() -> None:
    text = REFERENCE.read_text()
    assert reference() in text, "run `python3 -m xenable.checks`"


def test_failure_modes_name_only_checks_that_exist() -> None:
    _, _, modes = REFERENCE.read_text().partition("## What can go wrong")
    subjects = {rule.id.partition("/")[0] for rule in RULES}
    named = set(re.findall(r"`([a-z]+/[a-z0-9-]+)`", modes))
    assert named and {id for id in named if id.partition("/")[0] in subjects} <= {rule.id for rule in RULES}
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", modes, re.M)] == list(range(1, 40))


def test_what_is_unknown_never_passes_silently() -> None:
    """A machine of which nothing could be found out stops, and says so for each part."""
    found = run_checks(
        make_facts(
            memory={"total": None, "used": None},
            firmware={"secure_boot": Answer.UNKNOWN},
            network={"known": False},
            services={"known": False, "os_prober": Answer.UNKNOWN},
            packages={"usable": Answer.UNKNOWN},
            menu={"readable": False},
            cpu={"hvm": Answer.UNKNOWN, "iommu": Answer.UNKNOWN},
        ),
        make_config(),
    )
    assert {f.id for f in found} == {
        "boot/menu-unreadable",
        "packages/apt-broken",
        "firmware/secure-boot-unknown",
        "memory/unknown",
        "network/unknown",
        "services/unknown",
        "services/os-prober",
        "machine/abilities-unknown",
    }
    assert sum(f.severity in (Severity.BLOCKER, Severity.OVERRIDABLE) for f in found) == 6
