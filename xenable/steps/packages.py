# SPDX-License-Identifier: GPL-2.0-or-later
"""Install packages of the distribution, and purge exactly those again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from xenable.errors import XenableError
from xenable.facts.dpkg import INFO, file_lists, read_status
from xenable.facts.interface_config import ifupdown_files
from xenable.host import BOOTED, Host
from xenable.journal import STORE, load_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step
from xenable.steps.brought import brought, short_name, unowned, unowned_folders
from xenable.steps.conffiles import (
    LEFT_BY_DPKG,
    UCF,
    conffiles,
    edited,
    listed_files,
    unlink,
)
from xenable.steps.lists import forget_wishes, restore_lists, tidy

if TYPE_CHECKING:
    from apt.package import Package

    from xenable.steps.marks import Came

GRUB_SETTINGS = "/etc/default/grub.d"
MARKS = Path("/var/lib/apt/extended_states")


@dataclass(frozen=True, kw_only=True)
class InstallPackages(Step):
    """Packages by name, and recommended ones that are wanted even where apt leaves recommendations out.

    All of them are marked as installed by hand: `apt autoremove` leaves them alone.
    """

    kind: ClassVar[str] = "install-packages"

    names: tuple[str, ...]
    recommended: tuple[str, ...]

    def title(self) -> str:
        return f"install {', '.join(self.names)}"

    def preview(self, host: Host) -> Preview:
        if not host.live or self.is_done(host):
            state = " (there already)" if self.is_done(host) else ""
            detail = "".join(f"{name}{state}\n" for name in self._wanted)
            return Preview(title=self.title(), detail=detail)
        from xenable.steps import marks, transaction

        with transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, self._wanted, self._what)
            new, upgraded = marks.new_packages(cache), marks.upgraded_packages(cache)
            sizes = f"{cache.required_download / transaction.MEBIBYTE:.1f} MiB to download, "
            sizes += f"{cache.required_space / transaction.MEBIBYTE:.0f} MiB on disk\n"
        lines = [f"new {name} {version}\n" for name, version in new]
        lines += [f"upgrade {name} {old} → {now} (stays after a revert)\n" for name, old, now in upgraded]
        return Preview(title=self.title(), detail="".join(lines) + sizes)

    def is_done(self, host: Host) -> bool:
        automatic = _automatic(host.text(MARKS))
        return set(self._wanted) <= _installed(host) and not automatic & set(self._wanted)

    def save(self, host: Host) -> Saved:
        from xenable.steps import marks, transaction

        if transaction.half_done(host):
            raise XenableError(f"{self._what}: dpkg was interrupted before", hint=transaction.BROKEN_HINT)
        with transaction.locked(host, _nobody), transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, self._wanted, self._what)
            removed = [p.name for p in cache.get_changes() if _has_configuration(p)]
            # All are there, unless somebody has tidied apt's cache since they were fetched.
            files = brought(transaction.download(cache, _nobody))
            return {
                "new": [list(package) for package in marks.new_packages(cache)],
                "upgraded": [list(package) for package in marks.upgraded_packages(cache)],
                "installed": sorted(p.name for p in cache if p.is_installed),
                "with_configuration": removed,
                "configuration": _take(host, (*listed_files(host, removed), *unowned(host, files))),
                "folders": snapshot.take_folders(host, unowned_folders(host, files)),
                "automatic": sorted(_automatic(host.text(MARKS)) & set(self._wanted)),
                "marks": snapshot.take(host, MARKS),
                "ucf": {name: snapshot.take(host, UCF / name) for name in _ucf_files(host)},
            }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import transaction

        if not self.is_done(host) or transaction.half_done(host):
            self._install(host, saved, progress)
        automatic, installed = _automatic(host.text(MARKS)), _installed(host)
        if by_hand := sorted(automatic & set(self._wanted)):
            host.run(["apt-mark", "manual", *by_hand])
        # apt notes who came along at the end of its run: where it was killed before that, nobody has.
        along = {name.partition(":")[0] for name, _ in saved["new"]} - set(self._wanted)
        if lost := sorted(along & installed - automatic):
            host.run(["apt-mark", "auto", *lost])
        if not host.exists(self._noted):
            host.make_folder(STORE, 0o700)
            host.write(self._noted, b"")
        missing = [name for name in self._wanted if name not in installed]
        if missing:
            raise XenableError(
                f"cannot install {', '.join(missing)}: dpkg left it unfinished", hint=transaction.BROKEN_HINT
            )

    def _install(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import marks, transaction

        transaction.finish_interrupted(host, progress)
        with transaction.locked(host, progress), transaction.open_cache(host) as cache:
            marks.mark_wanted(cache, self._wanted, self._what)
            promised = {name for name, _ in saved["new"]}
            more = sorted(name for name, _ in marks.new_packages(cache) if name not in promised)
            if more:
                raise XenableError(
                    f"{self._what}: that would now bring {', '.join(more)} too",
                    hint="the archive changed since the plan was made: run `xenable revert` and begin anew",
                )
            if cache.get_changes():
                marks.check_space(host, cache)
                transaction.download(cache, _nobody)
                transaction.commit(host, cache, progress, held=(transaction.HELD_MENU,))

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        from xenable.steps import marks, transaction

        with transaction.open_cache(host) as cache:
            came = self._came(host, saved)
            stay = marks.staying(cache, came, _used(host))
            foreign = marks.mark_purge(cache, came, stay)
            going = marks.going(cache)
        needed = tuple(
            Obstacle(
                what=f"{name}, installed since, needs packages that Xenable installed; before a revert it "
                f"has to go, as by sudo apt remove {name}",
                final=True,
            )
            for name in foreign
        )
        then = saved["configuration"]
        known = [path for path, seen in then.items() if snapshot.same(snapshot.look(host, path), seen)]
        return needed + _default_moves(host, stay) + _last_kernel(host, going) + edited(host, going, known)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import marks, transaction

        transaction.prepare_purge(host, progress)
        restore_lists(host, [(name, version) for name, version in saved["new"]])
        with transaction.locked(host, progress), transaction.open_cache(host) as cache:
            came = self._came(host, saved)
            stay = marks.staying(cache, came, _used(host))
            foreign = marks.mark_purge(cache, came, stay)
            if foreign:
                raise XenableError(
                    f"cannot remove {', '.join(self.names)}: {', '.join(foreign)} came since and needs it",
                    hint=f"run `sudo apt remove {' '.join(foreign)}` first",
                )
            if cache.get_changes():
                unlink(host, marks.going(cache))
                # A menu that still names a kernel which is gone must not outlive the kernel.
                kernels = any(name.startswith(("linux-image", "xen-image")) for name, _ in saved["new"])
                menu = () if kernels else (transaction.HELD_MENU,)
                try:
                    transaction.commit(host, cache, progress, held=(*menu, transaction.HELD_RELOADS))
                finally:
                    if host.exists(BOOTED):
                        host.run(["systemctl", "daemon-reload"], check=False)
            tidy(host)
        forget_wishes(host, [name for name, _ in saved["new"]])
        _restore_configuration(host, saved, stay)
        _restore_marks(host, saved)
        _restore_ucf(host, saved)
        # Of what apt-mark has written, before the journal says so: btrfs orders nothing between files.
        host.settle("/")

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        now = {(package.name, package.version) for package in read_status(host).values()}
        newer = [name for name, _, version in saved["upgraded"] if (name.partition(":")[0], version) in now]
        installed = _installed(host)
        stay = [name for name, _ in saved["new"] if name.partition(":")[0] in installed]
        left = [f"the packages {', '.join(newer)} stay upgraded"] if newer else []
        left += [f"the packages {', '.join(stay)} stay: somebody uses them by now"] if stay else []
        return tuple(left)

    @property
    def _wanted(self) -> tuple[str, ...]:
        return (*self.names, *self.recommended)

    @property
    def _what(self) -> str:
        return f"cannot install {', '.join(self.names)}"

    @property
    def _noted(self) -> Path:
        """Beside the originals, as long as they are kept: apt's note of who came along was complete."""
        return STORE / f"came-along-{self.names[0]}"

    def _came(self, host: Host, saved: Saved) -> Came:
        from xenable.steps.marks import Came

        before = saved.get("installed")
        return Came(
            names=frozenset(name for name, _ in saved["new"]),
            wanted=frozenset(self._wanted),
            before=None if before is None else frozenset(before),
            with_configuration=frozenset(saved["with_configuration"]),
            noted=host.exists(self._noted),
        )


