# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel for Xen alone: built on the host by Xenable's own command, given to machines as repository."""

import os
import re
import time
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.errors import LabError
from lab.host import CHECKOUT, run
from lab.recipe import Release
from lab.story import say, step
from lab.vm import VM

FLAVOUR = "lean"
REPOSITORY = "/var/lib/xenable/kernels/repository"
SOURCES = "/etc/apt/sources.list.d/xenable-kernels.sources"

APART = """set -e
for name in var etc; do mkdir -p "$1/$name" "$1/$name.work"; done
mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$1/var,workdir=$1/var.work" /var/lib
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc.work" /etc
shift
exec "$@"
"""
"""What the command writes to this machine is in a folder of the cache; $1 is that folder."""


def own_release() -> Release:
    """The release of this machine, whose archive has the source. Raises LabError for an unknown one."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    names = [release.value for release in Release]
    if found is None or found[1] not in names:
        raise LabError(f"cannot build a kernel for the lab: it needs a machine with {' or '.join(names)}")
    return Release(found[1])


def build() -> Path:
    """The folder of what the build wrote, which is done first where need be. Raises LabError."""
    if os.geteuid() != 0:
        raise LabError("cannot build a kernel: it needs root rights: run it with sudo")
    state = cache_dir() / f"kernel-{own_release().value}"
    state.mkdir(exist_ok=True)
    with locked(state.name), step(f"the {FLAVOUR} kernel is built of stock upstream source"):
        began = time.monotonic()
        command = ["/usr/bin/python3", "-m", "xenable", "kernel", "build", "--flavour", FLAVOUR]
        apart = ["unshare", "--mount", "sh", "-c", APART, "sh", os.fspath(state)]
        inside = ["env", "-C", os.fspath(CHECKOUT), *command]
        run([*apart, *inside], doing=f"build the {FLAVOUR} kernel", log=state / "build.log")
        say(f"{time.monotonic() - began:.0f} s")
    return state


def give(vm: VM) -> None:
    """Copy the repository to a machine, where its apt finds it, as one would to any other machine."""
    state = build()
    kernels = state / "var/xenable/kernels"
    folder = kernels / (kernels / "repository").readlink()
    bundle = vm.folder / "repository.tar"
    run(["tar", "-C", os.fspath(folder), "-cf", os.fspath(bundle), "."], doing="pack the repository")
    vm.put(bundle, "/var/tmp/repository.tar")
    bundle.unlink()
    vm.ssh(f"mkdir -p {REPOSITORY} && tar -C {REPOSITORY} --no-same-owner -xf /var/tmp/repository.tar")
    vm.ssh("rm /var/tmp/repository.tar")
    vm.put(state / SOURCES.lstrip("/"), SOURCES)
    only = f"-o Dir::Etc::sourcelist={SOURCES} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
    vm.ssh(f"apt-get -q {only} update")
