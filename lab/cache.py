# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab keeps things between runs: images, packages, the ssh key, and the folders of past runs."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from lab.host import run

RUNS_KEPT = 10
KEPT_FOR = timedelta(days=1)
"""A younger one may be of a run that goes on, or of a scenario that failed earlier in `make lab`."""


def cache_dir() -> Path:
    """$XENABLE_LAB_CACHE, or ~/.cache/xenable-lab; created when missing."""
    named = os.environ.get("XENABLE_LAB_CACHE")
    path = Path(named).absolute() if named else Path.home() / ".cache" / "xenable-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def runs_dir() -> Path:
    """$XENABLE_LAB_RUNS, or the folder runs in the cache; created when missing."""
    named = os.environ.get("XENABLE_LAB_RUNS")
    path = Path(named).absolute() if named else cache_dir() / "runs"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name; waits for other lab processes, and dies with this one."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def ssh_key() -> Path:
    """The private key (ed25519) that every image of this cache accepts; its .pub sibling is public."""
    key = cache_dir() / "id_ed25519"
    with locked("ssh-key"):
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            comment = "xenable-lab"
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", os.fspath(key)],
                doing="make the lab's ssh key",
            )
    return key


def new_run_folder(name: str) -> Path:
    """A new folder <timestamp>-<name> for one run.

    Of older runs the last RUNS_KEPT are kept, and all that are younger than KEPT_FOR.
    """
    runs = runs_dir()
    now = datetime.now()
    with locked("runs"):
        folder = unused(runs / f"{now:%Y%m%d-%H%M%S}-{name}")
        folder.mkdir()
        for old in sorted(path for path in runs.iterdir() if is_run_folder(path))[:-RUNS_KEPT]:
            if old.name < f"{now - KEPT_FOR:%Y%m%d-%H%M%S}":
                shutil.rmtree(old, ignore_errors=True)
    return folder


def drop_disks(folder: Path) -> None:
    """Remove the disks that a run left in its folder; its logs stay."""
    for pattern in ("*.qcow2", "*.raw"):
        for disk in folder.rglob(pattern):
            disk.unlink()


def is_run_folder(path: Path) -> bool:
    """True for <8 digits>-<6 digits>-...: XENABLE_LAB_RUNS may hold other people's folders."""
    parts = path.name.split("-", 2)
    return len(parts) == 3 and [len(part) for part in parts[:2]] == [8, 6] and "".join(parts[:2]).isdigit()


def unused(path: Path) -> Path:
    """The path itself, or the first of path.2, path.3, ... that does not exist."""
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found
