# SPDX-License-Identifier: GPL-2.0-or-later
"""A tiny kernel is really built, by the code of `xenable kernel build`, and really boots as dom0 under Xen.
The flavours are really configured.

The builds see an overlay of this machine: what they write to /var/lib and /etc is a folder of the test.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.qemu import CPU
from tests.contract.sandbox import command, inside, needs_sandbox
from tests.kernel.driver import PATCH, SAYS_SO
from xenable.kernels.flavours import NAMES

TOP = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache/xenable-kernels"
"""Of the archives that apt has fetched: they are large."""

STATE = "/var/lib/xenable/kernels"
SETUP = """
mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$1/var,workdir=$1/var.work" /var/lib
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc.work" /etc
mkdir -p /var/lib/xenable/kernels/sources
mount --bind "$2" /var/lib/xenable/kernels/sources
shift 2
exec "$@"
"""

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox insmod /xen-privcmd.ko
/bin/busybox insmod /xenfs.ko
/bin/busybox insmod /two.ko
/bin/busybox mount -t xenfs xenfs /proc/xen
echo "dom0's init runs: $(/bin/busybox uname -r), $(/bin/busybox cat /sys/hypervisor/type)"
echo "build: $(/bin/busybox uname -v)"
echo "capabilities: $(/bin/busybox cat /proc/xen/capabilities)"
/bin/busybox poweroff -f
"""

MODULE = """#include <linux/module.h>
static int __init two(void) { pr_notice("a module of others runs\\n"); return 0; }
module_init(two);
MODULE_LICENSE("GPL");
"""

pytestmark = [
    pytest.mark.realtool,
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root: run with sudo"),
]


@dataclass
class Machine:
    """This machine, as far as the builds see it."""

    folder: Path

    def run(self, *cmd: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "--mount", "sh", "-euc", SETUP, "sh", self.folder, CACHE, *cmd]
        return subprocess.run(words, cwd=TOP, check=False, capture_output=True, text=True)

    def build(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "tests.kernel.driver", *options)

    @property
    def repository(self) -> Path:
        return (
            self.folder / "var/xenable/kernels" / (self.folder / "var/xenable/kernels/repository").readlink()
        )


def new_machine(folder: Path) -> Machine:
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("var", "var.work", "etc", "etc.work"):
        (folder / name).mkdir()
    return Machine(folder)


