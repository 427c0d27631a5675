# SPDX-License-Identifier: GPL-2.0-or-later
"""Give a packaged file another mode, in a way that outlives upgrades: dpkg-statoverride(1)."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.host import Host
from xenable.journal import load_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step

DATABASE = Path("/var/lib/dpkg/statoverride")
BACKUP = Path("/var/lib/dpkg/statoverride-old")


@dataclass(frozen=True, kw_only=True)
class StatOverride(Step):
    """A mode for root's file at an absolute path, which need not exist yet."""

    kind: ClassVar[str] = "stat-override"

    path: str
    mode: int

    def title(self) -> str:
        return f"keep {self.path} at mode {self.mode:04o}"

    def preview(self, host: Host) -> Preview:
        now = _override(host.text(DATABASE), self.path)
        info = host.stat(self.path)
        was = f"mode {stat.S_IMODE(info.st_mode):04o} now" if info is not None else "not there yet"
        detail = f"{self.path}: {was}; dpkg keeps it at {self._line()!r} across upgrades\n"
        if now and now != self._line():
            detail += f"replaces the override {now!r}\n"
        return Preview(title=self.title(), detail=detail)

    def is_done(self, host: Host) -> bool:
        info = host.stat(self.path)
        right = info is None or stat.S_IMODE(info.st_mode) == self.mode
        return right and _override(host.text(DATABASE), self.path) == self._line()

    def save(self, host: Host) -> Saved:
        info = host.stat(self.path)
        return {
            "line": _override(host.text(DATABASE), self.path),
            "mode": stat.S_IMODE(info.st_mode) if info is not None else None,
            "owner": [info.st_uid, info.st_gid] if info is not None else None,
            "database": snapshot.take(host, DATABASE),
            "backup": snapshot.take(host, BACKUP),
        }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if not self.is_done(host):
            _add(host, self._line())

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        found = []
        line = _override(host.text(DATABASE), self.path)
        if line not in (self._line(), saved["line"]):
            found.append(
                Obstacle(
                    what=f"dpkg's override of {self.path} was changed since",
                    diff=f"-{self._line()}\n+{line}\n",
                )
            )
        info = host.stat(self.path)
        mode = stat.S_IMODE(info.st_mode) if info is not None else None
        if mode is not None and saved["mode"] is not None and mode not in (self.mode, saved["mode"]):
            found.append(
                Obstacle(
                    what=f"the mode of {self.path} was changed since",
                    diff=f"mode {self.mode:04o} → {mode:04o}\n",
                )
            )
        return tuple(found)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        line = _override(host.text(DATABASE), self.path)
        if line != saved["line"]:
            if saved["line"]:
                _add(host, saved["line"])
            else:
                host.run(["dpkg-statoverride", "--remove", self.path])
        info = host.stat(self.path)
        if info is not None and saved["mode"] is not None:
            if saved["owner"] != [info.st_uid, info.st_gid]:
                uid, gid = saved["owner"]
                host.chown(self.path, uid, gid)
                host.chmod(self.path, saved["mode"])
            elif stat.S_IMODE(info.st_mode) != saved["mode"]:
                host.chmod(self.path, saved["mode"])
        # dpkg-statoverride may write the lines in another order, and leaves a backup: as long as nobody else
        # has added anything, both become what they were to the byte.
        before = saved["database"]
        then = (
            load_bytes(host, before["digest"]).decode("utf-8", "replace") if before["what"] == "file" else ""
        )
        if sorted(host.text(DATABASE).splitlines()) == sorted(then.splitlines()):
            snapshot.restore(host, DATABASE, before)
            snapshot.restore(host, BACKUP, saved["backup"])
        # The mode, before the journal says so: btrfs orders nothing between files.
        host.settle("/")

    def _line(self) -> str:
        return f"root root {self.mode:04o} {self.path}"


def _add(host: Host, line: str) -> None:
    user, group, mode, path = line.split(" ", 3)
    command = ["dpkg-statoverride", "--update", "--force-statoverride-add", "--add"]
    host.run([*command, user, group, mode, path])


def _override(database: str, path: str) -> str:
    """The line about a path, with its mode as four digits; empty when there is none."""
    for line in database.splitlines():
        words = line.split(" ", 3)
        if len(words) == 4 and words[3] == path:
            return f"{words[0]} {words[1]} {words[2].zfill(4)} {path}"
    return ""
