# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/firmware.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case
from xenable.machine import Answer

CASES: tuple[Case, ...] = (
    (
        "firmware/secure-boot",
        {"firmware": {"secure_boot": Answer.YES}},
        {},
        "is on",
        "three choices",
    ),
    (
        "firmware/secure-boot-unknown",
        {"firmware": {"secure_boot": Answer.UNKNOWN}},
        {},
        "could not be read",
        "mokutil --sb-state",
    ),
)
