# SPDX-License-Identifier: GPL-2.0-or-later
"""The base image of a release, made of its packages by mmdebstrap and mke2fs.

apt verifies the signatures with the release's keyring. Documentation and translations stay in, as everybody
expects them. The cloud kernel is taken where there is one: it is built from the same source as the ordinary
one, has all that a guest of Xen needs, and is a third of its size.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path

from xenable.errors import XenableError
from xenable.guests import basefiles, seed
from xenable.guests.images import Base, at_work, base_of, now, write_base
from xenable.guests.records import IMAGES
from xenable.guests.words import Release
from xenable.host import Host, Result
from xenable.model import Progress

MIB = 1 << 20
BUILD_ROOM = 1536 * MIB
"""Bytes that a build needs for the folder and the image at the same time, with packages as they are now."""
SLACK = 192 * MIB
"""What a file system of the base has free: its journal, and room for the first boot."""

STAGES: tuple[tuple[str, float, str], ...] = (
    ("running apt-get update", 0.02, "reading the archive's lists"),
    ("downloading packages", 0.06, "downloading packages"),
    ("extracting archives", 0.25, "unpacking the first packages"),
    ("installing essential packages", 0.35, "installing the first packages"),
    ("installing remaining packages", 0.45, "installing the other packages"),
    ("cleaning package lists", 0.85, "cleaning up"),
)
"""Words of mmdebstrap's output, how far it is then, and what that is."""


def build_base(host: Host, release: Release, mirror: str, progress: Progress) -> Base:
    """Make the image of a release, or return it when it is there. One at a time; another one waits.

    `mirror` is empty for mmdebstrap's own choice. Errors: XenableError, and nothing is left behind.
    """
    _check_tools(host, release)
    with at_work(host, f"{release.codename}-amd64", progress) as work:
        # Another one may have made it meanwhile.
        found = base_of(host, release.codename)
        if found is not None:
            return found
        _check_room(host)
        return _build(host, release, mirror, work, progress)


def _check_tools(host: Host, release: Release) -> None:
    if not host.exists(release.keyring):
        package = Path(release.keyring).stem
        raise XenableError(
            f"cannot make an image of {release.codename}: {release.keyring} is missing, the keyring "
            "by which its packages are verified",
            hint=f"sudo apt install {package}; or give --image FILE with a cloud image of it",
        )
    for program, package in (("/usr/bin/mmdebstrap", "mmdebstrap"), ("/usr/sbin/mke2fs", "e2fsprogs")):
        if not host.exists(program) and not host.exists(program.removeprefix("/usr")):
            raise XenableError(
                f"cannot make an image of {release.codename}: {program} is missing",
                hint=f"sudo apt install {package}",
            )


def _check_room(host: Host) -> None:
    free = host.free_bytes(IMAGES)
    if free is not None and free < BUILD_ROOM:
        raise XenableError(
            f"cannot make an image: {IMAGES} has {free // MIB} MiB free, and about {BUILD_ROOM // MIB} MiB "
            "are needed for the time of the work",
            hint="free some space, then run the command again; nothing was changed",
        )


def _build(host: Host, release: Release, mirror: str, work: Path, progress: Progress) -> Base:
    root, image = work / "root", work / "image"
    own = str(uuid.uuid4())
    _bootstrap(host, release, mirror, work, own, progress)
    version = _finish_root(host, root, own)
    progress(0.88, "making the file system")
    size = _image_bytes(host, root)
    _make_image(host, root, image, own, size)
    name = f"{release.codename}-amd64"
    base = Base(
        name=name,
        release=release.codename,
        path=str(IMAGES / f"{name}.raw"),
        bytes=size,
        uuid=own,
        kernel=str(IMAGES / f"{name}.vmlinuz"),
        initrd=str(IMAGES / f"{name}.initrd"),
        kernel_version=version,
        compression=_compression(host, root / "boot" / f"vmlinuz-{version}"),
        packages=_packages(host, root),
        created=now(),
    )
    progress(0.96, "keeping it")
    host.chmod(image, 0o600)
    kernel, initrd = root / "boot" / f"vmlinuz-{version}", root / "boot" / f"initrd.img-{version}"
    # The record, which is written last, must not outlive a power cut that these do not.
    host.run(["sync", image, kernel, initrd], timeout=None)
    host.rename(kernel, base.kernel)
    host.rename(initrd, base.initrd)
    host.rename(image, base.path)
    write_base(host, base)
    progress(1.0, f"image of {release.codename}")
    return base


