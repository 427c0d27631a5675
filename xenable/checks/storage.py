# SPDX-License-Identifier: GPL-2.0-or-later
"""Is there space, and can it be written?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xenable.boot.room import room_to_keep
from xenable.checks.base import Rule, words
from xenable.checks.kernels import adds_kernel, adds_xen_kernel, dom0_kernels
from xenable.config import Config
from xenable.machine import Facts, FileSystem
from xenable.model import Finding, Severity

NOT_FOUND = Rule(
    id="storage/not-found",
    severity=Severity.BLOCKER,
    title="The system's file systems can't be found",
    why="The boot entries have to name them.",
    remedy="Compare /proc/self/mountinfo with /etc/fstab: / and /boot have to be mounted.",
)
READ_ONLY = Rule(
    id="storage/read-only",
    severity=Severity.BLOCKER,
    title="A file system can't be written",
    why="Packages, boot files and the notes of the trial have to be written there.",
    remedy="Find out why with `dmesg | grep -i remount`, then `mount -o remount,rw` on it.",
)
BOOT_SPACE = Rule(
    id="storage/boot-space",
    severity=Severity.BLOCKER,
    title="/boot is too small",
    why="A full /boot leaves kernels without an initrd.",
    remedy="Remove kernels that are not needed: `apt-get autoremove --purge`.",
)
ROOT_SPACE = Rule(
    id="storage/root-space",
    severity=Severity.BLOCKER,
    title="A file system is too full",
    why="The packages would be unpacked only in part.",
    remedy="Make room: `apt-get clean` and `journalctl --vacuum-size=100M` are quick ways.",
)
ESP_SPACE = Rule(
    id="storage/esp-space",
    severity=Severity.BLOCKER,
    title="The EFI system partition is full",
    why="GRUB notes there that Xen was tried.",
    remedy="Remove what is not needed from the EFI system partition.",
)
UNKNOWN = Rule(
    id="storage/space-unknown",
    severity=Severity.OVERRIDABLE,
    title="It is not known whether there is enough space",
    why="If it runs out, what was done so far has to be reverted.",
    remedy="Look with `df -h / /boot`. About 1 GiB on / and 600 MiB on /boot are plenty.",
)
ENCRYPTED = Rule(
    id="storage/encrypted",
    severity=Severity.WARNING,
    title="The root file system is encrypted",
    why="Whoever unlocks it at a boot has to do so in the trial too: the initrd waits, and the time limit "
    "runs. After a reset the native system waits in the same way.",
    remedy="If a person unlocks it, be there for the trial and for the reset that may follow; "
    "`trial-seconds` can be raised to 3600.",
)

RULES = (NOT_FOUND, READ_ONLY, BOOT_SPACE, ROOT_SPACE, ESP_SPACE, UNKNOWN, ENCRYPTED)

SLOTS = 2
XEN_FILES = 34
"""MiB that the hypervisor package puts into /boot: xen-4.20-amd64.gz, and the .efi of 29 MB."""
KERNEL_FILES = 24
"""MiB of a generic kernel in /boot, without its initrd: vmlinuz, System.map, config."""
INITRD_GUESS = 90
"""MiB of an initrd that does not exist yet or whose size is unknown: MODULES=most with firmware."""
ROOT_MARGIN = 64
"""MiB for saved originals, logs, and what apt writes while it works."""


def check_storage(facts: Facts, config: Config) -> Iterator[Finding]:
    s = facts.storage
    missing = [name for name, fs in (("/", s.root), ("/boot", s.boot)) if fs is None]
    if missing:
        yield NOT_FOUND.found(f"There is no known file system for {words(missing)}.")
    for fs in _parts(facts):
        if fs.read_only:
            yield READ_ONLY.found(
                f"{fs.mount_point} ({fs.source}, {fs.kind}) is mounted read-only.",
                f"Find out why with `dmesg | grep -i remount`, "
                f"then run `mount -o remount,rw {fs.mount_point}`.",
            )
    if s.root is not None and "crypt" in s.root.stack:
        yield ENCRYPTED.found(f"/ ({s.root.source}) is on an encrypted device.")


def check_space(facts: Facts, config: Config) -> Iterator[Finding]:
    root, boot = facts.storage.root, facts.storage.boot
    if root is None or boot is None or facts.conversion.state != "none":
        return
    holders = (root, *facts.storage.others)
    unknown = [fs.mount_point for fs in (*_parts(facts), *facts.storage.others) if fs.free is None]
    unsized = facts.packages.xen is not None and facts.packages.installed_kib is None
    if unknown or unsized:
        parts = [f"The free space of {words(unknown)} could not be read."] if unknown else []
        parts += ["apt does not say how large the packages are."] if unsized else []
        yield UNKNOWN.found(" ".join(parts))
    boot_needs, boot_terms = _boot_needs(facts, boot)
    separate = _pool(boot) != _pool(root)
    if separate and boot.free is not None and boot.free < boot_needs:
        yield BOOT_SPACE.found(_shortage(boot, boot_needs, boot_terms))
    terms = (
        ("/var/cache/apt/archives", _mib(facts.packages.download_bytes, 1 << 20), "for the download"),
        # The size counts what they put into /boot, and the initrd of a new kernel comes on top.
        ("/usr", _mib(facts.packages.installed_kib, 1 << 10), "for the packages"),
        ("/boot", 0 if separate else boot_needs, "for the boot files"),
        ("/var/lib/xenable", ROOT_MARGIN, "in reserve"),
    )
    charges = [(_holder(holders, path), n, what) for path, n, what in terms if n]
    # Each once, where several are of one pool.
    for pool, fs in {_pool(fs): fs for fs in reversed(holders)}.items():
        mine = [(n, what) for holder, n, what in charges if _pool(holder) == pool]
        needs = sum(n for n, _ in mine)
        if fs.free is not None and fs.free < needs:
            yield ROOT_SPACE.found(_shortage(fs, needs, [f"{n} {what}" for n, what in mine]))
    esp = facts.storage.esp
    if esp is not None and esp in _parts(facts) and esp.free == 0:
        yield ESP_SPACE.found(f"{esp.mount_point} has less than 1 MiB free; 1 MiB is needed.")


def _holder(holders: Sequence[FileSystem], path: str) -> FileSystem:
    """The one that holds a path: the longest mount point that it is below."""
    below = [fs for fs in holders if f"{path}/".startswith(f"{fs.mount_point.rstrip('/')}/")]
    return max(below, key=lambda fs: len(fs.mount_point))


def _pool(fs: FileSystem) -> str:
    """What the space is of: subvolumes of btrfs and datasets of ZFS share it."""
    return fs.source.partition("/")[0] if fs.kind == "zfs" else fs.source


def _parts(facts: Facts) -> tuple[FileSystem, ...]:
    """The file systems that a conversion writes to, each once."""
    s = facts.storage
    parts = [fs for fs in (s.root, s.boot) if fs is not None]
    places = (facts.boot_loader.environment, facts.boot_loader.own_loader)
    if s.esp is not None and any(place.startswith(s.esp.mount_point.rstrip("/") + "/") for place in places):
        parts.append(s.esp)
    return tuple({fs.mount_point: fs for fs in parts}.values())


def _boot_needs(facts: Facts, boot: FileSystem) -> tuple[int, list[str]]:
    """MiB that /boot needs, and how they come together."""
    added = adds_kernel(facts) or adds_xen_kernel(facts)
    initrd = _initrd(facts, added)
    terms = [f"{SLOTS} × the initrd's {initrd}"]
    reserve = room_to_keep(initrd)
    needs = SLOTS * initrd + reserve
    if added:
        terms.append(f"{KERNEL_FILES + initrd} for the new kernel and its initrd")
        needs += KERNEL_FILES + initrd
    terms.append(f"{XEN_FILES} for Xen")
    needs += XEN_FILES
    if boot.kind in ("vfat", "exfat"):
        # No hard links there: each slot has copies.
        terms.append(f"{SLOTS} × {KERNEL_FILES} for copies of Xen and the kernel")
        needs += SLOTS * KERNEL_FILES
    return needs, [*terms, f"{reserve} in reserve for the next initrd"]


def _initrd(facts: Facts, added: bool) -> int:
    kernels = facts.kernels if added else dom0_kernels(facts)
    sizes = [k.initrd_size for k in kernels if k.initrd_size is not None]
    # A cloud kernel's initrd says little about the generic kernel's, which is larger.
    return max([*sizes, INITRD_GUESS]) if added or not sizes else max(sizes)


def _shortage(fs: FileSystem, needs: int, terms: list[str]) -> str:
    return f"{fs.mount_point} has {fs.free} MiB free; {needs} MiB are needed: {' + '.join(terms)}."


def _mib(value: int | None, unit: int) -> int:
    return 0 if value is None else -(-value // unit)
