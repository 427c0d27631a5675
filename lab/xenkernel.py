# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel for Xen alone: built on the host by Xenable's own command, given to machines as repository."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.cache import cache_dir, locked
from lab.errors import LabError
from lab.host import CHECKOUT, own_codename, run
from lab.recipe import Release
from lab.story import say, step
from lab.vm import VM

FLAVOUR = "lean"
REPOSITORY = "/var/lib/xenable/kernels/repository"
SOURCES = "/etc/apt/sources.list.d/xenable-kernels.sources"

JOBS = 2
MOST_SECONDS = 15 * 60
"""That compiling may take with so many jobs, where nothing else runs."""

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
    codename = own_codename()
    names = [release.value for release in Release]
    if codename not in names:
        raise LabError(f"cannot build a kernel for the lab: it needs a machine with {' or '.join(names)}")
    return Release(codename)


@dataclass(frozen=True)
class Built:
    """A kernel that is there, and what the command's own record says of it."""

    folder: Path
    """What the command wrote."""
    seconds: int
    """That compiling took."""
    fresh: bool
    """Whether it was built just now, and not in an earlier run."""


def build() -> Built:
    """The lean kernel, which is built first where need be. Raises LabError."""
    if os.geteuid() != 0:
        raise LabError("cannot build a kernel: it needs root rights: run it with sudo")
    state = cache_dir() / f"kernel-{own_release().value}"
    state.mkdir(exist_ok=True)
    with locked(state.name), step(f"the {FLAVOUR} kernel is built of stock upstream source"):
        before = last_build(state)
        began = time.monotonic()
        command = ["/usr/bin/python3", "-m", "xenable", "kernel", "build", "--flavour", FLAVOUR]
        apart = ["unshare", "--mount", "sh", "-c", APART, "sh", os.fspath(state)]
        inside = ["env", "-C", os.fspath(CHECKOUT), *command, "--jobs", str(JOBS)]
        run([*apart, *inside], doing=f"build the {FLAVOUR} kernel", log=state / "build.log")
        took = time.monotonic() - began
        now = last_build(state)
        built = Built(folder=state, seconds=int(now["seconds"]), fresh=now != before)
        when = f"in this run, which took {took:.0f} s" if built.fresh else "in an earlier run"
        say(f"compiling took {built.seconds} s with {JOBS} jobs, {when}")
    return built


def last_build(state: Path) -> dict[str, Any]:
    """The command's record of the last build; empty where there was none."""
    record = state / "var/xenable/kernels/builds.json"
    if not record.exists():
        return {}
    rows: list[dict[str, Any]] = json.loads(record.read_text())["builds"]
    return rows[-1] if rows else {}


def give(vm: VM, built: Built) -> None:
    """Copy the repository to a machine, where its apt finds it, as one would to any other machine."""
    kernels = built.folder / "var/xenable/kernels"
    folder = kernels / (kernels / "repository").readlink()
    bundle = vm.folder / "repository.tar"
    # But for the source, which no machine needs, and which is larger than all the rest.
    pack = ["tar", "-C", os.fspath(folder), "--exclude=*.tar.*", "-cf", os.fspath(bundle), "."]
    run(pack, doing="pack the repository")
    vm.put(bundle, "/var/tmp/repository.tar")
    bundle.unlink()
    vm.ssh(f"mkdir -p {REPOSITORY} && tar -C {REPOSITORY} --no-same-owner -xf /var/tmp/repository.tar")
    vm.ssh("rm /var/tmp/repository.tar")
    vm.put(built.folder / SOURCES.lstrip("/"), SOURCES)
    only = f"-o Dir::Etc::sourcelist={SOURCES} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
    vm.ssh(f"apt-get -q {only} update")
