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

SOURCES = ("dist/*.deb", *(f"{top}/**/*" for top in ("lab", "xenable", "data", "kernel")))
"""What a scenario tests, and with what: some run Xenable out of the checkout (lab/xenkernel.py)."""


def record_path(name: str, recipe: Recipe, checkout: Path = CHECKOUT) -> Path:
    """Where it is written that this scenario passed with the packages, the sources and the lab of now."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in checkout.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(checkout)}\0{content}\n".encode())
    return cache_dir() / "passed" / f"{digest.hexdigest()[:16]}-{name}-{kind(recipe)}"


def begin(name: str, recipe: Recipe) -> Path:
    """Forget an earlier pass of a scenario that begins; returns where a new one is written."""
    path = record_path(name, recipe)
    path.unlink(missing_ok=True)
    return path


def note(begun: Path, name: str, recipe: Recipe, folder: Path) -> None:
    """Write that a scenario passed, in which run's folder: unless what it tests was changed meanwhile."""
    if record_path(name, recipe) != begun:
        return
    begun.parent.mkdir(exist_ok=True)
    for old in begun.parent.iterdir():
        if not still_counts(old):
            old.unlink(missing_ok=True)
    begun.write_text(f"{folder}\n")


def still_counts(path: Path) -> bool:
    """Whether it is written, and not too long ago."""
    try:
        return time.time() - path.stat().st_mtime < VALID_FOR
    except FileNotFoundError:
        return False


def describe(path: Path) -> str:
    """When and where it passed, for people."""
    when = datetime.fromtimestamp(path.stat().st_mtime)
    return f"passed at {when:%Y-%m-%d %H:%M}, with the same packages and lab: {path.read_text().strip()}"
