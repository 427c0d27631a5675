# SPDX-License-Identifier: GPL-2.0-or-later
"""Base images, of which guests begin as copies: made once of a release's packages, or of a cloud image.

RELEASE-amd64.raw is one ext4 file system without partitions, RELEASE-amd64.vmlinuz and .initrd are its
kernel for guests that GRUB can't start. RELEASE-amd64.json says what is in it, and is written last: without
it there is no image. What is under way has a name that begins with a dot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xenable.errors import XenableError
from xenable.guests import qcow2
from xenable.guests.inside import kernel_inside
from xenable.guests.interrupts import undisturbed
from xenable.guests.records import IMAGES
from xenable.host import Host
from xenable.model import Progress

SCHEMA = 1
GRUB_UNPACKS = ("gzip", "xz", "lzo", "none")
"""Compressions of a kernel that GRUB can load into a PV guest (its grub-core/io); elsewhere Linux unpacks
itself."""
IMAGE_FORMATS = ("raw", "qcow2")
MAGICS = {
    qcow2.MAGIC: "qcow2",
    **dict.fromkeys((b"KDMV", b"COWD", b"# Di"), "vmdk"),
    b"<<< ": "vdi",
    b"cone": "vpc",
    b"vhdx": "vhdx",
    b"QED\0": "qed",
}
"""First bytes of images that are not raw, as QEMU's block drivers know them."""
_OURS = re.compile(r"(([a-z]+)-amd64|image-[0-9a-f]{16})\.(?:json|raw|vmlinuz|initrd)")
"""Name of a file of an image; a cloud image has no release in it."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """An image that guests begin as."""

    name: str
    """File names begin with it: trixie-amd64, or image-… of a cloud image."""
    release: str
    """Code name, or the name of the file that was imported."""
    path: str
    """Absolute; always raw."""
    bytes: int
    """Length: no guest's disk can be shorter."""
    uuid: str
    """Of this image: another build has another one. For our own, also of its file system."""
    kernel: str = ""
    """Absolute paths; empty for a cloud image, whose kernel only its own boot loader knows."""
    initrd: str = ""
    kernel_version: str = ""
    compression: str = ""
    """Of the kernel proper, as xenable.boot.pairs names it; empty when unknown."""
    packages: tuple[str, ...] = ()
    """What is in it, `name version`."""
    created: str = ""
    """UTC, ISO 8601."""

    @property
    def ours(self) -> bool:
        """Whether Xenable built it: the guest reads our seed, and its disk has no partitions."""
        return bool(self.kernel)


def bases(host: Host) -> tuple[Base, ...]:
    """All base images, in order of their names."""
    return tuple(_read(host, path) for path in _records(host))


def base_of(host: Host, release: str) -> Base | None:
    """The image of a release; None when it has not been made yet."""
    path = IMAGES / f"{release}-amd64.json"
    return _read(host, path) if host.exists(path) else None


def _records(host: Host) -> list[Path]:
    names = host.names(IMAGES)
    return [IMAGES / name for name in names if name.endswith(".json") and _OURS.fullmatch(name)]


def _read(host: Host, path: Path) -> Base:
    try:
        data = json.loads(host.read(path))
        if data.pop("schema") != SCHEMA:
            raise XenableError(
                f"cannot read {path}: a later xenable wrote it", hint="install that one again"
            )
        return Base(**(data | {"packages": tuple(data["packages"])}))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise XenableError(
            f"cannot read {path}: it is damaged ({e})",
            hint="where no guest's disk stands on the image, remove that file: the image is then made anew; "
            "else put the file back from a backup, or remove these guests",
        ) from e


def write_base(host: Host, base: Base) -> None:
    document: dict[str, Any] = {"schema": SCHEMA} | dataclasses.asdict(base)
    host.write(IMAGES / f"{base.name}.json", (json.dumps(document, indent=2) + "\n").encode())


def files_of(base: Base) -> tuple[Path, ...]:
    """Every file of an image; the one that makes it an image comes first."""
    names = (".json", ".raw", ".vmlinuz", ".initrd") if base.ours else (".json", ".raw")
    return tuple(IMAGES / (base.name + ending) for ending in names)


def has_qemu_img(host: Host) -> bool:
    return host.exists("/usr/bin/qemu-img")


def discard(host: Host, path: Path) -> None:
    """Remove a folder with all that is in it, but not what is mounted there."""
    if host.exists(path):
        host.run(["rm", "-rf", "--one-file-system", "--", path])


def remove_base(host: Host, base: Base) -> None:
    """Remove an image. Errors: XenableError while guests' disks stand on it."""
    users = qcow2.standing_on(host, base.path, base.release)
    if users:
        raise XenableError(
            f"cannot remove the image {base.name}: the disks of {', '.join(users)} stand on it",
            hint="remove these guests first",
        )
    for path in files_of(base):
        host.remove(path)


def sweep_dead(host: Host) -> bool:
    """Remove what builds that were killed left; returns whether there was any.

    Not while somebody makes an image: that sweeps by itself, and says what stands in the way.
    """
    if not any(name.startswith(".") for name in host.names(IMAGES)):
        return False
    try:
        with host.lock_folder(IMAGES, wait=False):
            sweep(host)
    except XenableError:
        return False
    return True


