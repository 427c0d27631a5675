# SPDX-License-Identifier: GPL-2.0-or-later
"""Base images of guests, made on the host by Xenable's own command: in an emulated dom0 it takes long."""

import os
import shlex
import shutil
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.host import CHECKOUT, run
from lab.recipe import Release
from lab.story import step
from lab.vm import VM

IMAGES = "/var/lib/xenable/images"


def build(release: Release) -> Path:
    """The folder with the image of a release, made first if need be. Raises LabError when that fails."""
    state = cache_dir() / f"guests-{release.value}"
    folder = state / "images"
    with locked(state.name):
        if not list(folder.glob("*.json")):
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            # The command writes to /var/lib/xenable: here that is a folder of the cache, for it alone.
            inside = (
                f"mkdir -p /var/lib/xenable && mount --bind {shlex.quote(os.fspath(state))} /var/lib/xenable"
            )
            command = f"{inside} && /usr/bin/python3 -m xenable guest images --build {release.value}"
            sudo = [] if os.geteuid() == 0 else ["sudo"]
            with step(f"make the guests' image of {release.value}"):
                run(
                    [
                        *sudo,
                        "unshare",
                        "--mount",
                        "sh",
                        "-c",
                        f"cd {shlex.quote(os.fspath(CHECKOUT))} && {command}",
                    ],
                    doing=f"make the guests' image of {release.value}",
                )
    return folder


def give(vm: VM, release: Release) -> None:
    """Put the image of a release where `xenable guest create` looks for it."""
    folder = build(release)
    bundle = vm.folder / "images.tar"
    run(["tar", "--sparse", "-C", os.fspath(folder), "-cf", os.fspath(bundle), "."], doing="pack the image")
    vm.put(bundle, "/var/tmp/images.tar")
    bundle.unlink()
    vm.ssh(
        f"mkdir -p {IMAGES} && tar --sparse -C {IMAGES} -xf /var/tmp/images.tar && rm /var/tmp/images.tar"
    )
