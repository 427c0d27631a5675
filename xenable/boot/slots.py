# SPDX-License-Identifier: GPL-2.0-or-later
"""The slots: /boot/xenable/a and b, each a pair that stays bootable whatever happens to the packages.

A slot is made beside its place and renamed into it, so the menu, which shows a slot only when its boot.cfg
is there, never sees half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xenable.boot.commandline import dom0_arguments, is_trial_word, serial_consoles
from xenable.boot.deadman import MODULES, append_archive, deadman_archive, watchdog_modules
from xenable.boot.environment import Environment, by_firmware, environment_folder, read_environment
from xenable.boot.menu import SLOTS
from xenable.boot.pairs import parse_series
from xenable.boot.room import room_to_keep
from xenable.boot.script import load_text
from xenable.errors import XenableError
from xenable.host import Host, StrPath

__all__ = [
    "SLOTS",
    "ListedPair",
    "Manifest",
    "boot_cfg",
    "fill_slot",
    "free_slot",
    "kept_packages",
    "listed_pairs",
    "lost_kernel",
    "lost_part",
    "lost_tools",
    "missing_entries",
    "newest_pair_differs",
    "read_manifest",
    "remove_slots",
    "slot_folder",
    "sums",
    "unlisted",
    "verify_slot",
]

FOLDER = Path("/boot/xenable")
MENU = "/boot/grub/grub.cfg"
SUMS = "SHA256SUMS"

_OF_PACKAGES = ("kernel", "modules.order", "modules.builtin")
"""Some of these come with every kernel and go with it. What depmod writes may stay, and what DKMS built."""


@dataclass(frozen=True, kw_only=True)
class ListedPair:
    """A pair as an entry of the generated menu has it. Paths are the machine's."""

    id: str
    xen: str
    kernel: str
    initrd: str
    xen_words: tuple[str, ...]
    linux_words: tuple[str, ...]

    @property
    def xen_version(self) -> str:
        return self.xen.rpartition("/")[2].removeprefix("xen-").removesuffix(".gz")

    @property
    def kernel_version(self) -> str:
        return self.kernel.rpartition("/")[2].partition("-")[2]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a slot, from its manifest.json."""

    id: str
    """Of the menu's entry that it was made of."""
    xen: str
    kernel: str
    xen_arguments: str
    dom0_arguments: str
    sha256: Mapping[str, str]
    """File name to hex digest."""


def slot_folder(slot: str) -> Path:
    return FOLDER / slot


