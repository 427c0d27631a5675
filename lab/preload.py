# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages kept on the host so that scenarios need little network: fetched once by a real machine."""

from pathlib import Path

from lab.build import image
from lab.cache import cache_dir, locked, new_run_folder, ssh_key
from lab.errors import LabError, ScenarioFailed
from lab.qemu import DEBS_SLOT, file_drive
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
DISK = "debs"


def bundle_of(release: Release) -> Path:
    """Where the kept packages of a release are, as one tar."""
    return cache_dir() / "debs" / f"{release.value}.tar"


def fetch(recipe: Recipe, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Keep what apt would download for these packages, with recommended ones, on this stock machine.

    Returns the tar. Nothing is done when it was done before. Raises LabError when it fails.
    """
    base, bundle = image(recipe), bundle_of(recipe.release)
    made_for = bundle.with_suffix(".for")
    wanted = "\n".join((base.name, *sorted(packages), ""))
    bundle.parent.mkdir(exist_ok=True)
    with locked(f"debs-{recipe.release.value}"):
        if bundle.exists() and made_for.exists() and made_for.read_text() == wanted:
            return bundle
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
                vm.get("/var/tmp/debs.tar", bundle.with_suffix(".new"))
            except ScenarioFailed as error:
                raise LabError(f"cannot keep packages: {error} (logs: {logs})") from error
        bundle.with_suffix(".new").rename(bundle)
        made_for.write_text(wanted)
    return bundle


def drive(release: Release) -> tuple[str, ...]:
    """Options of QEMU that give a machine the tar as a disk; none where no packages are kept."""
    return file_drive(bundle_of(release), DISK, DEBS_SLOT) if bundle_of(release).exists() else ()


def give(vm: VM) -> None:
    """Put what is on that disk into a running machine's apt cache; nothing happens where there is none."""
    disk = f"/dev/disk/by-id/virtio-{DISK}"
    vm.ssh(f"[ ! -e {disk} ] || tar -C {ARCHIVES} --no-same-owner -xf {disk}")
