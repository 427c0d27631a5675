# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder that looks like a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xenable.host import Host


def make_tree(root: Path, files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None) -> Host:
    """Make files and links (path to target) under root; a path that ends with / is an empty folder."""
    for path, data in files.items():
        target = root / path.lstrip("/")
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
    for path, to in (links or {}).items():
        link = root / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(to)
    return Host(root)
