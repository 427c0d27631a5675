# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/distribution.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case

CASES: tuple[Case, ...] = (
    (
        "distribution/unsupported",
        {"distribution": {"id": "linuxmint", "name": "Linux Mint 22", "like": ("ubuntu", "debian")}},
        {},
        "This is Linux Mint 22. It says that it is like ubuntu, debian.",
        "Debian 12 or 13",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"version_id": "11", "name": "Debian GNU/Linux 11 (bullseye)"}},
        {},
        "Debian GNU/Linux 11 (bullseye)",
        "",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"id": "ubuntu", "version_id": "22.04", "name": "Ubuntu 22.04.5 LTS"}},
        {},
        "Ubuntu 22.04.5 LTS",
        "",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"id": "", "name": ""}},
        {},
        "an unknown system",
        "",
    ),
    (
        "distribution/unreleased",
        {"distribution": {"version_id": "", "name": "Debian GNU/Linux forky/sid"}},
        {},
        "forky/sid",
        "Debian 12 or 13",
    ),
    (
        "distribution/unreleased",
        {"distribution": {"version_id": "14", "name": "Debian 14"}},
        {},
        "Debian 14",
        "",
    ),
    (
        "distribution/not-boot-tested",
        {"distribution": {"id": "ubuntu", "version_id": "24.04", "name": "Ubuntu 24.04.3 LTS"}},
        {},
        "Ubuntu 24.04.3 LTS",
        "falls back",
    ),
)
