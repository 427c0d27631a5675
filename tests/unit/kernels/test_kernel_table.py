# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel goes with which Xen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.errors import XenableError
from xenable.host import Host
from xenable.kernels.table import SERIES, kernel_series, parse_series, show, xen_series

DOCS = Path(__file__).resolve().parents[3] / "docs/explanation/xen-kernel.md"


def test_the_table_rises() -> None:
    xens = [xen for xen, _ in SERIES]
    kernels = [kernel for _, kernel in SERIES]
    assert xens == sorted(set(xens)) and kernels == sorted(kernels)
    assert kernel_series((4, 17)) == (6, 1) and kernel_series((4, 20)) == (6, 12)


def test_the_documents_have_the_same_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for xen, kernel in SERIES:
        assert f"| {show(xen)} | {show(kernel)} |" in text


def test_another_xen_is_refused_with_the_way_out() -> None:
    with pytest.raises(XenableError, match=r"Xen 4\.99") as caught:
        kernel_series((4, 99))
    assert "--linux" in caught.value.hint


@given(st.integers(0, 99), st.integers(0, 999))
def test_what_is_shown_is_read(major: int, minor: int) -> None:
    assert parse_series(show((major, minor))) == (major, minor)


@pytest.mark.parametrize("text", ["", "6", "6.", "6.1.2", "a.b", "6.1 ", "-6.1", "６.１", "100.1"])
def test_what_is_no_series(text: str) -> None:
    with pytest.raises(ValueError):
        parse_series(text)


def status(*packages: str) -> str:
    return "\n".join(
        f"Package: {name}\nStatus: install ok {state}\nArchitecture: amd64\nVersion: 1\n"
        for name, state in (package.split() for package in packages)
    )


def machine(folder: Path, files: dict[str, str]) -> Host:
    for path, text in files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return Host(folder)


def test_the_xen_that_runs_or_is_installed(tmp_path: Path) -> None:
    installed = status(
        "xen-hypervisor-4.9-amd64 installed",
        "xen-hypervisor-4.17-amd64 installed",
        "xen-hypervisor-4.20-amd64 config-files",
    )
    host = machine(tmp_path, {"/var/lib/dpkg/status": installed})
    assert xen_series(host) == (4, 17)
    folder = "/sys/hypervisor/version"
    machine(tmp_path, {f"{folder}/major": "4\n", f"{folder}/minor": "20\n"})
    assert xen_series(host) == (4, 20)


def test_no_xen_at_all(tmp_path: Path) -> None:
    with pytest.raises(XenableError, match="neither is a Xen here") as caught:
        xen_series(Host(tmp_path))
    assert "--xen" in caught.value.hint
