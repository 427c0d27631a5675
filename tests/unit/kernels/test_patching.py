# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives and the patches on top of them, with the real tar and patch."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels import patches
from xenable.kernels import source as source_module
from xenable.kernels.archive import Archive, extract, open_archive
from xenable.kernels.patches import Patch, add_patch, patches_for, read_patch
from xenable.kernels.source import take_tarball

pytestmark = pytest.mark.realtool

HOST = Host()
MAKEFILE = "# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 9\nEXTRAVERSION =\nNAME = x\nall:\n"
TEXT = "one\ntwo\nthree\n"
HEAD = "Description: makes it louder\nOrigin: vendor\n"


def diff(old: str, new: str, name: str = "drivers/xen/x.c") -> str:
    return f"--- a/{name}\n+++ b/{name}\n@@ -1,3 +1,3 @@\n one\n-{old}\n+{new}\n three\n"


def quiet(fraction: float, text: str) -> None:
    assert 0 <= fraction <= 1 and text


def pack(folder: Path, files: dict[str, str], name: str = "linux_6.1.9.orig.tar.xz") -> Path:
    top = folder / "linux-6.1.9"
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    target = folder / name
    subprocess.run(
        ["tar", "-C", folder, "--sort=name", "--mtime=@1700000000", "-caf", target, top.name], check=True
    )
    return target


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(patches, "PATCHES", tmp_path / "patches")
    monkeypatch.setattr(patches, "KERNELS", tmp_path)
    files = {"Makefile": MAKEFILE, "arch/Makefile": "VERSION = 99\n", "drivers/xen/x.c": TEXT}
    return open_archive(HOST, pack(tmp_path, files), "a" * 64)


def test_which_linux_it_is(source: Archive) -> None:
    assert (source.version, source.series, source.date) == ("6.1.9", (6, 1), 1_700_000_000)


def test_only_a_good_archive_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "sources"
    monkeypatch.setattr(source_module, "SOURCES", sources)
    good = pack(tmp_path, {"Makefile": MAKEFILE})
    candidate = pack(
        tmp_path, {"Makefile": MAKEFILE.replace("EXTRAVERSION =", "EXTRAVERSION = -rc1")}, "rc.tar.xz"
    )
    text = tmp_path / "linux.txt"
    text.write_text("no archive\n")
    for path, sha256, why in (
        (good, "0" * 64, "its SHA-256 is"),
        (candidate, HOST.sha256(candidate), "no release of Linux"),
        (text, HOST.sha256(text), "it is no tar archive"),
    ):
        with pytest.raises(XenableError, match=why):
            take_tarball(HOST, path, sha256, quiet)
        assert list(sources.iterdir()) == []
    archive = take_tarball(HOST, good, HOST.sha256(good), quiet)
    assert archive.path == sources / good.name and archive.version == "6.1.9"
    # One that is no good does not take the place of a good one with its name.
    other = tmp_path / "other"
    other.mkdir()
    bad = pack(other, {"README": "x"}, good.name)
    with pytest.raises(XenableError):
        take_tarball(HOST, bad, HOST.sha256(bad), quiet)
    assert HOST.sha256(archive.path) == archive.sha256 and not (sources / ".tarball").exists()


def test_unpacking_all_or_some(source: Archive, tmp_path: Path) -> None:
    for names, expected in ((), 3), (("drivers/xen/x.c", "no/such/file"), 1):
        target = tmp_path / f"out{expected}"
        target.mkdir()
        extract(HOST, source, target, names)
        assert len([path for path in target.rglob("*") if path.is_file()]) == expected
    assert (tmp_path / "out1/drivers/xen/x.c").read_text() == TEXT


