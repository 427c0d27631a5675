# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.boot.commandline import (
    carried_over,
    dom0_arguments,
    dom0_memory,
    merge_xen,
    serial_consoles,
    xen_arguments,
)
from xenable.errors import XenableError
from xenable.machine import SerialConsole

COM1 = SerialConsole(port=0, speed=115200, mode="8n1")
COM2 = SerialConsole(port=1, speed=9600, mode="8n1")
MEMORY = "dom0_mem=1536M,max:1536M"


@pytest.mark.parametrize(
    ("total", "used", "initrd", "expected"),
    [
        (1024, None, None, 768),
        (2048, 300, 150, 1120),
        (3072, 300, 150, 1168),
        (8192, 500, 200, 1424),
        (16384, 9000, 200, 11264),
        (131072, 2000, 200, 7568),
        (1048576, 2000, 200, 8192),
        (4096, 1000, 500, 1520),
        (4096, 4000, None, 3584),
        (0, None, None, 0),
    ],
)
def test_memory(total: int, used: int | None, initrd: int | None, expected: int) -> None:
    assert dom0_memory(total, used, initrd) == expected


@given(st.integers(512, 1 << 22), st.none() | st.integers(0, 1 << 22), st.none() | st.integers(0, 4096))
def test_memory_always_leaves_something(total: int, used: int | None, initrd: int | None) -> None:
    memory = dom0_memory(total, used, initrd)
    assert 0 <= memory <= total - 256
    assert memory % 16 == 0
    if used is not None and used * 1.25 + 272 <= total - max(256, total // 8):
        assert memory >= used + 256 or memory >= used * 1.25


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        ((), "dom0_mem=1536M,max:1536M ucode=scan watchdog"),
        ((COM1,), "dom0_mem=1536M,max:1536M ucode=scan watchdog com1=115200,8n1 console=com1,vga"),
        ((COM2,), "dom0_mem=1536M,max:1536M ucode=scan watchdog com2=9600,8n1 console=com2,vga"),
        (
            (COM2, COM1),
            f"{MEMORY} ucode=scan watchdog com1=115200,8n1 com2=9600,8n1 console=com1,com2,vga",
        ),
    ],
)
def test_xen_arguments(serial: tuple[SerialConsole, ...], expected: str) -> None:
    assert xen_arguments(1536, serial) == expected
    assert merge_xen(expected.split()) == tuple(expected.split())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "dom0_mem=4G", "ucode=scan watchdog dom0_mem=4G"),
        ("dom0_mem=min:1G dom0_mem=max:4G", "", "dom0_mem=min:1G dom0_mem=max:4G ucode=scan watchdog"),
        ("", "no-watchdog smt=off", f"{MEMORY} ucode=scan no-watchdog smt=off"),
        ("", "watchdog=0 noreboot=0", f"{MEMORY} ucode=scan watchdog=0 noreboot=0"),
        ("", "ucode=scan", f"{MEMORY} watchdog ucode=scan"),
        ("iommu=force", "dom0_mem=512M,max:512M", "iommu=force ucode=scan watchdog dom0_mem=512M,max:512M"),
    ],
)
def test_the_administrators_words_win(before: str, after: str, expected: str) -> None:
    words = (*before.split(), *xen_arguments(1536, ()).split(), *after.split())
    assert " ".join(merge_xen(words)) == expected


def test_serial_words_of_the_administrator_win() -> None:
    words = (*xen_arguments(1536, (COM1,)).split(), "com1=57600", "console=com1")
    assert merge_xen(words) == (MEMORY, "ucode=scan", "watchdog", "com1=57600", "console=com1")


@pytest.mark.parametrize("word", ["noreboot", "noreboot=1", "reboot=n", "reboot=no", "a b", 'a"b', "a\\b"])
def test_words_that_xen_must_not_get(word: str) -> None:
    with pytest.raises(XenableError):
        merge_xen(("x", word))


