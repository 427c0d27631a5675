# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/conversion.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case

CASES: tuple[Case, ...] = (
    (
        "conversion/applied",
        {"conversion": {"state": "applied"}},
        {},
        "applied",
        "xenable status",
    ),
    (
        "conversion/half-applied",
        {"conversion": {"state": "half-applied"}},
        {},
        "half-applied",
        "xenable apply",
    ),
    (
        "conversion/half-reverted",
        {"conversion": {"state": "half-reverted"}},
        {},
        "half-reverted",
        "revert` again",
    ),
    (
        "conversion/unknown",
        {"conversion": {"state": "unreadable"}},
        {},
        "unreadable",
        "xenable status",
    ),
    (
        "conversion/xen-by-hand",
        {"conversion": {"legacy_xen": ("/usr/local/sbin/xl",)}},
        {},
        "/usr/local/sbin/xl",
        "make uninstall",
    ),
)
