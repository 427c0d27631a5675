# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests' disks: files in a directory, or thin volumes of LVM. Each begins as a copy of a base image.

In a directory a disk is a raw file that shares the base's blocks where the file system can do that
(reflink); else a qcow2 file that stands on the base; else, without qemu-img, a sparse copy. In a thin pool
the base is brought in once, and a disk is a snapshot of it. All but the copy cost neither time nor space.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from xenable.errors import XenableError
from xenable.guests import images
from xenable.guests.images import Base, has_qemu_img
from xenable.guests.model import Format, Guest
from xenable.guests.records import GUESTS, IMAGES
from xenable.guests.words import show_size
from xenable.host import CommandError, Host

PREFIX = "xenable-"
BASE_PREFIX = "xenable-base_"
"""No guest has an underscore in its name."""
_VOLUME = re.compile(r"/dev/([A-Za-z0-9_+.][A-Za-z0-9_+.-]*)/(xenable-[A-Za-z0-9_+.-]+)")
MIB = 1 << 20
LITTLE = 64 * MIB
"""Bytes that a disk needs which shares what it begins with."""


class StorageKind(StrEnum):
    DIRECTORY = "directory"
    THIN = "lvm-thin"


class LvmMissing(XenableError):
    """There is no lvs on this machine."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    kind: StorageKind
    folder: Path = GUESTS
    """DIRECTORY: each guest has a folder in it."""
    group: str = ""
    """THIN: volume group and thin pool."""
    pool: str = ""


@dataclass(frozen=True, kw_only=True)
class Disk:
    path: str
    format: Format
    bytes: int


def disk_of(guest: Guest) -> Disk:
    """The disk that a guest's record tells of."""
    return Disk(path=guest.disk, format=guest.format, bytes=guest.disk_bytes)


def storage_of(setting: str) -> Storage:
    """The storage that the setting guest-storage means, whose text xenable.config has checked."""
    if setting.startswith("lvm:"):
        group, _, pool = setting.removeprefix("lvm:").partition("/")
        return Storage(kind=StorageKind.THIN, group=group, pool=pool)
    return Storage(kind=StorageKind.DIRECTORY, folder=Path(setting))


def folder_of(storage: Storage, name: str) -> Path | None:
    """The folder of a guest's disk; None where disks are volumes."""
    return storage.folder / name if storage.kind is StorageKind.DIRECTORY else None


def volume(storage: Storage, name: str) -> str:
    """Device of a guest's volume."""
    return f"/dev/{storage.group}/{PREFIX}{name}"


def has_volume(host: Host, storage: Storage, name: str) -> bool:
    """Whether a volume of a guest's name is there, by whomever; never where disks are files.

    Errors: XenableError when nobody can say.
    """
    if storage.kind is not StorageKind.THIN:
        return False
    return _lv(host, storage.group, PREFIX + name) is not None


# ---------------------------------------------------------------------------------------------- making


def check_room(host: Host, storage: Storage, base: Base, size: int) -> None:
    """Errors: XenableError when the disk is too small for the base, or does not fit for sure."""
    if size < base.bytes:
        raise XenableError(
            f"cannot make a disk of {show_size(size)}: the image of {base.release} needs "
            f"{show_size(base.bytes)}",
            hint=f"give --disk {show_size(base.bytes)} or more",
        )
    if storage.kind is StorageKind.THIN:
        _check_pool(host, storage)
        return
    above = next(p for p in (storage.folder, *storage.folder.parents) if host.exists(p))
    free = host.free_bytes(above)
    need = LITTLE if has_qemu_img(host) else base.bytes + LITTLE
    if free is not None and free < need:
        raise XenableError(
            f"cannot make a disk: {storage.folder} has {free // MIB} MiB free, and {need // MIB} MiB are "
            "needed to begin with",
            hint="free some space, or set `guest-storage` to another place; nothing was changed",
        )


def _check_pool(host: Host, storage: Storage) -> None:
    found = _lv(host, storage.group, storage.pool, "lv_attr,data_percent,metadata_percent")
    if found is None or not found.get("lv_attr", "").startswith("t"):
        raise XenableError(
            f"cannot use lvm:{storage.group}/{storage.pool}: it is no thin pool",
            hint=f"sudo lvcreate --type thin-pool -L SIZE -n {storage.pool} {storage.group} makes one",
        )
    # Its eighth letter (lvs(8)): whether new blocks are zeroed.
    if found["lv_attr"][7:8] != "z":
        raise XenableError(
            f"cannot use lvm:{storage.group}/{storage.pool}: its new blocks hold what other guests left",
            hint=f"sudo lvchange --zero y {storage.group}/{storage.pool}",
        )
    for key, what in (("data_percent", "data"), ("metadata_percent", "metadata")):
        percent = float(found.get(key) or 0)
        if percent > 95:
            raise XenableError(
                f"cannot make a disk: the {what} of the pool {storage.group}/{storage.pool} is "
                f"{percent:.0f} % full",
                hint=f"sudo lvextend makes {storage.pool} bigger; nothing was changed",
            )