OURS = (
    "xenable.deadline=600 systemd.watchdog_sec=0 "
    "watchdog.stop_on_reboot=0 xen_wdt.timeout=600 xen_wdt.nowayout=0"
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", f"panic=30 {OURS}"),
        ("quiet splash", f"quiet splash panic=30 {OURS}"),
        ("panic=10", f"panic=10 {OURS}"),
        ("panic=0 x", f"x panic=30 {OURS}"),
        ("panic=10 panic=0", f"panic=30 {OURS}"),
        ("panic=x", f"panic=30 {OURS}"),
        (
            "console=tty0 console=ttyS0,115200n8 quiet",
            f"console=tty0 console=hvc0 quiet panic=30 {OURS}",
        ),
        (
            "console=ttyS1,57600 console=ttyS0 console=tty0",
            f"console=hvc0 console=tty0 panic=30 {OURS}",
        ),
        ("console=ttyS4 console=ttyS10", f"console=ttyS4 console=ttyS10 panic=30 {OURS}"),
        ("systemd.watchdog_sec=30 x rd.systemd.watchdog-sec=9", f"x panic=30 {OURS}"),
        ("watchdog.stop_on_reboot=1 x xen_wdt.nowayout=1 xen_wdt.timeout=9", f"x panic=30 {OURS}"),
        (
            "systemd.watchdog_device=/dev/x -- systemd.watchdog_sec=30 y",
            f"systemd.watchdog_device=/dev/x panic=30 {OURS} -- y",
        ),
        (
            "a -- b console=ttyS0",
            f"a panic=30 {OURS} -- b console=ttyS0",
        ),
    ],
)
def test_dom0_arguments(words: str, expected: str) -> None:
    linux = tuple(words.split())
    split = linux.index("--") if "--" in linux else len(linux)
    assert " ".join(dom0_arguments(linux, serial_consoles(linux[:split]), 600)) == expected


def test_hold_and_known_serial() -> None:
    assert dom0_arguments(("x",), (COM1,), None, hold=True) == (
        "x",
        "console=hvc0",
        "panic=30",
        "xenable.hold",
    )


@pytest.mark.parametrize("word", ["a'b", 'a"b', "a\\b", "a\nb", "a\x7fb"])
def test_dom0_words_that_would_change_on_the_way(word: str) -> None:
    with pytest.raises(XenableError, match="command line"):
        dom0_arguments(("x", word), (), 600)


def test_serial_consoles() -> None:
    words = ("console=ttyS1,9600", "console=ttyS0,57600e7", "console=ttyS0,115200n8r", "console=ttyS0,x")
    assert serial_consoles(words) == (COM1, COM2)
    assert serial_consoles(("console=ttyS0,57600e7",)) == (SerialConsole(port=0, speed=57600, mode="7e1"),)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=6))
def test_no_word_is_lost(words: list[str]) -> None:
    try:
        out = dom0_arguments(words, (), 600)
    except XenableError:
        return
    ours = ("panic=30", *OURS.split())
    assert [w for w in out if w not in ours] == [w for w in words if w not in ours] or any(
        w.startswith("panic") or w == "console=hvc0" for w in words
    )


@pytest.mark.parametrize(
    ("xen", "linux", "expected"),
    [
        ((), ("quiet", "reboot=pci"), ("reboot=p",)),
        ((), ("reboot=warm,k",), ("reboot=k",)),
        # Xen knows no such way, or is told already.
        ((), ("reboot=bios",), ()),
        ((), ("reboot",), ()),
        (("reboot=a",), ("reboot=pci",), ()),
        ((), ("intel_idle.max_cstate=4", "processor.max_cstate=1"), ("max_cstate=1",)),
        (("max_cstate=3",), ("processor.max_cstate=1",), ()),
        ((), ("processor.max_cstate=x", "max_cstate=1"), ()),
        ((), (), ()),
    ],
)
def test_what_xen_does_in_the_place_of_linux(
    xen: tuple[str, ...], linux: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert carried_over(xen, linux) == expected
