# SPDX-License-Identifier: GPL-2.0-or-later
"""Every link in the documents leads to a file that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = (*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"))


def links(text: str) -> Iterator[str]:
    """Targets in this checkout: neither an address nor a place in the same document."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = list(links(document.read_text(encoding="utf-8")))
    assert [target for target in targets if not (document.parent / target).is_file()] == []


def test_every_document_is_in_the_list() -> None:
    listed = set(links((TOP / "docs/README.md").read_text(encoding="utf-8")))
    documents = {str(path.relative_to(TOP / "docs")) for path in (TOP / "docs").rglob("*.md")}
    assert documents - {"README.md"} - listed == set()
