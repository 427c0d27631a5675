# SPDX-License-Identifier: GPL-2.0-or-later
"""Install packages of the distribution, and purge exactly those again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from xenable.errors import XenableError
from xenable.facts.dpkg import read_status
from xenable.host import Host
from xenable.journal import load_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import snapshot
from xenable.steps.base import Saved, Step
from xenable.steps.conffiles import (
    ARCHIVES,
    LEFT_BY_DPKG,
    UCF,
    conffiles,
    edited,
    listed_files,
    unlink,
)
from xenable.steps.lists import forget_wishes, restore_lists, tidy

if TYPE_CHECKING:
    from apt.cache import Cache
    from apt.package import Package

MARKS = Path("/var/lib/apt/extended_states")
BOOTED = Path("/run/systemd/system")
"""Where it exists, systemd is PID 1: sd_booted(3)."""

MEBIBYTE = 1 << 20


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
        from xenable.steps import transaction

        with transaction.open_cache(host) as cache:
            self._mark(cache)
            new, upgraded = _new(cache), _upgraded(cache)
            sizes = f"{cache.required_download / MEBIBYTE:.1f} MiB to download, "
            sizes += f"{cache.required_space / MEBIBYTE:.0f} MiB on disk\n"
        lines = [f"new {name} {version}\n" for name, version in new]
        lines += [f"upgrade {name} {old} → {now} (stays after a revert)\n" for name, old, now in upgraded]
        return Preview(title=self.title(), detail="".join(lines) + sizes)

    def is_done(self, host: Host) -> bool:
        automatic = _automatic(host.text(MARKS))
        return set(self._wanted) <= _installed(host) and not automatic & set(self._wanted)

    def save(self, host: Host) -> Saved:
        from xenable.steps import transaction

        if transaction.half_done(host):
            raise XenableError(
                f"cannot install {', '.join(self.names)}: dpkg was interrupted before",
                hint=transaction.BROKEN_HINT,
            )
        with transaction.open_cache(host) as cache:
            self._mark(cache)
            removed = [p.name for p in cache.get_changes() if _has_configuration(p)]
            return {
                "new": [list(package) for package in _new(cache)],
                "upgraded": [list(package) for package in _upgraded(cache)],
                "with_configuration": removed,
                "configuration": _take_configuration(host, removed),
                "automatic": sorted(_automatic(host.text(MARKS)) & set(self._wanted)),
                "marks": snapshot.take(host, MARKS),
                "ucf": {name: snapshot.take(host, UCF / name) for name in _ucf_files(host)},
                "archives": [name for name in host.names(ARCHIVES) if name.endswith(".deb")],
            }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import transaction

        if self.is_done(host) and not transaction.half_done(host):
            return
        transaction.finish_interrupted(host, progress)
        with transaction.locked(host, progress), transaction.open_cache(host) as cache:
            self._mark(cache)
            promised = {name for name, _ in saved["new"]}
            more = sorted(name for name, _ in _new(cache) if name not in promised)
            if more:
                raise XenableError(
                    f"cannot install {', '.join(self.names)}: that would now bring {', '.join(more)} too",
                    hint="the archive changed since the plan was made: run `xenable revert` and begin anew",
                )
            if cache.get_changes():
                _check_space(host, cache)
                transaction.download(cache, progress)
                transaction.commit(host, cache, progress, held=(transaction.HELD_MENU,))
        automatic = sorted(_automatic(host.text(MARKS)) & set(self._wanted))
        if automatic:
            host.run(["apt-mark", "manual", *automatic])
        installed = _installed(host)
        missing = [name for name in self._wanted if name not in installed]
        if missing:
            raise XenableError(
                f"cannot install {', '.join(missing)}: dpkg left it unfinished", hint=transaction.BROKEN_HINT
            )

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        from xenable.steps import transaction

        with transaction.open_cache(host) as cache:
            foreign = _mark_purge(cache, saved)
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
        return needed + edited(host, [name for name, _ in saved["new"]], known)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        from xenable.steps import transaction

        transaction.prepare_purge(host, progress)
        restore_lists(host, [(name, version) for name, version in saved["new"]])
        unlink(host, [name for name, _ in saved["new"]])
        with transaction.locked(host, progress), transaction.open_cache(host) as cache:
            foreign = _mark_purge(cache, saved)
            if foreign:
                raise XenableError(
                    f"cannot remove {', '.join(self.names)}: {', '.join(foreign)} came since and needs it",
                    hint=f"run `sudo apt remove {' '.join(foreign)}` first",
                )
            if cache.get_changes():
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
        _restore_configuration(host, saved)
        _restore_marks(host, saved)
        _restore_ucf(host, saved)
        ours = {name.partition(":")[0] for name, _ in saved["new"]}
        for name in host.names(ARCHIVES):
            if name.endswith(".deb") and name not in saved["archives"] and name.partition("_")[0] in ours:
                host.remove(ARCHIVES / name)

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        now = {(package.name, package.version) for package in read_status(host).values()}
        newer = [name for name, _, version in saved["upgraded"] if (name.partition(":")[0], version) in now]
        return (f"the packages {', '.join(newer)} stay upgraded",) if newer else ()

    @property
    def _wanted(self) -> tuple[str, ...]:
        return (*self.names, *self.recommended)

    def _mark(self, cache: Cache) -> None:
        """Mark what is wanted and not here. Errors: XenableError when something would have to go for it."""
        what = f"cannot install {', '.join(self.names)}"
        if cache.broken_count:
            cache.fix_broken()
        for name in self._wanted:
            if name not in cache:
                raise XenableError(
                    f"{what}: the archive has no package {name}",
                    hint="run `sudo apt update`; look whether apt's sources have all components",
                )
            if not cache[name].is_installed:
                cache[name].mark_install(auto_fix=False)
        if cache.broken_count:
            broken = sorted(p.name for p in cache if p.is_inst_broken)
            raise XenableError(
                f"{what}: the dependencies of {', '.join(broken)} can't be met without removing something",
                hint=f"`apt-get --simulate install {' '.join(self._wanted)}` explains why",
            )
        changes = cache.get_changes()
        gone = sorted(p.name for p in changes if p.marked_delete)
        if gone:
            raise XenableError(
                f"{what}: {', '.join(gone)} would be removed for it",
                hint="remove it yourself if you can do without it, then run the command again",
            )
        older = sorted(p.name for p in changes if p.marked_downgrade)
        if older:
            raise XenableError(f"{what}: {', '.join(older)} would have to become older for it")


def _new(cache: Cache) -> list[tuple[str, str]]:
    """Packages that are marked and not here now, with their versions, by name."""
    changes = (p for p in cache.get_changes() if p.marked_install and not p.is_installed)
    return sorted((p.name, p.candidate.version) for p in changes if p.candidate is not None)


def _upgraded(cache: Cache) -> list[tuple[str, str, str]]:
    return sorted(
        (p.name, p.installed.version, p.candidate.version)
        for p in cache.get_changes()
        if p.marked_upgrade and p.installed is not None and p.candidate is not None
    )


def _has_configuration(package: Package) -> bool:
    return not package.is_installed and package.has_config_files


def _check_space(host: Host, cache: Cache) -> None:
    """Errors: XenableError when what is marked doesn't fit."""
    for path, needed in ((ARCHIVES, cache.required_download), (Path("/usr"), cache.required_space)):
        free = host.free_bytes(path)
        if free is not None and needed > free:
            raise XenableError(
                f"cannot install packages: {path} has {free // MEBIBYTE} of {needed // MEBIBYTE + 1} MiB",
                hint="free some space, then run the command again; no package was changed",
            )


