# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel series goes with which Xen. The reasons are in docs/explanation/xen-kernel.md."""

from __future__ import annotations

import re

from xenable.errors import XenableError
from xenable.host import Host

Series = tuple[int, int]

SERIES: tuple[tuple[Series, Series], ...] = (
    ((4, 17), (6, 1)),
    ((4, 18), (6, 6)),
    ((4, 19), (6, 6)),
    ((4, 20), (6, 12)),
    ((4, 21), (6, 12)),
    ((4, 22), (6, 18)),
)
"""Series of Xen, and the newest long-term series of Linux when that Xen came out or soon after: they were
tested with together, and what gets fixes for as long as that Xen is in a release."""

HYPERVISOR = re.compile(r"xen-hypervisor-([0-9]+\.[0-9]+)-amd64")


def parse_series(text: str) -> Series:
    """4.20 as numbers. Errors: ValueError that says what is needed."""
    match = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,3})", text, re.ASCII)
    if not match:
        raise ValueError("two numbers with a dot between them are needed, as in 6.12")
    return int(match[1]), int(match[2])


def show(series: Series) -> str:
    return f"{series[0]}.{series[1]}"


def kernel_series(xen: Series) -> Series:
    """Errors: XenableError for a Xen that is not in the table."""
    for known, kernel in SERIES:
        if known == xen:
            return kernel
    first, last = SERIES[0][0], SERIES[-1][0]
    raise XenableError(
        f"cannot choose a kernel for Xen {show(xen)}: only Xen {show(first)} to {show(last)} are known",
        hint="give --linux SERIES with the series of Linux that you want",
    )


def xen_series(host: Host) -> Series:
    """The Xen that a kernel is for: the one that runs, else the newest that is installed, else apt's.

    Errors: XenableError when there is none.
    """
    for found in (_running(host), *_installed(host), _candidate(host)):
        if found is not None:
            return found
    raise XenableError(
        "cannot choose a kernel: neither is a Xen here, nor does apt know one",
        hint="run `sudo apt update`, or give --xen SERIES",
    )


def _running(host: Host) -> Series | None:
    folder = "/sys/hypervisor/version"
    numbers = [host.text(f"{folder}/{name}").strip() for name in ("major", "minor")]
    return (int(numbers[0]), int(numbers[1])) if all(map(str.isdecimal, numbers)) else None


def _installed(host: Host) -> list[Series]:
    from xenable.facts.dpkg import read_status

    found = [HYPERVISOR.fullmatch(p.name) for p in read_status(host).values() if p.installed]
    return sorted((parse_series(match[1]) for match in found if match), reverse=True)


def _candidate(host: Host) -> Series | None:
    if not host.live:
        return None
    from xenable.facts.apt import simulate

    told = simulate(host, (), with_kernel=False)
    return parse_series(told.xen_series) if told is not None and told.xen_series else None
