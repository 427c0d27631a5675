# SPDX-License-Identifier: GPL-2.0-or-later
"""The source package that goes with a kernel's packages, with the real dpkg-source."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.kernels.test_patching import HEAD, HOST, MAKEFILE, TEXT, diff, pack
from xenable.kernels import make
from xenable.kernels.archive import Archive, open_archive
from xenable.kernels.flavours import flavour
from xenable.kernels.packaging import Naming, debian_files, templates
from xenable.kernels.patches import Patch
from xenable.kernels.places import REPOSITORY
from xenable.kernels.sourcepackage import make_source, source_files, version_of

NAMING = Naming(upstream="6.1.9", revision=2, flavour="lean")
PATCH = Patch(name="louder.patch", text=HEAD + "\n" + diff("two", "TWO"))


def make_one(archive: Archive, place: Path, mode: int = 0o755) -> tuple[str, ...]:
    """A source package in a folder, beside a tree in which a kernel was built."""
    files = debian_files(templates(), NAMING, flavour("lean"), archive, (PATCH,))
    files |= {"linux.config": "CONFIG_A=y\n", "fragments/0-lean.config": "CONFIG_A=y\n"}
    built = {"files": "x", "xen-image-6.1.9-2-xen-lean/boot/linux": "x", "x.substvars": "x"}
    for name, text in {**files, **built}.items():
        (place / "tree/debian" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "tree/debian" / name).write_text(text)
    (place / "tree/debian/rules").chmod(mode)
    make_source(HOST, archive, NAMING, tuple(files), place)
    return tuple(sorted(files))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    files = {"Makefile": MAKEFILE, "drivers/xen/x.c": TEXT}
    path = pack(tmp_path, files)
    return open_archive(HOST, path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.realtool
def test_it_gives_the_tree_that_was_built(archive: Archive, tmp_path: Path) -> None:
    place = tmp_path / "work"
    names = make_one(archive, place)
    description = place / source_files(NAMING, archive)[2]
    subprocess.run(
        ["dpkg-source", "-q", "-x", description, tmp_path / "out"], check=True, capture_output=True
    )
    assert (tmp_path / "out/drivers/xen/x.c").read_text() == TEXT.replace("two", "TWO")
    top = tmp_path / "out/debian"
    found = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    assert found - {"patches/.dpkg-source-applied"} == set(names), (
        "nothing that a build made, and all of the rest"
    )
    assert (top / "rules").read_text() == templates()["rules"]
    strict: list[str | Path] = ["lintian", "--allow-root", "--fail-on", "error,warning", description]
    done = subprocess.run(strict, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    text = description.read_text()
    assert "Format: 3.0 (quilt)\n" in text and "\nVersion: 6.1.9-2\n" in text
    assert f" {archive.sha256} " in text
    assert re.search(r"(?m)^Binary: .*xen-image-6\.1\.9-2-xen-lean", text)


@pytest.mark.realtool
def test_the_same_things_give_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "a-longer/second"
    make_one(archive, first)
    make_one(archive, second)
    # Again over what is there, as after an interruption.
    make_one(archive, second, mode=0o700)
    for name in source_files(NAMING, archive):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_which_files_stay_with_which_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "xen-kernel_6.1.9-1.dsc",
        "xen-kernel_6.1.9-2.dsc",
        "xen-kernel_6.1.9-2.debian.tar.xz",
        "xen-kernel_6.1.9.orig.tar.xz",
        "xen-kernel_6.1.8.orig.tar.gz",
        "xen-image-lean_6.1.9-2_amd64.deb",
        "Packages",
    )
    assert [version_of(name) for name in names] == [
        "6.1.9-1",
        "6.1.9-2",
        "6.1.9-2",
        "6.1.9",
        "6.1.8",
        "",
        "",
    ]
    folder = tmp_path / REPOSITORY.relative_to("/")
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    kept = make._sources_of(type(HOST)(tmp_path), {"xen-image-6.1.9-2-xen-lean_6.1.9-2_amd64.deb"})
    assert kept == set(names[1:4])
