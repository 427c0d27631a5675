# SPDX-License-Identifier: GPL-2.0-or-later
"""What apt is to do: packages marked to come, and exactly those that came marked to go again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xenable.errors import XenableError
from xenable.host import Host
from xenable.steps.transaction import MEBIBYTE, archives_folder

if TYPE_CHECKING:
    from apt.cache import Cache

NEEDS = ("PreDepends", "Depends")
WISHES = (*NEEDS, "Recommends")
KERNELS = ("linux-", "xen-image-", "xen-headers-")
"""Beginnings of the names of packages that may be for one version of a kernel. When the next version has
come nothing depends on them any more."""


def mark_wanted(cache: Cache, wanted: Collection[str], what: str) -> None:
    """Mark what is wanted and not here. Errors: XenableError when something would have to go for it."""
    if cache.broken_count:
        cache.fix_broken()
    for name in wanted:
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
            hint=f"`apt-get --simulate install {' '.join(wanted)}` explains why",
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


def new_packages(cache: Cache) -> list[tuple[str, str]]:
    """Packages that are marked and not here now, with their versions, by name."""
    changes = (p for p in cache.get_changes() if p.marked_install and not p.is_installed)
    return sorted((p.name, p.candidate.version) for p in changes if p.candidate is not None)


def upgraded_packages(cache: Cache) -> list[tuple[str, str, str]]:
    """Packages that get a newer version by what is marked: name, version now, version then."""
    return sorted(
        (p.name, p.installed.version, p.candidate.version)
        for p in cache.get_changes()
        if p.marked_upgrade and p.installed is not None and p.candidate is not None
    )


def check_space(host: Host, cache: Cache) -> None:
    """Errors: XenableError when what is marked doesn't fit."""
    needs = ((archives_folder(), cache.required_download), (Path("/usr"), cache.required_space))
    for path, needed in needs:
        free = host.free_bytes(path)
        if free is not None and needed > free:
            raise XenableError(
                f"cannot install packages: {path} has {free // MEBIBYTE} of {needed // MEBIBYTE + 1} MiB",
                hint="free some space, then run the command again; no package was changed",
            )


# ------------------------------------------------------------------------------------------------ going


@dataclass(frozen=True, kw_only=True)
class Came:
    """What an installation brought, by what it saw before."""

    names: frozenset[str]
    """All that it installed."""
    wanted: frozenset[str]
    """Those of them that it asked for."""
    before: frozenset[str] | None
    """What was installed then; None where that is not on record."""
    with_configuration: frozenset[str]
    """Those that had been removed before, and had left their configuration."""
    noted: bool
    """Whether it is known that apt's note of who came along was complete once."""


def mark_purge(cache: Cache, came: Came, stay: frozenset[str]) -> list[str]:
    """Mark all that came and is here in any state, but for what is to stay, and what it brought since;
    returns foreign packages that need some of it."""
    broken = {p.name for p in cache if p.is_inst_broken}
    going = (came.names - stay) | _brought_since(cache, came, stay)
    for name in going & set(cache.keys()):
        package = cache[name]
        if package.is_installed or package.has_config_files:
            # Configuration that lay here before we came stays, as it was when the package was only removed.
            package.mark_delete(auto_fix=False, purge=name not in came.with_configuration)
    touched = {p.name for p in cache.get_changes()} | {p.name for p in cache if p.is_inst_broken}
    return sorted(touched - going - broken)


def going(cache: Cache) -> tuple[str, ...]:
    """What is marked to go."""
    return tuple(sorted(p.name for p in cache.get_changes() if p.marked_delete))


def staying(cache: Cache, came: Came, used: Collection[str]) -> frozenset[str]:
    """What came and is somebody's by now: marked as installed by hand since, or named in used, as
    configuration does; and what these need."""
    here = {name for name in came.names if name in cache and cache[name].is_installed}
    along = here - came.wanted
    by_hand = {name for name in along if not cache[name].is_auto_installed}
    if by_hand == along and not came.noted:
        # apt notes who came along when all of them are there: it was killed before that.
        by_hand = set()
    return frozenset(_reached(cache, by_hand | here & set(used), NEEDS) & came.names)


def _brought_since(cache: Cache, came: Came, stay: frozenset[str]) -> frozenset[str]:
    """What newer versions of what came brought along, and nobody else needs: a kernel by its metapackage.

    Of kernels only those of a flavour that came: the native system's own are automatic too, and once there
    is a newer one nobody needs the older.
    """
    if came.before is None:
        return frozenset()
    later = {
        p.name
        for p in cache
        if p.is_installed and p.is_auto_installed and p.name not in came.before | came.names
    }
    if not later:
        return frozenset()
    others = [p.name for p in cache if p.is_installed and p.name not in later | (came.names - stay)]
    free = later - _reached(cache, others, WISHES)
    of_ours = _reached(cache, came.names, WISHES)
    flavours = {_flavour(name) for name in came.names if name.startswith(KERNELS)}
    return frozenset(name for name in free if name in of_ours or _flavour(name) in flavours)


def _flavour(name: str) -> str:
    """A package's name without its version: linux-image-#-amd# of linux-image-6.12.9+deb13-amd64."""
    return re.sub(r"[0-9][^-]*", "#", name)


def _reached(cache: Cache, names: Iterable[str], by: tuple[str, ...]) -> set[str]:
    """Installed packages that these need, directly or by others, and these themselves."""
    found: set[str] = set()
    next = [name for name in names if name in cache]
    while next:
        name = next.pop()
        installed = cache[name].installed
        if name in found or installed is None:
            continue
        found.add(name)
        for dependency in installed.get_dependencies(*by):
            next += [version.package.name for version in dependency.installed_target_versions]
    return found
