# SPDX-License-Identifier: GPL-2.0-or-later
"""What was built here: a list in one file. A number in a kernel's name never stands for two things."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.packaging import Naming
from xenable.kernels.places import BUILDS

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


def same_build(known: tuple[Build, ...], upstream: str, flavour: str, inputs: str) -> Build | None:
    """A build of the very same things, if there was one."""
    wanted = (upstream, flavour, inputs)
    return next((b for b in known if (b.upstream, b.flavour, b.inputs) == wanted), None)


def next_naming(known: tuple[Build, ...], upstream: str, flavour: str) -> Naming:
    """The name of a build that is another one than all before it."""
    taken = [b.revision for b in known if (b.upstream, b.flavour) == (upstream, flavour)]
    return Naming(upstream=upstream, revision=max(taken, default=0) + 1, flavour=flavour)
