# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with an environment block, slots and a menu."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from xenable import trial
from xenable.boot.environment import Environment, write_environment
from xenable.host import Host
from xenable.model import Status
from xenable.trialrecord import Trial

GRUB = "/boot/grub"
SLOT_ENTRIES = "".join(
    f"menuentry 'slot' --class xen $menuentry_id_option 'xenable-{slot}' {{ true }}\n" for slot in ("a", "b")
)
MANIFEST = {
    "id": "xenable-4.20-amd64-6.12.9",
    "xen": "4.20",
    "kernel": "6.12",
    "xen_arguments": "",
    "dom0_arguments": "",
    "sha256": {},
}
TRYING = Environment(trying="a", stage="started", started="2026-11-22 10:00:00")


def under_xen(host: Host) -> None:
    host.write("/sys/hypervisor/type", b"xen\n")


def record(**changes: Any) -> Trial:
    base = Trial(slot="a", verdict="waiting", seconds=40, deadline=300, boot_id="1f")
    return replace(base, **changes)


def states(host: Host, env: Environment) -> tuple[Status, str]:
    write_environment(host, GRUB, env)
    now = trial.status(host)
    return now.state, now.next_boot


def boots(host: Host, id: str) -> None:
    host.make_folder("/proc/sys/kernel/random")
    host.write("/proc/sys/kernel/random/boot_id", f"{id}\n".encode())


def frozen_pair(host: Host, kernel: bytes = b"kernel") -> None:
    """A confirmed slot a, and a menu whose first pair has the same names."""
    entry = (
        f"{SLOT_ENTRIES}menuentry 'x' $menuentry_id_option 'xenable-4.20-amd64-6.12.9' {{\n"
        'multiboot2 "($xenable_boot)"/boot/xen-4.20-amd64.gz placeholder $xenable_efi\n'
        'module2 "($xenable_boot)"/boot/vmlinuz-6.12.9 placeholder root=UUID=1 ro\n'
        'module2 --nounzip "($xenable_boot)"/boot/initrd.img-6.12.9\n}\n'
    )
    host.make_folder("/boot/xenable/a")
    host.write("/boot/grub/grub.cfg", entry.encode())
    for name, data in (("xen-4.20-amd64.gz", b"xen"), ("vmlinuz-6.12.9", b"kernel")):
        host.write(f"/boot/{name}", data)
    host.write("/boot/xenable/a/xen", b"xen")
    host.write("/boot/xenable/a/vmlinuz", kernel)
    host.write("/boot/initrd.img-6.12.9", b"initrd")
    host.write("/boot/xenable/a/initrd", b"initrd, and the dead-man")
    words = "root=UUID=1 ro panic=30 xenable.deadline=300 xenable.hold"
    manifest = {**MANIFEST, "dom0_arguments": words}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    host.make_folder("/lib/modules/6.12/kernel")
    write_environment(host, GRUB, Environment(default="a"))
    under_xen(host)


def edit_menu(host: Host, old: bytes, new: bytes) -> None:
    menu = host.read("/boot/grub/grub.cfg")
    assert old in menu
    host.write("/boot/grub/grub.cfg", menu.replace(old, new))
