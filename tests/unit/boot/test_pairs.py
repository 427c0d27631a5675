# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.boot.fixtures import EFI, HEADER, XEN_ELF, bzimage, make_boot
from xenable.boot.pairs import can_unpack, is_multiboot2, kernel_compression, newest_first, usable_pairs
from xenable.facts.kernels import probe_kernels


def ids(
    root: Path, xens: tuple[str, ...] = ("4.20",), kernels: tuple[str, ...] = ("6.12.1-amd64",)
) -> list[str]:
    return [pair.id for pair in usable_pairs(make_boot(root, xens, kernels))]


def test_debians_files_make_one_pair(tmp_path: Path) -> None:
    assert ids(tmp_path) == ["xenable-4.20-amd64-6.12.1-amd64"]


def test_newest_first(tmp_path: Path) -> None:
    found = ids(tmp_path, ("4.9", "4.20", "4.17"), ("6.1.0-9-amd64", "6.12.1-amd64", "6.1.0-10-amd64"))
    assert found[:3] == [
        f"xenable-4.20-amd64-{k}" for k in ("6.12.1-amd64", "6.1.0-10-amd64", "6.1.0-9-amd64")
    ]
    assert [i.split("-")[1] for i in found[::3]] == ["4.20", "4.17", "4.9"]
    assert len(set(found)) == 9


