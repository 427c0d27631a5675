# SPDX-License-Identifier: GPL-2.0-or-later
"""The generated boot menu: made anew when our entries are not in it, and as it was after a revert."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xenable.boot.slots import missing_entries, slot_folder
from xenable.errors import XenableError
from xenable.facts.storage import read_mounts
from xenable.host import STATE, Host
from xenable.journal import load_bytes, store_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step

MENU = Path("/boot/grub/grub.cfg")
GENERATORS = Path("/etc/grub.d")
XEN_GENERATORS = ("/etc/grub.d/90_xenable", "/etc/grub.d/20_linux_xen")
"""Ours, and GRUB's own that we switch off: all but their sections is the native part of the menu."""

KERNELS = ("vmlinu", "kernel-", "linux-", "xen")
INITRDS = ("initrd", "initramfs")
"""Beginnings of the names of files in /boot that a menu may name."""

SETTINGS = (Path("/etc/default/grub.d"), GENERATORS)
"""Folders whose files, with /etc/default/grub, decide what is in the menu."""

MADE = STATE / "grub.cfg"
"""Where grub-mkconfig writes; it makes a file of that name with .new at its end, too."""

LOCALES = (Path("/etc/default/locale"), Path("/etc/locale.conf"))
LANGUAGE_VARIABLES = ("LANG", "LANGUAGE", "LC_MESSAGES", "LC_ALL")

