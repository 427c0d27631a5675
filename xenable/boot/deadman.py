# SPDX-License-Identifier: GPL-2.0-or-later
"""The dead-man: a second cpio archive at the end of a slot's initrd, which arms Xen's domain watchdog.

The kernel unpacks all archives of an initrd one after the other into the same root (Linux,
Documentation/driver-api/early-userspace/buffer-format.rst). An initrd of initramfs-tools sources every
file of /conf/conf.d as soon as /dev, /proc and /sys are there (its /init); one of dracut its cmdline hooks.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Sequence
from dataclasses import dataclass

from xenable.errors import XenableError
from xenable.host import Host

ALIGNMENT = 512
MODULES = "/lib/modules"
MODULE = "xenable-xen_wdt.ko"
"""In the root of the initrd, where a folder is for certain."""
NEEDED = "xenable-needed-{}.ko"
"""Modules that it needs, in the order of loading."""
SHOWN = "CONFIG_WATCHDOG_SYSFS"
"""With that option a kernel says in /sys which watchdog is Xen's."""
HOOKS = ("conf/conf.d/zz-xenable", "usr/lib/dracut/hooks/cmdline/00-xenable.sh")
"""The snippet, for initramfs-tools and for dracut. No folders are made for them: where the other program
made the initrd the kernel passes over the file, and a folder in place of a link would do harm."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file in an archive."""

    path: str
    data: bytes
    mode: int = 0o644


def cpio_archive(members: Sequence[Member]) -> bytes:
    """A newc archive of regular files, root's, dated 1970: the same bytes for the same files."""
    out = bytearray()
    for inode, member in enumerate((*members, Member(path="TRAILER!!!", data=b"", mode=0)), 1):
        name = member.path.encode() + b"\0"
        mode = 0o100000 | member.mode if member.mode else 0
        # Magic, inode, mode, uid, gid, links, mtime, size, device, special device, length of name, checksum.
        fields = (inode if mode else 0, mode, 0, 0, 1, 0, len(member.data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += member.data
        out += bytes(-len(out) % 4)
    out += bytes(-len(out) % ALIGNMENT)
    return bytes(out)


def append_archive(initrd: bytes, archive: bytes) -> bytes:
    """An initrd with one more archive; zeros between archives are passed over."""
    return initrd + bytes(-len(initrd) % ALIGNMENT) + archive


def deadman_archive(snippet: bytes, modules: Sequence[bytes]) -> bytes:
    """The archive for a kernel. modules: in the order of loading, the driver last; none if built in."""
    members = [Member(path=path, data=snippet) for path in HOOKS]
    members += [Member(path=NEEDED.format(n), data=module) for n, module in enumerate(modules[:-1])]
    members += [Member(path=MODULE, data=module) for module in modules[-1:]]
    return cpio_archive(members)


def watchdog_modules(host: Host, version: str) -> tuple[bytes, ...]:
    """xen_wdt.ko of a kernel, unpacked, behind the modules it needs; none when the driver is built in.

    Errors: XenableError when the kernel has no such driver: then nothing would end a dom0 that hangs.
    """
    files = watchdog_files(host, version)
    if files is None:
        raise XenableError(
            f"cannot make the dead-man: kernel {version} has no driver for Xen's watchdog (xen_wdt)",
            hint="install the distribution's generic kernel, on Ubuntu with its linux-modules-extra",
        )
    options = host.text(f"/boot/config-{version}")
    if options and f"{SHOWN}=y" not in options:
        raise XenableError(
            f"cannot make the dead-man: kernel {version} does not show Xen's watchdog ({SHOWN})",
            hint="install the distribution's generic kernel, or build one: `xenable kernel build`",
        )
    return tuple(_unpack(host, file) for file in files)


def watchdog_files(host: Host, version: str) -> tuple[str, ...] | None:
    """Paths of xen_wdt.ko of a kernel, and before it of the modules it needs, in the order of loading.

    Empty when the driver is built in; None when the kernel has none, as far as its lists can be read.
    """
    folder = f"{MODULES}/{version}"
    for line in host.text(f"{folder}/modules.dep").splitlines():
        path, _, needed = line.partition(":")
        if path.rpartition("/")[2].startswith("xen_wdt.ko"):
            # What has to be loaded first stands last: so depmod(8) writes it and modprobe(8) reads it.
            files = (*reversed(needed.split()), path)
            return tuple(f if f.startswith("/") else f"{folder}/{f}" for f in files)
    built_in = host.text(f"{folder}/modules.builtin").splitlines()
    return () if any(line.endswith("/xen_wdt.ko") for line in built_in) else None


def _unpack(host: Host, path: str) -> bytes:
    data = host.read(path)
    try:
        if path.endswith(".xz"):
            data = lzma.decompress(data)
        elif path.endswith(".gz"):
            data = gzip.decompress(data)
        elif path.endswith(".bz2"):
            data = bz2.decompress(data)
        elif path.endswith(".zst"):
            data = _unzstd(host, path)
    except (lzma.LZMAError, EOFError, OSError) as e:
        raise XenableError(f"cannot unpack {path}: {e}") from e
    if not data.startswith(b"\x7fELF"):
        raise XenableError(f"cannot use {path}: it is no kernel module")
    return data


def _unzstd(host: Host, path: str) -> bytes:
    """Python has no zstd before 3.14, and a command's output is text here: it goes through a file."""
    out = f"/run/xenable-{path.rpartition('/')[2].removesuffix('.zst')}"
    try:
        host.run(["zstd", "-d", "-q", "-f", host.path(path), "-o", host.path(out)])
        return host.read(out)
    finally:
        host.remove(out)
