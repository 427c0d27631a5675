# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels for Xen alone, and xen-support: the real apt, dpkg and update-grub in a sandbox."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xenable.facts.apt import KERNELS_DEBIAN, simulate
from xenable.host import Host
from xenable.kernels import places, repository
from xenable.kernels.lists import stanza_fields
from xenable.steps.packages import InstallPackages

from .progress import tell
from .sandbox import (
    REPOSITORY,
    boot_menu,
    build,
    command,
    configure_apt,
    inside,
    needs_sandbox,
    publish,
    status,
)

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
RELEASE = "6.12.9-1-xen-lean"


def test_the_native_menu_never_offers_it() -> None:
    def work() -> None:
        boot_menu()
        before = Path("/boot/grub/grub.cfg").read_text()
        # Newer than every kernel of the distribution.
        for name in ("linux", "initrd.img"):
            Path(f"/boot/{name}-99.9-1-xen-lean").write_bytes(b"content")
        Path("/boot/config-99.9-1-xen-lean").write_text("CONFIG_XEN_DOM0=y\nCONFIG_WATCHDOG_SYSFS=y\n")
        command("update-grub")
        assert Path("/boot/grub/grub.cfg").read_text() == before
        # With a hypervisor, and without Xenable: GRUB's own script for Xen would make it the default.
        Path("/boot/xen-4.20-amd64.gz").write_bytes(b"content")
        command("update-grub")
        assert "99.9-1-xen-lean" not in Path("/boot/grub/grub.cfg").read_text()
        # The same file by other names is in the menu.
        for stem, script in (("vmlinux", "20_linux_xen"), ("vmlinuz", "10_linux")):
            image = Path("/boot/linux-99.9-1-xen-lean").rename(f"/boot/{stem}-99.9-1-xen-lean")
            command("update-grub")
            menu = Path("/boot/grub/grub.cfg").read_text()
            section = menu.partition(f"### BEGIN /etc/grub.d/{script}")[2].partition("### END")[0]
            assert "99.9-1-xen-lean" in section
            image.rename("/boot/linux-99.9-1-xen-lean")

    inside(work)


def xen_image(version: str) -> None:
    """Packages like those of a build, into the archive of the sandbox."""
    build(f"xen-image-{version}-xen-lean", version, files={f"/boot/linux-{version}-xen-lean": "kernel"})
    build("xen-image-lean", version, Depends=f"xen-image-{version}-xen-lean")


def test_a_local_repository_is_what_apt_trusts_and_it_goes_whole() -> None:
    def work() -> None:
        Path("/etc/apt/sources.list").write_text("")
        xen_image("6.12.9-1")
        debs = sorted(path.name for path in Path("/archive").glob("*.deb"))
        repository.publish(HOST, Path("/archive"), debs, ())
        assert "Types: deb\n" in places.APT_SOURCES.read_text()
        told = simulate(HOST, KERNELS_DEBIAN, with_kernel=False)
        assert told is not None and told.xen_kernel is not None and told.xen_kernel.version == "6.12.9-1"
        # A second build comes beside the first, and both can be had.
        for path in Path("/archive").glob("*.deb"):
            path.unlink()
        xen_image("6.12.9-2")
        later = sorted(path.name for path in Path("/archive").glob("*.deb"))
        # Of a run that was killed between turning over the link and the end.
        left = places.KERNELS / "repository.77"
        HOST.make_folder(left)
        repository.publish(HOST, Path("/archive"), later, debs)
        assert not HOST.exists(left)
        assert "6.12.9-2" in command("apt-cache policy xen-image-lean | grep Candidate")
        command("apt-get -qq -y install xen-image-6.12.9-1-xen-lean xen-image-lean >/dev/null 2>&1")
        assert status("xen-image-6.12.9-1-xen-lean") == status("xen-image-6.12.9-2-xen-lean") == "installed"
        # And what is built last is what apt offers, of an older series and another flavour too.
        for path in Path("/archive").glob("*.deb"):
            path.unlink()
        build("xen-image-generic", "6.1.5-1")
        repository.publish(HOST, Path("/archive"), ["xen-image-generic_6.1.5-1_all.deb"], later)
        assert not (places.REPOSITORY / debs[0]).exists()
        command("apt-get -qq -y purge xen-image-lean >/dev/null 2>&1")
        told = simulate(HOST, KERNELS_DEBIAN, with_kernel=False)
        assert told is not None and told.xen_kernel is not None
        assert (told.xen_kernel.name, told.xen_kernel.version) == ("xen-image-generic", "6.1.5-1")
        # Whoever changes it without the key is not believed.
        packages = places.REPOSITORY / "Packages"
        packages.write_text(packages.read_text().replace("6.1.5-1", "6.1.5-3"))
        # Else apt sees the signed list unchanged, and looks no further.
        command("rm -rf /var/lib/apt/lists/*")
        assert subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False).returncode != 0
        assert repository.remove(HOST) and not repository.remove(HOST)
        assert HOST.names(places.KERNELS) == () and not HOST.exists(places.APT_SOURCES)
        command("apt-get -qq update")
        assert status("xen-image-6.12.9-2-xen-lean") == "installed"

    inside(work)


