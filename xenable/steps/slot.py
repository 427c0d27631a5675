# SPDX-License-Identifier: GPL-2.0-or-later
"""The last two steps of a conversion: fill a slot, and arm its trial. The first two of a revert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xenable import trial, watchdog
from xenable.boot.commandline import DEADLINE, HOLD, dom0_arguments
from xenable.boot.slots import (
    fill_slot,
    free_slot,
    kept_packages,
    newest_pair_differs,
    read_manifest,
    remove_slots,
    slot_folder,
    verify_slot,
)
from xenable.datafiles import data_file
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress
from xenable.steps.base import Saved, Step

SNIPPET = "initramfs/deadman.sh"
KEEP = "/etc/apt/apt.conf.d/91xenable-slots"


def keep_text(host: Host) -> str:
    """What keeps apt's autoremove from what a slot needs of the root file system (apt.conf(5))."""
    lines = "".join(f'    "{expression}";\n' for expression in kept_packages(host))
    return (
        "// Xenable makes this file anew for each trial; `xenable revert` takes it away.\n"
        "// What can be booted from /boot/xenable needs these packages.\n"
        f"APT::NeverAutoRemove {{\n{lines}}};\n"
    )


@dataclass(frozen=True, kw_only=True)
class FillSlot(Step):
    """The newest hypervisor and dom0 kernel of the menu, frozen in the slot that is not the default."""

    kind: ClassVar[str] = "fill-slot"

    deadline: int
    """Seconds that dom0 has to prove itself."""
    hold: bool
    """Whether a person confirms."""

    def title(self) -> str:
        return "freeze hypervisor, kernel and initrd for the trial"

    def preview(self, host: Host) -> Preview:
        slot = free_slot(trial.environment(host))
        word = "then a person says `xenable confirm`" if self.hold else "then Xen becomes the default"
        own = dom0_arguments((), (), self.deadline, hold=self.hold)
        return Preview(
            title=self.title(),
            detail=f"{slot_folder(slot)}: xen, vmlinuz, boot.cfg, initrd (with the dead-man)\n"
            "dom0's kernel gets the words of the native one, console=hvc0 for a serial console, and "
            f"{' '.join(own)}\n"
            f"dom0 has {self.deadline} s to prove itself, {word}; "
            "without that Xen's watchdog resets the machine to the native system\n"
            f"{KEEP}: apt's autoremove leaves the packages of what is in the slots\n",
        )

    def is_done(self, host: Host) -> bool:
        slot = free_slot(trial.environment(host))
        if verify_slot(host, slot) or newest_pair_differs(host, slot):
            return False
        return filled_by(host, slot) == self and host.text(KEEP) == keep_text(host)

    def save(self, host: Host) -> Saved:
        return {}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if self.is_done(host):
            return
        snippet = data_file(SNIPPET).read_bytes()
        env = trial.environment(host)
        if env is None:
            # It may be on a file system that is not mounted, and name a slot as the default.
            raise XenableError(
                "cannot fill a slot: GRUB's environment block, which says which one is used, can't be read",
                hint="mount /boot, and the EFI system partition, then run the command again",
            )
        slot = free_slot(env)
        # While it is replaced it may not be there; and Arm, which makes sure of what is on disk, has to act.
        trial.call_off(host, slot)
        fill_slot(host, slot, snippet=snippet, deadline=self.deadline, hold=self.hold)
        host.write(KEEP, keep_text(host).encode())

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """None: the folder and the list for apt are Xenable's own, whole."""
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        remove_slots(host)
        host.remove(KEEP)


def filled_by(host: Host, slot: str) -> FillSlot | None:
    """The step that filled a slot, by the words that it put on dom0's kernel line; None for an empty one."""
    manifest = read_manifest(host, slot)
    words = manifest.dom0_arguments.split() if manifest else []
    limits = [word.partition("=")[2] for word in words if word.startswith(f"{DEADLINE}=")]
    if not limits or not limits[0].isdecimal():
        return None
    return FillSlot(deadline=int(limits[0]), hold=HOLD in words)


@dataclass(frozen=True, kw_only=True)
class Arm(Step):
    """The next reset boots the slot that was filled last, once."""

    kind: ClassVar[str] = "arm"

    def title(self) -> str:
        return "arm the trial boot"

    def preview(self, host: Host) -> Preview:
        return Preview(
            title=self.title(),
            detail="the next reset boots Xen once; this is cleared before Xen starts, "
            "so that every reset after it boots the native system until Xen has passed\n",
        )

    def is_done(self, host: Host) -> bool:
        return trial.on_course(host)

    def save(self, host: Host) -> Saved:
        return {}

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        if not self.is_done(host):
            trial.arm(host, free_slot(trial.environment(host)))

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        return ()

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        trial.disarm(host)
        # A dom0 on trial would be reset in the middle of what follows.
        watchdog.stop_dead_man(host)
