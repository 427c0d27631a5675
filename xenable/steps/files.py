# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a file of text."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class WriteFile(Step):
    """A whole file of text at an absolute path; owner and extended attributes of a file there are kept."""

    kind: ClassVar[str] = "write-file"

    path: str
    content: str
    mode: int = 0o644

    def title(self) -> str:
        return f"write {self.path}"

    def preview(self, host: Host) -> Preview:
        info = host.stat(self.path)
        before = host.text(self.path)
        name = self.path if info is not None else "/dev/null"
        detail = snapshot.diff(before, self.content, name, self.path)
        was = stat.S_IMODE(info.st_mode) if info is not None and stat.S_ISREG(info.st_mode) else None
        if was is None:
            detail += f"mode {self.mode:04o}\n"
        elif was != self.mode:
            detail += f"mode {was:04o} → {self.mode:04o}\n"
        return Preview(title=self.title(), detail=detail)

    def is_done(self, host: Host) -> bool:
        info = host.stat(self.path)
        return (
            info is not None
            and stat.S_ISREG(info.st_mode)
            and stat.S_IMODE(info.st_mode) == self.mode
            and host.read(self.path) == self.content.encode()
        )

    def save(self, host: Host) -> Saved:
        before = snapshot.take(host, self.path)
        owner = [before.get("uid", os.geteuid()), before.get("gid", os.getegid())]
        return {"before": before, "owner": owner}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        host.clean(self.path)
        if self.is_done(host):
            return
        host.make_folder(Path(self.path).parent)
        uid, gid = saved["owner"]
        host.write(
            self.path,
            self.content.encode(),
            mode=self.mode,
            owner=(uid, gid),
            xattrs=snapshot.xattrs(saved["before"]),
        )

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        now = snapshot.look(host, self.path)
        if self._ours(now, saved) or snapshot.same(now, saved["before"]):
            return ()
        if now["what"] == "absent":
            return (Obstacle(what=f"{self.path} was removed since"),)
        if now["what"] == "link":
            return (Obstacle(what=f"{self.path} was replaced by a link to {now['target']} since"),)
        text = host.read(self.path)
        changes = snapshot.diff(
            self.content, text, f"{self.path} (as Xenable wrote it)", f"{self.path} (now)"
        )
        changes += _metadata_diff(now, self.mode, saved["owner"])
        return (Obstacle(what=f"{self.path} was changed since", diff=changes),)

    def _ours(self, now: snapshot.Snapshot, saved: Saved) -> bool:
        """Whether it is what we wrote; the time and extended attributes are nobody's edit."""
        return bool(
            now["what"] == "file"
            and now["digest"] == hashlib.sha256(self.content.encode()).hexdigest()
            and now["mode"] == self.mode
            and [now["uid"], now["gid"]] == saved["owner"]
        )

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        snapshot.restore(host, self.path, saved["before"])


def _metadata_diff(now: snapshot.Snapshot, mode: int, owner: list[Any]) -> str:
    text = "" if now["mode"] == mode else f"mode {mode:04o} → {now['mode']:04o}\n"
    if [now["uid"], now["gid"]] != owner:
        text += f"owner {owner[0]}:{owner[1]} → {now['uid']}:{now['gid']}\n"
    return text