def create_disk(host: Host, storage: Storage, base: Base, name: str, size: int, folder: Path) -> Disk:
    """Make the disk of a guest from a base image: a file in `folder`, or the volume of that name.

    Errors: XenableError; remove_disk takes away what is there then.
    """
    if storage.kind is StorageKind.THIN:
        return _create_volume(host, storage, base, name, size)
    path = folder / "disk.raw"
    if host.clone(base.path, path):
        host.lengthen(path, size)
        return Disk(path=str(path), format=Format.RAW, bytes=size)
    if has_qemu_img(host):
        overlay = folder / "disk.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base.path]
        host.run([*create, overlay, str(size)])
        return Disk(path=str(overlay), format=Format.QCOW2, bytes=size)
    host.run(["cp", "--sparse=always", "--reflink=never", "--", base.path, path], timeout=None)
    host.lengthen(path, size)
    return Disk(path=str(path), format=Format.RAW, bytes=size)


def _create_volume(host: Host, storage: Storage, base: Base, name: str, size: int) -> Disk:
    origin = _origin(base)
    group = storage.group
    # Two at once would each remove what the other one copies. Nobody holds this lock who makes a disk.
    with host.lock_folder(IMAGES):
        if _lv(host, group, origin) is None:
            _import_base(host, storage, base, origin)
    target = f"{group}/{PREFIX}{name}"
    # -kn: a snapshot is else not activated at the next boot.
    snapshot = ["lvcreate", "-q", "--yes", "-s", "-kn", "-prw", "-n", PREFIX + name]
    host.run([*snapshot, f"{group}/{origin}"])
    if size > base.bytes:
        _extend(host, target, size)
    return Disk(path=volume(storage, name), format=Format.BLOCK, bytes=size)


def _origin(base: Base) -> str:
    """Name of the volume that an image is in a pool. One that is made anew has another."""
    return f"{BASE_PREFIX}{base.name}_{base.uuid[:8]}"


def _extend(host: Host, target: str, size: int) -> None:
    """Make a volume so many bytes long; LVM rounds that up to whole extents, which it may have already."""
    done = host.run(["lvextend", "-q", "-L", f"{size}b", target], check=False)
    if done.code != 0 and "matches existing size" not in done.stderr:
        raise CommandError(["lvextend", target], done)


def _import_base(host: Host, storage: Storage, base: Base, origin: str) -> None:
    """Bring an image into the pool; the volume has its name only when it is whole. Only under the lock."""
    group, work = storage.group, f"{origin}_new"
    _remove_volume(host, group, work)
    thin = ["lvcreate", "-q", "--yes", "-V", f"{base.bytes}b", "--thinpool", storage.pool]
    host.run([*thin, "-n", work, group])
    try:
        # A new thin volume reads as zeros: what is a hole in the image stays one.
        copy = ["dd", f"if={base.path}", f"of=/dev/{group}/{work}", "bs=1M", "conv=sparse,nocreat,fsync"]
        host.run([*copy, "status=none"], timeout=None)
        host.run(["lvchange", "-q", "-pr", f"{group}/{work}"])
        host.run(["lvrename", "-q", group, work, origin])
    except BaseException:
        host.run(["lvremove", "-q", "--yes", f"{group}/{work}"], check=False)
        raise


def _lvs(host: Host, group: str, fields: str) -> list[dict[str, str]]:
    """What lvs says of the volumes of a group. A group that can't be seen is not one without volumes: it may
    be back tomorrow. Errors: LvmMissing; XenableError when lvs fails, or can't be understood.
    """
    found = host.run(["lvs", "--reportformat", "json", "--units", "b", "-o", fields, group], check=False)
    if found.code == 127:
        raise LvmMissing("cannot use thin volumes: lvs is missing", hint="sudo apt install lvm2")
    if found.code != 0:
        why = (found.stderr.strip().splitlines() or [f"lvs ended with status {found.code}"])[-1].strip()
        raise XenableError(
            f"cannot see the volumes of {group}: {why}",
            hint="`sudo vgs` says which groups are there; bring it back, then run the command again",
        )
    try:
        rows = json.loads(found.stdout)["report"][0]["lv"]
        return [{str(k): str(v) for k, v in row.items()} for row in rows]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise XenableError("cannot read what lvs says about the volumes") from e


def _lv(host: Host, group: str, name: str, fields: str = "") -> dict[str, str] | None:
    """What lvs says of one volume; None when the group has none of that name. Errors: as of _lvs."""
    rows = _lvs(host, group, f"lv_name,{fields}".rstrip(","))
    return next((row for row in rows if row.get("lv_name") == name), None)


