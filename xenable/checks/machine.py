# SPDX-License-Identifier: GPL-2.0-or-later
"""Can Xen run on this machine, and what would stop working?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, words
from xenable.config import Config
from xenable.machine import Answer, Facts
from xenable.model import Finding, Severity

ARCHITECTURE = Rule(
    id="machine/architecture",
    severity=Severity.BLOCKER,
    title="This processor architecture is not supported",
    why="Xenable converts amd64 systems only.",
    remedy="Convert a machine with a 64-bit PC system (amd64).",
)
CONTAINER = Rule(
    id="machine/container",
    severity=Severity.BLOCKER,
    title="This is a container",
    why="A container has no boot loader and no kernel of its own, so there is nothing to convert.",
    remedy="Run Xenable on the machine that the container runs on.",
)
DOMU = Rule(
    id="machine/xen-guest",
    severity=Severity.BLOCKER,
    title="This is a Xen guest already",
    why="Xen can't run inside a Xen guest in a way that can be relied on.",
    remedy="Convert a machine of your own, or a guest of another hypervisor.",
)
DOM0 = Rule(
    id="machine/already-dom0",
    severity=Severity.BLOCKER,
    title="This machine is a dom0 already",
    why="It was not Xenable that converted it, so Xenable does not know how to lead it back.",
    remedy="To have Xenable look after it: boot without Xen, remove the Xen packages, then run "
    "`xenable check`.",
)
HYPERV = Rule(
    id="machine/hyper-v",
    severity=Severity.BLOCKER,
    title="Xen can't run under Hyper-V",
    why="Hyper-V does not offer what Xen needs, so the trial would never come up.",
    remedy="Use a physical machine, or a guest of KVM or QEMU.",
)
NESTED = Rule(
    id="machine/nested",
    severity=Severity.WARNING,
    title="This is a virtual machine",
    why="Xen boots inside of one, but slower, and PVH and HVM guests need nested virtualisation "
    "from its host.",
    remedy="Fine for a test. For real work, convert a physical machine.",
)
NESTED_UNTESTED = Rule(
    id="machine/nested-untested",
    severity=Severity.OVERRIDABLE,
    title="Xen was never tested on this kind of virtual machine",
    why="Cloud providers and some hypervisors lack devices that Xen or its dom0 needs.",
    remedy="Use a physical machine, or a guest of KVM, QEMU or VMware.",
)
NO_HVM = Rule(
    id="machine/no-hvm",
    severity=Severity.NOTE,
    title="Only PV guests are possible",
    why="PVH and HVM guests need the processor's virtualisation (VT-x or SVM).",
    remedy="If the processor has it, switch it on in the firmware's setup.",
)
NO_IOMMU = Rule(
    id="machine/no-iommu",
    severity=Severity.NOTE,
    title="Devices can't be given to guests",
    why="Passing a PCI device to a guest needs an IOMMU (VT-d or AMD-Vi). Nothing else depends on it.",
    remedy="If the machine has one, switch it on in the firmware's setup.",
)
CPU_UNKNOWN = Rule(
    id="machine/abilities-unknown",
    severity=Severity.NOTE,
    title="Not all abilities of the processor are known",
    why="Some kinds of guest, or passing devices to guests, may not work. The conversion itself "
    "does not depend on it.",
    remedy="After the trial, `xl info` shows them as virt_caps.",
)
GUESTS_RUNNING = Rule(
    id="machine/guests-running",
    severity=Severity.OVERRIDABLE,
    title="Guests of another hypervisor are running",
    why="They stop at the reboot and can't run under Xen: it keeps the processor's virtualisation "
    "for itself.",
    remedy="Move these guests elsewhere, or make sure that nobody needs them.",
)
OTHER_HYPERVISOR = Rule(
    id="machine/other-hypervisor",
    severity=Severity.WARNING,
    title="Another hypervisor is installed",
    why="Its guests can't run while the machine runs under Xen.",
    remedy="Nothing to do if it is not needed. `xenable revert` gives it back.",
)

RULES = (
    ARCHITECTURE,
    CONTAINER,
    DOMU,
    DOM0,
    HYPERV,
    NESTED_UNTESTED,
    GUESTS_RUNNING,
    NESTED,
    OTHER_HYPERVISOR,
    NO_HVM,
    NO_IOMMU,
    CPU_UNKNOWN,
)

NESTED_KNOWN = ("kvm", "qemu", "vmware")
"""Names of systemd-detect-virt(1) under which Xen is known to boot."""


def check_machine(facts: Facts, config: Config) -> Iterator[Finding]:
    if facts.cpu.architecture != "amd64":
        yield ARCHITECTURE.found(f"This system's architecture is {facts.cpu.architecture or 'unknown'}.")
    v = facts.virtualization
    if v.container:
        yield CONTAINER.found(f"This system runs in a container ({v.container}).")
    elif v.xen_role == "dom0":
        # Our own dom0 is the subject of the conversion checks.
        if facts.conversion.state == "none":
            yield DOM0.found(
                f"Xen {v.xen_version or 'of an unknown version'} runs, and this system is its dom0."
            )
    elif v.xen_role or v.hypervisor == "xen":
        yield DOMU.found(f"This system runs under Xen {v.xen_version}".rstrip() + ", as a guest.")
    elif v.hypervisor == "microsoft":
        yield HYPERV.found("This system runs under Microsoft's hypervisor.")
    elif v.hypervisor in NESTED_KNOWN:
        yield NESTED.found(f"This system runs under {v.hypervisor}.")
    elif v.hypervisor:
        yield NESTED_UNTESTED.found(f"This system runs under {v.hypervisor}.")


def check_abilities(facts: Facts, config: Config) -> Iterator[Finding]:
    cpu = facts.cpu
    if cpu.hvm is Answer.NO:
        yield NO_HVM.found("The processor shows neither VT-x nor SVM.")
    if cpu.iommu is Answer.NO:
        yield NO_IOMMU.found("The machine shows no IOMMU.")
    asked = (("VT-x or SVM", cpu.hvm), ("an IOMMU", cpu.iommu))
    unknown = [name for name, answer in asked if answer is Answer.UNKNOWN]
    if unknown:
        yield CPU_UNKNOWN.found(f"It could not be found out whether there is {' and '.join(unknown)}.")


def check_other_hypervisors(facts: Facts, config: Config) -> Iterator[Finding]:
    busy = [h for h in facts.other_hypervisors if h.guests]
    if busy:
        yield GUESTS_RUNNING.found(" ".join(f"Guests of {h.kind} run: {words(h.guests)}." for h in busy))
    idle = [h.kind for h in facts.other_hypervisors if not h.guests]
    if idle:
        yield OTHER_HYPERVISOR.found(f"Installed, with no guest running: {words(idle)}.")
