# SPDX-License-Identifier: GPL-2.0-or-later
"""Where apt has the archives of packages, by where it takes them from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xenable.steps import transaction

CACHE = Path("/var/cache/apt/archives")


def cache(uri: str, version: str, *, install: bool = True) -> Any:
    found = SimpleNamespace(uri=uri, version=version, architecture="amd64")
    package = SimpleNamespace(candidate=found, marked_install=install, shortname="tool")
    return cast(Any, SimpleNamespace(get_changes=lambda: [package]))


@pytest.mark.parametrize(
    ("uri", "version", "paths"),
    [
        ("http://mirror.invalid/pool/tool_1.0_amd64.deb", "1.0", (CACHE / "tool_1.0_amd64.deb",)),
        (
            "http://mirror.invalid/pool/tool_1.0_amd64.deb",
            "2:1.0+a~b",
            (CACHE / "tool_2%3a1.0+a~b_amd64.deb",),
        ),
        ("mirror+file:/etc/apt/mirrors/list/pool/tool.deb", "1.0", (CACHE / "tool_1.0_amd64.deb",)),
        ("file:/srv/a%20b/./tool.deb", "1.0", (Path("/srv/a b/tool.deb"),)),
        ("cdrom:[Debian 13 _Trixie_ - amd64 DVD]/pool/tool.deb", "1.0", ()),
    ],
)
def test_archives(uri: str, version: str, paths: tuple[Path, ...]) -> None:
    assert transaction.archives(cache(uri, version)) == paths
    assert transaction.archives(cache(uri, version, install=False)) == ()
