# SPDX-License-Identifier: GPL-2.0-or-later
"""dpkg's own records, read without running it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xenable.host import Host

STATUS = Path("/var/lib/dpkg/status")
INFO = Path("/var/lib/dpkg/info")

_FIELD = re.compile(r"^(Package|Status|Version|Architecture): (.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A package that dpkg knows of."""

    name: str
    version: str
    architecture: str
    want: str
    """install, hold, deinstall, purge."""
    flag: str
    """ok or reinstreq."""
    state: str
    """installed, config-files, half-configured, …"""

    @property
    def installed(self) -> bool:
        return self.state in ("installed", "triggers-awaited", "triggers-pending")


def parse_status(text: str) -> dict[str, Known]:
    """Packages by name. A name that is there for several architectures keeps one that is installed."""
    known: dict[str, Known] = {}
    for stanza in text.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        words = fields.get("Status", "").split()
        if "Package" not in fields or len(words) != 3:
            continue
        package = Known(
            name=fields["Package"],
            version=fields.get("Version", ""),
            architecture=fields.get("Architecture", ""),
            want=words[0],
            flag=words[1],
            state=words[2],
        )
        if not (package.name in known and known[package.name].installed):
            known[package.name] = package
    return known


def read_status(host: Host) -> dict[str, Known]:
    return parse_status(host.text(STATUS))


def installed(known: Mapping[str, Known], name: str) -> bool:
    return name in known and known[name].installed


def file_lists(host: Host, name: str) -> tuple[str, ...]:
    """Names in INFO of the lists of a package's files: one, or one of each architecture."""
    form = re.compile(rf"{re.escape(name)}(:[\w-]+)?\.list")
    return tuple(found for found in host.names(INFO) if form.fullmatch(found))


def owner(host: Host, path: str, prefix: str) -> str:
    """The package that owns a path, among those whose names begin with prefix; empty when none does."""
    for name in host.names(INFO):
        if name.startswith(prefix) and name.endswith(".list") and path in host.text(INFO / name).split("\n"):
            return name.removesuffix(".list").partition(":")[0]
    return ""
