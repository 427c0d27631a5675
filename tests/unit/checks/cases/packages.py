# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/packages.py."""

from __future__ import annotations

from tests.factory import XEN
from tests.unit.checks.cases.common import Case
from xenable.machine import Answer, Candidate

CASES: tuple[Case, ...] = (
    (
        "packages/apt-broken",
        {"packages": {"usable": Answer.NO, "problem": "The list of sources could not be read."}},
        {},
        "apt says: The list of sources",
        "apt-get check",
    ),
    (
        "packages/apt-broken",
        {"packages": {"problem": "dpkg was interrupted", "xen": None, "xen_series": ""}},
        {},
        "apt says: dpkg was",
        "apt-get check",
    ),
    (
        "packages/apt-broken",
        {"packages": {"usable": Answer.UNKNOWN}},
        {},
        "can't be read",
        "apt-get check",
    ),
    (
        "packages/locked",
        {"packages": {"locked_by": "unattended-upgr (712)"}},
        {},
        "unattended-upgr (712)",
        "Wait",
    ),
    (
        "packages/half-installed",
        {"packages": {"half_installed": ("mdadm",)}},
        {},
        "mdadm",
        "dpkg --configure -a",
    ),
    (
        "packages/no-xen",
        {"packages": {"xen": None, "xen_series": ""}},
        {},
        "No repository",
        "apt-get update",
    ),
    (
        "packages/removals",
        {"packages": {"removed": ("qemu-system-x86",)}},
        {},
        "remove qemu-system-x86",
        "Remove them yourself",
    ),
    (
        "packages/upgrades",
        {"packages": {"upgraded": (Candidate(name="libc6", version="2.41-13"),)}},
        {},
        "upgrade libc6",
        "apt-get upgrade",
    ),
    (
        "packages/upgrades-grub",
        {"packages": {"upgraded": (Candidate(name="grub-pc", version="2.12-9"),)}},
        {},
        "upgrade grub-pc",
        "reboot once",
    ),
    (
        "packages/apt-broken",
        {"packages": {"held": ("grub-pc",), "problem": "xen-system-amd64 can't be installed: grub-pc"}},
        {},
        "xen-system-amd64 can't be installed: grub-pc",
        "apt-mark unhold grub-pc`",
    ),
    (
        "packages/held",
        {"packages": {"held": ("linux-image-amd64", "bash")}},
        {},
        "linux-image-amd64 is on hold",
        "apt-mark unhold linux-image-amd64`",
    ),
    (
        "packages/lists-stale",
        {"packages": {"lists_age_days": 95}},
        {},
        "95 days",
        "apt-get update",
    ),
    (
        "packages/lists-stale",
        {"packages": {"lists_age_days": None}},
        {},
        "not known",
        "apt-get update",
    ),
    (
        "packages/xen-series-unknown",
        {"packages": {"xen_series": ""}},
        {},
        "xen-system-amd64 4.20.3",
        "policy",
    ),
    (
        "packages/xen-installed",
        {"packages": {"installed_xen": (XEN,)}},
        {},
        "xen-system-amd64 4.20.3",
        "purge",
    ),
    (
        "packages/recommends-off",
        {"packages": {"install_recommends": False}},
        {},
        "Install-Recommends",
        "Nothing",
    ),
)