def _nobody(fraction: float, text: str) -> None:
    """Progress of what takes no time."""


def _has_configuration(package: Package) -> bool:
    return not package.is_installed and package.has_config_files


def _take(host: Host, paths: Iterable[str]) -> dict[str, snapshot.Snapshot]:
    """What is at these paths, and beside them, where dpkg may put what it replaces: files of packages that
    were removed and left them, and files of nobody's."""
    beside = ((path, *(path + ending for ending in LEFT_BY_DPKG)) for path in paths)
    return {name: snapshot.take(host, name) for names in beside for name in names}


def _used(host: Host) -> frozenset[str]:
    """Packages that the configuration of this machine's network names: it would not come up without them."""
    texts = ifupdown_files(host).values()
    bridges = any(re.search(r"(?m)^\s*bridge[_-]ports\s", text) for text in texts)
    return frozenset({"bridge-utils"}) if bridges else frozenset()


def _last_kernel(host: Host, going: Collection[str]) -> tuple[Obstacle, ...]:
    """Whether no kernel would be left: that of the native system may have been removed since."""
    here = {path for name in host.names("/boot") if (path := f"/boot/{name}").startswith("/boot/vmlinuz-")}
    if not here or here - _files_of(host, going):
        return ()
    what = f"{', '.join(sorted(here))} would go, and no kernel would be left to boot: install one first"
    return (Obstacle(what=what, final=True),)


