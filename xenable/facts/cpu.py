# SPDX-License-Identifier: GPL-2.0-or-later
"""The processor: kind, count, and what it can do for guests."""

from __future__ import annotations

from collections.abc import Mapping

from xenable.facts.dpkg import Known
from xenable.facts.files import line
from xenable.host import Host
from xenable.machine import Answer, Cpu

IOMMU_TABLES = ("DMAR", "IVRS", "XMAR")
"""ACPI tables that describe one. Xen renames DMAR to XMAR, to hide it from dom0."""


def probe_cpu(host: Host, known: Mapping[str, Known]) -> Cpu:
    text = host.text("/proc/cpuinfo")
    fields = parse_cpuinfo(text)
    return Cpu(
        architecture=_architecture(host, known),
        vendor=fields.get("vendor_id", ""),
        count=sum(line.startswith("processor") for line in text.splitlines()) or None,
        hvm=_hvm(host, fields.get("flags", "").split()),
        iommu=_iommu(host),
    )


def parse_cpuinfo(text: str) -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo."""
    fields = {}
    for row in text.partition("\n\n")[0].splitlines():
        name, colon, value = row.partition(":")
        if colon:
            fields[name.strip()] = value.strip()
    return fields


def _architecture(host: Host, known: Mapping[str, Known]) -> str:
    # dpkg is always installed for the native architecture; the file is there only with foreign ones.
    if "dpkg" in known:
        return known["dpkg"].architecture
    return (host.text("/var/lib/dpkg/arch").split() or [""])[0]


def _hvm(host: Host, flags: list[str]) -> Answer:
    if {"vmx", "svm"} & set(flags):
        return Answer.YES
    if line(host, "/sys/hypervisor/type") == "xen":
        # Xen keeps the flags from dom0, and says itself what kinds of guest it can run.
        capabilities = line(host, "/sys/hypervisor/properties/capabilities")
        return Answer.of("hvm-" in capabilities) if capabilities else Answer.UNKNOWN
    return Answer.NO if flags else Answer.UNKNOWN


def _iommu(host: Host) -> Answer:
    if host.names("/sys/class/iommu"):
        return Answer.YES
    tables = host.names("/sys/firmware/acpi/tables")
    if any(name.rstrip("0123456789") in IOMMU_TABLES for name in tables):
        return Answer.YES
    return Answer.NO if tables else Answer.UNKNOWN
