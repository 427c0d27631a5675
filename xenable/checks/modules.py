# SPDX-License-Identifier: GPL-2.0-or-later
"""Do kernel modules run here that nobody tests with Xen?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, words
from xenable.config import Config
from xenable.machine import Facts
from xenable.model import Finding, Severity

NVIDIA = Rule(
    id="modules/nvidia",
    severity=Severity.OVERRIDABLE,
    title="NVIDIA's own graphics driver is loaded",
    why="Under Xen it often ends in a black screen or does not load. The network does not depend on it.",
    remedy="On a machine without a screen, override this. Else change to nouveau first.",
)
DKMS = Rule(
    id="modules/dkms",
    severity=Severity.WARNING,
    title="Some kernel modules are built on this machine (DKMS)",
    why="They have to be built for dom0's kernel too. If disks or network need them, the trial falls back.",
    remedy="Look with `dkms status` whether they are built for each kernel.",
)
OUT_OF_TREE = Rule(
    id="modules/out-of-tree",
    severity=Severity.WARNING,
    title="Loaded kernel modules do not come with the kernel",
    why="They may not work in dom0.",
    remedy="Make sure that neither disks nor network need them.",
)

RULES = (NVIDIA, DKMS, OUT_OF_TREE)


def check_modules(facts: Facts, config: Config) -> Iterator[Finding]:
    m = facts.modules
    # Not nouveau, and not the nvidiafb or i2c drivers of the kernel itself.
    nvidia = tuple(
        dict.fromkeys(n for n in (*m.graphics, *m.tainting) if n == "nvidia" or n.startswith("nvidia_"))
    )
    if nvidia:
        yield NVIDIA.found(f"Loaded: {words(nvidia)}.")
    if m.dkms:
        yield DKMS.found(f"DKMS builds {words(m.dkms)}.")
    others = [n for n in m.tainting if n not in nvidia]
    if others:
        yield OUT_OF_TREE.found(f"Loaded, and out of tree or proprietary: {words(others)}.")
