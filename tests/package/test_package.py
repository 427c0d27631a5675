# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package: built, linted, taken apart, installed into a scratch root. It must convert nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from xenable import __version__

from .archive import RETRIES

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "debian/build.sh"

pytestmark = [
    pytest.mark.realtool,
    pytest.mark.package,
    pytest.mark.skipif(shutil.which("dpkg-buildpackage") is None, reason="dpkg-dev is not installed"),
]


def output(*cmd: str | Path, code: int = 0) -> str:
    done = subprocess.run(cmd, check=False, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    before = output("git", "-C", TOP, "status", "--porcelain", "--ignored", "debian", "xenable.egg-info")
    output(BUILD, folder)
    after = output("git", "-C", TOP, "status", "--porcelain", "--ignored", "debian", "xenable.egg-info")
    assert before == after, "the build left something in the checkout"
    return folder / f"xenable_{__version__}_all.deb"


def test_versions_agree(deb: Path) -> None:
    assert output("dpkg-deb", "-f", deb, "Version").strip() == __version__
    assert f"## {__version__}\n" in (TOP / "NEWS.md").read_text(encoding="utf-8")


def test_the_same_source_gives_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    other = {**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run(["sh", "-c", f"umask 077; '{BUILD}' '{tmp_path}'"], check=True, env=other)
    again = tmp_path / deb.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(deb.read_bytes()).digest()


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_lintian_is_content(deb: Path) -> None:
    output("lintian", "--allow-root", "-i", "-I", "--fail-on", "error,warning", deb)


def test_no_maintainer_script_stops_a_unit(deb: Path, tmp_path: Path) -> None:
    """debhelper would stop all of them at an upgrade: the guests' network, and the gate of a trial boot."""
    output("dpkg-deb", "-e", deb, tmp_path)
    scripts = [path for path in tmp_path.iterdir() if path.name.startswith(("pre", "post"))]
    assert {path.name for path in scripts} == {"postinst", "postrm", "prerm"}
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert "deb-systemd-" not in text and "systemctl" not in text, path.name


def test_contents(deb: Path, tmp_path: Path) -> None:
    output("dpkg-deb", "-x", deb, tmp_path)
    for name in ("grub.d", "guest", "hold", "initramfs", "network"):
        for path in (TOP / "data" / name).rglob("*"):
            if path.is_file():
                shipped = tmp_path / "usr/share/xenable" / path.relative_to(TOP / "data")
                assert shipped.read_bytes() == path.read_bytes(), shipped
    for name, place in (("systemd", "usr/lib/systemd/system"), ("udev", "usr/lib/udev/rules.d")):
        for path in (TOP / "data" / name).rglob("*"):
            if path.is_file():
                shipped = tmp_path / place / path.relative_to(TOP / "data" / name)
                assert shipped.read_bytes() == path.read_bytes(), shipped
    for path in (TOP / "kernel").rglob("*"):
        if path.is_file():
            shipped = tmp_path / "usr/share/xenable" / path.relative_to(TOP)
            assert shipped.read_bytes() == path.read_bytes(), shipped
    for path in (TOP / "xenable").rglob("*.py"):
        assert (tmp_path / "usr/lib/python3/dist-packages" / path.relative_to(TOP)).is_file()
    for name in (
        "usr/bin/xenable",
        "usr/share/man/man8/xenable.8.gz",
        "usr/share/bash-completion/completions/xenable",
        "usr/share/zsh/vendor-completions/_xenable",
        "usr/share/doc/xenable/NEWS.md",
    ):
        assert (tmp_path / name).is_file(), name
    for folder in ("tutorial", "how-to", "explanation", "reference"):
        for path in (TOP / "docs" / folder).iterdir():
            shipped = tmp_path / "usr/share/doc/xenable" / folder / path.name
            assert shipped.read_bytes() == path.read_bytes(), path
    assert sorted(p.name for p in (tmp_path / "etc").iterdir()) == ["xenable"]


# ------------------------------------------------------------------------------------------ a scratch root


def mirror_and_suite() -> tuple[str, str]:
    """Where this machine's apt gets its distribution from."""
    text = output("apt-get", "indextargets", "--format", "$(SITE)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)")
    codename = next(
        row.partition("=")[2].strip('"')
        for row in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        if row.startswith("VERSION_CODENAME=")
    )
    for row in text.splitlines():
        _, uri, release, component = (*row.split("|"), "", "", "")[:4]
        if release == codename and component == "main":
            return uri, codename
    pytest.skip("this machine's apt names no archive of its own distribution")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with what the package needs and GRUB's scripts; a .tar, so that every test gets a fresh one."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root rights and mmdebstrap")
    mirror, suite = mirror_and_suite()
    target = tmp_path_factory.mktemp("root") / "stock.tar"
    output(
        "mmdebstrap",
        "--variant=apt",
        "--skip=check/qemu",
        f"--aptopt={RETRIES}",
        "--include=dnsmasq-base,grub-common,grub2-common,iproute2,nftables,python3-apt,python3-click,"
        "python3-rich,python3-dacite,systemd",
        suite,
        target,
        mirror,
    )
    return target


@pytest.fixture
def root(stock: Path, deb: Path, tmp_path: Path) -> Path:
    target = tmp_path / "root"
    target.mkdir()
    output("tar", "-x", "--exclude=./dev/*", "-f", stock, "-C", target)
    shutil.copy(deb, target / "x.deb")
    return target


def inside(root: Path, *cmd: str, code: int = 0) -> str:
    # Without mounts of its own: some programs want /dev/null, and nothing here wants more.
    null = root / "dev/null"
    if not null.exists():
        null.touch()
    return output(
        "chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *cmd
    )


def tree(root: Path, *folders: str) -> dict[str, str]:
    """Every name below the folders with its mode and content, but for apt's and dpkg's own records."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            info = path.lstat()
            data = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                data = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = f"{info.st_mode:o} {info.st_uid} {data}"
    return found


SYSTEM = ("etc", "boot", "var/lib/xenable", "var/log/xenable", "var/lib/systemd", "usr/share/xenable")


def without_own(names: dict[str, str]) -> dict[str, str]:
    own = ("etc/xenable", "usr/share/xenable")
    return {name: value for name, value in names.items() if not name.startswith(own)}


def test_install_converts_nothing_and_purge_leaves_nothing(root: Path) -> None:
    before = tree(root, *SYSTEM)
    inside(root, "dpkg", "-i", "/x.deb")
    installed = tree(root, *SYSTEM)
    assert without_own(installed) == before
    assert (root / "etc/xenable/xenable.conf").is_file()
    assert inside(root, "xenable", "--version") == f"xenable {__version__}\n"
    assert '"state": "native"' in inside(root, "xenable", "status", "--json")
    inside(root, "dpkg", "-i", "/x.deb")
    assert tree(root, *SYSTEM) == installed
    inside(root, "dpkg", "-r", "xenable")
    said = inside(root, "dpkg", "-P", "xenable")
    assert "revert" not in said
    assert tree(root, *SYSTEM) == before


def test_what_a_conversion_puts_into_grub_d_survives_the_package(root: Path) -> None:
    inside(root, "dpkg", "-i", "/x.deb")
    shutil.copy(root / "usr/share/xenable/grub.d/shim", root / "etc/grub.d/90_xenable")
    assert inside(root, "sh", "/etc/grub.d/90_xenable") == ""
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub/xenable.env").touch()
    (root / "lib-for-test").mkdir()
    # There is no device under /boot that GRUB's own library could ask.
    (root / "lib-for-test/grub-mkconfig_lib").write_text(
        "prepare_grub_to_access_device() { echo insmod x; }\n"
        "make_system_path_relative_to_its_root() { echo /p; }\n"
    )
    menu = inside(root, "env", "pkgdatadir=/lib-for-test", "sh", "/etc/grub.d/90_xenable")
    assert "'xenable-a'" in menu and menu.startswith("set xenable_saved_root")
    inside(root, "dpkg", "-r", "xenable")
    said = inside(root, "env", "pkgdatadir=/lib-for-test", "sh", "/etc/grub.d/90_xenable")
    assert said.count("\n") == 1 and "is gone" in said


def test_a_converted_machine_keeps_its_way_back(root: Path) -> None:
    inside(root, "dpkg", "-i", "/x.deb")
    state, log = root / "var/lib/xenable", root / "var/log/xenable"
    for folder in (state, log):
        folder.mkdir()
        (folder / "file").write_text("x")
    (state / "journal.jsonl").write_text("")
    (root / "etc/xenable/network.env").write_text("MODE=routed\n")
    assert "revert" not in inside(root, "dpkg", "-i", "/x.deb")
    said = inside(root, "dpkg", "-r", "xenable")
    assert "this machine is converted" in said and "xenable revert" in said
    assert (state / "journal.jsonl").exists() and (log / "file").exists()
    said = inside(root, "dpkg", "-P", "xenable")
    assert "/var/lib/xenable and /etc/xenable were kept" in said
    assert (state / "file").exists() and not log.exists()
    assert [path.name for path in (root / "etc/xenable").iterdir()] == ["network.env"]
    inside(root, "dpkg", "-i", "/x.deb")
    (state / "journal.jsonl").unlink()
    kernels = root / "etc/apt/sources.list.d/xenable-kernels.sources"
    kernels.write_text("Types: deb\nURIs: file:/var/lib/xenable/kernels/repository\nSuites: ./\n")
    assert "revert" not in inside(root, "dpkg", "-P", "xenable")
    assert not state.exists() and not kernels.exists() and not (root / "etc/xenable").exists()
