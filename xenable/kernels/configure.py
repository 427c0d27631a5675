# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuring an unpacked kernel with its own tools, and finding the configuration it stands on."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels import config
from xenable.kernels.archive import Archive
from xenable.kernels.commands import cleanly
from xenable.kernels.flavours import Base, Flavour
from xenable.kernels.packaging import Naming
from xenable.kernels.places import KERNELS
from xenable.kernels.table import Series, show

CONFIG = "debian/linux.config"
"""In an unpacked source. Not debian/config, which debhelper takes for a script of debconf."""

OBJECTS_AN_OPTION = 2.2
"""Files that are compiled for each option that is on, seen with the flavours here."""


def configure(host: Host, flavour: Flavour, archive: Archive, base: str, naming: Naming, tree: Path) -> None:
    """Write debian/linux.config of an unpacked source: base and fragments, merged by the kernel's own tool.

    Errors: XenableError that names every option which came out another way than a fragment asks for.
    """
    what = f"cannot configure the {flavour.name} kernel"
    try:
        texts = {
            name: config.for_series(text, archive.series)
            for name, text in {**flavour.fragments, "naming": config.naming(naming.suffix)}.items()
        }
        asked = config.merge(texts)
    except ValueError as e:
        raise XenableError(f"{what}: {e}") from e
    places = []
    for number, (name, text) in enumerate({"base": base, **texts}.items()):
        if text or name != "base":
            place = f"debian/fragments/{number}-{name}"
            host.make_folder((tree / place).parent)
            host.write(tree / place, text.encode())
            places.append(place)
    nothing = ["-n"] if flavour.base is Base.NOTHING else []
    _run(host, tree, ["scripts/kconfig/merge_config.sh", *nothing, *places], what)
    host.write(tree / ".config", config.with_default_mitigations(host.text(tree / ".config")).encode())
    _run(host, tree, ["make", "olddefconfig"], what)
    final = host.text(tree / ".config")
    if unmet := config.unmet(asked, final):
        raise XenableError(
            f"{what}: Linux {archive.version} does not have all that is asked for: "
            f"{', '.join(map(str, unmet))}",
            hint="the option has another name in this kernel, is gone, or needs another one that is off",
        )
    host.write(tree / CONFIG, final.encode())


def objects_of(text: str) -> int:
    """About how many files there are to compile for a .config."""
    on = sum(value in ("y", "m") for value in config.parse_options(text).values())
    return max(1, round(on * OBJECTS_AN_OPTION))


def _run(host: Host, tree: Path, cmd: list[str], what: str) -> None:
    done = host.run(cleanly(tree, cmd), check=False, timeout=900)
    if done.code != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        full = any("No space left" in line for line in said)
        hint = "free some space, then run the command again: it goes on from here" if full else ""
        reason = "the disk is full" if full else said[0] if said else f"{cmd[0]} failed"
        raise XenableError(f"{what}: {reason}", hint=hint)


# ---------------------------------------------------------------------------------------------------- base


def base_config(host: Host, flavour: Flavour, series: Series) -> str:
    """The configuration that a flavour stands on; empty for none.

    It is that of the distribution's package linux-config-SERIES, or of an installed generic kernel of the
    series. Errors: XenableError when there is neither.
    """
    if flavour.base is Base.NOTHING:
        return ""
    return _of_package(host, series) or _of_boot(host, series) or _none(series)


def _none(series: Series) -> str:
    raise XenableError(
        f"cannot build a generic kernel: the distribution's configuration of {show(series)} is not here",
        hint=f"it is in the package linux-config-{show(series)}, or in /boot beside a generic kernel of "
        "that series; or give --flavour lean",
    )


def _of_package(host: Host, series: Series) -> str:
    """Of Debian's package, fetched and verified by apt, and not installed."""
    name = f"linux-config-{show(series)}"
    work = KERNELS / ".config"
    host.run(["rm", "-rf", "--", work])
    try:
        host.make_folder(work)
        if host.run(["env", "-C", work, "apt-get", "-q", "download", name], check=False, timeout=900).code:
            return ""
        debs = [file for file in host.names(work) if file.endswith(".deb")]
        host.run(["dpkg-deb", "-x", work / debs[0], work / "x"])
        packed = work / "x/usr/src" / name / "config.amd64_none_amd64.xz"
        return lzma.decompress(host.read(packed)).decode()
    finally:
        host.run(["rm", "-rf", "--", work])


def _of_boot(host: Host, series: Series) -> str:
    """Of the newest installed kernel with that series and the distribution's generic flavour."""
    from xenable.boot.pairs import newest_first

    form = re.compile(rf"config-({series[0]}\.{series[1]}[.-].*-(?:amd64|generic))")
    found = [match[1] for name in host.names("/boot") if (match := form.fullmatch(name))]
    own = [version for version in found if not re.search(r"-(cloud|rt|xen)-", version)]
    return host.text(f"/boot/config-{newest_first(own)[0]}") if own else ""
