# SPDX-License-Identifier: GPL-2.0-or-later
"""A GRUB of our own on the EFI system partition, and the firmware's entry that starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.boot import efi
from xenable.boot.loader import build, remove_work
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class OwnLoader(Step):
    """EFI/xenable/grubx64.efi, and a Boot#### variable in no boot order: only BootNext starts it."""

    kind: ClassVar[str] = "own-loader"

    folder: str
    """EFI/xenable on the EFI system partition, from the top of the machine."""

    def title(self) -> str:
        return f"make a GRUB for the trial: {self._path}"

    def preview(self, host: Host) -> Preview:
        detail = f"{self._path}: a GRUB that starts the slot that is armed, or the native loader\n"
        entry = f"the firmware's entries: {efi.NAME!r}, in no boot order: only BootNext starts it\n"
        return Preview(title=self.title(), detail=detail + entry)

    def is_done(self, host: Host) -> bool:
        return host.exists(self._path) and bool(efi.own_entries(host))

    def save(self, host: Host) -> Saved:
        return {"before": snapshot.take(host, self._path)}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if unseen := self.obstacles(host, saved):
            raise XenableError(f"cannot make a GRUB for the trial: {unseen[0].what}")
        host.clean(self._path)
        image = build(host)
        host.make_folder(self.folder)
        if not host.exists(self._path) or host.read(self._path) != image:
            host.write(self._path, image)
        efi.make_entry(host)

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None in the file: it is ours. But its file system has to be there."""
        if not host.exists(Path(self.folder).parent):
            return (Obstacle(what=f"{self.folder} can't be seen: mount its file system"),)
        if not host.names(efi.EFIVARS):
            return (
                Obstacle(what=f"the firmware's variables can't be seen: mount efivarfs at {efi.EFIVARS}"),
            )
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        # First what leads to it.
        efi.remove_entry(host)
        snapshot.restore(host, self._path, saved["before"])
        remove_work(host)

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        seen = host.exists(Path(self.folder).parent) and host.names(efi.EFIVARS)
        if seen:
            return ()
        return (f"{self._path}, or the firmware's entry {efi.NAME!r}: neither could be seen",)

    @property
    def _path(self) -> str:
        return f"{self.folder}/{efi.OWN.rpartition('/')[2]}"
