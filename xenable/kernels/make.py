# SPDX-License-Identifier: GPL-2.0-or-later
"""From a wish to packages that apt finds: source, build, repository, record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xenable.host import Host
from xenable.kernels import build, repository
from xenable.kernels.archive import Archive
from xenable.kernels.configure import base_config
from xenable.kernels.flavours import Flavour
from xenable.kernels.patches import patches_for
from xenable.kernels.places import KERNELS, REPOSITORY
from xenable.kernels.records import Build, add_build, builds, packages_of_last
from xenable.kernels.source import drop_others, fetch_source, take_tarball
from xenable.kernels.sourcepackage import version_of
from xenable.kernels.table import Series, kernel_series, xen_series
from xenable.model import Progress

KEPT = 2
"""Earlier builds of each flavour that can still be had."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which Linux: the first of these that is given says it."""

    tarball: Path | None = None
    sha256: str = ""
    """Of the tarball."""
    kernel: Series | None = None
    xen: Series | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    build: Build
    present: bool
    """Whether it was there already, made of the very same things."""
    newer: tuple[str, ...]
    """Versions that the archive names, and does not have the source of."""


def series_of(host: Host, choice: Choice) -> Series:
    """The series of Linux that is chosen. Errors: XenableError when nothing says which."""
    return choice.kernel or kernel_series(choice.xen or xen_series(host))


def get_source(host: Host, choice: Choice, progress: Progress) -> tuple[Archive, tuple[str, ...]]:
    """The source, and versions that would be newer and can't be had. Errors: XenableError."""
    if choice.tarball is not None:
        return take_tarball(host, choice.tarball, choice.sha256, progress), ()
    fetched = fetch_source(host, series_of(host, choice), progress)
    return fetched.archive, fetched.newer


def make_kernel(host: Host, flavour: Flavour, choice: Choice, jobs: int, progress: Progress) -> Made:
    """Build a kernel and put its packages where apt finds them; none is installed. Errors: XenableError."""
    build.check_tools(host)
    with host.lock_folder(KERNELS, wait=False):
        return _make(host, flavour, choice, jobs, progress)


def _make(host: Host, flavour: Flavour, choice: Choice, jobs: int, progress: Progress) -> Made:
    archive, newer = get_source(host, choice, lambda fraction, text: progress(0.02 * fraction, text))
    request = build.Request(
        flavour=flavour,
        archive=archive,
        patches=patches_for(host, archive.series),
        base=base_config(host, flavour, archive.series),
        jobs=jobs,
    )
    before = build.done_before(host, request)
    if before is not None and all(host.exists(REPOSITORY / name) for name in before.packages):
        build.tidy(host, request)
        progress(1.0, "it is there already")
        return Made(build=before, present=True, newer=newer)
    state, place = build.build(host, request, progress)
    debs = build.packages(host, place)
    progress(0.98, "putting the packages where apt finds them")
    sources = build.sources(request, state)
    keep = packages_of_last(builds(host), KEPT)
    # Upstream's archive is one file for all builds of its version.
    repository.publish(host, place, (*debs, *sources), {*keep, *_sources_of(host, keep)}.difference(sources))
    made = Build(
        upstream=state.version,
        revision=state.revision,
        flavour=state.flavour,
        inputs=state.inputs,
        objects=state.objects,
        seconds=state.seconds,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        packages=debs,
    )
    add_build(host, made)
    build.finish(host, place)
    drop_others(host, archive)
    progress(1.0, made.naming.release)
    return Made(build=made, present=False, newer=newer)


def _sources_of(host: Host, packages: Iterable[str]) -> frozenset[str]:
    """Files in the repository that are the source of packages there, by the names of both."""
    versions = {name.split("_")[1] for name in packages if name.count("_") == 2}
    versions |= {version.partition("-")[0] for version in versions}
    return frozenset(name for name in host.names(REPOSITORY) if version_of(name) in versions)
