# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as text: numbered steps with their details, or the short form: packages with sizes, and titles."""

from __future__ import annotations

from collections.abc import Sequence

from xenable.machine import Candidate, Packages
from xenable.model import Obstacle, Preview
from xenable.ui.layout import BLANK, Line, Span, diff, is_diff, line, paragraph, verbatim


def render_steps(steps: Sequence[Preview], width: int) -> list[Line]:
    """Numbered steps with their details."""
    lines: list[Line] = []
    for label, step in zip(_labels(len(steps)), steps, strict=True):
        lines += paragraph(step.title, width, first=label, style="bold")
        if step.detail:
            lines += _detail(step.detail, " " * len(label), width)
        lines.append(BLANK)
    return lines[:-1]


def render_titles(titles: Sequence[str], width: int) -> list[Line]:
    """Numbered steps, one line each."""
    lines: list[Line] = [line(Span("Steps", "bold"))]
    for label, title in zip(_labels(len(titles)), titles, strict=True):
        lines += paragraph(title, width, first=label)
    return lines


def _labels(count: int) -> list[str]:
    digits = len(str(count))
    return [f"  {number:>{digits}}. " for number in range(1, count + 1)]


def render_packages(packages: Packages, width: int) -> list[Line]:
    """What apt would bring and take, and how much of it."""
    if not packages.new and not packages.upgraded and not packages.removed:
        return []
    sizes = []
    if packages.download_bytes is not None:
        sizes.append(f"{size(packages.download_bytes)} to download")
    if packages.installed_kib is not None:
        sizes.append(f"{size(packages.installed_kib * 1024)} on disk")
    lines: list[Line] = []
    if packages.new:
        lines += _versions("Packages to install", packages.new, sizes)
    if packages.upgraded:
        lines += _versions("Packages to upgrade", packages.upgraded, ["they stay after a revert"])
    if sizes and not packages.new:
        lines += [line(", ".join(sizes)), BLANK]
    if packages.removed:
        lines.append(line(Span(f"Packages to remove: {len(packages.removed)}", "bold red")))
        lines += [*paragraph(" ".join(packages.removed), width, first="  "), BLANK]
    return lines


def _versions(title: str, packages: Sequence[Candidate], told: Sequence[str]) -> list[Line]:
    longest = max(len(p.name) for p in packages)
    heading = line(Span(f"{title}: {len(packages)}", "bold"), f" ({', '.join(told)})" if told else "")
    return [heading, *(line(f"  {p.name:<{longest}}  {p.version}") for p in packages), BLANK]


def render_obstacles(obstacles: Sequence[Obstacle], width: int) -> list[Line]:
    """What a revert would destroy that is not Xenable's."""
    lines: list[Line] = [line(Span("Changed by others since the conversion", "bold red")), BLANK]
    for obstacle in obstacles:
        lines += paragraph(obstacle.what, width, first="  ")
        if obstacle.diff:
            lines += diff(obstacle.diff, "    ")
        lines.append(BLANK)
    return lines


def size(count: int) -> str:
    """Bytes for people: three digits at most, binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def _detail(detail: str, indent: str, width: int) -> list[Line]:
    """Sentences are wrapped, a line each; a diff stays as it is, and so does what is set in."""
    if is_diff(detail):
        return diff(detail, indent)
    lines: list[Line] = []
    for text in detail.splitlines():
        lines += verbatim(text, indent) if text.startswith(" ") else paragraph(text, width, first=indent)
    return lines
