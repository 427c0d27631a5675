# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages kept on the host so that scenarios need little network: fetched once by a real machine."""

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path

from lab.build import image
from lab.cache import cache_dir, locked, new_run_folder, ssh_key
from lab.errors import LabError, ScenarioFailed
from lab.host import run
from lab.recipe import Recipe, Release
from lab.story import step
from lab.vm import VM

PACKAGES = (
    "dnsmasq-base",
    "grub-xen-host",
    "mmdebstrap",
    "nftables",
    "python3-apt",
    "python3-click",
    "python3-dacite",
    "python3-rich",
    "xen-system-amd64",
    "xenstore-utils",
)
ARCHIVES = "/var/cache/apt/archives"


def folder_of(release: Release) -> Path:
    """Where the .debs of a release are kept; the folder is there, perhaps empty."""
    path = cache_dir() / "debs" / release.value
    path.mkdir(parents=True, exist_ok=True)
    return path


def fetch(recipe: Recipe, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Keep what apt would download for these packages, with recommended ones, on this stock machine.

    Returns the folder. Nothing is done when it was done before. Raises LabError when it fails.
    """
    base = image(recipe)
    folder = folder_of(recipe.release)
    wanted = hashlib.sha256("\n".join((base.name, *sorted(packages))).encode()).hexdigest()[:12]
    done = folder / f".done-{wanted}"
    with locked(f"debs-{recipe.release.value}"):
        if done.exists():
            return folder
        logs = new_run_folder(f"preload-{recipe.release.value}")
        with (
            step(f"keep the packages of {recipe.release.value}"),
            VM(base, folder=logs, key=ssh_key()) as vm,
        ):
            try:
                vm.boot()
                vm.wait_ssh()
                install = "apt-get -y -o APT::Install-Recommends=yes install --download-only"
                vm.ssh(f"{install} {' '.join(packages)}", timeout=1200)
                vm.ssh(f"cd {ARCHIVES} && tar -cf /var/tmp/debs.tar -- *.deb")
                vm.get("/var/tmp/debs.tar", logs / "debs.tar")
            except ScenarioFailed as error:
                raise LabError(f"cannot keep packages: {error} (logs: {logs})") from error
        run(["tar", "-C", os.fspath(folder), "-xf", os.fspath(logs / "debs.tar")], doing="keep packages")
        (logs / "debs.tar").unlink()
        done.touch()
    return folder


def give(vm: VM, release: Release) -> int:
    """Put all kept packages of a release into a running machine's apt cache; return how many there are."""
    debs = sorted(folder_of(release).glob("*.deb"))
    if debs:
        with tempfile.TemporaryDirectory() as scratch:
            bundle = Path(scratch) / "debs.tar"
            with tarfile.open(bundle, "w") as tar:
                for deb in debs:
                    tar.add(deb, arcname=deb.name)
            vm.put(bundle, "/var/tmp/debs.tar")
        vm.ssh(f"tar -C {ARCHIVES} --no-same-owner -xf /var/tmp/debs.tar && rm /var/tmp/debs.tar")
    return len(debs)