def _mark_purge(cache: Cache, saved: Saved) -> list[str]:
    """Mark all that we installed and that is here in any state; returns foreign packages that need it."""
    before = {p.name for p in cache if p.is_inst_broken}
    for name, _ in saved["new"]:
        if name not in cache:
            continue
        package = cache[name]
        if package.is_installed or package.has_config_files:
            # Configuration that lay here before we came stays, as it was when the package was only removed.
            package.mark_delete(auto_fix=False, purge=name not in saved["with_configuration"])
    ours = {name for name, _ in saved["new"]}
    touched = {p.name for p in cache.get_changes()} | {p.name for p in cache if p.is_inst_broken}
    return sorted(touched - ours - before)


def _take_configuration(host: Host, packages: list[str]) -> dict[str, snapshot.Snapshot]:
    """Files of packages that were removed and left them: dpkg replaces those that nobody has edited."""
    paths = listed_files(host, packages)
    beside = [path + ending for path in paths for ending in LEFT_BY_DPKG]
    return {path: snapshot.take(host, path) for path in (*paths, *beside)}


def _restore_configuration(host: Host, saved: Saved) -> None:
    for path, seen in saved["configuration"].items():
        snapshot.restore(host, path, seen)
    # What only the newer version has would stay with a package that is not purged.
    for file in conffiles(host, saved["with_configuration"]):
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