@dataclass(frozen=True)
class Built:
    machine: Machine
    stopped: subprocess.CompletedProcess[str]
    state: dict[str, Any]
    """What the interrupted build left on record."""
    said: dict[str, Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    machine = new_machine(tmp_path_factory.mktemp("machine"))
    stopped = machine.build("--stop-after", "150")
    state = json.loads((machine.folder / "var/xenable/kernels/work/tiny/state.json").read_text())
    done = machine.build()
    assert done.returncode == 0, done.stderr
    return Built(machine, stopped, state, json.loads(done.stdout))


def unpacked(built: Built, folder: Path) -> Path:
    for name in built.said["packages"]:
        subprocess.run(["dpkg-deb", "-x", built.machine.repository / name, folder], check=True)
    return folder


def own_module(root: Path, release: str, folder: Path) -> Path:
    """A module that is built with what is in the package of headers, as DKMS does it."""
    folder.mkdir()
    (folder / "two.c").write_text(MODULE)
    (folder / "Makefile").write_text("obj-m := two.o\n")
    headers = root / f"usr/src/xen-headers-{release}"
    # make takes orders from its environment: these tests may be run by another one.
    words: list[str | Path] = [
        "env",
        "-i",
        f"PATH={os.environ['PATH']}",
        "make",
        "-C",
        headers,
        f"M={folder}",
        "modules",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "two.ko"


def test_an_interrupted_build_goes_on_from_where_it_was(built: Built) -> None:
    assert "KeyboardInterrupt" in built.stopped.stderr
    assert built.state["stage"] == "configured" and built.state["objects"] >= 150
    texts = [text for _, text in built.said["progress"]]
    assert not any(text.startswith("unpacking") for text in texts)
    first = next(int(m[1]) for text in texts if (m := re.match(r"compiling: (\d+) of", text)))
    assert first > 150, "what was compiled is compiled again"
    fractions = [fraction for fraction, _ in built.said["progress"]]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(text.endswith("min left") for text in texts)


def test_packages_and_names(built: Built, tmp_path: Path) -> None:
    release = built.said["release"]
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+-1-xen-tiny", release)
    names = sorted(name.partition("_")[0] for name in built.said["packages"])
    kinds = ("image", "headers")
    assert names == sorted(f"xen-{kind}-{what}" for kind in kinds for what in (release, "tiny"))
    root = unpacked(built, tmp_path)
    assert sorted(path.name for path in (root / "boot").iterdir()) == [
        f"System.map-{release}",
        f"config-{release}",
        f"linux-{release}",
    ]
    assert "\nCONFIG_XEN_DOM0=y\n" in (root / f"boot/config-{release}").read_text()
    assert not (root / "lib").exists(), "behind the link /lib"
    modules = root / "usr/lib/modules" / release
    assert list(modules.rglob("xenfs.ko"))
    # By debhelper, as policy has it for a link within /usr.
    assert (modules / "build").readlink() == Path(f"../../../src/xen-headers-{release}")


def test_its_source_package_is_there(built: Built, tmp_path: Path) -> None:
    """Upstream's archive as it came, the patch, and the configuration.

    Unpacking all of it takes minutes: tests/unit/kernels/test_sourcepackage.py does it with a small one.
    """
    names = sorted(path.name for path in built.machine.repository.glob("xen-kernel_*"))
    assert [re.sub(r"^xen-kernel_[0-9.]+", "", name) for name in names] == [
        "-1.debian.tar.xz",
        "-1.dsc",
        "orig.tar.xz",
    ]
    debian, dsc, orig = (built.machine.repository / name for name in names)
    with orig.open("rb") as stream:
        upstream = hashlib.file_digest(stream, "sha256").hexdigest()
    assert f" {upstream} {orig.stat().st_size} {orig.name}\n" in dsc.read_text()
    assert upstream in {hashlib.sha256(path.read_bytes()).hexdigest() for path in CACHE.glob("*.orig.tar.*")}
    subprocess.run(["tar", "-C", tmp_path, "-xf", debian], check=True)
    assert (tmp_path / "debian/patches/series").read_text() == f"{PATCH}\n"
    assert SAYS_SO in (tmp_path / "debian/patches" / PATCH).read_text()
    root = unpacked(built, tmp_path / "root")
    config = root / f"boot/config-{built.said['release']}"
    assert (tmp_path / "debian/linux.config").read_text() == config.read_text()


def test_an_option_that_is_gone_stops_a_build_by_its_name(built: Built) -> None:
    machine = built.machine
    before = sorted(path.name for path in machine.repository.iterdir())
    done = machine.build("--also", "CONFIG_NO_SUCH=y")
    assert done.returncode != 0
    assert "CONFIG_NO_SUCH=y (is not there)" in done.stderr
    assert sorted(path.name for path in machine.repository.iterdir()) == before
    work = machine.folder / "var/xenable/kernels/work"
    assert json.loads((work / "tiny/state.json").read_text())["stage"] == "unpacked"
    shutil.rmtree(work)


def test_apt_sees_them_and_trusts_them_by_their_own_key(built: Built) -> None:
    policy = built.machine.run("apt-cache", "policy", "xen-image-tiny").stdout
    assert f"file:{STATE}/repository" in policy and "Candidate: (none)" not in policy
    update = built.machine.run(
        *("apt-get", "-o", "Dir::Etc::sourcelist=/etc/apt/sources.list.d/xenable-kernels.sources"),
        # The other lists are for the next build.
        *("-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0", "update"),
    )
    assert update.returncode == 0 and "W:" not in update.stderr
    keys = built.machine.folder / "var/xenable/kernels/gnupg"
    assert keys.stat().st_mode & 0o777 == 0o700


def test_the_repository_goes_whole(built: Built) -> None:
    machine = built.machine
    script = (
        "from xenable.host import Host\nfrom xenable.kernels.repository import remove\n"
        "assert remove(Host()) and not remove(Host())\n"
    )
    command = f"{sys.executable} -c '{script}' && apt-cache policy xen-image-tiny; ls {STATE}"
    # In an overlay of its own on the same: the others still need it.
    inner = machine.folder / "inner"
    for name in ("var", "var.work", "etc", "etc.work"):
        (inner / name).mkdir(parents=True)
    done = machine.run("unshare", "--mount", "sh", "-euc", SETUP, "sh", inner, CACHE, "sh", "-c", command)
    assert done.returncode == 0, done.stderr
    assert "repository" not in done.stdout and "gnupg" not in done.stdout and "Candidate" not in done.stdout


def test_lintian_is_content(built: Built) -> None:
    debs = [built.machine.repository / name for name in built.said["packages"]]
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", *debs],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_same_things_are_not_built_twice_and_give_the_same_bytes(built: Built, tmp_path: Path) -> None:
    again = built.machine.build()
    assert json.loads(again.stdout)["present"] is True
    other = new_machine(tmp_path)
    done = other.build("--work", "/var/lib/xenable/in-a-longer-place", "--jobs", "3")
    assert done.returncode == 0, done.stderr

    def sums(machine: Machine) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in machine.repository.glob("xen-*")
        }

    for name in built.said["packages"]:
        # It says what is another way, where sums say that something is.
        pair = [machine.repository / name for machine in (built.machine, other)]
        differ = subprocess.run(["debdiff", *pair], capture_output=True, text=True, check=False)
        assert differ.returncode == 0, differ.stdout
    assert sums(other) == sums(built.machine) and len(sums(other)) == 7


def test_it_boots_as_dom0(built: Built, tmp_path: Path) -> None:
    root = unpacked(built, tmp_path / "root")
    release = built.said["release"]
    command_line = "console=com1 com1=115200,8n1 dom0_mem=256M"
    (tmp_path / "xen").write_bytes(hypervisor(tmp_path))
    shutil.copy(root / f"boot/linux-{release}", tmp_path / "kernel")
    modules = root / "usr/lib/modules" / release
    own = own_module(root, release, tmp_path / "own")
    initrd(tmp_path, [own, *(next(modules.rglob(f"{name}.ko")) for name in ("xen-privcmd", "xenfs"))])
    words = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-accel",
        "tcg,thread=multi",
        "-machine",
        "q35",
        "-cpu",
        CPU,
    ]
    words += ["-smp", "2", "-m", "512M", "-display", "none", "-serial", "file:serial.log", "-no-reboot"]
    words += ["-kernel", "xen", "-append", command_line, "-initrd", "kernel console=hvc0,initrd"]
    with subprocess.Popen(words, cwd=tmp_path) as qemu:
        try:
            # Should it hang, its log says where.
            with contextlib.suppress(subprocess.TimeoutExpired):
                qemu.wait(timeout=1800)
        finally:
            qemu.kill()
    log = (tmp_path / "serial.log").read_text(errors="replace")
    assert f"dom0's init runs: {release}, xen" in log, log[-3000:]
    assert "capabilities: control_d" in log and "Xen version" in log
    assert "a module of others runs" in log and "this kernel is patched for a test" in log
    assert re.search(r"build: #1 .*[A-Z][a-z]{2} +[0-9]+ [0-9:]{8} UTC [0-9]{4}", log)


