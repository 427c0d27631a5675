# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks: pure functions of facts and settings, in the order in which their findings are shown.

To add one: declare its Rule in the file of its subject and name it in that file's RULES; yield it from a
check of that file; a new file joins SUBJECTS and CHECKS here. Then the tests ask for a case and a line in
docs/reference/checks.md (`python3 -m xenable.checks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xenable.checks import (
    boot_loader,
    bridge,
    console,
    conversion,
    distribution,
    firmware,
    kernels,
    machine,
    memory,
    modules,
    network,
    packages,
    services,
    storage,
)
from xenable.checks.base import Check, Rule
from xenable.config import Config
from xenable.errors import XenableError
from xenable.machine import Facts
from xenable.model import Finding, Severity

CHECK_FAILED = Rule(
    id="internal/check-failed",
    severity=Severity.BLOCKER,
    title="A check could not do its work",
    why="What it looks for can't be ruled out. This is a fault of Xenable, not of the machine.",
    remedy="Run `xenable report` and send what it writes to the authors.",
)

RULES: tuple[Rule, ...] = (
    *conversion.RULES,
    *distribution.RULES,
    *machine.RULES,
    *firmware.RULES,
    *boot_loader.RULES,
    *kernels.RULES,
    *memory.RULES,
    *storage.RULES,
    *packages.RULES,
    *modules.RULES,
    *network.RULES,
    *bridge.RULES,
    *services.RULES,
    *console.RULES,
    CHECK_FAILED,
)
"""Every finding that can be made."""

CHECKS: tuple[Check, ...] = (
    conversion.check_conversion,
    distribution.check_distribution,
    machine.check_machine,
    machine.check_other_hypervisors,
    firmware.check_secure_boot,
    boot_loader.check_boot_loader,
    boot_loader.check_menu,
    boot_loader.check_command_line,
    kernels.check_kernels,
    kernels.check_watchdog,
    kernels.check_kernel_options,
    kernels.check_native_kernel,
    memory.check_memory,
    memory.check_initrd_memory,
    storage.check_storage,
    storage.check_space,
    packages.check_apt,
    packages.check_transaction,
    modules.check_modules,
    network.check_guest_network,
    network.check_guest_mode,
    bridge.check_bridge,
    network.check_network,
    network.check_firewalls,
    network.check_forwarding,
    services.check_services,
    console.check_console,
    machine.check_abilities,
)

ORDER = tuple(Severity)
"""Worst first."""


def run_checks(facts: Facts, config: Config, checks: Sequence[Check] = CHECKS) -> tuple[Finding, ...]:
    """All findings, worst first. A check that fails is a blocker of its own: it never passes silently."""
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check(facts, config))
        except Exception as e:
            name = getattr(check, "__name__", str(check))
            findings.append(CHECK_FAILED.found(f"{name} ended with {type(e).__name__}: {e}."))
    return tuple(sorted(findings, key=lambda f: ORDER.index(f.severity)))


def ready(findings: Iterable[Finding], overrides: frozenset[str] = frozenset()) -> bool:
    """Whether the machine can be converted: no blocker, and each overridable finding is overridden.

    An override of a finding that was not made changes nothing, so one list serves many machines.
    Errors: XenableError for an override of an unknown id, or of one that can't be overridden.
    """
    rules = {rule.id: rule for rule in RULES}
    for id in sorted(overrides):
        if id not in rules:
            import difflib

            near = difflib.get_close_matches(id, rules, 1, 0.6)
            hint = f"did you mean {near[0]!r}?" if near else "`xenable check` shows the ids"
            raise XenableError(f"cannot override {id!r}: no check has this id", hint=hint)
        rule = rules[id]
        if rule.severity is Severity.BLOCKER:
            raise XenableError(f"cannot override {id!r}: it is a blocker", hint=rule.remedy)
        if rule.severity is not Severity.OVERRIDABLE:
            raise XenableError(
                f"cannot override {id!r}: it is a {rule.severity}, which stops nothing",
                hint="leave the option out",
            )
    return not any(
        f.severity is Severity.BLOCKER or (f.severity is Severity.OVERRIDABLE and f.id not in overrides)
        for f in findings
    )
