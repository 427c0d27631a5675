# SPDX-License-Identifier: GPL-2.0-or-later
"""The file systems that the conversion depends on, and the block devices under them, without a fork."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from xenable.host import STATE, Host
from xenable.machine import FileSystem, Storage

BLOCK = "/sys/class/block"
BY_UUID = "/dev/disk/by-uuid"
ESP_PLACES = ("/boot/efi", "/efi", "/boot")

WRITTEN = ("/usr", "/var/cache/apt/archives", "/var/lib/dpkg", str(STATE))
"""Where apt, dpkg and Xenable itself write to."""

DM_KINDS = (
    ("LVM-", "lvm"),
    ("CRYPT-", "crypt"),
    ("mpath-", "multipath"),
    ("DMRAID-", "raid"),
    ("part", "part"),
)
"""Beginnings of the uuid that each user of the device mapper gives its devices."""

NAME_KINDS = (("loop", "loop"), ("bcache", "bcache"), ("zram", "zram"), ("nbd", "nbd"), ("drbd", "drbd"))


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    device: str
    """major:minor; 0:N for file systems that have no block device of their own, btrfs and zfs among them."""
    mount_point: str
    options: tuple[str, ...]
    kind: str
    source: str
    super_options: tuple[str, ...]

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options


def probe_storage(host: Host) -> Storage:
    mounts = read_mounts(host)
    written = {mount.mount_point: mount for path in WRITTEN if (mount := mount_at(mounts, path))}
    return Storage(
        root=file_system_at(host, mounts, "/"),
        boot=file_system_at(host, mounts, "/boot"),
        esp=_esp(host, mounts),
        others=tuple(_describe(host, mount) for place, mount in written.items() if place != "/"),
    )


def read_mounts(host: Host) -> tuple[Mount, ...]:
    """What is mounted; for a folder without /proc, what /etc/fstab would mount."""
    text = host.text("/proc/self/mountinfo")
    return parse_mountinfo(text) if text else parse_fstab(host.text("/etc/fstab"))


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Lines of proc_pid_mountinfo(5); those that are none are left out."""
    mounts = []
    for row in text.splitlines():
        before, dash, after = row.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not dash or len(left) < 6 or len(right) < 3:
            continue
        mounts.append(
            Mount(
                device=left[2],
                mount_point=_unescape(left[4]),
                options=tuple(left[5].split(",")),
                kind=right[0],
                source=_unescape(right[1]),
                super_options=tuple(right[2].split(",")),
            )
        )
    return tuple(mounts)


def parse_fstab(text: str) -> tuple[Mount, ...]:
    """What fstab(5) would mount, as far as it says."""
    mounts = []
    for row in text.splitlines():
        words = row.split()
        if len(words) < 3 or words[0].startswith("#") or not words[1].startswith("/"):
            continue
        mounts.append(
            Mount(
                device="",
                mount_point=_unescape(words[1]),
                options=tuple(words[3].split(",")) if len(words) > 3 else (),
                kind=words[2],
                source=_unescape(words[0]),
                super_options=(),
            )
        )
    return tuple(mounts)


def file_system_at(host: Host, mounts: Sequence[Mount], path: str) -> FileSystem | None:
    """The file system that holds a path; None when unknown."""
    mount = mount_at(mounts, path)
    return _describe(host, mount) if mount is not None else None


def mount_at(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that holds a path; None when unknown."""
    # Of two mounts on the same place the later one is seen.
    holding = [mount for mount in reversed(mounts) if _holds(mount.mount_point, path)]
    return max(holding, key=lambda mount: len(mount.mount_point), default=None)


def device_stack(host: Host, name: str) -> tuple[str, ...]:
    """Kinds of block device from the one named (vda1, dm-0) down to the disks, each kind once."""
    return tuple(dict.fromkeys(kind for _, kind in _walk(host, name, ())))


def devices_under(host: Host, name: str) -> tuple[str, ...]:
    """Names of all block devices in a stack, the one named first."""
    return tuple(device for device, _ in _walk(host, name, ()))


def disks_under(host: Host, name: str) -> tuple[str, ...]:
    """Names of the disks at the bottom of a stack."""
    return tuple(dict.fromkeys(device for device, kind in _walk(host, name, ()) if kind == "disk"))


def device_name(host: Host, device: str, source: str) -> str:
    """The kernel's name (vda1, dm-0) of what is mounted from a device number or, if it has none, a path."""
    if device and not device.startswith("0:"):
        return PurePosixPath(host.link_target(f"/sys/dev/block/{device}")).name
    if not source.startswith("/dev/"):
        return ""
    target = host.link_target(source)
    return PurePosixPath(target or source).name


def device_under(host: Host, mounts: Sequence[Mount], path: str) -> str:
    """The kernel's name of the device that holds a path; empty when unknown."""
    mount = mount_at(mounts, path)
    return device_name(host, mount.device, mount.source) if mount is not None else ""


def _esp(host: Host, mounts: Sequence[Mount]) -> FileSystem | None:
    for place in ESP_PLACES:
        for mount in reversed(mounts):
            if mount.mount_point == place and mount.kind == "vfat":
                return _describe(host, mount)
    return None


def _holds(mount_point: str, path: str) -> bool:
    return mount_point in ("/", path) or path.startswith(mount_point.rstrip("/") + "/")


def _describe(host: Host, mount: Mount) -> FileSystem:
    name = device_name(host, mount.device, mount.source)
    free = total = None
    if host.live:
        try:
            space = os.statvfs(mount.mount_point)
            free = space.f_bavail * space.f_frsize // 2**20
            total = space.f_blocks * space.f_frsize // 2**20
        except OSError:
            pass
    return FileSystem(
        mount_point=mount.mount_point,
        source=mount.source,
        uuid=_uuid(host, name, mount.source),
        kind=mount.kind,
        stack=("zfs",) if mount.kind == "zfs" else device_stack(host, name),
        free=free,
        total=total,
        read_only=mount.read_only,
    )


def _uuid(host: Host, name: str, source: str) -> str:
    if source.startswith("UUID="):
        return source.removeprefix("UUID=").strip('"')
    for uuid in host.names(BY_UUID) if name else ():
        if PurePosixPath(host.link_target(f"{BY_UUID}/{uuid}")).name == name:
            return uuid
    return ""


def _walk(host: Host, name: str, above: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not name or name in above or not host.exists(f"{BLOCK}/{name}"):
        return ()
    folder = f"{BLOCK}/{name}"
    found = [(name, _kind(host, name))]
    if host.exists(f"{folder}/partition"):
        # A partition is a folder inside that of its disk.
        below: tuple[str, ...] = (PurePosixPath(host.link_target(folder)).parent.name,)
    else:
        below = host.names(f"{folder}/slaves")
    for device in below:
        found.extend(_walk(host, device, (*above, name)))
    return tuple(found)


def _kind(host: Host, name: str) -> str:
    folder = f"{BLOCK}/{name}"
    if host.exists(f"{folder}/dm"):
        uuid = host.text(f"{folder}/dm/uuid")
        return next((kind for beginning, kind in DM_KINDS if uuid.startswith(beginning)), "dm")
    if host.exists(f"{folder}/md"):
        return "raid"
    if host.exists(f"{folder}/partition"):
        return "part"
    return next((kind for beginning, kind in NAME_KINDS if name.startswith(beginning)), "disk")


def _unescape(text: str) -> str:
    """The kernel writes blanks and backslashes in names as three octal digits."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda m: chr(int(m[1], 8)), text)
