# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the table of docs/reference/checks.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from xenable.checks import RULES
from xenable.checks.base import Rule


def reference(rules: Iterable[Rule] = RULES) -> str:
    """All ids in the order of the checks, as Markdown."""
    rows = ["| id | severity | what it means | what to do |", "| --- | --- | --- | --- |"]
    for r in rules:
        # A | would end the cell, even in code.
        text = f"**{r.title}.** {r.why}".replace("|", "\\|"), r.remedy.replace("|", "\\|")
        rows.append(f"| `{r.id}` | {r.severity} | {text[0]} | {text[1]} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