def _default_moves(host: Host, stay: Collection[str]) -> tuple[Obstacle, ...]:
    """Whether what stays would make Xen GRUB's default, as /etc/default/grub.d/xen.cfg does."""
    found = []
    for name in sorted(stay):
        for path in sorted(path for path in _files_of(host, [name]) if path.startswith(f"{GRUB_SETTINGS}/")):
            what = f"{name} is somebody's by now and would stay, with {path} for Xen as GRUB's default: "
            found.append(Obstacle(what=f"{what}sudo apt-mark auto {name}", final=True))
    return tuple(found)


def _files_of(host: Host, packages: Collection[str]) -> set[str]:
    """What packages have brought, as dpkg and ucf name it."""
    lists = (name for package in packages for name in file_lists(host, package.partition(":")[0]))
    paths = {path for name in lists for path in host.text(INFO / name).splitlines()}
    return paths | {file.path for file in conffiles(host, packages)}


def _restore_configuration(host: Host, saved: Saved, stay: Collection[str]) -> None:
    snapshot.restore_folders(host, saved.get("folders", {}))
    theirs = {short_name(path) for path in _files_of(host, stay)}
    for path, seen in saved["configuration"].items():
        ending = next(filter(path.endswith, LEFT_BY_DPKG), "")
        if short_name(path.removesuffix(ending)) not in theirs:
            snapshot.restore(host, path, seen)
    # What only the newer version has would stay with a package that is not purged.
    for file in conffiles(host, set(saved["with_configuration"]) - set(stay)):
        if file.archive and file.path not in saved["configuration"]:
            host.remove(file.path)


def _restore_marks(host: Host, saved: Saved) -> None:
    """Put back which packages apt counts as automatically installed."""
    lost = sorted(set(saved["automatic"]) & _installed(host) - _automatic(host.text(MARKS)))
    if lost:
        host.run(["apt-mark", "auto", *lost])
    before = saved["marks"]
    then = load_bytes(host, before["digest"]).decode("utf-8", "replace") if before["what"] == "file" else ""
    if _automatic(host.text(MARKS)) == _automatic(then):
        snapshot.restore(host, MARKS, before)


def _ucf_files(host: Host) -> list[str]:
    return [name for name in host.names(UCF) if not host.is_dir(UCF / name)]


def _restore_ucf(host: Host, saved: Saved) -> None:
    """Put back ucf's backups of its own lists, when the lists are again what they were."""
    before = saved["ucf"]
    lists = [name for name in before if not name[-1].isdigit()]
    if not all(snapshot.same_bytes(snapshot.look(host, UCF / name), before[name]) for name in lists):
        return
    for name in _ucf_files(host):
        if name not in before:
            host.remove(UCF / name)
    for name, seen in before.items():
        snapshot.restore(host, UCF / name, seen)


def _installed(host: Host) -> set[str]:
    """Names of packages that are installed and configured."""
    return {name for name, package in read_status(host).items() if package.state == "installed"}


def _automatic(marks: str) -> set[str]:
    """Names of packages that apt counts as automatically installed."""
    stanzas = (
        dict(re.findall(r"(?m)^(Package|Auto-Installed): (.*)$", stanza)) for stanza in marks.split("\n\n")
    )
    return {stanza["Package"] for stanza in stanzas if stanza.get("Auto-Installed") == "1"}
