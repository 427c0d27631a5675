# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy of this machine to break: an overlay over / in a mount namespace and a chroot of its own.

What runs in it is the real apt, dpkg, systemctl and update-grub on real paths; nothing of it reaches the
machine. The overlay lives in memory, is made in a few milliseconds, and is gone when the test ends.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from xenable.errors import XenableError

CLONE_NEWNS = 0x00020000
MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18

libc = ctypes.CDLL(None, use_errno=True)
REPOSITORY = Path(__file__).resolve().parents[2]

needs_sandbox = pytest.mark.skipif(os.geteuid() != 0, reason="overlay mounts need root: run with sudo")


def inside(work: Callable[[], None]) -> None:
    """Run a function in a sandbox, in a child process; its failure is the test's failure."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            _enter()
            work()
            code = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if status != 0:
        pytest.fail(said or f"the child in the sandbox ended with status {status}", pytrace=False)


def _enter() -> None:
    _check(libc.unshare(CLONE_NEWNS), "unshare")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    base = Path("/run") if Path("/run").is_dir() else Path("/tmp")
    _mount("tmpfs", str(base), "tmpfs", 0, "mode=0755")
    new = base / "root"
    for name in ("upper", "work", "root"):
        (base / name).mkdir()
    _mount("overlay", str(new), "overlay", 0, f"lowerdir=/,upperdir={base}/upper,workdir={base}/work")
    root_device = Path("/").stat().st_dev
    elsewhere = [
        p for p in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)) if p.stat().st_dev != root_device
    ]
    for folder in (Path("/proc"), Path("/dev"), *elsewhere):
        inner = new / str(folder).lstrip("/")
        inner.mkdir(parents=True, exist_ok=True)
        _mount(str(folder), str(inner), "", MS_BIND | MS_REC)
    # What belongs to this machine alone is empty in the sandbox, and comparing two moments stays cheap.
    for name in ("boot", "srv", "etc/apt", "var/lib/dpkg", "var/lib/apt", "var/cache/apt"):
        (new / name).mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", str(new / name), "tmpfs", 0, "mode=0755")
    os.chroot(new)
    os.chdir("/")
    tempfile.tempdir = None
    for name in ("TMPDIR", "DEBIAN_FRONTEND"):
        os.environ.pop(name, None)
    _fresh_packages()


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [word.encode() for word in (source, target, kind)]
    _check(libc.mount(*words, flags, options.encode() or None), f"mount {kind or source} on {target}")


def _check(code: int, what: str) -> None:
    if code != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


# ------------------------------------------------------------------------------------ furniture of a sandbox


def _fresh_packages() -> None:
    """No package installed, no source of packages: what apt and dpkg know from here on is the test's."""
    for folder in (
        "/var/lib/dpkg/info",
        "/var/lib/dpkg/updates",
        "/var/lib/dpkg/triggers",
        "/var/lib/dpkg/parts",
        "/var/lib/apt/lists/partial",
        "/var/cache/apt/archives/partial",
        "/etc/apt/apt.conf.d",
        "/etc/apt/sources.list.d",
        "/etc/apt/preferences.d",
    ):
        Path(folder).mkdir(parents=True)
    for file in ("/var/lib/dpkg/status", "/var/lib/dpkg/available", "/var/lib/dpkg/diversions"):
        Path(file).touch()
    Path("/var/lib/dpkg/statoverride").write_text("root mail 2755 /usr/bin/nothing\n")


def build(
    name: str,
    version: str = "1.0",
    *,
    files: dict[str, str] | None = None,
    scripts: dict[str, str] | None = None,
    conffiles: tuple[str, ...] = (),
    sums: bool = True,
    **fields: str,
) -> None:
    """Put a package into the archive of the sandbox: files, maintainer scripts, control fields."""
    tree = Path("/archive-src") / f"{name}_{version}"
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    known = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@invalid>",
    }
    known |= {key.replace("_", "-"): value for key, value in fields.items()}
    text = "".join(f"{key}: {value}\n" for key, value in known.items())
    (control / "control").write_text(text + "Description: a package of a test\n")
    if conffiles:
        (control / "conffiles").write_text("".join(f"{path}\n" for path in conffiles))
    for script, body in (scripts or {}).items():
        (control / script).write_text(f"#!/bin/sh\nset -e\n{body}\n")
        (control / script).chmod(0o755)
    for path, content in (files or {}).items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    # As dh_md5sums(1) makes it.
    md5s = (
        f"{hashlib.md5(content.encode()).hexdigest()}  {path.lstrip('/')}\n"
        for path, content in (files or {}).items()
        if path not in conffiles
    )
    if sums:
        (control / "md5sums").write_text("".join(md5s))
    Path("/archive").mkdir(exist_ok=True)
    command(f"dpkg-deb --root-owner-group -Znone --build {tree} /archive")


def publish(uri: str = "file:/archive") -> None:
    """Make apt see what was built."""
    command("cd /archive && dpkg-scanpackages -m . >Packages 2>/dev/null")
    Path("/etc/apt/sources.list").write_text(f"deb [trusted=yes] {uri} ./\n")
    command("apt-get -qq update")


def configure_apt(text: str) -> None:
    """Settings of apt, which has read its configuration already if a test before has imported it."""
    file = Path("/etc/apt/apt.conf.d/50site")
    file.write_text(text)
    if apt_pkg := sys.modules.get("apt_pkg"):
        apt_pkg.read_config_file(apt_pkg.config, str(file))


def boot_menu() -> None:
    """Two kernels, and a menu made by the real update-grub. Only grub-probe is stood in for: it can't name
    the device of an overlay."""
    probe = Path("/usr/sbin/grub-probe")
    probe.write_text(
        '#!/bin/sh\ncase "$*" in\n*fs_uuid*) echo 0b7c6ad4-58a8-4d2c-8d0e-2a5d0c3f3f11 ;;\n'
        "*partuuid*) echo c0ffee00-01 ;;\n*--target=device*) echo /dev/vda ;;\n*--target=fs*) echo ext2 ;;\n"
        "*abstraction*) ;;\n*partmap*) echo gpt ;;\n*hints_string*) ;;\n*) echo hd0 ;;\nesac\n"
    )
    probe.chmod(0o755)
    Path("/etc/grub.d/30_os-prober").unlink(missing_ok=True)
    # Without /sbin/init, as in a container, 10_linux has one more entry beside each, with init=…/systemd.
    Path("/sbin/init").unlink(missing_ok=True)
    Path("/sbin/init").symlink_to("/lib/systemd/systemd")
    for version in ("6.1.0-1-amd64", "6.12.9-amd64"):
        Path(f"/boot/vmlinuz-{version}").write_bytes(b"a kernel")
        Path(f"/boot/initrd.img-{version}").write_bytes(b"an initrd")
        Path(f"/boot/config-{version}").write_text("CONFIG_XEN_DOM0=y\nCONFIG_WATCHDOG_SYSFS=y\n")
    Path("/boot/grub").mkdir(exist_ok=True)
    command("update-grub")


def command(line: str) -> str:
    done = subprocess.run(["sh", "-ec", line], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def status(name: str) -> str:
    """dpkg's word for the state of a package; empty for one that it never had."""
    return command(f"dpkg-query -W -f '${{db:Status-Status}}' {name} 2>/dev/null || true")


def refused(work: Callable[[], object]) -> XenableError:
    """The error that some work ends with."""
    with pytest.raises(XenableError) as caught:
        work()
    return caught.value
