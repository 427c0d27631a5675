# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings as text: grouped by severity, the worst first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from xenable.model import Finding, Severity
from xenable.ui.layout import BLANK, Line, Span, line, paragraph

GROUPS: tuple[tuple[Severity, str, str], ...] = (
    (Severity.BLOCKER, "Blockers", "bold red"),
    (Severity.OVERRIDABLE, "Blockers that you may override", "bold yellow"),
    (Severity.WARNING, "Warnings", "bold magenta"),
    (Severity.NOTE, "Notes", "bold"),
)


def blocking(findings: Sequence[Finding], overrides: Collection[str]) -> tuple[Finding, ...]:
    """The findings that stop a conversion."""
    return tuple(
        f
        for f in findings
        if f.severity is Severity.BLOCKER or (f.severity is Severity.OVERRIDABLE and f.id not in overrides)
    )


def verdict(findings: Sequence[Finding], overrides: Collection[str], width: int) -> list[Line]:
    if not blocking(findings, overrides):
        return paragraph("This machine is ready to become a Xen dom0.", width, style="bold green")
    text = not_ready(findings, overrides)
    return paragraph(f"{text[:1].upper()}{text[1:]}.", width, style="bold red")


def not_ready(findings: Sequence[Finding], overrides: Collection[str]) -> str:
    """That blockers are in the way, and how many of either kind; without a capital and a full stop."""
    stopping = blocking(findings, overrides)
    hard = sum(f.severity is Severity.BLOCKER for f in stopping)
    soft = len(stopping) - hard
    if not soft:
        count = _count(hard, "blocker")
    elif not hard:
        count = f"{_count(soft, 'blocker')} that you may override"
    else:
        count = f"{_count(hard, 'blocker')}, and {soft} that you may override"
    return f"this machine is not ready: {count}"


def render_findings(findings: Sequence[Finding], overrides: Collection[str], width: int) -> list[Line]:
    """The findings, and the verdict at the end."""
    lines: list[Line] = []
    for severity, heading, style in GROUPS:
        group = [f for f in findings if f.severity is severity]
        if not group:
            continue
        lines += [line(Span(heading, style)), BLANK]
        for finding in group:
            lines += [*_finding(finding, style, finding.id in overrides, width), BLANK]
    return [*lines, *verdict(findings, overrides, width)]


def _finding(finding: Finding, style: str, overridden: bool, width: int) -> list[Line]:
    applies = overridden and finding.severity is Severity.OVERRIDABLE
    lines = [line("  ", Span(finding.id, style), " (overridden)" if applies else "")]
    lines += paragraph(finding.title, width, first="  ", style="bold")
    if finding.diagnosis:
        lines += paragraph(finding.diagnosis, width, first="    ")
    if finding.remedy:
        lines += paragraph(finding.remedy, width, first="    To do: ")
    if finding.severity is Severity.OVERRIDABLE and not applies:
        lines.append(line("    ", Span(f"Override: --override {finding.id}", "dim")))
    return lines


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
