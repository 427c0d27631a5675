# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/modules.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case

CASES: tuple[Case, ...] = (
    (
        "modules/nvidia",
        {"modules": {"graphics": ("nvidia",), "tainting": ("nvidia", "nvidia_drm")}},
        {},
        "Loaded: nvidia and nvidia_drm.",
        "nouveau",
    ),
    (
        "modules/dkms",
        {"modules": {"dkms": ("zfs/2.3.2",)}},
        {},
        "zfs/2.3.2",
        "dkms status",
    ),
    (
        "modules/out-of-tree",
        {"modules": {"tainting": ("zfs", "spl")}},
        {},
        "zfs and spl",
        "disks",
    ),
)