def _bootstrap(host: Host, release: Release, mirror: str, work: Path, own: str, progress: Progress) -> None:
    """Run mmdebstrap. What has to be there before the kernel makes its initrd is copied in by a hook."""
    files = work / "files"
    for file in basefiles.base_files(own):
        _put(host, files, file.path, file.text, file.mode)
    for piece in seed.first_boot():
        if piece.link:
            _folders(host, files, piece.path)
            host.symlink(files / piece.path, piece.link)
        else:
            _put(host, files, piece.path, piece.content, piece.mode)
    cmd = [*_isolated(), *_mmdebstrap(release, mirror, work)]

    def listen(line: str) -> None:
        for words, fraction, text in STAGES:
            if words in line:
                progress(fraction, text)

    result = host.stream(cmd, listen, env=proxies(host))
    if result.code != 0:
        raise _bootstrap_error(release, result)


def _isolated() -> list[str]:
    """Mounts and processes of the build are its own, and gone with it, however it ends."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _mmdebstrap(release: Release, mirror: str, work: Path) -> list[str]:
    packages = [release.kernel, *basefiles.PACKAGES]
    if release.codename != "jammy":
        packages.append(basefiles.RESOLVED)
    components = ",".join(release.components)
    cmd = [
        "mmdebstrap",
        "--mode=root",
        # What is essential, and apt: less than debootstrap's minbase, and no package is configured twice.
        "--variant=apt",
        "--format=directory",
        "--architectures=amd64",
        f"--components={components}",
        f"--keyring={release.keyring}",
        f"--include={','.join(packages)}",
        # Nothing of it is of any use before it is whole: the image is synced at its end.
        "--dpkgopt=force-unsafe-io",
        '--aptopt=Acquire::Languages "none"',
        # By a shell, so that a folder that is there stays as it is.
        f'--essential-hook=cp -aT {work}/files "$1"',
        release.codename,
        str(work / "root"),
    ]
    if mirror:
        components = " ".join(release.components)
        # Security updates may be at another address, which nobody can tell from this one.
        for suite in (release.codename, f"{release.codename}-updates"):
            cmd.append(f"deb [signed-by={release.keyring}] {mirror} {suite} {components}")
    return cmd


def proxies(host: Host) -> Mapping[str, str]:
    """apt's proxies as environment: mmdebstrap does not read the configuration of this machine's apt."""
    found = host.run(["apt-config", "dump", "--format=%f=%v%n"], check=False)
    names = {"Acquire::http::Proxy": "http_proxy", "Acquire::https::Proxy": "https_proxy"}
    env = {}
    for line in found.stdout.splitlines():
        key, _, value = line.partition("=")
        if key in names and value and value != "false":
            env[names[key]] = value
    return env


def _bootstrap_error(release: Release, result: Result) -> XenableError:
    """mmdebstrap's first complaint: the later ones only say that something failed."""
    lines = [line.strip() for line in result.stdout.splitlines()]
    marked = [line for line in lines if re.match(r"(E|Err|W: GPG error)\b", line)]
    reason = (marked or lines or [f"exit status {result.code}"])[0].removeprefix("E: ")
    hint = "look whether the mirror can be reached, and has this release; nothing was left behind"
    if "NO_PUBKEY" in result.stdout or "not signed" in result.stdout:
        package = Path(release.keyring).stem
        hint = f"the keys in {release.keyring} do not fit: is {package} as new as it can be here?"
    if "No space left" in result.stdout:
        hint = "free some space, then run the command again; nothing was left behind"
    return XenableError(f"cannot make an image of {release.codename}: mmdebstrap: {reason}", hint=hint)


