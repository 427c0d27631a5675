# SPDX-License-Identifier: GPL-2.0-or-later
"""The source package xen-kernel: upstream's archive as it came, and debian/ as it was built with.

Who gets a kernel gets its source too (GPL-2, section 3): it lies beside the packages that were made of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xenable.host import Host
from xenable.kernels.archive import Archive
from xenable.kernels.commands import cleanly
from xenable.kernels.packaging import Naming

NAME = "xen-kernel"


def source_files(naming: Naming, archive: Archive) -> tuple[str, str, str]:
    """Names of the three files: upstream's archive, debian/, and what describes them."""
    ending = archive.path.name.rpartition(".tar.")[2]
    return (
        f"{NAME}_{naming.upstream}.orig.tar.{ending}",
        f"{NAME}_{naming.version}.debian.tar.xz",
        f"{NAME}_{naming.version}.dsc",
    )


def version_of(name: str) -> str:
    """Of the packages that a file of a source package is for, or of upstream; empty for another file."""
    match = re.fullmatch(
        rf"{NAME}_([0-9.]+(?:-[0-9]+)?)\.(?:dsc|debian\.tar\.xz|orig\.tar\.[a-z0-9]+)", name
    )
    return match[1] if match else ""


def make_source(host: Host, archive: Archive, naming: Naming, names: Sequence[str], place: Path) -> None:
    """Make the source package in `place`, of names, relative to debian/, in the tree that is there.

    The same things give the same bytes. Nothing is unpacked, and upstream's archive gets a second name.
    Errors: CommandError.
    """
    orig, debian, description = source_files(naming, archive)
    host.link_or_copy(archive.path, place / orig)
    pack = ["tar", "-C", "tree", "--format=gnu", "--sort=name", "--no-recursion", "--owner=0", "--group=0"]
    pack += ["--numeric-owner", "--mode=u=rwX,go=rX", f"--mtime=@{archive.date}"]
    pack += ["--use-compress-program=xz -6 -T1", "-cf", debian, "--"]
    host.run(cleanly(place, [*pack, *(f"debian/{name}" for name in sorted(names))]), timeout=600)
    host.remove(place / description)
    custom = ["dpkg-source", "--format=3.0 (custom)", "--target-format=3.0 (quilt)", "-b", "tree"]
    host.run(cleanly(place, [*custom, orig, debian]), timeout=600)
