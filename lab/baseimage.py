# SPDX-License-Identifier: GPL-2.0-or-later
"""Base images of guests, made on the host by Xenable's own command: in an emulated dom0 it takes long."""

import os
import shlex
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.host import CHECKOUT, run
from lab.qemu import IMAGES_SLOT, file_drive
from lab.recipe import Release
from lab.story import step
from lab.vm import VM

IMAGES = "/var/lib/xenable/images"
DISK = "images"


def drive(release: Release) -> tuple[str, ...]:
    """Options of QEMU that give a machine the image of a release, as a tar on a disk.

    It is made first if need be. Raises LabError when that fails.
    """
    return file_drive(bundle(release), DISK, IMAGES_SLOT)


def bundle(release: Release) -> Path:
    """The kept tar of an image and what belongs to it, made first if need be. Raises LabError."""
    state = cache_dir() / f"guests-{release.value}"
    packed = state / "images.tar"
    with locked(state.name):
        if not packed.exists():
            state.mkdir(exist_ok=True)
            with step(f"make the guests' image of {release.value}"):
                build(release, state).rename(packed)
    return packed


def build(release: Release, state: Path) -> Path:
    """Make an image by Xenable's own command, and a tar of it in the folder state."""
    made = "/var/lib/xenable"
    # The command sees the cache's folder there. What it leaves in it is root's, until it is packed.
    steps = (
        f"mkdir -p {made}",
        f"mount --bind {shlex.quote(os.fspath(state))} {made}",
        f"find {made} -mindepth 1 -delete",
        f"cd {shlex.quote(os.fspath(CHECKOUT))}",
        f"/usr/bin/python3 -m xenable guest images --build {release.value}",
        f"tar --sparse -C {IMAGES} -cf {made}/images.new .",
        f"chown --reference={made} {made}/images.new",
        f"rm -r {IMAGES}",
    )
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    command = [*sudo, "unshare", "--mount", "sh", "-c", " && ".join(steps)]
    run(command, doing=f"make the image of {release.value}")
    return state / "images.new"


def give(vm: VM) -> None:
    """Put what is on that disk where `xenable guest create` looks for images."""
    vm.ssh(f"mkdir -p {IMAGES} && tar --sparse -C {IMAGES} -xf /dev/disk/by-id/virtio-{DISK}", timeout=900)
