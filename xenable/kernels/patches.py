# SPDX-License-Identifier: GPL-2.0-or-later
"""The patches on top of the upstream source: a quilt series for each kernel series; the order counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels import dep3
from xenable.kernels.archive import Archive, extract
from xenable.kernels.places import KERNELS, PATCHES
from xenable.kernels.table import Series, show
from xenable.model import Progress

MOST_BYTES = 8 << 20
"""Of one patch."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    name: str
    """Of its file."""
    text: str


def folder(series: Series) -> Path:
    return PATCHES / show(series)


def patches_for(host: Host, series: Series) -> tuple[Patch, ...]:
    """In the order of the series file. Errors: XenableError for one that is not there."""
    place = folder(series)
    names = [line.partition("#")[0].strip() for line in host.text(place / "series").splitlines()]
    return tuple(Patch(name=name, text=host.read(place / name).decode()) for name in names if name)


def read_patch(host: Host, path: Path) -> Patch:
    """A patch with all that DEP-3 asks for. Errors: XenableError that names what is missing."""
    path = host.resolve(path)
    what = f"cannot add the patch {path.name}"
    if not host.is_file(path):
        raise XenableError(f"{what}: there is no such file")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", path.name) or path.name == "series":
        raise XenableError(
            f"{what}: its name is no name for a patch", hint="letters, digits and . _ + - may be in one"
        )
    try:
        text = host.part(path, MOST_BYTES).decode()
        dep3.touched(text)
    except ValueError as e:
        raise XenableError(f"{what}: {e}") from e
    if found := dep3.flaws(text):
        raise XenableError(
            f"{what}: {'; '.join(found)}",
            hint="DEP-3 has the fields, and an XSA's mail has what goes in them",
        )
    return Patch(name=path.name, text=text)


def add_patch(
    host: Host, patch: Patch, series: Series, archive: Archive, progress: Progress
) -> tuple[Patch, ...]:
    """Put a patch at the end of a series, if it applies; returns the whole series.

    Errors: XenableError, and nothing is changed, when it does not, when there is one of that name, or while
    another xenable works on kernels.
    """
    what = f"cannot add the patch {patch.name}"
    with host.lock_folder(KERNELS, wait=False):
        before = patches_for(host, series)
        if any(there.name == patch.name for there in before):
            raise XenableError(
                f"{what}: one of that name is there already",
                hint=f"they are in {folder(series)}; `series` there has their order",
            )
        try_patches(host, (*before, patch), archive, progress)
        place = folder(series)
        host.make_folder(place)
        host.write(place / patch.name, patch.text.encode())
        # Last: what is not named here is not there.
        host.write(place / "series", series_text((*before, patch)).encode())
        return (*before, patch)


def series_text(patches: tuple[Patch, ...]) -> str:
    return "".join(f"{patch.name}\n" for patch in patches)


def try_patches(host: Host, patches: tuple[Patch, ...], archive: Archive, progress: Progress) -> None:
    """Apply patches, one after the other, to a copy of the files that they touch.

    Errors: XenableError that names the first one that does not apply.
    """
    work = KERNELS / ".patching"
    host.run(["rm", "-rf", "--", work])
    try:
        host.make_folder(work / "tree", 0o700)
        progress(0.1, f"taking from {archive.path.name} what the patches touch")
        names = {
            name.partition("/")[2] for p in patches for t in dep3.touched(p.text) for name in (t.old, t.new)
        }
        extract(host, archive, work / "tree", sorted(names - {"dev/null"}))
        for number, patch in enumerate(patches):
            progress(0.8 + 0.2 * number / len(patches), f"trying {patch.name}")
            host.write(work / patch.name, patch.text.encode())
            _try(host, work, patch, archive)
    finally:
        host.run(["rm", "-rf", "--", work])


def _try(host: Host, work: Path, patch: Patch, archive: Archive) -> None:
    # As dpkg-source does it: no fuzz.
    cmd: list[str | Path] = [
        "patch",
        "-d",
        work / "tree",
        "-p1",
        "-N",
        "-s",
        "-t",
        "-F",
        "0",
        "-i",
        work / patch.name,
    ]
    done = host.run([*cmd, "--dry-run"], check=False)
    if done.code == 0:
        host.run(cmd)
        return
    back = host.run(
        [*cmd[:4], "-R", "-s", "-f", "-F", "0", "-i", work / patch.name, "--dry-run"], check=False
    )
    if back.code == 0:
        raise XenableError(
            f"cannot apply the patch {patch.name}: Linux {archive.version} has it already",
            hint="it is not needed for this kernel",
        )
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    raise XenableError(
        f"cannot apply the patch {patch.name} to Linux {archive.version}: {'; '.join(said[:4])}",
        hint="it may be for another series, or need one that comes before it",
    )
