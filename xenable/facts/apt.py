# SPDX-License-Identifier: GPL-2.0-or-later
"""What apt would do, asked of apt itself and simulated in memory: nothing is written, no command is run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xenable.facts.files import modified
from xenable.host import Host
from xenable.machine import Candidate

if TYPE_CHECKING:
    import apt_pkg

SYSTEM = "xen-system-amd64"
KERNELS_DEBIAN = ("linux-image-amd64", "linux-image-generic")
KERNELS_UBUNTU = ("linux-image-generic", "linux-image-amd64")
KERNELS_XEN = ("xen-image-lean", "xen-image-generic")
"""Of the local repository, the best first."""
LIBC = "libc6-xen"
"""Once a faster libc under Xen; taken where an archive still has it."""

LISTS = "/var/lib/apt/lists"
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The part of Packages that only apt can tell."""

    problem: str = ""
    install_recommends: bool = True
    xen: Candidate | None = None
    xen_series: str = ""
    kernel: Candidate | None = None
    xen_kernel: Candidate | None = None
    recommended: tuple[Candidate, ...] = ()
    new: tuple[Candidate, ...] = ()
    upgraded: tuple[Candidate, ...] = ()
    removed: tuple[str, ...] = ()
    download_bytes: int | None = None
    installed_kib: int | None = None


def simulate(
    host: Host,
    kernels: Sequence[str],
    *,
    with_kernel: bool,
    xen_kernel: bool = False,
    with_headers: bool = False,
    names: Iterable[str] = (),
) -> Simulation | None:
    """Ask the apt of this machine; None when it could not be read at all.

    `kernels` are the names under which the distribution's generic kernel may be found, the best first; it is
    part of what would be installed only `with_kernel`. With `xen_kernel` a kernel for Xen alone is, in its
    place; and `with_headers` what modules are built with, where that is there. `names` are those of the
    packages that dpkg has on record: with them it takes less time.
    """
    try:
        import apt_pkg
    except ImportError:
        return None
    try:
        apt_pkg.init_config()
        install_recommends = apt_pkg.config.find_b("APT::Install-Recommends", True)
        # Recommended packages are chosen here one by one; apt would add those of every dependency as well.
        apt_pkg.config.set("APT::Install-Recommends", "false")
        apt_pkg.init_system()
        _leave_caches_alone(host)
        cache = apt_pkg.Cache(None)
        depcache = apt_pkg.DepCache(cache)
    except (apt_pkg.Error, SystemError) as e:
        return Simulation(problem=" ".join(str(e).split()) or "apt can't read its lists")
    broken = [p.name for p in cache.packages if depcache.is_inst_broken(p)] if depcache.broken_count else []
    if broken:
        return Simulation(
            problem="unmet dependencies: " + ", ".join(sorted(broken)),
            install_recommends=install_recommends,
        )
    wanted = KERNELS_XEN if xen_kernel else kernels if with_kernel else ()
    return _install(cache, depcache, kernels, wanted, install_recommends, names, with_headers=with_headers)


def _leave_caches_alone(host: Host) -> None:
    """Keep apt from renewing its binary caches on disk: a stale one is made anew in memory only."""
    import apt_pkg

    lists = _newest(host, (LISTS, *(f"{LISTS}/{name}" for name in host.names(LISTS)), *SOURCES))
    status = _newest(host, ("/var/lib/dpkg/status", "/var/lib/apt/extended_states"))
    for key, newest in (("srcpkgcache", lists), ("pkgcache", max(lists, status))):
        written = modified(host, apt_pkg.config.find_file(f"Dir::Cache::{key}") or "/nonexistent")
        if written is None or written <= newest:
            apt_pkg.config.set(f"Dir::Cache::{key}", "")


def _newest(host: Host, paths: Sequence[str]) -> float:
    return max((time for path in paths if (time := modified(host, path)) is not None), default=0.0)


def _install(
    cache: apt_pkg.Cache,
    depcache: apt_pkg.DepCache,
    kernels: Sequence[str],
    wanted: Sequence[str],
    install_recommends: bool,
    names: Iterable[str],
    *,
    with_headers: bool,
) -> Simulation:
    """`wanted`: the kernels of which the first that there is comes along."""

    def candidate(name: str) -> apt_pkg.Version | None:
        return depcache.get_candidate_ver(cache[name]) if name in cache else None

    def first(names: Sequence[str]) -> apt_pkg.Version | None:
        return next((version for name in names if (version := candidate(name)) is not None), None)

    xen = candidate(SYSTEM)
    kernel = first(wanted)
    told = Simulation(
        install_recommends=install_recommends,
        kernel=_as_candidate(first(kernels)),
        xen_kernel=_as_candidate(first(KERNELS_XEN)),
    )
    if xen is None:
        return told
    asked = [xen, *([kernel] if kernel is not None else [])]
    for version in asked:
        depcache.mark_install(version.parent_pkg)
    if kernel is not None and with_headers:
        # Not the metapackage: apt would upgrade an older one that is here, which nothing undoes.
        needed = (
            one.target_pkg for alternatives in kernel.depends_list.get("Depends", []) for one in alternatives
        )
        images = [depcache.get_candidate_ver(p) for p in needed if depcache.marked_install(p)]
        headers = [candidate(_named(image).headers) for image in images if image is not None]
        for found in (version for version in headers if version is not None):
            depcache.mark_install(found.parent_pkg)
            asked.append(found)
    recommended = _recommended(depcache, xen, candidate(LIBC))
    for version in recommended:
        depcache.mark_install(version.parent_pkg)
    new: list[Candidate] = []
    upgraded: list[Candidate] = []
    removed: list[str] = []
    roots = [*asked, *recommended]
    for package in _touched(cache, depcache, roots, [cache[name] for name in names if name in cache]):
        if depcache.marked_install(package):
            new.append(_chosen(depcache, package))
        elif depcache.marked_upgrade(package):
            upgraded.append(_chosen(depcache, package))
        elif depcache.marked_delete(package):
            removed.append(package.name)
    broken = [p.name for p in cache.packages if depcache.is_inst_broken(p)] if depcache.broken_count else []
    return dataclasses.replace(
        told,
        problem=f"{SYSTEM} can't be installed: " + ", ".join(sorted(broken)) if broken else "",
        xen=_as_candidate(xen),
        xen_series=_series(xen),
        recommended=tuple(_named(v) for v in recommended),
        new=tuple(sorted(new, key=lambda c: c.name)),
        upgraded=tuple(sorted(upgraded, key=lambda c: c.name)),
        removed=tuple(sorted(removed)),
        download_bytes=int(depcache.deb_size),
        installed_kib=int(depcache.usr_size) // 1024,
    )