def test_some_are_taken_without_what_comes_after_them(tmp_path: Path) -> None:
    # Larger than what xz and tar read at a time, and of a kind that does not shrink.
    tail = random.Random(1).randbytes(1 << 19).hex()
    archive = open_archive(
        HOST, pack(tmp_path, {"Makefile": MAKEFILE, "a/x.c": TEXT, "b/tail": tail}), "a" * 64
    )
    whole = archive.path.read_bytes()
    archive.path.write_bytes(whole[: len(whole) // 2])
    for names, there in ((("a/x.c",), True), (("a/x.c", "no/such/file"), False)):
        target = tmp_path / f"out{there}"
        target.mkdir()
        if there:
            extract(HOST, archive, target, names)
        else:
            with pytest.raises(XenableError, match="cannot unpack"):
                extract(HOST, archive, target, names)
        assert (target / "a/x.c").read_text() == TEXT


@pytest.mark.parametrize(
    ("name", "makefile", "expected"),
    [
        ("linux.tar.xz", MAKEFILE.replace("EXTRAVERSION =", "EXTRAVERSION = -rc1"), "no release"),
        ("linux.tar.xz", "all:\n", "no release"),
        ("linux.zip.xz", MAKEFILE, "no tar archive"),
        ("linux.tar", None, "cannot use the source linux.tar"),
    ],
)
def test_what_is_no_linux(tmp_path: Path, name: str, makefile: str | None, expected: str) -> None:
    path = pack(tmp_path, {"Makefile": makefile or ""}, "x.tar.xz")
    if makefile is None:
        path.write_text("no archive")
    path.rename(tmp_path / name)
    with pytest.raises(XenableError, match=expected):
        open_archive(HOST, tmp_path / name, "a" * 64)


def test_a_truncated_archive_is_named(source: Archive, tmp_path: Path) -> None:
    source.path.write_bytes(source.path.read_bytes()[:-40])
    (tmp_path / "out").mkdir()
    with pytest.raises(XenableError, match=r"cannot unpack linux_6\.1\.9"):
        extract(HOST, source, tmp_path / "out")


def test_patches_are_added_in_their_order(source: Archive, tmp_path: Path) -> None:
    for number, (old, new) in enumerate((("two", "TWO"), ("TWO", "TWO!"))):
        file = tmp_path / f"xsa-{number}.patch"
        file.write_text(HEAD + diff(old, new))
        patch = read_patch(HOST, file)
        assert add_patch(HOST, patch, (6, 1), source, quiet)[-1] == patch
    assert [patch.name for patch in patches_for(HOST, (6, 1))] == ["xsa-0.patch", "xsa-1.patch"]
    assert (tmp_path / "patches/6.1/series").read_text() == "xsa-0.patch\nxsa-1.patch\n"
    assert patches_for(HOST, (6, 12)) == ()
    assert not (tmp_path / ".patching").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (diff("zwei", "TWO"), "cannot apply the patch p.patch to Linux 6.1.9"),
        (diff("TWO", "two"), "Linux 6.1.9 has it already"),
        (diff("two", "TWO", "drivers/xen/gone.c"), "cannot apply the patch p.patch"),
    ],
)
def test_one_that_does_not_apply_changes_nothing(
    source: Archive, tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(XenableError, match=expected):
        add_patch(HOST, Patch(name="p.patch", text=HEAD + text), (6, 1), source, quiet)
    assert patches_for(HOST, (6, 1)) == () and not (tmp_path / ".patching").exists()


def test_a_name_that_is_taken(source: Archive) -> None:
    patch = Patch(name="p.patch", text=HEAD + diff("two", "TWO"))
    add_patch(HOST, patch, (6, 1), source, quiet)
    with pytest.raises(XenableError, match="there already"):
        add_patch(HOST, patch, (6, 1), source, quiet)


def test_a_new_file_and_one_that_goes(source: Archive) -> None:
    text = "--- /dev/null\n+++ b/drivers/xen/new.c\n@@ -0,0 +1 @@\n+x\n"
    text += "--- a/drivers/xen/x.c\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-one\n-two\n-three\n"
    assert len(add_patch(HOST, Patch(name="p.patch", text=HEAD + text), (6, 1), source, quiet)) == 1


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.patch", diff("two", "TWO"), "no Description"),
        ("p.patch", HEAD, "no change in it"),
        ("p q.patch", HEAD + diff("two", "TWO"), "no name for a patch"),
        ("series", HEAD + diff("two", "TWO"), "no name for a patch"),
        ("p.patch", b"\xff\xfe", "cannot add the patch p.patch"),
    ],
)
def test_what_is_no_patch(tmp_path: Path, name: str, text: str | bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(XenableError, match=expected):
        read_patch(HOST, tmp_path / name)
    with pytest.raises(XenableError, match="no such file"):
        read_patch(HOST, tmp_path / "nowhere")


def test_a_wrong_sum_is_refused_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xenable.kernels import source as sources

    monkeypatch.setattr(sources, "SOURCES", tmp_path / "sources")
    path = pack(tmp_path, {"Makefile": MAKEFILE})
    with pytest.raises(XenableError, match=r"its SHA-256 is [0-9a-f]{64}, and not 0000"):
        sources.take_tarball(HOST, path, "0" * 64, quiet)
    assert not list((tmp_path / "sources").iterdir())
    taken = sources.take_tarball(HOST, path, HOST.sha256(path), quiet)
    assert taken.version == "6.1.9" and taken.path.parent == tmp_path / "sources"