LINKS = 40
"""As many as the kernel follows in one path: path_resolution(7)."""

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
        return {
            "menu": snapshot.take(host, _menu(host)),
            "settings": _settings(host),
            "images": sorted(str(path) for path in _images(host)),
            "boot_mounted": _boot_mounted(host),
        }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Nothing: this kind is all about undo."""

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """What was done in /boot can't be undone while that is not mounted: all of it would pass for gone.

        None in the menu: it is generated, so an edit in it lasts until the next kernel update anyway."""
        if not saved.get("boot_mounted") or _boot_mounted(host) or host.exists(MENU):
            return ()
        return (Obstacle(what="/boot is not mounted: mount it", final=True),)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        # The very bytes, and not what update-grub would make of today's machine: the menu of before may have
        # been older than its settings.
        if saved["menu"]["what"] == "file" and _same_machine(host, saved) and self._same_disks(host, saved):
            _replace(host, lambda new: snapshot.restore(host, new, saved["menu"]))
        elif host.exists(MENU):
            progress(0.1, "making the boot menu")
            _install(host, _generate(host, next(_languages(host))))

    def _same_disks(self, host: Host, saved: Saved) -> bool:
        """Whether the menu of today, which somebody's update-grub made, loads from where that of before did:
        /boot or the root file system may have moved since."""
        if not host.exists(MENU):
            return True
        before = boot_lines(native_part(load_bytes(host, saved["menu"]["digest"])))
        return before <= boot_lines(native_part(host.read(MENU)))

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        before = saved["menu"]
        if before["what"] != "file" or snapshot.same_bytes(snapshot.look(host, _menu(host)), before):
            return ()
        return ("the boot menu was made anew, because kernels, disks or settings of GRUB changed since",)


@dataclass(frozen=True, kw_only=True)
class RefreshMenu(Step):
    """The menu has the entries with these ids, and is otherwise what it was."""

    kind: ClassVar[str] = "refresh-menu"

    entry_ids: tuple[str, ...]
    adds_kernel: bool = False
    """A native kernel comes too: then the entries of before stay, and new ones may stand beside them."""
    pairs: tuple[str, ...] = ()
    """What a plan promises of the submenu, for people."""

    def title(self) -> str:
        return "add the Xen entries to the boot menu"

    def preview(self, host: Host) -> Preview:
        here = host.text(MENU)
        lines = [
            f"entry {id}: what is frozen in {slot_folder(id.removeprefix('xenable-'))}, if anything is"
            f"{'' if missing_entries(here, (id,)) else ' (there already)'}\n"
            for id in self.entry_ids
        ]
        lines += [
            "submenu xenable: each hypervisor with each kernel that can be dom0, to choose by hand\n",
            *(f"    {pair}\n" for pair in self.pairs),
            "native entries and the default stay as they are\n",
        ]
        return Preview(title=self.title(), detail="".join(lines))

    def is_done(self, host: Host) -> bool:
        return not self.lacks(host) and not _stale(host)

    def lacks(self, host: Host) -> bool:
        """Whether the menu is without an entry, as when update-grub ran while our generator could not."""
        return bool(missing_entries(host.text(MENU), self.entry_ids))

    def save(self, host: Host) -> Saved:
        return {"native": store_bytes(host, native_part(host.read(MENU)))}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        # Nothing is saved where the step is repeated: then the menu of today counts.
        before = load_bytes(host, saved["native"]) if saved else native_part(host.read(MENU))
        if self.is_done(host):
            self._check(before, host.read(MENU))
            return
        problems: list[XenableError] = []
        for language in _languages(host):
            progress(0.1, "making the boot menu")
            made = _generate(host, language)
            try:
                self._check(before, made)
            except XenableError as e:
                # The titles may only be in another language than the ones that are there.
                problems.append(e)
                continue
            _install(host, made)
            return
        raise problems[0]

    def _check(self, before: bytes, made: bytes) -> None:
        """Errors: XenableError when a menu lacks an entry, or has other native ones than before."""
        missing = missing_entries(made.decode("utf-8", "replace"), self.entry_ids)
        if missing:
            raise XenableError(
                f"cannot add {', '.join(missing)} to the boot menu: update-grub left it out of {MENU}",
                hint="run `sudo update-grub` and read what it says",
            )
        after = native_part(made)
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


def boot_lines(menu: bytes) -> frozenset[bytes]:
    """What says from where a menu loads what: not its titles and messages, which are in some language, nor
    the other words of kernels, which follow settings that may be newer than the menu."""
    found = set()
    for line in re.findall(rb"(?m)^[ \t]*((?:search|linux|initrd)[ \t][^\n]*)$", menu):
        words = line.split()
        if words[0] != b"search":
            words = [*words[:2], *(word for word in words if word.startswith(b"root="))]
        found.add(b" ".join(words))
    return frozenset(found)


def _stale(host: Host) -> bool:
    menu = host.stat(MENU)
    if menu is None:
        return True
    # The time of the last status change, because dpkg gives files the modification time of their build.
    changed = (info.st_ctime_ns for path in _inputs(host) if (info := host.stat(path)) is not None)
    return any(menu.st_mtime_ns < time for time in changed)


def _inputs(host: Host) -> Iterator[Path]:
    yield GENERATORS
    yield from _setting_files(host)
    yield from (path for path in _images(host) if path.name.startswith(KERNELS))


def _setting_files(host: Host) -> Iterator[Path]:
    yield Path("/etc/default/grub")
    for folder in SETTINGS:
        yield from (folder / name for name in host.names(folder))


def _settings(host: Host) -> dict[str, list[str]]:
    """Of each file that decides what is in the menu its SHA-256 and its mode."""
    found = {}
    for path in _setting_files(host):
        info = host.stat(path)
        if info is not None and not host.is_dir(path):
            text = host.text(path).encode()
            found[str(path)] = [hashlib.sha256(text).hexdigest(), f"{info.st_mode:o}"]
    return found


def _images(host: Host) -> Iterator[Path]:
    """What a menu may name: kernels, hypervisors and initrds in /boot."""
    names = (name for name in host.names("/boot") if name.startswith(KERNELS + INITRDS))
    yield from (path for path in map(Path("/boot").joinpath, names) if not host.is_dir(path))


def _boot_mounted(host: Host) -> bool:
    return any(mount.mount_point == "/boot" for mount in read_mounts(host))


def _same_machine(host: Host, saved: Saved) -> bool:
    """Whether all that a menu was made for is still there, nothing bootable came, and no setting changed."""
    then, now = set(saved["images"]), {str(path) for path in _images(host)}
    came = any(Path(path).name.startswith(KERNELS) for path in now - then)
    return then <= now and not came and _settings(host) == saved["settings"]


def _menu(host: Host) -> Path:
    """The file that holds the menu, where its usual name is a link: grub-mkconfig writes through it."""
    path = MENU
    for _ in range(LINKS):
        target = host.link_target(path)
        if not target:
            break
        path = path.parent / target
    return path


def _languages(host: Host) -> Iterator[Mapping[str, str]]:
    """In what languages update-grub may have been run before: titles are translated. Each once."""
    own = {name: os.environ.get(name, "") for name in LANGUAGE_VARIABLES}
    tried = []
    for text in ("", *(host.text(path) for path in LOCALES), "LANG=\n"):
        found = dict(re.findall(r'(?m)^\s*(\w+)=["\']?([\w.@:-]*)["\']?\s*$', text))
        language = {name: found.get(name, "") for name in LANGUAGE_VARIABLES} if found else own
        if language not in tried:
            tried.append(language)
            yield language


def _generate(host: Host, language: Mapping[str, str]) -> bytes:
    """A new menu, made beside the one in use: grub-mkconfig would overwrite it in place, and a power cut in
    the middle of that leaves a machine without a menu. Does what update-grub does but for that."""
    new = MADE.with_name(MADE.name + ".new")
    try:
        host.make_folder(STATE)
        host.run(["grub-mkconfig", "-o", MADE], env=language, timeout=UPDATE_TIMEOUT)
        return host.read(MADE)
    finally:
        for path in (MADE, new):
            host.remove(path)


def _install(host: Host, made: bytes) -> None:
    """Put a new menu in place, whole or not at all; it keeps mode and owner, as with update-grub."""
    old = snapshot.look(host, _menu(host))
    if old["what"] == "absent":
        _replace(host, lambda new: host.write(new, made, mode=0o600))
        return
    owner = (old["uid"], old["gid"])
    _replace(
        host,
        lambda new: host.write(new, made, mode=old["mode"], owner=owner, xattrs=snapshot.xattrs(old)),
    )


def _replace(host: Host, write: Callable[[Path], None]) -> None:
    """Replace the menu so that GRUB finds the old or the new one, whole, after a power cut at any moment.

    GRUB reads a file system without its journal, and one sync has no order: the name may be on disk before
    what it leads to. So the new file is in its place before it has the name. Until that is in its place too,
    GRUB finds the old file, whose blocks would be free for others already: a second name keeps them.
    write: makes the new file under the name that it is given.
    """
    path = _menu(host)
    new, kept = (path.with_name(f".{path.name}.xenable-{which}") for which in ("new", "old"))
    # Left by a kill.
    host.remove(new)
    if host.exists(path):
        host.link_or_copy(path, kept)
    try:
        write(new)
        host.settle()
        host.rename(new, path)
        host.settle()
    finally:
        for name in (new, kept):
            host.remove(name)
