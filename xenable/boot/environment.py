# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own GRUB environment block: how GRUB and Linux tell each other about a trial.

The file is 1024 bytes for ever. GRUB's save_env writes through the blocks the file has when GRUB starts
(grub-core/commands/loadenv.c), so Linux changes it in place too and never by rename: a program that
remembers the old blocks must not write into a file that has moved on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from xenable.boot import efi
from xenable.errors import XenableError
from xenable.host import Host, StrPath

SIZE = 1024
SIGNATURE = b"# GRUB Environment Block\n"
FILE = "xenable.env"
FOLDERS = ("/boot/grub", "/boot/efi/EFI/xenable", "/efi/EFI/xenable", "/boot/EFI/xenable")
"""Where it may be: beside GRUB's own block, else on the ESP. 90_xenable looks in the same order."""

TRY = "xenable_try"
TRYING = "xenable_trying"
DEFAULT = "xenable_default"
STAGE = "xenable_stage"
STARTED = "xenable_started"
FIRMWARE = "xenable_firmware"
"""Set where GRUB can't write the block: the firmware's BootNext is the one-shot (boot/efi.py). It stays as
long as the block does."""
BY_FIRMWARE, KEPT = "yes", "kept"
"""The words for it. The second one: a start found that the firmware had not deleted BootNext."""
SET_IN = "xenable_set_in"
"""The boot in which the firmware's one-shot was set: in each later one it is used up."""
AFTER_KEPT = (
    "stay with the native system: `sudo xenable revert`; after an update of the firmware, a new "
    "`sudo xenable apply` finds out anew"
)
UNKNOWN = "unknown"
"""The stage where GRUB can't note any."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the block says; every field is empty when it is not set."""

    try_slot: str = ""
    """Slot to boot at the next reset, once."""
    trying: str = ""
    """Slot, or id of a menu entry, that GRUB started last and that the gate has not passed."""
    default: str = ""
    """Slot that passed the gate."""
    stage: str = ""
    """`loading`, `started`, `load-failed`; `refused` when the menu did not start an entry once more; or
    UNKNOWN."""
    started: str = ""
    """GRUB's clock at the hand-over, `YYYY-MM-DD HH:MM:SS`: UTC on a machine whose hardware clock is."""

    @property
    def choice(self) -> str:
        """The slot that the block asks for; empty when that is the native system."""
        return self.try_slot or (self.default if self.trying != self.default else "")


_NAMES = {"try_slot": TRY, "trying": TRYING, "default": DEFAULT, "stage": STAGE, "started": STARTED}


def parse_block(block: bytes) -> dict[str, str]:
    """Names and values in a GRUB environment block. Errors: XenableError when it is damaged."""
    if not block.startswith(SIGNATURE) or len(block) != SIZE:
        raise XenableError("cannot read GRUB's environment block: it has no signature or not 1024 bytes")
    values: dict[str, str] = {}
    rest = block[len(SIGNATURE) :]
    while rest and not rest.startswith(b"#"):
        line, rest = _line(rest)
        name, equals, value = line.partition(b"=")
        try:
            values[name.decode("ascii")] = value.decode("utf-8")
        except UnicodeDecodeError as e:
            raise XenableError(
                "cannot read GRUB's environment block: it holds bytes that are no text"
            ) from e
        if not equals or not name:
            raise XenableError("cannot read GRUB's environment block: it has a line without a name")
    return values


def _line(data: bytes) -> tuple[bytes, bytes]:
    """One line with its escapes undone, and what follows it."""
    line = bytearray()
    at = 0
    while at < len(data):
        byte = data[at : at + 1]
        if byte == b"\n":
            return bytes(line), data[at + 1 :]
        if byte == b"\\":
            at += 1
            byte = data[at : at + 1]
        line += byte
        at += 1
    raise XenableError("cannot read GRUB's environment block: its last line has no end")


def format_block(values: Mapping[str, str]) -> bytes:
    """The 1024 bytes. Errors: XenableError for a name GRUB can't have, and when it does not fit."""
    block = bytearray(SIGNATURE)
    for name, value in values.items():
        if not name.isascii() or not name.isidentifier():
            raise XenableError(f"cannot write GRUB's environment block: {name!r} is no name of a variable")
        if "\0" in value:
            raise XenableError(f"cannot write GRUB's environment block: {name} holds a NUL")
        block += name.encode() + b"="
        block += value.replace("\\", "\\\\").replace("\n", "\\\n").encode("utf-8") + b"\n"
    if len(block) > SIZE:
        raise XenableError(
            f"cannot write GRUB's environment block: {len(block)} bytes, and 1024 is the most"
        )
    return bytes(block.ljust(SIZE, b"#"))


def environment_folder(host: Host) -> str:
    """The folder that holds our block; empty when this machine has none."""
    return next((folder for folder in FOLDERS if host.exists(environment_path(folder))), "")


def block_hidden(host: Host) -> bool:
    """Whether there may be a block that this process has no right to read, as on an ESP of root's alone."""
    return any(host.forbidden(environment_path(folder)) for folder in FOLDERS)


def environment_path(folder: StrPath) -> str:
    """Where the block is in a folder of the machine."""
    return f"{str(folder).rstrip('/')}/{FILE}"


def read_environment(host: Host, folder: StrPath) -> Environment | None:
    """What the block in this folder says; None when there is no file. Errors: XenableError when damaged.

    Where the firmware has the one-shot, and had it before this boot, GRUB could not note that it is used up:
    it is added here.
    """
    path = environment_path(folder)
    if not host.exists(path):
        return None
    values = parse_block(host.read(path))
    env = _environment(values)
    if _used_up(host, values):
        return replace(env, try_slot="", trying=env.choice, stage=UNKNOWN, started="")
    return env


