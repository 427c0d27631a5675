# SPDX-License-Identifier: GPL-2.0-or-later
"""Can the boot loader start Xen once, and only once, and native otherwise?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from xenable.boot.inputs import command_lines
from xenable.checks.base import Rule, are, words
from xenable.checks.kernels import adds_kernel
from xenable.config import Config
from xenable.errors import XenableError
from xenable.machine import Answer, Facts, FirmwareKind, LoaderKind, Menu, MenuEntry
from xenable.model import Finding, Severity

NOT_GRUB = Rule(
    id="boot/not-grub",
    severity=Severity.BLOCKER,
    title="Another boot loader than GRUB boots this machine",
    why="Xenable adds its entries to GRUB's menu, which this machine would never show.",
    remedy="Make GRUB the boot loader first: `apt-get install grub-efi-amd64` (UEFI) or `grub-pc` (BIOS), "
    "then `grub-install`, and reboot.",
)
LOADER_UNKNOWN = Rule(
    id="boot/loader-unknown",
    severity=Severity.OVERRIDABLE,
    title="It is not known which boot loader boots this machine",
    why="If it is not GRUB with the menu in /boot/grub, the trial never starts, and the machine "
    "stays native.",
    remedy="Look with `efibootmgr -v` (UEFI) or `grub-probe -d` on the boot disk. "
    "If it is GRUB, override this finding.",
)
MODULES = Rule(
    id="boot/modules-missing",
    severity=Severity.BLOCKER,
    title="GRUB lacks modules that it needs to load Xen",
    why="GRUB could not load Xen or could not make its menu.",
    remedy="Run `grub-install` for the boot disk (BIOS) or without arguments (UEFI).",
)
ONE_SHOT = Rule(
    id="boot/no-one-shot",
    severity=Severity.BLOCKER,
    title="GRUB can't note that Xen was tried",
    why="Without that note a Xen that hangs would be started again at each reset, for ever.",
    remedy="Mount the EFI system partition at /boot/efi, or put /boot on a plain partition with ext4.",
)
MENU_UNREADABLE = Rule(
    id="boot/menu-unreadable",
    severity=Severity.BLOCKER,
    title="GRUB's menu can't be read",
    why="Whether the next reset ends on the native system can't be judged.",
    remedy="Run `update-grub` as root and read what it says, then `xenable check`.",
)
DEFAULT_NOTHING = Rule(
    id="boot/default-names-nothing",
    severity=Severity.BLOCKER,
    title="GRUB_DEFAULT names an entry that is not in the menu",
    why="GRUB boots the first entry for now. An entry that comes with Xen could have that name, "
    "and would become the default without a trial.",
    remedy="Set GRUB_DEFAULT=0 in /etc/default/grub, or the id of an entry, and run `update-grub`.",
)
DEFAULT_XEN = Rule(
    id="boot/default-is-xen",
    severity=Severity.BLOCKER,
    title="GRUB's default boots Xen already",
    why="A trial is safe only if each other reset ends on the native system.",
    remedy="Set GRUB_DEFAULT to a native entry in /etc/default/grub. If /etc/default/grub.d/xen.cfg "
    "is there, "
    "add XEN_OVERRIDE_GRUB_DEFAULT=0. Run `update-grub`, then `xenable check`.",
)
PENDING = Rule(
    id="boot/one-shot-pending",
    severity=Severity.WARNING,
    title="Another entry is set for the next boot",
    why="The next reset boots that entry; the trial takes place at the reset after it.",
    remedy="If it is not wanted: `grub-editenv - unset next_entry`.",
)

BY_FIRMWARE = Rule(
    id="boot/one-shot-by-firmware",
    severity=Severity.WARNING,
    title="The firmware starts Xen, by its BootNext",
    why="It starts a small GRUB for Xen from the EFI system partition. Xenable sets BootNext for the trial, "
    "and anew after each good start; every other start is the native system. BootNext comes before the "
    "firmware's own order, and so before a rescue system from the network.",
    remedy="Nothing to do. For a rescue system from the network, reset once more before dom0 has passed. "
    "`xenable revert` takes that GRUB and its entry away again.",
)

COMMAND_LINE = Rule(
    id="boot/command-line",
    severity=Severity.BLOCKER,
    title="The command line in GRUB's settings can't be used for Xen",
    why="The menu would have no entry with Xen and a kernel, and so there would be nothing to try.",
    remedy="Look at GRUB_CMDLINE_LINUX, GRUB_CMDLINE_XEN and their like in /etc/default/grub and "
    "/etc/default/grub.d, then run `update-grub`.",
)
DEFAULT_MOVES = Rule(
    id="boot/default-moves",
    severity=Severity.BLOCKER,
    title="GRUB's default would become another entry",
    why="The entries of the menu move, and each reset is to end on the native system of before.",
    remedy="Set GRUB_DEFAULT in /etc/default/grub to the id of an entry, and run `update-grub`.",
)
STALE = Rule(
    id="boot/menu-stale",
    severity=Severity.BLOCKER,
    title="GRUB's menu is older than its settings",
    why="The conversion makes the menu anew and leaves the native entries as they are: if they came out "
    "different, it would stop with the packages installed already.",
    remedy="Run `sudo update-grub`, look at the menu, and reboot once, so that you know it works.",
)

RULES = (
    NOT_GRUB,
    MODULES,
    ONE_SHOT,
    MENU_UNREADABLE,
    DEFAULT_NOTHING,
    DEFAULT_XEN,
    DEFAULT_MOVES,
    COMMAND_LINE,
    STALE,
    LOADER_UNKNOWN,
    PENDING,
    BY_FIRMWARE,
)

PLATFORM = {FirmwareKind.BIOS: "i386-pc", FirmwareKind.UEFI: "x86_64-efi"}


def check_boot_loader(facts: Facts, config: Config) -> Iterator[Finding]:
    b = facts.boot_loader
    if b.kind is LoaderKind.UNKNOWN:
        yield LOADER_UNKNOWN.found("It could not be found out what the firmware starts.")
    elif b.kind is not LoaderKind.GRUB:
        yield NOT_GRUB.found(f"{b.name or b.kind} boots this machine.")
        return
    platform = PLATFORM[facts.firmware.kind]
    if platform not in b.platforms:
        there = f"; there {are(b.platforms)} {words(b.platforms)}" if b.platforms else ""
        yield MODULES.found(f"/boot/grub/{platform} is not there{there}.")
    elif b.missing_modules:
        yield MODULES.found(f"/boot/grub/{platform} lacks {words(b.missing_modules)}.")
    if not b.environment:
        yield ONE_SHOT.found(
            f"GRUB can't write to /boot/grub: {b.environment_obstacle or 'the reason is unknown'}. "
            + _no_other_place(facts),
            "Put /boot on a plain partition with ext4, without LVM or RAID, and run `grub-install`."
            if facts.storage.esp or facts.firmware.kind is FirmwareKind.BIOS
            else "",
        )
    elif b.own_loader:
        obstacle = b.environment_obstacle
        yield BY_FIRMWARE.found(
            f"{obstacle[:1].upper()}{obstacle[1:]}, and it can't write to the EFI system partition either."
        )


def _no_other_place(facts: Facts) -> str:
    """Why neither the EFI system partition nor the firmware can have the note: whole sentences."""
    esp, firmware = facts.storage.esp, facts.boot_loader.own_loader_obstacle
    if esp is None:
        return "There is no EFI system partition to use instead."
    layers = [layer for layer in esp.stack if layer not in ("part", "disk", "multipath")]
    why = f": it is on {layers[0]}, where GRUB can only read" if layers else ""
    if esp.read_only:
        why = ": it is mounted read-only"
    said = f"The EFI system partition at {esp.mount_point} can't be used instead{why}."
    return f"{said} Nor can the firmware's BootNext: {firmware}." if firmware else said


def check_menu(facts: Facts, config: Config) -> Iterator[Finding]:
    if facts.boot_loader.kind not in (LoaderKind.GRUB, LoaderKind.UNKNOWN):
        return
    menu = facts.menu
    if not menu.readable:
        yield MENU_UNREADABLE.found("/boot/grub/grub.cfg can't be read, or is not understood.")
        return
    # The firmware's one-shot starts the machine before GRUB looks for its own.
    if menu.next_entry and not facts.boot_loader.own_loader:
        yield PENDING.found(f"next_entry is {menu.next_entry!r}: someone used grub-reboot.")
    if facts.conversion.state == "none":
        if menu.stale is Answer.YES:
            yield STALE.found(
                "A file of /etc/default/grub* or /etc/grub.d was changed after grub.cfg was made."
            )
        yield from _check_default(facts)


def check_command_line(facts: Facts, config: Config) -> Iterator[Finding]:
    values = {setting.name: setting.value for setting in facts.menu.command_lines}
    for name in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"):
        replacement = name.replace("LINUX", "LINUX_XEN_REPLACE")
        if values.get(replacement, "") is None:
            # Whether this one counts is not known then.
            values[name] = None
    try:
        command_lines({name: value for name, value in values.items() if value is not None})
    except XenableError as e:
        yield COMMAND_LINE.found(f"{e.message[0].upper()}{e.message[1:]}.")


def _check_default(facts: Facts) -> Iterator[Finding]:
    menu = facts.menu
    wanted, source = menu.grub_default or "0", "GRUB_DEFAULT"
    if wanted == "saved":
        wanted, source = menu.saved_entry or "0", "GRUB_DEFAULT is `saved`, and saved_entry"
    entries = default_entries(menu, wanted)
    if not entries:
        yield DEFAULT_NOTHING.found(
            f"{source} is {wanted!r}. The menu has {len(menu.entries)} entries, none of them so."
        )
    elif any(e.loads_xen for e in entries):
        title = next(e.title for e in entries if e.loads_xen)
        yield DEFAULT_XEN.found(f"{source} is {wanted!r}: that is {title!r}.")
    elif _is_behind(menu, wanted):
        yield DEFAULT_MOVES.found(
            f"{source} is {wanted!r}, a number, and Xen's entries would come before the one it means.",
            _by_id(facts, source, entries),
        )
    elif adds_kernel(facts) and _moves(facts, wanted, entries):
        kernel = facts.packages.kernel
        yield DEFAULT_MOVES.found(
            f"{source} is {wanted!r}, and {kernel.name if kernel else 'a kernel'} comes for dom0.",
            _by_id(facts, source, entries),
        )


def _is_behind(menu: Menu, wanted: str) -> bool:
    """Whether a default is the number of an entry that comes behind those for Xen."""
    digits = re.match(r"[0-9]{1,9}", _split(wanted)[0])
    return digits is not None and int(digits[0]) in menu.behind


def _moves(facts: Facts, wanted: str, entries: Sequence[MenuEntry]) -> bool:
    """Whether a default could mean another kernel once one of another flavour is in the menu."""
    first = entries[0]
    if wanted != "0" and any(name[:1].isdigit() for name in _split(wanted)):
        return True
    if wanted == "0" or first.id.startswith("gnulinux-simple-"):
        # The generator keeps these two where they are, by the flavour of the kernel that runs.
        flavour = next((k.flavour for k in facts.kernels if k.running), "")
        return not (flavour and first.id.startswith("gnulinux-"))
    return len(_split(wanted)) < len(_split(first.path))


def _by_id(facts: Facts, source: str, entries: Sequence[MenuEntry]) -> str:
    """How to name the same entry so that it stays; empty where that is not sure."""
    running = next((k.version for k in facts.kernels if k.running), "")
    same = [e for e in entries if not e.id.startswith("gnulinux-simple-")]
    same += [e for e in facts.menu.entries if running and e.id.startswith(f"gnulinux-{running}-advanced-")]
    if not same:
        return ""
    if "saved" in source:
        return f"Run `grub-set-default '{same[0].path}'`."
    return f"Set GRUB_DEFAULT='{same[0].path}' in /etc/default/grub, and run `update-grub`."


def default_entries(menu: Menu, wanted: str) -> tuple[MenuEntry, ...]:
    """The entries that a default may mean: a number from 0, a title, an id, or these joined with `>`.

    A submenu without a further name means all that is in it, for GRUB takes its own default there. Empty
    where nothing is meant. The rules are those of GRUB's manual, "default"; the first match wins.
    """
    entries = menu.entries
    for level, name in enumerate(_split(wanted)):
        digits = name[: len(name) - len(name.lstrip("0123456789"))]
        # GRUB reads a name that begins with a digit as a number, whatever follows.
        names = {str(int(digits[:9]))} if digits else {name}
        kinds = ("numbers",) if digits else ("path", "titles")
        matches = [e for e in entries if any(_part(getattr(e, kind), level) in names for kind in kinds)]
        if not matches:
            return ()
        first = _split(matches[0].path)[: level + 1]
        entries = tuple(e for e in matches if _split(e.path)[: level + 1] == first)
    return entries


def _split(path: str) -> list[str]:
    # `>>` is a `>` that belongs to a name.
    return [name.replace("\0", ">") for name in path.replace(">>", "\0").split(">")]


def _part(path: str, level: int) -> str | None:
    parts = _split(path)
    return parts[level] if path and level < len(parts) else None