def _put(host: Host, top: Path, path: str, text: str, mode: int) -> None:
    """Write a file of the guest. The folders' modes are the guest's too, whatever this process' umask is."""
    _folders(host, top, path)
    host.write(top / path.lstrip("/"), text.encode(), mode=mode)


def _folders(host: Host, top: Path, path: str) -> None:
    for above in reversed(Path(path.lstrip("/")).parents):
        if not host.exists(top / above):
            host.make_folder(top / above)
            host.chmod(top / above, 0o755)


def _finish_root(host: Host, root: Path, own: str) -> str:
    """What is left to do when all packages are there; returns the version of the kernel."""
    versions = [n.removeprefix("vmlinuz-") for n in host.names(root / "boot") if n.startswith("vmlinuz-")]
    if len(versions) != 1 or not host.exists(root / f"boot/initrd.img-{versions[0]}"):
        raise XenableError(
            "cannot make an image: it did not get one kernel with its initrd",
            hint=f"in its /boot are: {', '.join(host.names(root / 'boot'))}",
        )
    _put(host, root, "boot/grub/grub.cfg", basefiles.first_menu(own, versions[0]), 0o644)
    # Every guest makes keys and an id of its own.
    for name in host.names(root / "etc/ssh"):
        if name.startswith("ssh_host_"):
            host.remove(root / "etc/ssh" / name)
    host.write(root / "etc/machine-id", b"", mode=0o444)
    host.write(root / "etc/hostname", b"guest\n")
    # A copy of dom0's, where no package has put a link there.
    if not host.link_target(root / "etc/resolv.conf"):
        host.remove(root / "etc/resolv.conf")
    # Settings of the build are no settings of the guest.
    for name in ("apt/apt.conf.d/99mmdebstrap", "dpkg/dpkg.cfg.d/99mmdebstrap"):
        host.remove(root / "etc" / name)
    host.run(["chroot", root, "systemctl", "--quiet", "enable", "systemd-networkd.service"])
    return versions[0]


def _image_bytes(host: Host, root: Path) -> int:
    """Length of the image: what the folder holds, as ext4 counts it, and slack; whole MiB."""
    used = int(host.run(["du", "-sB1", "--one-file-system", root]).stdout.split()[0])
    apparent = int(host.run(["du", "-sB1", "--apparent-size", "--one-file-system", root]).stdout.split()[0])
    # The inode tables are 1/64 of the file system; blocks and folders cost a little more than in `used`.
    need = int(max(used, apparent * 1.02) * 1.06) + SLACK
    return -(-need // MIB) * MIB


def _make_image(host: Host, root: Path, image: Path, own: str, size: int) -> None:
    host.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-U", own, "-L", "root", "-m", "1", "-b", "4096"),
            # GRUB 2.06 reads neither; a new file is all zeros, so no table has to be written, now or later.
            *("-O", "^metadata_csum_seed,^orphan_file"),
            *("-E", "lazy_itable_init=0,assume_storage_prezeroed=1,root_owner=0:0"),
            *("-d", root, image, f"{size // 1024}k"),
        ],
        timeout=900,
    )


def _compression(host: Host, kernel: Path) -> str:
    from xenable.boot.pairs import image_compression

    return image_compression(host, str(kernel))


def _packages(host: Host, root: Path) -> tuple[str, ...]:
    form = "--showformat=${db:Status-Abbrev} ${Package} ${Version}\n"
    found = host.run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", form]).stdout
    return tuple(line[4:] for line in found.splitlines() if line.startswith("ii "))