def sweep(host: Host) -> None:
    """Remove what builds that were killed left, and nothing that others put there. Only for who holds the
    folder's lock.

    Errors: XenableError when the image that guests' disks stand on has lost its record.
    """
    whole = {base.name for base in bases(host)}
    for name in host.names(IMAGES):
        if name.startswith("."):
            discard(host, IMAGES / name)
        elif (found := _OURS.fullmatch(name)) and found[1] not in whole:
            disk = f"{IMAGES / found[1]}.raw"
            users = qcow2.standing_on(host, disk, found[2])
            if users:
                raise XenableError(
                    f"cannot make images: {disk} has lost its record, and the disks of "
                    f"{', '.join(users)} stand on it",
                    hint="put its .json file back from a backup, or remove these guests first",
                )
            host.remove(IMAGES / name)


def remove_all(host: Host) -> None:
    """Remove every image, one with a damaged record too. Only for who holds the folder's lock, when there is
    no guest any more. Errors: XenableError."""
    for path in _records(host):
        host.remove(path)
    sweep(host)


@contextlib.contextmanager
def at_work(host: Host, name: str, progress: Progress) -> Iterator[Path]:
    """A hidden folder to make an image in, for one process at a time; it is gone afterwards."""
    host.make_folder(IMAGES)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(host.lock_folder(IMAGES, wait=False))
        except XenableError:
            progress(0.0, "waiting for another xenable that makes an image")
            stack.enter_context(host.lock_folder(IMAGES))
        sweep(host)
        work = IMAGES / f".{name}.building"
        try:
            host.make_folder(work, 0o700)
            yield work
        finally:
            with undisturbed():
                discard(host, work)


def now() -> str:
    """UTC, as 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# -------------------------------------------------------------------------------------------- importing


def import_image(host: Host, path: Path, progress: Progress) -> Base:
    """Take a cloud image over, raw or qcow2, once: the same content is found again by its SHA-256.

    A relative path begins where this process is. Errors: XenableError for another format, an image that
    stands on other files, no space.
    """
    path = host.resolve(path)
    what = f"cannot use the image {path}"
    if not host.is_file(path):
        raise XenableError(f"{what}: there is no such file")
    if host.resolve(IMAGES) in path.parents:
        raise XenableError(
            f"{what}: xenable keeps its own images there",
            hint="move the file to another folder, which is yours",
        )
    if not has_qemu_img(host):
        raise XenableError(f"{what}: qemu-img is missing", hint="sudo apt install qemu-utils")
    with at_work(host, "image", progress) as work:
        progress(0.1, f"reading {path.name}")
        # The file may be somebody else's, who could change it between a look at it and its use.
        copy = work / "source"
        host.run(["cp", "--reflink=auto", "--sparse=always", "--", path, copy], timeout=None)
        size = _inspect(host, path, copy)
        digest = host.sha256(copy)
        name = f"image-{digest[:16]}"
        found = next((base for base in bases(host) if base.name == name), None)
        return found or _convert(host, path, copy, name, size, digest, progress)


def _convert(
    host: Host, path: Path, copy: Path, name: str, size: tuple[str, int], digest: str, progress: Progress
) -> Base:
    form, length = size
    work = copy.parent
    progress(0.3, f"copying {path.name}")
    # The format is what was looked at; no file but this one is read.
    host.run(["qemu-img", "convert", "-f", form, "-O", "raw", copy, work / "image"], timeout=None)
    # Whoever could not read the file can't read this one.
    host.chmod(work / "image", 0o600)
    base = Base(
        name=name,
        release=re.sub(r"[^A-Za-z0-9._+-]", "_", path.name).lstrip("._+-")[:64] or name,
        path=str(IMAGES / f"{name}.raw"),
        bytes=length,
        uuid=str(uuid.UUID(digest[:32])),
        compression=kernel_inside(host, work / "image", work / "kernel"),
        created=now(),
    )
    # The record, which is written last, must not outlive a power cut that this does not.
    host.run(["sync", work / "image"], timeout=None)
    host.rename(work / "image", base.path)
    write_base(host, base)
    progress(1.0, f"image {path.name}")
    return base


def _inspect(host: Host, path: Path, copy: Path) -> tuple[str, int]:
    """Format and length of an image's disk, by our copy of it.

    Errors: XenableError for what must not be used.
    """
    what = f"cannot use the image {path}"
    # Not by qemu-img itself: to look at some formats it opens every file that an image names.
    form = MAGICS.get(host.part(copy, 4), "raw")
    if form not in IMAGE_FORMATS:
        raise XenableError(
            f"{what}: it is of the format {form}, and {' or '.join(IMAGE_FORMATS)} is needed",
            hint=f"qemu-img convert -O raw {path} FILE makes one of it",
        )
    text = host.run(["qemu-img", "info", "-f", form, "--output=json", copy]).stdout
    try:
        info = json.loads(text)
        length = int(info["virtual-size"])
    except (ValueError, KeyError, TypeError) as e:
        raise XenableError(f"{what}: qemu-img says nothing about it that can be read") from e
    outside = set(_keys(info)) & {"backing-filename", "full-backing-filename", "data-file", "data-file-raw"}
    if outside:
        # An image from elsewhere could name any file of dom0, which the guest would then read.
        raise XenableError(
            f"{what}: its content is in other files too, which it names ({', '.join(sorted(outside))})",
            hint="qemu-img convert makes one whole image of it; look first at what it names",
        )
    if info.get("encrypted"):
        raise XenableError(f"{what}: it is encrypted")
    return form, -(-length // 512) * 512


def _keys(value: Any) -> Iterator[str]:
    """Every key with a value in it that is not empty, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if item not in (None, "", False):
                yield str(key)
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)