def read_manifest(host: Host, slot: str) -> Manifest | None:
    """What is in a slot; None when it has no manifest, or a damaged one."""
    try:
        found = json.loads(host.text(slot_folder(slot) / "manifest.json"))
        digests = {str(name): str(digest) for name, digest in found["sha256"].items()}
        words = {
            name: str(found[name]) for name in ("id", "xen", "kernel", "xen_arguments", "dom0_arguments")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Manifest(**words, sha256=digests)


def free_slot(env: Environment | None) -> str:
    """The slot that may be filled anew: the one that is not the default."""
    return "b" if env is not None and env.default == "a" else "a"


def listed_pairs(menu: str) -> tuple[ListedPair, ...]:
    """The ordinary entries of a generated grub.cfg, as our generator wrote them, newest pair first."""
    found = []
    id = xen = kernel = ""
    xen_words: tuple[str, ...] = ()
    linux_words: tuple[str, ...] = ()
    for line in menu.splitlines():
        text = line.strip()
        if text.startswith("menuentry "):
            id = text.rpartition("$menuentry_id_option '")[2].partition("'")[0]
            xen = kernel = ""
        elif not id.startswith("xenable-") or id.endswith("-recovery"):
            continue
        elif text.startswith('multiboot2 "($xenable_boot)"'):
            words = shlex.split(text)
            xen, xen_words = _boot_path(words[1]), tuple(words[3:-1])
        elif text.startswith('module2 "($xenable_boot)"') and xen:
            words = shlex.split(text)
            kernel, linux_words = _boot_path(words[1]), tuple(words[3:])
        elif text.startswith('module2 --nounzip "($xenable_boot)"') and kernel:
            found.append(
                ListedPair(
                    id=id,
                    xen=xen,
                    kernel=kernel,
                    initrd=_boot_path(shlex.split(text)[2]),
                    xen_words=xen_words,
                    linux_words=linux_words,
                )
            )
    return tuple(found)


def missing_entries(menu: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Those ids that no entry of a menu has."""
    found = set(
        re.findall(r"""(?m)^\s*menuentry\s.*?(?:--id|\$menuentry_id_option)[ =]['"]?([\w.+-]+)""", menu)
    )
    return tuple(id for id in ids if id not in found)


def unlisted(host: Host, slot: str) -> bool:
    """Whether the menu has no entry for a slot: GRUB then boots something else in its place.

    A menu that this process may not read is not known to lack one, and where the firmware has the one-shot
    the slot is not started by the menu.
    """
    if by_firmware(host, environment_folder(host)):
        return False
    return bool(missing_entries(host.text(MENU), (f"xenable-{slot}",))) and _readable(host, MENU)


def _boot_path(word: str) -> str:
    """GRUB's path for a file in /boot as Linux has it: what its device calls /boot does not matter."""
    return f"/boot/{word.rpartition('/')[2]}"


def boot_cfg(xen_words: tuple[str, ...], linux_words: tuple[str, ...]) -> str:
    """The script that loads a slot and starts it. It returns on failure only.

    Its menu entry has set xenable_slot.
    """
    lines = load_text(
        xen='"$xenable_slot/xen"',
        linux='"$xenable_slot/vmlinuz"',
        initrd='"$xenable_slot/initrd"',
        xen_words=xen_words,
        linux_words=linux_words,
    )
    # GRUB starts what it could read of a hypervisor that ends in the middle, and that hangs unwatched.
    check = f'hashsum --hash sha256 --check "$xenable_slot/{SUMS}" --prefix "$xenable_slot"'
    return "".join(line + "\n" for line in ("if", "\t" + check, "then", *lines, "fi"))


def sums(files: Mapping[str, str]) -> str:
    """Names and SHA-256 digests as GRUB's hashsum reads them (grub-core/commands/hashsum.c)."""
    return "".join(f"{digest}  {name}\n" for name, digest in files.items())


def fill_slot(
    host: Host,
    slot: str,
    *,
    snippet: bytes,
    deadline: int,
    hold: bool = False,
) -> ListedPair:
    """Make a slot of the newest pair of the menu, and say which it was.

    snippet: data/initramfs/deadman.sh; deadline: seconds until the dead-man resets; hold: a person confirms.
    Errors: XenableError when the slot is in use, when there is no pair, no room, or a file can't be read.
    """
    folder = environment_folder(host)
    env = read_environment(host, folder) if folder else None
    if slot not in SLOTS or (env is not None and env.default == slot):
        raise XenableError(f"cannot fill slot {slot}: it is the one that boots by default")
    pair = next(iter(listed_pairs(host.text(MENU))), None)
    if pair is None:
        raise XenableError(
            "cannot fill a slot: the boot menu has no entry with a hypervisor and a kernel that fit",
            hint="run `sudo update-grub` and read what it says",
        )
    archive = deadman_archive(snippet, watchdog_modules(host, pair.kernel_version))
    initrd = append_archive(host.read(pair.initrd), archive)
    new, old = FOLDER / f".new-{slot}", FOLDER / f".old-{slot}"
    for leftover in (new, old):
        _remove_tree(host, leftover)
    host.make_folder(new)
    for source, name in ((pair.xen, "xen"), (pair.kernel, "vmlinuz")):
        host.link_or_copy(source, new / name)
    _need_room(host, len(initrd))
    host.write(new / "initrd", initrd, mode=0o600)
    serial = serial_consoles(pair.linux_words)
    linux_words = dom0_arguments(pair.linux_words, serial, deadline, hold=hold)
    script = boot_cfg(pair.xen_words, linux_words).encode()
    files = {name: _digest(host.read(new / name)) for name in ("xen", "vmlinuz", "initrd")}
    listed = sums(files).encode()
    manifest = Manifest(
        id=pair.id,
        xen=pair.xen_version,
        kernel=pair.kernel_version,
        xen_arguments=" ".join(pair.xen_words),
        dom0_arguments=" ".join(linux_words),
        sha256={**files, SUMS: _digest(listed), "boot.cfg": _digest(script)},
    )
    host.write(new / "manifest.json", json.dumps(vars(manifest), indent=2).encode() + b"\n")
    host.write(new / SUMS, listed)
    host.write(new / "boot.cfg", script)
    if host.exists(slot_folder(slot)):
        host.rename(slot_folder(slot), old)
    host.rename(new, slot_folder(slot))
    _remove_tree(host, old)
    return pair


def verify_slot(host: Host, slot: str) -> tuple[str, ...]:
    """What is wrong with the files of a slot, a text each: `xen is damaged`; empty when nothing is.

    What this process may not read is not known to be wrong.
    """
    folder = slot_folder(slot)
    manifest = read_manifest(host, slot)
    if manifest is None:
        return ("manifest.json is damaged",) if _readable(host, folder / "manifest.json") else ()
    wrong = []
    for name, digest in manifest.sha256.items():
        if not host.exists(folder / name):
            wrong.append(f"{name} is missing")
        elif _readable(host, folder / name) and _digest(host.read(folder / name)) != digest:
            wrong.append(f"{name} is damaged")
    return tuple(wrong)


def lost_part(host: Host, slot: str) -> str:
    """What of the packages of a slot was removed, as a sentence without its full stop; else empty: the
    modules of its kernel, or the tools of its Xen.

    The slot itself is whole then: it boots, has no drivers but those in its initrd, or can't pass the gate.
    """
    if kernel := lost_kernel(host, slot):
        return f"dom0's kernel {kernel} was removed"
    manifest = read_manifest(host, slot)
    numbers = parse_series(manifest.xen) if manifest is not None else None
    series = ".".join(map(str, numbers)) if numbers is not None else ""
    return f"the tools of Xen {series} were removed" if series and lost_tools(host, series) else ""


def lost_kernel(host: Host, slot: str) -> str:
    """Version of the kernel in a slot whose modules are gone; else empty."""
    manifest = read_manifest(host, slot)
    if manifest is None or any(host.exists(f"{MODULES}/{manifest.kernel}/{name}") for name in _OF_PACKAGES):
        return ""
    return manifest.kernel


def lost_tools(host: Host, series: str) -> bool:
    """Whether the tools of a Xen went when those of another came, as with a new release of the distribution:
    they may need another Python. Where there are none at all it is not known where they were."""
    here = [name for name in host.names("/usr/lib") if host.exists(f"/usr/lib/{name}/bin/xl")]
    return bool(here) and f"xen-{series}" not in here


def remove_slots(host: Host) -> None:
    """Remove all slots, half-made ones too. Nothing of them is anybody else's."""
    for name in host.names(FOLDER):
        _remove_tree(host, FOLDER / name)
    host.remove(FOLDER)


def newest_pair_differs(host: Host, slot: str) -> bool:
    """Whether the menu's first pair is another than the one in a slot: by name, by content, or by its words.

    A security update often brings other bytes under the same name; they have not been tried. What this
    process may not read is not known to differ.
    """
    newest = next(iter(listed_pairs(host.text(MENU))), None)
    if newest is None:
        return False
    manifest = read_manifest(host, slot)
    if manifest is None:
        return _readable(host, slot_folder(slot) / "manifest.json")
    linux = dom0_arguments(newest.linux_words, serial_consoles(newest.linux_words), None)
    # A trial adds words of its own; none of the others may differ.
    frozen = manifest.dom0_arguments.split()
    if (
        manifest.id != newest.id
        or manifest.xen_arguments != " ".join(newest.xen_words)
        or [word for word in frozen if not is_trial_word(word)] != " ".join(linux).split()
    ):
        return True
    ours = slot_folder(slot)
    files = (
        (ours / "xen", newest.xen, host.same_content),
        (ours / "vmlinuz", newest.kernel, host.same_content),
        (ours / "initrd", newest.initrd, host.begins_with),
    )
    return any(not same(mine, new) and _readable(host, mine, new) for mine, new, same in files)


def _readable(host: Host, *paths: StrPath) -> bool:
    return not any(host.forbidden(path) for path in paths)


def kept_packages(host: Host) -> tuple[str, ...]:
    """Regular expressions (POSIX, extended) for the packages with the modules and tools of all slots."""
    found: list[str] = []
    for manifest in filter(None, (read_manifest(host, slot) for slot in SLOTS)):
        kernel, xen = _literally(manifest.kernel), _literally(manifest.xen)
        series = xen.partition("-")[0]
        found.append(f"^linux-(image|modules|modules-extra)-(unsigned-)?{kernel}$")
        found.append(f"^xen-(image|headers)-{kernel}$")
        found.append(f"^xen-(hypervisor-{xen}|utils-{series})$")
    return tuple(dict.fromkeys(found))


def _literally(version: str) -> str:
    """Of the characters that a version may have (boot/pairs.py), two mean something to an expression."""
    return re.sub(r"([.+])", r"\\\1", version)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _need_room(host: Host, size: int) -> None:
    room = os.statvfs(host.path(FOLDER))
    free = room.f_bavail * room.f_frsize >> 20
    initrd = -(-size >> 20)
    needs = initrd + room_to_keep(initrd)
    if free < needs:
        raise XenableError(
            f"cannot fill a slot: /boot has {free} MiB free, and {needs} are needed",
            hint="remove old kernels: sudo apt autoremove",
        )


def _remove_tree(host: Host, folder: Path) -> None:
    for name in host.names(folder):
        host.remove(folder / name)
    host.remove(folder)
