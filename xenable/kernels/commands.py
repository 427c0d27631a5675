# SPDX-License-Identifier: GPL-2.0-or-later
"""How the programs of a build are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from xenable.host import ENVIRONMENT


def cleanly(folder: Path, cmd: Sequence[str], more: Mapping[str, str] | None = None) -> list[str]:
    """A command in a folder, with none of the caller's environment: make and kbuild take orders from it."""
    words = {**ENVIRONMENT, "HOME": "/nonexistent", "TERM": "dumb", **(more or {})}
    return ["env", "-i", "-C", str(folder), *(f"{name}={value}" for name, value in words.items()), *cmd]


def isolated() -> list[str]:
    """Before a command: every process that it starts is gone with it, however it ends."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
