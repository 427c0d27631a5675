# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a file of text."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from xenable.errors import XenableError
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
        return take(host, self.path)

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        host.clean(self.path)
        if self.is_done(host):
            return
        changed = edits(host, self.path, self.content.encode(), self.mode, saved)
        if changed and host.exists(self.path) and host.text(self.path) != self.content:
            # A run that goes on may be days after the one that was cut off.
            raise XenableError(
                f"cannot write {self.path}: {changed[0].what}",
                hint=f"move {self.path} out of the way if you need it, and remove it:\n{changed[0].diff}",
            )
        replace(host, self.path, self.content.encode(), self.mode, saved)

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        return edits(host, self.path, self.content.encode(), self.mode, saved)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        snapshot.restore(host, self.path, saved["before"])


# ------------------------------------------------------- what every kind that replaces a file of text does


def take(host: Host, path: str) -> dict[str, Any]:
    """What is at a path, and the owner of what will be there: `before` and `owner` of a step's `saved`."""
    before = snapshot.take(host, path)
    owner = [before.get("uid", os.geteuid()), before.get("gid", os.getegid())]
    return {"before": before, "owner": owner}


def replace(host: Host, path: str, data: bytes, mode: int, saved: Saved) -> None:
    """Write a file that keeps the owner and extended attributes of the one before. Errors: XenableError."""
    host.make_folder(Path(path).parent)
    uid, gid = saved["owner"]
    host.write(path, data, mode=mode, owner=(uid, gid), xattrs=snapshot.xattrs(saved["before"]))


def edits(host: Host, path: str, written: bytes, mode: int, saved: Saved) -> tuple[Obstacle, ...]:
    """What others did to a file since we wrote it; its time and extended attributes are nobody's edit."""
    now = snapshot.look(host, path)
    ours = (
        now["what"] == "file"
        and now["digest"] == hashlib.sha256(written).hexdigest()
        and now["mode"] == mode
        and [now["uid"], now["gid"]] == saved["owner"]
    )
    if ours or snapshot.same(now, saved["before"]):
        return ()
    if now["what"] == "absent":
        return (Obstacle(what=f"{path} was removed since"),)
    if now["what"] == "link":
        return (Obstacle(what=f"{path} was replaced by a link to {now['target']} since"),)
    changes = snapshot.diff(written, host.read(path), f"{path} (as Xenable wrote it)", f"{path} (now)")
    changes += _metadata_diff(now, mode, saved["owner"])
    return (Obstacle(what=f"{path} was changed since", diff=changes),)


def _metadata_diff(now: snapshot.Snapshot, mode: int, owner: list[Any]) -> str:
    text = "" if now["mode"] == mode else f"mode {mode:04o} → {now['mode']:04o}\n"
    if [now["uid"], now["gid"]] != owner:
        text += f"owner {owner[0]}:{owner[1]} → {now['uid']}:{now['gid']}\n"
    return text