SOURCE = """set -e
mkdir -p /srv/xen-kernel/debian/source && cd /srv/xen-kernel
printf 'xen-kernel (VERSION) unstable; urgency=medium\\n\\n  * x\\n\\n' >debian/changelog
echo ' -- X <x@example.org>  Sat, 31 Jan 2026 12:00:00 +0000' >>debian/changelog
printf 'Source: xen-kernel\\nMaintainer: X <x@example.org>\\n\\n' >debian/control
printf 'Package: xen-image-lean\\nArchitecture: amd64\\nDescription: x\\n' >>debian/control
printf '#!/usr/bin/make -f\\n%%:\\n\\tdh $@\\n' >debian/rules
echo '3.0 (quilt)' >debian/source/format
orig=/archive/xen-kernel_6.12.9.orig.tar.xz
[ -e $orig ] || tar -C /srv --exclude=debian -caf $orig xen-kernel
cd /archive && cp -r /srv/xen-kernel . && dpkg-source -b xen-kernel >/dev/null 2>&1 && rm -r xen-kernel
"""


def test_the_source_of_a_build_is_offered_with_it() -> None:
    def work() -> None:
        Path("/etc/apt/sources.list").write_text("")
        xen_image("6.12.9-1")
        command(SOURCE.replace("VERSION", "6.12.9-1"))
        first = sorted(path.name for path in Path("/archive").iterdir() if path.is_file())
        assert "xen-kernel_6.12.9.orig.tar.xz" in first and "xen-kernel_6.12.9-1.dsc" in first
        repository.publish(HOST, Path("/archive"), first, ())
        assert "Types: deb deb-src\n" in places.APT_SOURCES.read_text()
        old = (places.REPOSITORY / "xen-kernel_6.12.9.orig.tar.xz").stat().st_ino
        # The next build of the same Linux shares the archive of it with the one before.
        command(SOURCE.replace("VERSION", "6.12.9-2"))
        second = [name for name in HOST.names("/archive") if "6.12.9-2" in name or ".orig." in name]
        with (places.REPOSITORY / "xen-kernel_6.12.9.orig.tar.xz").open("rb") as in_use:
            repository.publish(HOST, Path("/archive"), second, first)
            assert (places.REPOSITORY / "xen-kernel_6.12.9.orig.tar.xz").stat().st_ino != old
            assert len(in_use.read()) > 0
        Path("/srv/got").mkdir()
        for version in ("6.12.9-1", "6.12.9-2"):
            command(f"cd /srv/got && apt-get -qq source xen-kernel={version} 2>&1 && rm -r xen-kernel-*")
            assert Path(f"/srv/got/xen-kernel_{version}.dsc").exists()
        assert repository.remove(HOST)
        command("apt-get -qq update")
        assert not [name for name in HOST.names("/var/lib/apt/lists") if "xenable" in name]

    inside(work)


def test_a_repository_that_can_not_be_made_whole_leaves_the_one_before() -> None:
    def work() -> None:
        xen_image("6.12.9-1")
        debs = sorted(path.name for path in Path("/archive").glob("*.deb"))
        repository.publish(HOST, Path("/archive"), debs, ())
        before = HOST.link_target(places.REPOSITORY)
        with pytest.raises(Exception, match="cannot run"):
            repository.publish(HOST, Path("/archive"), ["gone.deb"], debs)
        assert HOST.link_target(places.REPOSITORY) == before
        assert "6.12.9-1" in command("apt-cache policy xen-image-lean | grep Candidate")

    inside(work)


