# SPDX-License-Identifier: GPL-2.0-or-later
"""Download packages, before anything on the machine changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps.base import Saved, Step


@dataclass(frozen=True, kw_only=True)
class FetchPackages(Step):
    """The archives of packages, and of what comes with them, in apt's cache.

    In a step of its own, so that the one that installs them can look into them before its first act.
    """

    kind: ClassVar[str] = "fetch-packages"

    names: tuple[str, ...]
    recommended: tuple[str, ...]

    def title(self) -> str:
        return f"download {', '.join(self.names)}"

    def preview(self, host: Host) -> Preview:
        return Preview(title=self.title(), detail="into apt's cache, until a revert\n")

    def is_done(self, host: Host) -> bool:
        from xenable.steps import marks, transaction
        from xenable.steps.packages import InstallPackages

        if InstallPackages(names=self.names, recommended=self.recommended).is_done(host) or not host.live:
            return host.live
        with transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, (*self.names, *self.recommended), self._what)
            return not cache.required_download

    def save(self, host: Host) -> Saved:
        from xenable.steps import marks, transaction

        with transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, (*self.names, *self.recommended), self._what)
            packages = sorted({package.shortname for package in cache.get_changes()})
        return {"packages": packages, "archives": _archives(host)}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import marks, transaction

        transaction.finish_interrupted(host, progress)
        with transaction.locked(host, progress), transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, (*self.names, *self.recommended), self._what)
            if cache.get_changes():
                marks.check_space(host, cache)
                transaction.download(cache, progress)

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None: anybody can download them again."""
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps.transaction import archives_folder

        for name in _archives(host):
            if name not in saved["archives"] and Path(name).name.partition("_")[0] in saved["packages"]:
                host.remove(archives_folder() / name)

    @property
    def _what(self) -> str:
        return f"cannot download {', '.join(self.names)}"


def _archives(host: Host) -> list[str]:
    """Names of archives in apt's cache; those that are there in part have the name of a folder before."""
    from xenable.steps.transaction import archives_folder

    folders = ("", "partial/")
    names = (f"{folder}{name}" for folder in folders for name in host.names(archives_folder() / folder))
    return [name for name in names if name.endswith(".deb")]