def hypervisor(folder: Path) -> bytes:
    """The newest hypervisor of the release, as an ELF file."""
    import gzip

    names = subprocess.run(
        ["apt-cache", "pkgnames", "xen-hypervisor-"], capture_output=True, text=True, check=True
    )
    found = [n for n in names.stdout.split() if re.fullmatch(r"xen-hypervisor-[0-9.]+-amd64", n)]
    for name in sorted(found, key=lambda n: [int(x) for x in re.findall(r"\d+", n)], reverse=True):
        if not subprocess.run(["apt-get", "-qq", "download", name], cwd=folder, check=False).returncode:
            subprocess.run(["dpkg-deb", "-x", next(folder.glob("*.deb")), folder / "x"], check=True)
            return gzip.decompress(next((folder / "x/boot").glob("xen-*.gz")).read_bytes())
    # A release without Xen, which nobody can convert: the packages are tested there all the same.
    pytest.skip("apt has no hypervisor for this release")


def initrd(folder: Path, modules: list[Path]) -> None:
    top = folder / "ramdisk"
    for name in ("bin", "proc", "sys", "dev"):
        (top / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", top / "bin/busybox")
    for module in modules:
        shutil.copy(module, top)
    (top / "init").write_text(INIT)
    (top / "init").chmod(0o755)
    pack = "find . | cpio --quiet -o -H newc | gzip >../initrd"
    subprocess.run(["sh", "-ec", pack], cwd=top, check=True)


@needs_sandbox
def test_hooks_run_as_for_a_kernel_of_the_distribution(built: Built) -> None:
    release = built.said["release"]
    debs = {name.partition("_")[0]: built.machine.repository / name for name in built.said["packages"]}
    kinds = ("preinst", "postinst", "prerm", "postrm")

    def ran() -> list[str]:
        text = Path("/srv/hooks").read_text()
        Path("/srv/hooks").unlink()
        return text.splitlines()

    def work() -> None:
        for kind in kinds:
            folder = Path(f"/etc/kernel/{kind}.d")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            hook = folder / "record"
            hook.write_text(f'#!/bin/sh\necho "{kind} $1 $2 $INITRD $DEB_MAINT_PARAMS" >>/srv/hooks\n')
            hook.chmod(0o755)
        common = f"{release} /boot/linux-{release} Yes"
        command(f"dpkg --force-depends -i {debs[f'xen-image-{release}']}")
        assert ran() == [f"preinst {common} install", f"postinst {common} configure "]
        assert Path(f"/lib/modules/{release}/modules.dep").exists()
        command(f"dpkg --force-depends -P xen-image-{release}")
        assert ran() == [
            f"prerm {common} remove",
            f"postrm {common} remove",
            f"postrm {common} purge",
        ]
        assert not Path(f"/lib/modules/{release}").exists() and not list(Path("/boot").iterdir())

    inside(work)


def test_every_flavour_has_all_that_it_asks_for(built: Built, tmp_path: Path) -> None:
    """The distribution's configuration is large, and turns on again what it needs."""
    done = built.machine.run(sys.executable, "-m", "tests.kernel.configuring", tmp_path)
    assert done.returncode == 0, done.stderr
    options = json.loads(done.stdout)
    assert set(options) == set(NAMES)
    assert len(options["generic"]) > 2 * len(options["lean"])
    # A key of this build alone would make each build another one.
    assert all(found["CONFIG_MODULE_SIG"] == "n" for found in options.values())
