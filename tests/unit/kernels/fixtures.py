# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of kernels have in common."""

from __future__ import annotations

from xenable.kernels.records import Build

BUILD = Build(
    upstream="6.12.9",
    revision=1,
    flavour="lean",
    inputs="i",
    objects=10,
    seconds=5,
    made="2026-01-31T12:00:00Z",
    packages=("xen-image-lean_6.12.9-1_amd64.deb",),
)
