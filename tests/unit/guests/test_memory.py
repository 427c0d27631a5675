# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen has left, and what a guest takes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.fixtures import make_guest
from xenable.errors import XenableError
from xenable.guests.memory import dom0_has_room, fits, free_memory, overhead
from xenable.guests.model import Format, Kind

XL_INFO = """\
host                   : dom0
release                : 6.12.41+deb13-amd64
virt_caps              : pv hvm hvm_directio pv_directio hap shadow gnttab-v1 gnttab-v2
total_memory           : 7933
free_memory            : 2341
sharing_freed_memory   : 0
outstanding_claims     : 17
xen_commandline        : placeholder dom0_mem=2G free_memory : 9 no-real-mode
"""


def test_free_memory() -> None:
    assert free_memory(XL_INFO) == 2341
    assert free_memory("free_memory:0\n") == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sharing_freed_memory   : 5\n",
        "free_memory            :\n",
        "free_memory : -1",
        "xfree_memory : 1",
    ],
)
def test_no_free_memory(text: str) -> None:
    with pytest.raises(XenableError, match="cannot tell how much memory is free"):
        free_memory(text)


@pytest.mark.parametrize(
    ("kind", "memory", "vcpus", "more"),
    [
        # KiB, by hand: 4 * (256 + 512) + 2048 = 5120, and up to 2 MiB.
        (Kind.PVH, 512, 1, 6),
        (Kind.PV, 512, 1, 4),
        (Kind.PVH, 4096, 4, 22),
        (Kind.PVH, 65536, 16, 274),
        (Kind.PV, 64, 1, 4),
    ],
)
def test_overhead(kind: Kind, memory: int, vcpus: int, more: int) -> None:
    assert overhead(make_guest(kind=kind, memory=memory, vcpus=vcpus)) == more


@given(st.integers(64, 1 << 20), st.integers(1, 128), st.sampled_from(Kind))
def test_overhead_covers_its_parts_and_little_more(memory: int, vcpus: int, kind: Kind) -> None:
    guest = make_guest(kind=kind, memory=memory, vcpus=vcpus)
    parts = vcpus + memory / 256 + (1 if kind is Kind.PV else 2)
    assert parts <= overhead(guest) < parts + 2
    assert (memory + overhead(guest)) % 2 == 0


def test_fits() -> None:
    guest = make_guest(memory=512, vcpus=1)
    assert fits(518, guest) is None
    assert (
        fits(517, guest) == "web1 needs 518 MiB, 512 MiB for itself and 6 MiB for Xen, and 517 MiB are free"
    )


@pytest.mark.parametrize("form", Format)
def test_dom0_pays_for_the_qemu_of_a_qcow2_file(form: Format) -> None:
    guest = make_guest(format=form)
    assert dom0_has_room("MemTotal: 9 kB\nMemAvailable:  65536 kB\n", guest) is None
    # Where the kernel does not say, nobody knows better.
    assert dom0_has_room("", guest) is None
    missing = dom0_has_room("MemAvailable: 65535 kB\n", guest)
    if form is not Format.QCOW2:
        assert missing is None
        return
    what = "the disk of web1 is a qcow2 file, for which dom0 runs a QEMU of some 64 MiB"
    assert missing == f"{what}, and dom0 has 63 MiB left"
