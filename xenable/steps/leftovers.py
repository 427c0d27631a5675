# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen's programs write while they run, and no package removes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class Leftovers(Step):
    """Keeps in mind which folders were not there. Before the packages, so that its undo is after them."""

    kind: ClassVar[str] = "leftovers"

    folders: tuple[str, ...]
    precious: tuple[str, ...]
    """Folders below them whose files are somebody's data: the memory of guests that were saved."""

    def title(self) -> str:
        return f"note what Xen's programs will leave in {', '.join(self.folders)}"

    def preview(self, host: Host) -> Preview:
        lines = [
            f"{f}: {'is there, stays' if host.exists(f) else 'goes with a revert'}\n" for f in self.folders
        ]
        return Preview(title=self.title(), detail="".join(lines))

    def is_done(self, host: Host) -> bool:
        return True

    def save(self, host: Host) -> Saved:
        return {"absent": [folder for folder in self.folders if not host.exists(folder)]}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Nothing: this kind is all about undo."""

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        absent = tuple(saved["absent"])
        files = [
            path
            for folder in self.precious
            if folder.startswith(absent)
            for path in _below(host, Path(folder))
            if not host.is_dir(path)
        ]
        return tuple(Obstacle(what=f"{path} is the saved state of a guest") for path in files)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        for folder in saved["absent"]:
            for path in _below(host, Path(folder)):
                host.remove(path)
            host.remove(folder)


def _below(host: Host, folder: Path) -> Iterator[Path]:
    """Everything in a folder, the contents of a folder before the folder itself."""
    for name in host.names(folder):
        path = folder / name
        if host.is_dir(path) and not host.link_target(path):
            yield from _below(host, path)
        yield path