def test_what_is_no_hypervisor(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.20",), ("6.12.1-amd64",))
    boot = tmp_path / "boot"
    (boot / "xen-syms-4.20-amd64").write_bytes(XEN_ELF)
    (boot / "xenpolicy-4.20").write_bytes(XEN_ELF)
    (boot / "xen-image-6.12-xen0").write_bytes(XEN_ELF)
    (boot / "xen-4.99-amd64.gz").write_bytes(gzip.compress(XEN_ELF)[:20])
    (boot / "xen-4.98-amd64.gz").write_bytes(b"\x1f\x8b nonsense")
    (boot / "xen-4.97-amd64").write_bytes(EFI)
    (boot / "xen-4.96-amd64").write_bytes(bytes(32768) + XEN_ELF)
    (boot / "xen-4.95-amd64.gz.dpkg-new").write_bytes(gzip.compress(XEN_ELF))
    (boot / "xen-4.94 amd64").write_bytes(XEN_ELF)
    (boot / "xen.gz").symlink_to("xen-4.20-amd64.gz")
    (boot / "xenable").mkdir()
    assert [pair.id for pair in usable_pairs(host)] == ["xenable-4.20-amd64-6.12.1-amd64"]
    (boot / "xen-4.21").write_bytes(XEN_ELF)
    assert [pair.xen.version for pair in usable_pairs(host)] == ["4.21", "4.20-amd64"]


def test_files_that_end_too_early_make_no_pair(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.19", "4.20"), ("6.12.1-amd64", "6.12.2-amd64"))
    assert len(usable_pairs(host)) == 4
    xen = tmp_path / "boot/xen-4.20-amd64.gz"
    whole = gzip.compress(XEN_ELF + random.Random(0).randbytes(300000))
    for damaged in (whole[:-1], whole[:200000], whole[:-8] + bytes(8)):
        xen.write_bytes(damaged)
        assert {pair.xen.version for pair in usable_pairs(host)} == {"4.19-amd64"}
    xen.write_bytes(whole)
    assert len(usable_pairs(host)) == 4
    kernel = tmp_path / "boot/vmlinuz-6.12.2-amd64"
    image = bytearray(bzimage("xz"))
    struct.pack_into("<I", image, 0x24C, len(b"payload") + 6)
    kernel.write_bytes(image)
    assert len(usable_pairs(host)) == 4
    kernel.write_bytes(image[:-1])
    assert {pair.kernel.version for pair in usable_pairs(host)} == {"6.12.1-amd64"}


def test_what_is_no_dom0_kernel(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.20",), ("6.12.1-amd64", "6.12.1-cloud-amd64", "6.9", "6.8"))
    boot = tmp_path / "boot"
    (boot / "config-6.12.1-cloud-amd64").write_text("CONFIG_XEN=y\n# CONFIG_XEN_DOM0 is not set\n")
    (boot / "config-6.9").unlink()
    (boot / "vmlinuz-6.8").write_bytes(bzimage("unknown"))
    assert [pair.kernel.version for pair in usable_pairs(host)] == ["6.12.1-amd64"]


def test_an_unpacked_twin_takes_nothing_from_the_kernel(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.20",), ("6.12.1-amd64", "6.1.9-amd64"))
    (tmp_path / "boot/vmlinux-6.12.1-amd64").write_bytes(b"\x7fELF")
    found = usable_pairs(host)
    assert [pair.kernel.path for pair in found] == [f"/boot/vmlinuz-{v}-amd64" for v in ("6.12.1", "6.1.9")]
    assert [kernel.image for kernel in probe_kernels(host)] == [
        f"/boot/vmlinuz-{version}-amd64" for version in ("6.1.9", "6.12.1")
    ]


def test_initrd_and_old_kernels(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.20",), ("6.12.1",))
    boot = tmp_path / "boot"
    (boot / "vmlinuz-6.12.1.old").write_bytes(bzimage("gzip"))
    (boot / "linux-6.18-xen0").write_bytes(b"\x7fELF")
    (boot / "config-6.18-xen0").write_text("CONFIG_XEN_DOM0=y")
    found = {pair.kernel.version: pair.kernel for pair in usable_pairs(host)}
    # It sorts behind its twin, which has the modules of that name.
    assert list(found)[-1] == "6.12.1.old"
    assert found["6.12.1.old"].initrd == found["6.12.1"].initrd == "/boot/initrd.img-6.12.1"
    assert (found["6.18-xen0"].initrd, found["6.18-xen0"].compression) == ("", "none")


@pytest.mark.parametrize("first", [False, True])
def test_kernels_for_xen_alone_come_first_or_last(tmp_path: Path, first: bool) -> None:
    host = make_boot(tmp_path, ("4.17", "4.20"), ("6.1.9-amd64", "6.12.1-amd64"))
    for version in ("6.1.170-1-xen-lean", "6.1.187-2-xen-lean"):
        (tmp_path / f"boot/linux-{version}").write_bytes(bzimage("gzip"))
        (tmp_path / f"boot/config-{version}").write_text("CONFIG_XEN_DOM0=y\n")
        (tmp_path / f"boot/initrd.img-{version}").write_bytes(b"initrd")
    ours = ["6.1.187-2-xen-lean", "6.1.170-1-xen-lean"]
    theirs = ["6.12.1-amd64", "6.1.9-amd64"]
    found = usable_pairs(host, xen_kernels_first=first)
    expected = [*ours, *theirs] if first else [*theirs, *ours]
    assert [pair.kernel.version for pair in found] == expected * 2
    assert [pair.xen.version for pair in found] == ["4.20-amd64"] * 4 + ["4.17-amd64"] * 4
    assert {pair.kernel.version for pair in found if pair.kernel.xen_only} == set(ours)


@pytest.mark.parametrize(
    ("series", "compression", "fits"),
    [
        ((4, 14), "zstd", False),
        ((4, 15), "zstd", True),
        ((4, 13), "lz4", False),
        ((4, 17), "lz4", True),
        (None, "zstd", False),
        (None, "xz", True),
        ((4, 20), "", False),
    ],
)
def test_can_unpack(series: tuple[int, int] | None, compression: str, fits: bool) -> None:
    assert can_unpack(series, compression) is fits


def test_pair_with_a_kernel_that_this_xen_can_not_unpack(tmp_path: Path) -> None:
    host = make_boot(tmp_path, ("4.14", "4.20"), ("6.12",), "zstd")
    assert [pair.xen.version for pair in usable_pairs(host)] == ["4.20-amd64"]


@given(st.binary(max_size=700), st.integers(0, 600))
def test_any_bytes_can_be_looked_at(data: bytes, at: int) -> None:
    kernel_compression(bzimage("xz")[:at] + data)
    assert is_multiboot2(bytes(at // 8 * 8) + HEADER + data)
    assert not is_multiboot2(bytes(at // 8 * 8 + 4) + HEADER)


VERSIONS = st.text("0129.-~+abzAr", min_size=1, max_size=12).filter(lambda v: v[0].isalnum())


@pytest.mark.realtool
@settings(max_examples=150, deadline=None)
@given(st.lists(VERSIONS, min_size=2, max_size=30, unique=True))
def test_order_agrees_with_sort(versions: list[str]) -> None:
    out = subprocess.run(
        ["sort", "-V", "-r"],
        input="\n".join(versions) + "\n",
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert list(newest_first(versions)) == out.split()