# ------------------------------------------------------------------------------------- removing, growing


def detach_loops(host: Host, folder: Path) -> None:
    """Let go of loop devices of files in a folder. xl's script that attaches a disk may have been killed
    before it had noted which one it took: then nobody else does."""
    listing = ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]
    for row in host.run(listing, check=False).stdout.splitlines():
        device, _, path = row.partition(" ")
        if path.startswith(f"{host.resolve(folder)}/"):
            host.run(["losetup", "--detach", device], check=False)


def remove_folder(host: Host, folder: Path) -> None:
    """Remove a guest's folder with what is in it, loop devices of its files first. Errors: XenableError."""
    detach_loops(host, folder)
    images.discard(host, folder)


def remove_disk(host: Host, path: str, form: Format) -> None:
    """Remove a disk; nothing happens when it is not there. Errors: XenableError."""
    if form is not Format.BLOCK:
        host.remove(path)
        return
    found = _VOLUME.fullmatch(path)
    if found is None or found[2].startswith(BASE_PREFIX):
        raise XenableError(f"cannot remove {path}: it is no volume that Xenable made for a guest")
    _remove_volume(host, found[1], found[2])


def _remove_volume(host: Host, group: str, name: str) -> None:
    """Remove a volume; nothing happens when its group has none of that name. Errors: as of _lvs."""
    if _lv(host, group, name) is not None:
        host.run(["lvremove", "-q", "--yes", f"{group}/{name}"])


def remove_base(host: Host, storage: Storage, base: Base) -> None:
    """Remove what was brought of an image into a pool; snapshots of it go on without it."""
    if storage.kind is StorageKind.THIN:
        _remove_volume(host, storage.group, _origin(base))


def remove_bases(host: Host, storage: Storage) -> None:
    """Remove the images that were brought into a pool; snapshots of them go on without them.

    Nothing happens without LVM: it could not have brought any.
    """
    if storage.kind is not StorageKind.THIN:
        return
    try:
        rows = _lvs(host, storage.group, "lv_name")
    except LvmMissing:
        return
    for row in rows:
        if row["lv_name"].startswith(BASE_PREFIX):
            host.run(["lvremove", "-q", "--yes", f"{storage.group}/{row['lv_name']}"])


def grow_disk(host: Host, disk: Disk, size: int, *, running: bool) -> None:
    """Make a disk longer. The guest sees that at its next start, and its file system then fills it.

    Errors: XenableError for a shorter one, and for a qcow2 file that is in use.
    """
    if size < disk.bytes:
        raise XenableError(
            f"cannot make the disk {show_size(size)} long: it has {show_size(disk.bytes)}, and a shorter "
            "one would lose what is at its end",
            hint="create another guest with a smaller disk, and copy what is needed",
        )
    if size == disk.bytes:
        return
    if disk.format is Format.BLOCK:
        found = _VOLUME.fullmatch(disk.path)
        if found is None:
            raise XenableError(f"cannot make {disk.path} longer: it is no volume that Xenable made")
        _extend(host, f"{found[1]}/{found[2]}", size)
    elif disk.format is Format.QCOW2:
        if running:
            raise XenableError(
                "cannot make the disk longer while the guest runs: it is a qcow2 file, which QEMU holds",
                hint="stop the guest first",
            )
        host.run(["qemu-img", "resize", "-q", "-f", "qcow2", disk.path, str(size)])
    else:
        host.lengthen(disk.path, size)


# --------------------------------------------------------------------------------------------- looking


def used_bytes(host: Host, path: str, form: Format) -> int | None:
    """What a disk takes of its file system; None when nobody says. Shared blocks count as its own."""
    if form is Format.BLOCK:
        return None
    try:
        info = host.stat(path)
    except XenableError:
        return None
    return info.st_blocks * 512 if info is not None else None


def used_volumes(host: Host, groups: frozenset[str]) -> dict[str, int]:
    """Device to bytes in use, of all thin volumes of guests in these volume groups: one call of lvs."""
    found: dict[str, int] = {}
    if not groups:
        return found
    with contextlib.suppress(XenableError, ValueError):
        for group in sorted(groups):
            for row in _lvs(host, group, "lv_name,lv_size,data_percent"):
                if row["lv_name"].startswith(PREFIX) and row.get("data_percent"):
                    size = int(row["lv_size"].rstrip("Bb"))
                    found[f"/dev/{group}/{row['lv_name']}"] = int(size * float(row["data_percent"]) / 100)
    return found


def group_of(path: str) -> str:
    """Volume group of a device /dev/GROUP/VOLUME; empty for another path."""
    found = _VOLUME.fullmatch(path)
    return found[1] if found else ""