def one_shot_word(host: Host, folder: StrPath) -> str:
    """BY_FIRMWARE or KEPT where the block in this folder says that the firmware has the one-shot; else
    empty."""
    return _values(host, environment_path(folder)).get(FIRMWARE, "")


def by_firmware(host: Host, folder: StrPath) -> bool:
    """Whether the block in this folder says that the firmware has the one-shot; no block says nothing."""
    return bool(one_shot_word(host, folder))


def used_up(host: Host, folder: StrPath) -> bool:
    """Whether the firmware had its one-shot before this boot, and nobody has written that into the block."""
    return _used_up(host, _values(host, environment_path(folder)))


def one_shot_obstacle(host: Host, folder: StrPath) -> str:
    """Why the firmware can't be made to start a slot once; empty where it can, and where GRUB has the
    one-shot."""
    return _obstacle(host, _values(host, environment_path(folder)))


def check_one_shot(host: Host, folder: StrPath) -> None:
    """Errors: XenableError where there is a one_shot_obstacle."""
    _check(host, _values(host, environment_path(folder)))


def write_environment(
    host: Host, folder: StrPath, env: Environment, *, firmware: bool | None = None, kept: bool = False
) -> None:
    """Put it on disk: in place when the file is there, else a new file with blocks of its own.

    Variables that are not ours are kept. A damaged block is replaced. firmware: whether the firmware has the
    one-shot, where the block need not say so yet; BootNext is set then, or taken back, as well. kept: the
    firmware has not deleted BootNext, so it is no one-shot, and nothing can be armed from now on.
    Errors: XenableError; what could not be armed is not in the block then.
    """
    path = environment_path(folder)
    before = _values(host, path)
    values = before | {name: str(getattr(env, field)) for field, name in _NAMES.items()}
    if firmware is not None:
        values = {name: value for name, value in values.items() if name not in (FIRMWARE, SET_IN)}
        values |= {FIRMWARE: BY_FIRMWARE} if firmware else {}
    if kept:
        values[FIRMWARE] = KEPT
    if FIRMWARE not in values:
        try:
            if FIRMWARE in before:
                efi.clear_next(host)
        finally:
            _write_block(host, path, values, grub_writes=True)
        return
    values[SET_IN] = _boot_id(host)
    if kept:
        # First what BootNext has told: it goes after that.
        _write_settled(host, folder, values)
    if not env.choice:
        # Native first: between the two nothing starts what the block does not name any more.
        try:
            efi.clear_next(host)
        finally:
            _write_settled(host, folder, values)
        return
    # What is not to be started any more goes, whatever the firmware says to the rest.
    goes = _asks_less(env, _environment(before))
    try:
        _check(host, values)
    except XenableError:
        if goes:
            _write_settled(host, folder, values)
        raise
    try:
        _write_settled(host, folder, values)
        efi.set_next(host)
    except XenableError:
        if not goes:
            _write_block(host, path, before, grub_writes=False)
        raise


def _asks_less(env: Environment, before: Environment) -> bool:
    """Whether a block asks for a part of what it asked for before, and for nothing else."""
    part = env.try_slot in ("", before.try_slot) and env.default in ("", before.default)
    same = (env.try_slot, env.default) == (before.try_slot, before.default)
    return part and not same and env.trying == before.trying


def _obstacle(host: Host, values: Mapping[str, str]) -> str:
    if FIRMWARE not in values:
        return ""
    if values[FIRMWARE] == KEPT:
        return "it did not delete BootNext when it started Xen: a dom0 that hangs would be started for ever"
    return efi.obstacle(host)


def _check(host: Host, values: Mapping[str, str]) -> None:
    if found := _obstacle(host, values):
        hint = AFTER_KEPT if values.get(FIRMWARE) == KEPT else efi.HINT
        raise XenableError(f"cannot set the firmware's BootNext: {found}", hint=hint)


def _environment(values: Mapping[str, str]) -> Environment:
    env = replace(Environment(), **{field: values.get(name, "") for field, name in _NAMES.items()})
    # GRUB's clock says 9 where a date has 09 (grub-core/hook/datehook.c).
    return replace(env, started=re.sub(r"\b([0-9])\b", r"0\1", env.started))


def _used_up(host: Host, values: Mapping[str, str]) -> bool:
    # Whatever BootNext says now: there is firmware that forgets it, and some that does not.
    return FIRMWARE in values and bool(_environment(values).choice) and values.get(SET_IN) != _boot_id(host)


def _boot_id(host: Host) -> str:
    return host.text("/proc/sys/kernel/random/boot_id").strip()


def _values(host: Host, path: str) -> dict[str, str]:
    """All that a block says; empty where there is none. What can't be parsed can't be kept, nor can GRUB
    read it."""
    if not host.exists(path):
        return {}
    try:
        return parse_block(host.read(path))
    except XenableError:
        return {}


def _write_settled(host: Host, folder: StrPath, values: Mapping[str, str]) -> None:
    _write_block(host, environment_path(folder), values, grub_writes=False)
    # GRUB reads a file system without its journal.
    host.settle(folder)


def _write_block(host: Host, path: str, values: Mapping[str, str], *, grub_writes: bool) -> None:
    block = format_block(values)
    if host.exists(path) and host.path(path).stat().st_size == SIZE:
        host.overwrite(path, block)
    else:
        host.write(path, block)
        if grub_writes and host.path(path).stat().st_blocks == 0:
            # Data kept inside the inode has no block that GRUB could write.
            host.remove(path)
            raise XenableError(
                f"cannot make {path}: its file system keeps it inside the inode, where GRUB can't write",
                hint="turn the file system's inline_data off, or let the environment block live on the ESP",
            )
