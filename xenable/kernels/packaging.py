# SPDX-License-Identifier: GPL-2.0-or-later
"""debian/ of the source package xen-kernel, made of the templates in kernel/debian. Pure, but for those."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xenable.datafiles import data_file
from xenable.kernels import dep3
from xenable.kernels.archive import Archive
from xenable.kernels.flavours import Flavour
from xenable.kernels.patches import Patch, series_text

AS_THEY_ARE = ("copyright", "headers", "rules", "source/format", "source/lintian-overrides")
TEMPLATES = (
    ("control.in", "control"),
    ("image.postinst.in", "xen-image-@RELEASE@.postinst"),
    ("image.postrm.in", "xen-image-@RELEASE@.postrm"),
    ("image.preinst.in", "xen-image-@RELEASE@.preinst"),
    ("image.prerm.in", "xen-image-@RELEASE@.prerm"),
    ("headers.postinst.in", "xen-headers-@RELEASE@.postinst"),
    ("lintian-overrides", "xen-image-@RELEASE@.lintian-overrides"),
    ("lintian-overrides", "xen-headers-@RELEASE@.lintian-overrides"),
    ("lintian-overrides", "xen-image-@FLAVOUR@.lintian-overrides"),
    ("lintian-overrides", "xen-headers-@FLAVOUR@.lintian-overrides"),
)
MAINTAINER = "The Xenable developers <xenable@example.org>"


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What a kernel and its packages are called."""

    upstream: str
    """6.1.176"""
    revision: int
    """Of what is built of it: another one where patches, configuration or compiler are others. Without it in
    its name a kernel would get the modules of another one."""
    flavour: str

    @property
    def version(self) -> str:
        """Of the packages."""
        return f"{self.upstream}-{self.revision}"

    @property
    def suffix(self) -> str:
        return f"-{self.revision}-xen-{self.flavour}"

    @property
    def release(self) -> str:
        """What `uname -r` says."""
        return self.upstream + self.suffix


def templates() -> dict[str, str]:
    """Every file that debian/ is made of, by its name in kernel/debian."""
    names = (*AS_THEY_ARE, *(name for name, _ in TEMPLATES))
    return {name: data_file(f"kernel/debian/{name}").read_text(encoding="utf-8") for name in names}


def debian_files(
    texts: Mapping[str, str], naming: Naming, flavour: Flavour, archive: Archive, patches: Sequence[Patch]
) -> dict[str, str]:
    """The files of debian/ by name. Errors: ValueError for a template that asks for what is not there."""
    values = {
        "RELEASE": naming.release,
        "UPSTREAM": naming.upstream,
        "FLAVOUR": naming.flavour,
        "ABOUT": flavour.about.removeprefix(" "),
    }
    files = {name: texts[name] for name in AS_THEY_ARE}
    files |= {fill(target, values): fill(texts[name], values) for name, target in TEMPLATES}
    files["changelog"] = changelog(naming, archive, patches)
    files["release.mk"] = f"RELEASE = {naming.release}\n"
    files["patches/series"] = series_text(tuple(patches))
    return files | {f"patches/{patch.name}": patch.text for patch in patches}


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its @NAMES@. Errors: ValueError for one that has no value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"nobody knows @{match[1]}@")
        return values[match[1]]

    return re.sub(r"@([A-Z]+)@", value, template)


def changelog(naming: Naming, archive: Archive, patches: Sequence[Patch]) -> str:
    """debian/changelog. Its day is that of the upstream source, which its sum names and not its file, so
    that it is the same each time."""
    day = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(archive.date))
    lines = [f"Linux {naming.upstream} for Xen, flavour {naming.flavour}."]
    lines += [f"Of the archive with the SHA-256\n    {archive.sha256}."]
    lines += [f"{patch.name}: {_one_line(dep3.title(patch.text))}" for patch in patches]
    text = "".join(f"  * {line}\n" for line in lines)
    return f"xen-kernel ({naming.version}) unstable; urgency=medium\n\n{text}\n -- {MAINTAINER}  {day}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def build_depends(control: str) -> tuple[str, ...]:
    """Packages that have to be here to build, by the template of debian/control."""
    block = re.search(r"(?m)^Build-Depends:\n((?: .*\n)+)", control)
    names = re.findall(r"(?m)^ ([a-z0-9.+-]+)", block[1]) if block else []
    return (
        "build-essential",
        *("debhelper" if name == "debhelper-compat" else name for name in names),
        "patch",
    )
