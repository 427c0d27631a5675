# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario is given, and how it gets its machines."""

from dataclasses import dataclass, field
from pathlib import Path

from lab import preload
from lab.build import image
from lab.cache import ssh_key
from lab.qemu import DirectBoot
from lab.recipe import Recipe
from lab.vm import VM


@dataclass(frozen=True)
class Lab:
    """The options of one scenario's run: where its logs go, and the stock machine to start from."""

    folder: Path
    recipe: Recipe = field(default_factory=Recipe)
    cpus: int = 1
    """Processors of each machine; Xen uses one of them (lab/guest/customize.sh)."""


def machine(
    lab: Lab,
    name: str = "vm",
    *,
    base: Path | None = None,
    memory: int = 3072,
    reboot: bool = True,
    direct: DirectBoot | None = None,
    extra: tuple[str, ...] = (),
) -> VM:
    """A machine, still off, stock or on top of a snapshot (base); its logs go to the run's folder name.

    Memory in MiB.
    Use it in a with statement. Raises LabError when the stock image cannot be built.
    """
    return VM(
        base or image(lab.recipe),
        folder=lab.folder / name,
        key=ssh_key(),
        memory=memory,
        cpus=lab.cpus,
        reboot=reboot,
        direct=direct,
        extra=(*preload.drive(lab.recipe.release), *extra),
    )
