# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are installed as they are: under /usr/share/xenable, or in data/ or kernel/ of a checkout."""

from __future__ import annotations

from pathlib import Path

from xenable.errors import XenableError


def data_file(name: str) -> Path:
    """Where such a file is. Errors: XenableError when the installation lacks it."""
    checkout = Path(__file__).resolve().parents[1]
    beside = checkout if name.startswith("kernel/") else checkout / "data"
    for folder in (beside, Path("/usr/share/xenable")):
        if (folder / name).is_file():
            return folder / name
    raise XenableError(
        f"cannot find {name} of xenable", hint="reinstall it: sudo apt install --reinstall xenable"
    )
