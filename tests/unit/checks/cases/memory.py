# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/memory.py."""

from __future__ import annotations

from dataclasses import replace

from tests.factory import KERNEL
from tests.unit.checks.cases.common import Case

CASES: tuple[Case, ...] = (
    (
        "memory/too-little",
        {"memory": {"total": 700}},
        {},
        "The machine has 700 MiB; 768 MiB are needed: 512 for dom0 + 256 for Xen",
        "Add memory.",
    ),
    (
        "memory/initrd-too-large",
        {"memory": {"total": 1100}, "kernels": (replace(KERNEL, initrd_unpacked=500, initrd_size=120),)},
        {},
        "dom0 gets 832 MiB; 876 MiB are needed: /boot/initrd.img-6.12.107+deb13-amd64 is 120 packed",
        "MODULES=dep",
    ),
    (
        "memory/in-use",
        {"memory": {"used": 7300}},
        {},
        "7300 MiB are in use now; dom0 will have 6912 MiB.",
        "Stop what is not needed, or add memory.",
    ),
    (
        "memory/dom0",
        {"memory": {"total": 2976}},
        {},
        "dom0 gets 1168 MiB of 2976 MiB. Everything that runs here goes on in dom0",
        "set `dom0-memory`",
    ),
    (
        "memory/unknown",
        {"memory": {"total": None, "used": None}},
        {},
        "how much there is and how much is",
        "meminfo",
    ),
)
