# SPDX-License-Identifier: GPL-2.0-or-later
"""What was built here: a list in one file. A number in a kernel's name never stands for two things."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xenable.boot.deadman import MODULES
from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.packaging import Naming
from xenable.kernels.places import BUILDS, WORK
from xenable.kernels.stages import read_state

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Build:
    upstream: str
    revision: int
    flavour: str
    inputs: str
    """SHA-256 over all that it is made of: source, patches, configuration, packaging, compiler."""
    objects: int
    """Files that were compiled."""
    seconds: int
    made: str
    """UTC, ISO 8601."""
    packages: tuple[str, ...]
    """Names of the .deb files."""

    @property
    def naming(self) -> Naming:
        return Naming(upstream=self.upstream, revision=self.revision, flavour=self.flavour)


def builds(host: Host) -> tuple[Build, ...]:
    """In the order in which they were made. Errors: XenableError for a damaged list."""
    if not host.exists(BUILDS):
        return ()
    try:
        data = json.loads(host.read(BUILDS))
        if data["schema"] != SCHEMA:
            raise ValueError("a later xenable wrote it")
        return tuple(Build(**(row | {"packages": tuple(row["packages"])})) for row in data["builds"])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise XenableError(
            f"cannot read {BUILDS}: it is damaged ({e})",
            hint="put it back from a backup, or run `xenable kernel remove-repository` and build anew",
        ) from e


def add_build(host: Host, build: Build) -> None:
    rows = [dataclasses.asdict(row) for row in (*builds(host), build)]
    host.write(BUILDS, (json.dumps({"schema": SCHEMA, "builds": rows}, indent=1) + "\n").encode())


def packages_of_last(known: Sequence[Build], count: int) -> frozenset[str]:
    """Names of the packages of the last builds of each flavour, so many of each."""
    found: set[str] = set()
    for flavour in {build.flavour for build in known}:
        of_it = [build for build in known if build.flavour == flavour]
        found.update(name for build in of_it[-count:] for name in build.packages)
    return frozenset(found)


def same_build(known: tuple[Build, ...], upstream: str, flavour: str, inputs: str) -> Build | None:
    """The last build of a flavour, if it was of the very same things.

    An earlier one does not count: what it is made of was given up since, and apt offers the later one.
    """
    last = next((build for build in reversed(known) if build.flavour == flavour), None)
    wanted = (upstream, inputs)
    return last if last is not None and (last.upstream, last.inputs) == wanted else None


def next_naming(host: Host, upstream: str, flavour: str) -> Naming:
    """The name of a build that is another one than all before it, on record, under way, or neither.

    The record goes with the repository, and kernels that were installed from it stay: a number that comes
    again would put new modules under a kernel that runs. All flavours of one source count together: kernels
    sort by the number before the flavour, and what is built last is the newest.
    """
    from xenable.facts.dpkg import read_status

    taken = [b.revision for b in builds(host) if b.upstream == upstream]
    under_way = (read_state(host, WORK / name) for name in host.names(WORK))
    taken += [state.revision for state in under_way if state is not None and state.version == upstream]
    form = re.compile(rf"(?:xen-(?:image|headers)-)?{re.escape(upstream)}-([0-9]{{1,6}})-xen-[a-z]+")
    places = (*host.names(MODULES), *read_status(host))
    taken += [int(match[1]) for name in places if (match := form.fullmatch(name))]
    return Naming(upstream=upstream, revision=max(taken, default=0) + 1, flavour=flavour)
