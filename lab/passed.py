# SPDX-License-Identifier: GPL-2.0-or-later
"""What passed already with the same bytes: `make lab` takes hours, and goes on where it was interrupted."""

import hashlib
import time
from datetime import datetime
from pathlib import Path

from lab.cache import cache_dir
from lab.host import CHECKOUT
from lab.recipe import Recipe, kind

VALID_FOR = 3 * 86400
"""Seconds; by then the archive that the machines are made from has moved on."""


def record(name: str, recipe: Recipe, checkout: Path = CHECKOUT) -> Path:
    """Where it is written that this scenario passed with the built packages and the lab as they are now.

    Ask before it runs: what is edited meanwhile has not passed.
    """
    found = hashlib.sha256()
    for path in sorted(
        [*checkout.glob("dist/*.deb"), *checkout.glob("lab/**/*.py"), *checkout.glob("lab/**/*.sh")]
    ):
        found.update(
            f"{path.relative_to(checkout)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return cache_dir() / "passed" / f"{found.hexdigest()[:16]}-{name}-{kind(recipe)}"


def note(found: Path, folder: Path) -> None:
    """Write that it passed, and in which run's folder; forget what is too old to count."""
    found.parent.mkdir(exist_ok=True)
    for old in found.parent.iterdir():
        if not counts(old):
            old.unlink(missing_ok=True)
    found.write_text(f"{folder}\n")


def counts(found: Path) -> bool:
    """Whether it is written, and not too long ago."""
    try:
        return time.time() - found.stat().st_mtime < VALID_FOR
    except FileNotFoundError:
        return False


def told(found: Path) -> str:
    """When and where it passed, for people."""
    when = datetime.fromtimestamp(found.stat().st_mtime)
    return f"passed at {when:%Y-%m-%d %H:%M}, with the same packages and lab: {found.read_text().strip()}"
