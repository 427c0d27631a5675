# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/machine.py."""

from __future__ import annotations

from tests.unit.checks.cases.common import Case
from xenable.machine import Answer, OtherHypervisor

CASES: tuple[Case, ...] = (
    (
        "machine/architecture",
        {"cpu": {"architecture": "arm64"}},
        {},
        "is arm64",
        "amd64",
    ),
    (
        "machine/architecture",
        {"cpu": {"architecture": ""}},
        {},
        "is unknown",
        "amd64",
    ),
    (
        "machine/container",
        {"virtualization": {"container": "lxc"}},
        {},
        "(lxc)",
        "the machine that",
    ),
    (
        "machine/xen-guest",
        {"virtualization": {"hypervisor": "xen", "xen_role": "domU"}},
        {},
        "as a guest",
        "",
    ),
    (
        "machine/xen-guest",
        {"virtualization": {"hypervisor": "xen"}},
        {},
        "runs under Xen, as a guest",
        "",
    ),
    (
        "machine/already-dom0",
        {"virtualization": {"hypervisor": "xen", "xen_role": "dom0", "xen_version": "4.17.5"}},
        {},
        "Xen 4.17.5 runs",
        "boot without Xen",
    ),
    (
        "machine/hyper-v",
        {"virtualization": {"hypervisor": "microsoft"}},
        {},
        "Microsoft",
        "KVM or QEMU",
    ),
    (
        "machine/nested",
        {"virtualization": {"hypervisor": "kvm"}},
        {},
        "under kvm",
        "physical machine",
    ),
    (
        "machine/nested-untested",
        {"virtualization": {"hypervisor": "amazon"}},
        {},
        "under amazon",
        "KVM",
    ),
    (
        "machine/no-hvm",
        {"cpu": {"hvm": Answer.NO}},
        {},
        "neither VT-x nor SVM",
        "firmware",
    ),
    (
        "machine/no-iommu",
        {"cpu": {"iommu": Answer.NO}},
        {},
        "no IOMMU",
        "firmware",
    ),
    (
        "machine/abilities-unknown",
        {"cpu": {"hvm": Answer.UNKNOWN, "iommu": Answer.UNKNOWN}},
        {},
        "VT-x or SVM and an IOMMU",
        "xl info",
    ),
    (
        "machine/guests-running",
        {"other_hypervisors": (OtherHypervisor(kind="kvm", guests=("web", "db")),)},
        {},
        "Guests of kvm run: web and db.",
        "Move",
    ),
    (
        "machine/other-hypervisor",
        {"other_hypervisors": (OtherHypervisor(kind="virtualbox", guests=()),)},
        {},
        "no guest running: virtualbox",
        "xenable revert",
    ),
)
