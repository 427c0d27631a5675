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
        cells = (f"`{r.id}`", str(r.severity), f"**{r.title}.** {r.why}", r.remedy)
        rows.append(" | ".join(("", *(cell.replace("|", r"\|") for cell in cells), "")).strip())
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
