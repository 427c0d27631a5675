# SPDX-License-Identifier: GPL-2.0-or-later
"""Which hypervisors and kernels in /boot make a pair that boots: by what is in them, not by their names.

Every file is looked at once, a kernel only at its head; nothing is run.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from xenable.host import Host, StrPath

BOOT = "/boot"

_MULTIBOOT2 = 0xE85250D6
_MULTIBOOT2_REACH = 32768
"""A header lies within so many bytes (Multiboot2 specification, 3.1.1)."""

HEAD = 2 * _MULTIBOOT2_REACH
"""Bytes of a file that say what it is."""

_LARGEST_XEN = 64 << 20
"""Bytes, packed or not; of all the hypervisors so far none has a tenth of it."""

XEN_ONLY = ("linux-", "vmlinux-")
"""How names of kernels begin of which GRUB's 10_linux makes no native entry. `xenable kernel build` makes
those of the first kind, which its 20_linux_xen passes over too."""

IMAGE = re.compile(r"(vmlinu[xz]|kernel|linux)-([A-Za-z0-9][A-Za-z0-9.+~_-]*)")
"""A kernel's name in /boot; its second part is the version."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")
_GARBAGE = re.compile(r"\.(dpkg-.*|rpmsave|rpmnew|sig|efi|config|map|tmp|bak)$|~$")
_NO_XEN = re.compile(r"xen-syms|xenpolicy|xen-(image|linux|kernel)-")

_PAYLOADS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
    (b"BZh", "bzip2"),
    (b"\x89LZO", "lzo"),
    (b"\x7fELF", "none"),
)

UNPACKED_SINCE = {"zstd": (4, 15), "lz4": (4, 14)}
"""First Xen series that unpacks such a dom0 kernel. zstd: Xen's CHANGELOG.md, 4.15.0. lz4: older stop at
"Could not set up DOM0 guest OS" with the kernels of today (Launchpad bug 1851091). Every Xen unpacks the
others."""

INITRDS = ("initrd.img-{}", "initrd-{}.img", "initrd-{}.gz", "initrd-{}", "initramfs-{}.img")
"""Names of a kernel's initrd in /boot, by its version; the first that is there counts."""


def parse_series(version: str) -> tuple[int, int] | None:
    """4.20 of a version that begins so; None for another."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", version)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, kw_only=True)
class Hypervisor:
    path: str
    version: str
    """From its name: 4.20-amd64."""

    @property
    def series(self) -> tuple[int, int] | None:
        return parse_series(self.version)

    @property
    def title(self) -> str:
        return self.version.removesuffix("-amd64")


@dataclass(frozen=True, kw_only=True)
class Dom0Kernel:
    path: str
    version: str
    compression: str
    """As in machine.Kernel.compression."""
    initrd: str
    """Path; empty when there is none."""

    @property
    def xen_only(self) -> bool:
        return self.path.rpartition("/")[2].startswith(XEN_ONLY)


@dataclass(frozen=True, kw_only=True)
class Pair:
    xen: Hypervisor
    kernel: Dom0Kernel

    @property
    def id(self) -> str:
        """Id of its menu entry."""
        return f"xenable-{self.xen.version}-{self.kernel.version}"


def usable_pairs(host: Host, *, xen_kernels_first: bool = False) -> tuple[Pair, ...]:
    """Every pair in /boot that can be booted, the newest hypervisor first, then the newest kernel.

    Kernels that are for Xen alone come before all others of a hypervisor, or after them.
    """
    names = tuple(name for name in host.names(BOOT) if _NAME.fullmatch(name) and not _GARBAGE.search(name))
    return make_pairs(
        hypervisors(host, names), dom0_kernels(host, names), xen_kernels_first=xen_kernels_first
    )


def make_pairs(
    xens: Sequence[Hypervisor], kernels: Sequence[Dom0Kernel], *, xen_kernels_first: bool = False
) -> tuple[Pair, ...]:
    """Pure: what fits together, none twice, newest first; see usable_pairs."""
    by_xen = {xen.version: xen for xen in reversed(xens)}
    # Of two images of one version the one that boots natively, too.
    natives_last = sorted(reversed(kernels), key=lambda kernel: not kernel.xen_only)
    by_kernel = {kernel.version: kernel for kernel in natives_last}
    order = in_menu_order(
        {version: kernel.xen_only for version, kernel in by_kernel.items()},
        xen_kernels_first=xen_kernels_first,
    )
    return tuple(
        Pair(xen=by_xen[x], kernel=by_kernel[k])
        for x in newest_first(tuple(by_xen))
        for k in order
        if can_unpack(by_xen[x].series, by_kernel[k].compression)
    )


def in_menu_order(xen_only: Mapping[str, bool], *, xen_kernels_first: bool) -> list[str]:
    """Versions of kernels, by whether each is for Xen alone, as the menu has them; see usable_pairs."""
    order = newest_first(tuple(xen_only))
    # What installkernel(8) has put aside has no modules of that name.
    return sorted(order, key=lambda v: (v.endswith(".old"), xen_only[v] is not xen_kernels_first))


def can_unpack(series: tuple[int, int] | None, compression: str) -> bool:
    """Whether this Xen series can unpack a dom0 kernel of that kind; unknown is no."""
    if not compression:
        return False
    since = UNPACKED_SINCE.get(compression)
    return since is None or (series is not None and series >= since)


def hypervisors(host: Host, names: Sequence[str]) -> tuple[Hypervisor, ...]:
    """Those of the names in /boot that are real Multiboot2 images of Xen."""
    found = []
    for name in names:
        path = f"{BOOT}/{name}"
        # A link is another name of a file that is looked at under its own.
        if not name.startswith("xen") or _NO_XEN.match(name) or host.link_target(path) or host.is_dir(path):
            continue
        # GRUB starts what it could read of one that ends too early, and nothing watches that.
        if is_multiboot2(_unpacked(_head(host, path, _LARGEST_XEN))):
            found.append(Hypervisor(path=path, version=re.sub(r"^xen-?|\.gz$", "", name) or "unknown"))
    return tuple(found)


def _unpacked(data: bytes) -> bytes:
    """What is in a file that may be gzipped; empty when it is damaged, or does not end where it should."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        found = stream.decompress(data, _LARGEST_XEN)
    except zlib.error:
        return b""
    return found if stream.eof else b""