def test_what_brings_a_kernel_for_xen_alone_and_takes_it_away() -> None:
    def work() -> None:
        build("xen-system-amd64", Depends="xen-hypervisor-4.20-amd64")
        build("xen-hypervisor-4.20-amd64")
        build("linux-image-amd64")
        # The metapackage is here, and older: it stays, for an upgrade could not be undone.
        build("linux-headers-amd64", "1")
        publish()
        command("apt-get install -qq -y linux-headers-amd64")
        build("linux-headers-amd64", "2")
        build("linux-headers-6.12.9-amd64")
        build("linux-image-6.12.9-amd64")
        build("linux-image-amd64", "2", Depends="linux-image-6.12.9-amd64")
        xen_image("6.12.9-1")
        build("xen-headers-6.12.9-1-xen-lean", "6.12.9-1")
        publish()
        for xen_kernel, image in (
            (False, "linux-image-6.12.9-amd64"),
            (True, "xen-image-6.12.9-1-xen-lean"),
        ):
            told = simulate(HOST, KERNELS_DEBIAN, with_kernel=True, xen_kernel=xen_kernel, with_headers=True)
            assert told is not None and told.upgraded == ()
            new = {c.name for c in told.new}
            assert {image, image.replace("-image-", "-headers-")} <= new
        ours = simulate(HOST, KERNELS_DEBIAN, with_kernel=True, xen_kernel=True)
        theirs = simulate(HOST, KERNELS_DEBIAN, with_kernel=True)
        assert theirs is not None and "linux-headers-amd64" not in {c.name for c in theirs.new}
        assert ours is not None and theirs is not None and ours.kernel == theirs.kernel
        assert {c.name for c in ours.new} - {c.name for c in theirs.new} == {
            "xen-image-lean",
            f"xen-image-{RELEASE}",
        }
        only = {"linux-image-amd64", "linux-image-6.12.9-amd64"}
        assert {c.name for c in theirs.new} - {c.name for c in ours.new} == only
        step = InstallPackages(names=("xen-system-amd64", "xen-image-lean"), recommended=())
        saved = step.save(HOST)
        step.do(HOST, saved, tell)
        assert status(f"xen-image-{RELEASE}") == "installed"
        step.undo(HOST, saved, tell)
        assert status(f"xen-image-{RELEASE}") == "" and not Path(f"/boot/linux-{RELEASE}").exists()

    inside(work)


# ---------------------------------------------------------------------------------------------- xen-support


def control_of(architecture: str) -> dict[str, str]:
    """The control fields of xen-support as dpkg makes them for an architecture."""
    top = Path("/srv/tree")
    shutil.rmtree(top, ignore_errors=True)
    (top / "debian/xen-support/DEBIAN").mkdir(parents=True)
    for name in ("control", "changelog"):
        shutil.copy(REPOSITORY / "debian" / name, top / "debian" / name)
    command(
        f"cd {top} && DEB_HOST_ARCH={architecture} dpkg-gencontrol -pxen-support "
        "-Pdebian/xen-support -Vmisc:Depends= 2>/dev/null"
    )
    return stanza_fields((top / "debian/xen-support/DEBIAN/control").read_text())


def archive(architecture: str) -> None:
    """A small archive with xen-support of an architecture, and a libc6-xen as there once was."""
    fields = control_of(architecture)
    build("xen-support", Depends=fields["depends"], Recommends=fields["recommends"])
    build("xen-system-amd64", Depends="xen-hypervisor-4.20-amd64")
    build("xen-hypervisor-4.20-amd64")
    for name in ("linux-image-amd64", "grub-xen-host", "libc6-xen", "xenable", "qemu-system-xen"):
        build(name)
    publish()


def test_xen_support_brings_what_it_recommends() -> None:
    def work() -> None:
        archive("i386")
        command("apt-get -qq -y install xen-support >/dev/null 2>&1")
        for name in (
            "xen-hypervisor-4.20-amd64",
            "linux-image-amd64",
            "libc6-xen",
            "grub-xen-host",
            "xenable",
        ):
            assert status(name) == "installed", name

    inside(work)


def test_libc6_xen_comes_though_apt_leaves_recommendations_out() -> None:
    def work() -> None:
        archive("i386")
        configure_apt('APT::Install-Recommends "false";\n')
        assert "Inst libc6-xen" not in command("apt-get --simulate install xen-support")
        told = simulate(HOST, KERNELS_DEBIAN, with_kernel=True)
        assert told is not None and not told.install_recommends
        names = tuple(candidate.name for candidate in told.recommended)
        assert "libc6-xen" in names
        step = InstallPackages(names=("xen-support",), recommended=names)
        step.do(HOST, step.save(HOST), tell)
        assert status("libc6-xen") == status("xen-support") == status("xen-system-amd64") == "installed"
        assert status("xenable") != "installed"

    inside(work)


def test_a_kernel_that_was_built_here_will_do() -> None:
    def work() -> None:
        xen_image("6.12.9-1")
        archive("amd64")
        command("apt-get -qq -y install xen-image-lean >/dev/null 2>&1")
        command("apt-get -qq -y install xen-support >/dev/null 2>&1")
        assert status("xen-support") == "installed" and status("linux-image-amd64") != "installed"
        assert status("libc6-xen") != "installed", "amd64 never had one"

    inside(work)


def test_architectures() -> None:
    def work() -> None:
        assert "libc6-xen" in re.split(r"[,\s]+", control_of("i386")["recommends"])
        assert "libc6-xen" not in control_of("amd64")["recommends"]
        assert control_of("amd64")["depends"].startswith(
            "xen-image-lean | xen-image-generic | linux-image-amd64 | linux-image-generic"
        )

    inside(work)
