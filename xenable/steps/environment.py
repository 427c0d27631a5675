# SPDX-License-Identifier: GPL-2.0-or-later
"""The environment block of our own that GRUB reads at every start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.boot.environment import (
    BY_FIRMWARE,
    Environment,
    by_firmware,
    environment_path,
    one_shot_word,
    read_environment,
    write_environment,
)
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class BootEnvironment(Step):
    """An empty block in a folder that GRUB can write, or only read: nothing armed, nothing confirmed."""

    kind: ClassVar[str] = "boot-environment"

    folder: str
    by_firmware: bool = False
    """GRUB can only read there: the firmware's one-shot takes the place of GRUB's (OwnLoader)."""

    def title(self) -> str:
        return f"make GRUB's environment block {self._path}"

    def preview(self, host: Host) -> Preview:
        state = "it is there already" if self.is_done(host) else "empty: nothing armed, nothing confirmed"
        return Preview(title=self.title(), detail=f"{self._path}: {state}\n")

    def is_done(self, host: Host) -> bool:
        # A word that a start has found out since is no reason to begin anew.
        marked = by_firmware(host, self.folder) == self.by_firmware
        return host.exists(self._path) and self._read(host) is not None and marked

    def save(self, host: Host) -> Saved:
        return {"before": snapshot.take(host, self._path)}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        host.clean(self._path)
        # What an earlier conversion left would make a slot the default that nobody has tried.
        word = BY_FIRMWARE if self.by_firmware else ""
        fresh = self._read(host) == Environment() and one_shot_word(host, self.folder) == word
        if not host.exists(self._path) or not fresh:
            host.make_folder(self.folder)
            write_environment(host, self.folder, Environment(), firmware=self.by_firmware)

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None in the file: GRUB and the gate write into it. But its file system has to be there."""
        if "/EFI/" in self.folder and not host.exists(Path(self.folder).parent):
            return (Obstacle(what=f"{self.folder} can't be seen: mount its file system"),)
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        # Cleared before it is removed: from here on the next boot is native, whatever happens. One that was
        # there before stays cleared: its slots are gone.
        if host.exists(self._path):
            write_environment(host, self.folder, Environment())
        if saved["before"]["what"] == "absent":
            snapshot.restore(host, self._path, saved["before"])

    def _read(self, host: Host) -> Environment | None:
        try:
            return read_environment(host, self.folder)
        except XenableError:
            return None

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        return tuple(f"{self._path}: {obstacle.what}" for obstacle in self.obstacles(host, saved))

    @property
    def _path(self) -> str:
        return environment_path(self.folder)
