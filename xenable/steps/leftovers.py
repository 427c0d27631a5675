# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen's programs write while they run, and no package removes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from xenable.facts.storage import read_mounts
from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class Leftovers(Step):
    """Keeps in mind which folders were not there. Before the packages, so that its undo is after them."""

    kind: ClassVar[str] = "leftovers"

    folders: tuple[str, ...]
    own: tuple[str, ...]
    """Patterns for the paths of the files in there that Xen's programs write, and nobody misses: fnmatch's,
    name by name. Any other is somebody's data: the memory of a guest that was saved, a disk that found its
    place there."""

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
        return {
            "absent": [folder for folder in self.folders if not host.exists(folder)],
            "there": snapshot.take_folders(host, self.folders),
            "before": [str(path) for path in self._own(host)],
        }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Nothing: this kind is all about undo."""

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        found = []
        mounts = _mounts(host)
        for folder in map(Path, saved["absent"]):
            for path in (*_below(host, folder, mounts), folder):
                if str(path) in mounts:
                    found.append(Obstacle(what=f"{path} is a mount point: unmount it", final=True))
                elif path != folder and not (_is_folder(host, path) or _matches(path, self.own)):
                    found.append(Obstacle(what=f"{path} is somebody's data: it would go with {folder}"))
        return tuple(found)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        mounts = _mounts(host)
        for folder in map(Path, saved["absent"]):
            for path in (*_below(host, folder, mounts), folder):
                host.remove(path)
        # In a folder that was there, others may have theirs, and Xen's programs theirs of an earlier time.
        for path in tuple(self._own(host)) if "before" in saved else ():
            if str(path) not in saved["before"] and not (_is_folder(host, path) and host.names(path)):
                host.remove(path)
        snapshot.restore_folders(host, saved.get("there", {}))

    def _own(self, host: Host) -> Iterator[Path]:
        """What is in these folders that Xen's programs may have made: files, and folders of these."""
        mounts, homes = _mounts(host), {Path(pattern).parent for pattern in self.own}
        for path in (path for folder in self.folders for path in _below(host, Path(folder), mounts)):
            if str(path) not in mounts and (path in homes or _matches(path, self.own)):
                yield path


def _mounts(host: Host) -> frozenset[str]:
    return frozenset(mount.mount_point for mount in read_mounts(host))


def _is_folder(host: Host, path: Path) -> bool:
    return host.is_dir(path) and not host.link_target(path)


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is for that path. No `*` goes beyond a folder."""
    return any(
        len(path.parts) == len(Path(pattern).parts)
        and all(map(fnmatchcase, path.parts, Path(pattern).parts))
        for pattern in patterns
    )


def _below(host: Host, folder: Path, mounts: frozenset[str]) -> Iterator[Path]:
    """Everything in a folder, the contents of a folder before the folder itself; nothing of what is mounted
    there: to remove a mount point fails, and what is mounted stays as it is. Nor of what a link leads to."""
    if str(folder) in mounts or not _is_folder(host, folder):
        return
    for name in host.names(folder):
        yield from _below(host, folder / name, mounts)
        yield folder / name
