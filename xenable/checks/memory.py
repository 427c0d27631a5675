# SPDX-License-Identifier: GPL-2.0-or-later
"""Is there memory for Xen, dom0 and a guest?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.boot import commandline
from xenable.checks.base import Rule
from xenable.checks.kernels import dom0_kernels
from xenable.config import Config
from xenable.machine import Facts, Memory
from xenable.model import Finding, Severity

TOO_LITTLE = Rule(
    id="memory/too-little",
    severity=Severity.BLOCKER,
    title="The machine has too little memory",
    why="Without that much, dom0 runs out of memory, or no guest can start.",
    remedy="Add memory, or set `dom0-memory = auto`.",
)
INITRD_TOO_LARGE = Rule(
    id="memory/initrd-too-large",
    severity=Severity.BLOCKER,
    title="The initrd does not fit into dom0's memory",
    why="dom0 would stop while it unpacks the initrd.",
    remedy="Set `dom0-memory` to more, or MODULES=dep in /etc/initramfs-tools/initramfs.conf "
    "and run `update-initramfs -u -k all`.",
)
IN_USE = Rule(
    id="memory/in-use",
    severity=Severity.OVERRIDABLE,
    title="More memory is in use than dom0 will have",
    why="What runs here now would run out of memory in dom0.",
    remedy="Set `dom0-memory` to more, or stop what is not needed.",
)
UNKNOWN = Rule(
    id="memory/unknown",
    severity=Severity.OVERRIDABLE,
    title="The machine's memory is not known",
    why="Whether dom0 gets enough can't be judged.",
    remedy="Find out why /proc/meminfo can't be read, or set `dom0-memory` by hand and override this.",
)

DOM0 = Rule(
    id="memory/dom0",
    severity=Severity.NOTE,
    title="dom0 gets a part of the machine's memory",
    why="Everything that runs here goes on in dom0, with that much.",
    remedy="Nothing to do, or set `dom0-memory` to choose another amount.",
)

RULES = (TOO_LITTLE, INITRD_TOO_LARGE, IN_USE, UNKNOWN, DOM0)

LEAST = 512
"""MiB that any dom0 needs."""

FOR_XEN_AND_A_GUEST = 256
"""MiB that must be left beside dom0: Xen's own tables and heap, and one small guest."""

FOR_THE_KERNEL = 256
"""MiB that dom0's kernel and its early programs need beside the unpacked initrd."""

STEP = 16

COARSE = 256
"""MiB to which what is in use is rounded up: it changes by a few at any moment, and plan and apply are to
come to the same dom0."""


def dom0_memory(facts: Facts, config: Config) -> int | None:
    """MiB that dom0 gets: as set, else worked out. None when the machine's total is not known."""
    if config.dom0_memory is not None:
        return config.dom0_memory
    if facts.memory.total is None:
        return None
    used = in_use(facts.memory)
    if used is not None:
        used = -(-used // COARSE) * COARSE
    initrd = max((k.initrd_unpacked or 0 for k in facts.kernels), default=0)
    return commandline.dom0_memory(facts.memory.total, used, initrd or None)


def in_use(memory: Memory) -> int | None:
    """MiB that are needed now. ZFS's ARC is a cache that it gives back under pressure, but the kernel counts
    it as in use."""
    return None if memory.used is None else max(0, memory.used - (memory.zfs_arc or 0))


def check_memory(facts: Facts, config: Config) -> Iterator[Finding]:
    m = facts.memory
    unknown = [n for n, v in (("how much there is", m.total), ("how much is in use", m.used)) if v is None]
    if unknown:
        yield UNKNOWN.found(f"It could not be found out {' and '.join(unknown)}.")
    dom0 = dom0_memory(facts, config)
    if dom0 is None:
        return
    asked = config.dom0_memory or LEAST
    needed = asked + FOR_XEN_AND_A_GUEST
    if m.total is not None and m.total < needed:
        lower = config.dom0_memory is not None and m.total >= LEAST + FOR_XEN_AND_A_GUEST
        yield TOO_LITTLE.found(
            f"The machine has {m.total} MiB; {needed} MiB are needed: "
            f"{asked} for dom0 + {FOR_XEN_AND_A_GUEST} for Xen and a small guest.",
            "Add memory, or set `dom0-memory = auto`." if lower else "Add memory.",
        )
        return
    yield DOM0.found(f"dom0 gets {dom0} MiB{f' of {m.total} MiB' if m.total is not None else ''}.")
    used = in_use(m)
    if used is not None and used > dom0:
        better = -(-(used + used // 4) // STEP) * STEP
        arc = f" (without ZFS's cache of {m.zfs_arc} MiB)" if m.zfs_arc else ""
        fits = m.total is not None and better + FOR_XEN_AND_A_GUEST <= m.total
        yield IN_USE.found(
            f"{used} MiB are in use now{arc}; dom0 will have {dom0} MiB.",
            f"Set `dom0-memory = {better}`, or stop what is not needed."
            if fits
            else "Stop what is not needed, or add memory.",
        )


def check_initrd_memory(facts: Facts, config: Config) -> Iterator[Finding]:
    dom0 = dom0_memory(facts, config)
    kernels = [k for k in dom0_kernels(facts) if k.initrd_unpacked is not None]
    if dom0 is None or dom0 < LEAST or not kernels:
        return
    kernel = min(kernels, key=lambda k: (not k.running, -(k.initrd_unpacked or 0)))
    unpacked, packed = kernel.initrd_unpacked or 0, kernel.initrd_size or 0
    needed = unpacked + packed + FOR_THE_KERNEL
    if needed > dom0:
        yield INITRD_TOO_LARGE.found(
            f"dom0 gets {dom0} MiB; {needed} MiB are needed: {kernel.initrd} is {packed} packed "
            f"+ {unpacked} unpacked, + {FOR_THE_KERNEL} for the kernel.",
            f"Set `dom0-memory = {-(-needed // STEP) * STEP}` or more. Or make the initrd smaller: "
            "MODULES=dep in /etc/initramfs-tools/initramfs.conf, then `update-initramfs -u -k all`.",
        )
