# SPDX-License-Identifier: GPL-2.0-or-later
"""The generated boot menu: made anew when our entries are not in it, and as it was after a revert."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.errors import XenableError
from xenable.host import Host
from xenable.journal import load_bytes, store_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step

MENU = Path("/boot/grub/grub.cfg")
GENERATORS = Path("/etc/grub.d")
XEN_GENERATORS = ("/etc/grub.d/90_xenable", "/etc/grub.d/20_linux_xen")
"""Ours, and GRUB's own that we switch off: all but their sections is the native part of the menu."""

UPDATE_TIMEOUT = 600.0
"""Seconds: os-prober reads every disk."""


@dataclass(frozen=True, kw_only=True)
class Menu(Step):
    """Keeps the menu of before. First of a plan, so that its undo is last: when nothing of ours is left."""

    kind: ClassVar[str] = "menu"

    def title(self) -> str:
        return "keep the boot menu as it is now"

    def preview(self, host: Host) -> Preview:
        return Preview(title=self.title(), detail=f"a copy of {MENU}, to compare with after a revert\n")

    def is_done(self, host: Host) -> bool:
        return True

    def save(self, host: Host) -> Saved:
        return {"menu": snapshot.take(host, MENU)}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Nothing: this kind is all about undo."""

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None: the menu is generated, so an edit in it lasts until the next kernel update anyway."""
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        before = saved["menu"]
        if before["what"] != "file":
            return
        if not _has_bytes(host, before["digest"]):
            _update(host, progress)
        if _has_bytes(host, before["digest"]):
            snapshot.restore(host, MENU, before)
        else:
            progress(1.0, "the boot menu differs from the one before: kernels or settings changed since")


@dataclass(frozen=True, kw_only=True)
class RefreshMenu(Step):
    """The menu has the entries with these ids, and is otherwise what it was."""

    kind: ClassVar[str] = "refresh-menu"

    entry_ids: tuple[str, ...]
    adds_kernel: bool = False
    """A native kernel comes too: then the entries of before stay, and new ones may stand beside them."""

    def title(self) -> str:
        return "add the Xen entries to the boot menu"

    def preview(self, host: Host) -> Preview:
        here = host.text(MENU)
        lines = [
            f"entry {id}{'' if _missing(here, (id,)) else ' (there already)'}\n" for id in self.entry_ids
        ]
        return Preview(
            title=self.title(), detail="".join(lines) + "native entries and the default stay as they are\n"
        )

    def is_done(self, host: Host) -> bool:
        return not _missing(host.text(MENU), self.entry_ids) and not _stale(host)

    def save(self, host: Host) -> Saved:
        return {"native": store_bytes(host, native_part(host.read(MENU)))}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if not self.is_done(host):
            _update(host, progress)
        missing = _missing(host.text(MENU), self.entry_ids)
        if missing:
            raise XenableError(
                f"cannot add {', '.join(missing)} to the boot menu: update-grub left it out of {MENU}",
                hint="run `sudo update-grub` and read what it says",
            )
        before = load_bytes(host, saved["native"])
        after = native_part(host.read(MENU))
        same = kernel_entries(before) <= kernel_entries(after) if self.adds_kernel else before == after
        if not same:
            changes = snapshot.diff(before, after, f"{MENU} (before)", f"{MENU} (now)")
            raise XenableError(
                "cannot refresh the boot menu: its native entries came out different",
                hint=f"run `sudo update-grub`, look at the menu, then run the command again:\n{changes}",
            )

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None: the menu is generated."""
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        # Our generator is still in place: the Menu step, undone last, makes the menu anew without it.
        progress(1.0, "the boot menu is generated anew at the end")


def native_part(menu: bytes) -> bytes:
    """A generated menu without the sections that bring Xen."""
    for name in XEN_GENERATORS:
        mark = re.escape(name.encode())
        section = rb"(?ms)^\n?### BEGIN %b ###\n.*?^### END %b ###\n" % (mark, mark)
        menu = re.sub(section, b"", menu)
    return menu


def kernel_entries(menu: bytes) -> frozenset[bytes]:
    """The entries for one kernel each, whole. The one on top is left out: it may be another now."""
    found = re.findall(rb"(?ms)^[ \t]*menuentry [^\n]*-advanced-[^\n]*\{$.*?^[ \t]*\}$", menu)
    return frozenset(found)


def _missing(menu: str, entry_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Those ids that no entry of a menu has."""
    found = set(
        re.findall(r"""(?m)^\s*menuentry\s.*?(?:--id|\$menuentry_id_option)[ =]['"]?([\w.+-]+)""", menu)
    )
    return tuple(id for id in entry_ids if id not in found)


def _stale(host: Host) -> bool:
    menu = host.stat(MENU)
    if menu is None:
        return True
    # The time of the last status change, because dpkg gives files the modification time of their build.
    changed = (info.st_ctime_ns for path in _inputs(host) if (info := host.stat(path)) is not None)
    return any(menu.st_mtime_ns < time for time in changed)


def _inputs(host: Host) -> Iterator[Path]:
    yield from (Path("/etc/default/grub"), GENERATORS)
    for folder in (Path("/etc/default/grub.d"), GENERATORS):
        yield from (folder / name for name in host.names(folder))
    images = (name for name in host.names("/boot") if name.startswith(("vmlinuz", "xen")))
    yield from (path for path in map(Path("/boot").joinpath, images) if not host.is_dir(path))


def _update(host: Host, progress: Progress) -> None:
    progress(0.1, "running update-grub")
    host.run(["update-grub"], timeout=UPDATE_TIMEOUT)


def _has_bytes(host: Host, digest: str) -> bool:
    now = snapshot.look(host, MENU)
    return bool(now["what"] == "file" and now["digest"] == digest)