def _touched(
    cache: apt_pkg.Cache,
    depcache: apt_pkg.DepCache,
    roots: Sequence[apt_pkg.Version],
    here: Sequence[apt_pkg.Package],
) -> Iterable[apt_pkg.Package]:
    """The packages that the simulation changes."""
    # One that is here may change along with what it needs, where no walk from the roots comes by.
    changed = [package for package in here if not depcache.marked_keep(package)]
    found = {_key(package): package for package in changed if depcache.marked_delete(package)}
    deleted = len(found)
    todo = [*roots, *(version for package in changed if (version := depcache.get_candidate_ver(package)))]
    for version in todo:
        package = version.parent_pkg
        if _key(package) in found or not (
            depcache.marked_install(package) or depcache.marked_upgrade(package)
        ):
            continue
        found[_key(package)] = package
        for kind in ("PreDepends", "Depends"):
            for alternatives in version.depends_list.get(kind, []):
                todo.extend(target for one in alternatives for target in one.all_targets())
    # A look at every package of the archive takes a hundred times as long: only where one was missed.
    if depcache.del_count == deleted and depcache.inst_count == len(found) - deleted:
        return found.values()
    return [package for package in cache.packages if not depcache.marked_keep(package)]


def _key(package: apt_pkg.Package) -> tuple[str, str]:
    return package.name, package.architecture


def _recommended(
    depcache: apt_pkg.DepCache, system: apt_pkg.Version, libc: apt_pkg.Version | None
) -> tuple[apt_pkg.Version, ...]:
    """What the hypervisor and its tools recommend and what would not be here without it, by name."""
    found: dict[str, apt_pkg.Version] = {}
    todo = [system]
    seen = {system.parent_pkg.name}
    for version in todo:
        for alternatives in version.depends_list.get("Depends", []):
            for package in (one.target_pkg for one in alternatives):
                chosen = depcache.get_candidate_ver(package)
                if package.name.startswith("xen-") and package.name not in seen and chosen is not None:
                    seen.add(package.name)
                    todo.append(chosen)
        for alternatives in version.depends_list.get("Recommends", []):
            if target := _first_missing(depcache, alternatives):
                found[target.parent_pkg.name] = target
    if libc is not None and not _will_be_there(depcache, libc.parent_pkg):
        found[LIBC] = libc
    return tuple(found[name] for name in sorted(found))


def _first_missing(
    depcache: apt_pkg.DepCache, alternatives: Sequence[apt_pkg.Dependency]
) -> apt_pkg.Version | None:
    """What apt would take to satisfy a dependency; None when it is satisfied, or can't be."""
    targets = [target for one in alternatives for target in one.all_targets()]
    if any(_will_be_there(depcache, target.parent_pkg) for target in targets):
        return None
    for target in targets:
        chosen = depcache.get_candidate_ver(target.parent_pkg)
        if chosen is not None and chosen.ver_str == target.ver_str:
            return target
    return None


def _will_be_there(depcache: apt_pkg.DepCache, package: apt_pkg.Package) -> bool:
    if package.current_ver is not None:
        return not depcache.marked_delete(package)
    return depcache.marked_install(package)


def _series(system: apt_pkg.Version) -> str:
    """4.20 of the xen-hypervisor-4.20-amd64 on which the system package depends."""
    for alternatives in system.depends_list.get("Depends", []):
        for dependency in alternatives:
            if found := re.fullmatch(r"xen-hypervisor-([0-9.]+)-amd64", dependency.target_pkg.name):
                return found[1]
    return ""


def _chosen(depcache: apt_pkg.DepCache, package: apt_pkg.Package) -> Candidate:
    version = depcache.get_candidate_ver(package)
    return Candidate(name=package.name, version=version.ver_str if version is not None else "")


def _as_candidate(version: apt_pkg.Version | None) -> Candidate | None:
    return _named(version) if version is not None else None


def _named(version: apt_pkg.Version) -> Candidate:
    return Candidate(name=version.parent_pkg.name, version=version.ver_str)