def is_multiboot2(head: bytes) -> bool:
    """Whether a file that begins so has a Multiboot2 header and is no EFI program."""
    if head.startswith(b"MZ"):
        return False
    magic = struct.pack("<I", _MULTIBOOT2)
    at = head.find(magic, 0, _MULTIBOOT2_REACH)
    while at >= 0:
        if at % 8 == 0 and len(head) >= at + 16:
            words = struct.unpack_from("<4I", head, at)
            if words[1] == 0 and sum(words) & 0xFFFFFFFF == 0:
                return True
        at = head.find(magic, at + 1, _MULTIBOOT2_REACH)
    return False


def dom0_kernels(host: Host, names: Sequence[str]) -> tuple[Dom0Kernel, ...]:
    """Those of the names in /boot that are Linux kernels with dom0 support."""
    here = frozenset(names)
    found = []
    for name in names:
        match = IMAGE.fullmatch(name)
        if not match or host.link_target(f"{BOOT}/{name}"):
            continue
        version = match[2]
        versions = (version, version.removesuffix(".old"))
        config = next((v for v in versions if f"config-{v}" in here), None)
        if (
            config is None
            or "\nCONFIG_XEN_DOM0=y\n" not in "\n" + host.text(f"{BOOT}/config-{config}") + "\n"
        ):
            continue
        initrd = next((n for v in versions for n in (k.format(v) for k in INITRDS) if n in here), "")
        found.append(
            Dom0Kernel(
                path=f"{BOOT}/{name}",
                version=version,
                compression=image_compression(host, f"{BOOT}/{name}"),
                initrd=initrd and f"{BOOT}/{initrd}",
            )
        )
    return tuple(found)


def image_compression(host: Host, path: StrPath) -> str:
    """How the kernel in a file is packed; empty when that is not known, or the file ends too early."""
    head = _head(host, path, HEAD)
    payload = _payload(head)
    if payload is not None and sum(payload) > host.path(path).stat().st_size:
        return ""
    return kernel_compression(head)


def kernel_compression(head: bytes) -> str:
    """How the kernel in an image that begins so is packed; empty when that is not known."""
    if head.startswith(b"\x7fELF"):
        return "none"
    payload = _payload(head)
    if payload is None:
        return ""
    return next((kind for magic, kind in _PAYLOADS if head.startswith(magic, payload[0])), "")


def _payload(head: bytes) -> tuple[int, int] | None:
    """Where the packed kernel begins in an image, and its length, in bytes.

    They are in the setup header (Linux, Documentation/arch/x86/boot.rst).
    """
    if len(head) < 0x250 or head[0x202:0x206] != b"HdrS":
        return None
    if struct.unpack_from("<H", head, 0x206)[0] < 0x208:
        return None
    sectors = head[0x1F1] or 4
    offset, length = struct.unpack_from("<II", head, 0x248)
    return (sectors + 1) * 512 + int(offset), int(length)


def _head(host: Host, path: StrPath, size: int) -> bytes:
    try:
        with host.path(path).open("rb") as f:
            return f.read(size)
    except OSError:
        return b""


# ----------------------------------------------------------------------------------------- order of versions


def newest_first(versions: Sequence[str]) -> tuple[str, ...]:
    """Sorted as `sort -V -r` does (GNU coreutils, "Version sort ordering")."""
    return tuple(sorted(versions, key=cmp_to_key(compare_versions), reverse=True))


def compare_versions(a: str, b: str) -> int:
    """Less than, equal to or greater than 0, as a is older than, the same as or newer than b."""
    return _compare(_stem(a), _stem(b)) or _compare(a, b) or (a > b) - (a < b)


def _stem(version: str) -> str:
    """Without what looks like the ending of a file name, which counts only between equals."""
    return re.sub(r"(?:\.[A-Za-z~][A-Za-z0-9~]*)*$", "", version)


def _compare(a: str, b: str) -> int:
    parts_a, parts_b = re.split(r"([0-9]+)", a), re.split(r"([0-9]+)", b)
    for n in range(max(len(parts_a), len(parts_b))):
        x = parts_a[n] if n < len(parts_a) else ""
        y = parts_b[n] if n < len(parts_b) else ""
        if n % 2:
            difference = int(x or 0) - int(y or 0)
        else:
            difference = _compare_text(x, y, n + 1 < len(parts_a), n + 1 < len(parts_b))
        if difference:
            return difference
    return 0


def _compare_text(x: str, y: str, digits_after_x: bool, digits_after_y: bool) -> int:
    for n in range(max(len(x), len(y))):
        # Where a part is at its end, a digit sorts as 0 and the end of the whole text as -1.
        rank_x = _rank(x[n]) if n < len(x) else int(digits_after_x) - 1
        rank_y = _rank(y[n]) if n < len(y) else int(digits_after_y) - 1
        if rank_x != rank_y:
            return rank_x - rank_y
    return 0


def _rank(c: str) -> int:
    if c == "~":
        return -2
    return ord(c) if c.isascii() and c.isalpha() else ord(c) + 256
