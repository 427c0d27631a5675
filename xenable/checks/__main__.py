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
    rows += [f"| `{r.id}` | {r.severity} | **{r.title}.** {r.why} | {r.remedy} |" for r in rules]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
