# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's own variables, and a one-shot of the firmware's: BootNext.

It serves where GRUB can read the environment block but not write it. The firmware deletes BootNext before it
starts what that names (UEFI specification 3.1.1): a one-shot that is cleared before anything can go wrong.
It names an entry of Xenable's, which is in no boot order and starts a GRUB of Xenable's (boot/loader.py).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from uuid import UUID

from xenable.errors import XenableError
from xenable.host import Host

EFIVARS = "/sys/firmware/efi/efivars"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ATTRIBUTES = struct.pack("<I", 0x1 | 0x2 | 0x4)
"""Non-volatile, for the boot services, and for the running system."""
ACTIVE = 1
NAME = "Xenable trial"
OWN = "/EFI/xenable/grubx64.efi"
"""What the entry starts, from the top of the EFI system partition."""
HINT = "`efibootmgr -v` shows what is set, and `efibootmgr -N` takes BootNext back"

_PARTITION, _FILE_PATH = (4, 1), (4, 4)
"""Types and sub-types of nodes of a device path (UEFI specification 10.3.5.1 and 10.3.5.4)."""
_END = b"\x7f\xff\4\0"
_BOOT_NAME = re.compile(rf"Boot[0-9A-F]{{4}}-{GLOBAL}")


def efi_variable(host: Host, name: str, vendor: str = GLOBAL) -> bytes | None:
    """The value of an EFI variable without its four bytes of attributes; None when unreadable or absent."""
    try:
        data = host.read(_path(name, vendor))
    except XenableError:
        return None
    return data[4:] if len(data) >= 4 else None


def parse_load_option(data: bytes) -> tuple[str, str]:
    """Description and path of the file of a Boot#### variable; empty where there is none."""
    description = data[6 : _description_end(data)].decode("utf-16-le", "replace")
    texts = (node[4:] for node in _nodes(data) if _is_file(node))
    return description, "".join(text.decode("utf-16-le", "replace").rstrip("\0") for text in texts)


def current_option(host: Host) -> bytes | None:
    """The Boot#### variable that this start of the machine came from; None where that is not known."""
    number = _number(efi_variable(host, "BootCurrent"))
    return efi_variable(host, f"Boot{number:04X}") if number is not None else None


def boot_option(host: Host) -> bytes | None:
    """A Boot#### variable that names the partition the machine starts from; None where none does.

    That is the one of this start, or else the first in the firmware's order that names a partition: the
    machine may have come over the network, or by an entry that is gone by now.
    """
    return next(filter(_partitions, _starts(host)), None)


def native_loader(host: Host) -> str:
    """What starts the native system, as /EFI/debian/shimx64.efi: what started it this time, or is the first
    in the firmware's order on the same partition, or the default that any firmware has (UEFI specification
    3.5.1.1)."""
    source = boot_option(host)
    wanted = _partitions(source) if source is not None else []
    options = (option for option in _starts(host) if _partitions(option) == wanted)
    paths = (_file(option) for option in options if not _starts_own(option))
    return next((path for path in paths if path.startswith("/")), "/EFI/BOOT/BOOTX64.EFI")


def own_entries(host: Host) -> tuple[int, ...]:
    """Numbers of the Boot#### variables that start Xenable's GRUB: one where it is as it was made, but there
    is firmware that makes a second one of it."""
    return tuple(number for number, option in _options(host) if _starts_own(option))


def make_entry(host: Host) -> None:
    """Make that variable, on the partition that the machine starts from. One of another partition, as from
    before the machine was installed anew, goes.

    Errors: XenableError where no partition is known, or the firmware takes no variable.
    """
    source = boot_option(host)
    own = [option for _, option in _options(host) if _starts_own(option)]
    if source is None:
        if own:
            return
        raise XenableError(
            "cannot make a boot entry: the firmware does not say which partition the machine starts from",
            hint="`efibootmgr -v` shows BootCurrent and the entries",
        )
    wanted = _own_option(source)
    if len(own) == 1 and _same(own[0], wanted):
        return
    remove_entry(host)
    # Not one that is in the order, where each start would be by it, nor one that somebody has in mind.
    names = (name for name in host.names(EFIVARS) if _BOOT_NAME.fullmatch(name))
    words = (_number(efi_variable(host, name)) for name in ("BootNext", "BootCurrent"))
    taken = {*(int(name[4:8], 16) for name in names), *_order(host), *words}
    number = next(number for number in range(0x10000) if number not in taken)
    _write(host, f"Boot{number:04X}", wanted)


def remove_entry(host: Host) -> None:
    """Remove each of them, BootNext where it names one, and their numbers where the firmware has put them
    into its order. Errors: XenableError."""
    clear_next(host)
    own, order = own_entries(host), _order(host)
    rest = [number for number in order if number not in own]
    if not rest and order:
        host.set_variable(_path("BootOrder"), None)
    elif len(rest) < len(order):
        _write(host, "BootOrder", struct.pack(f"<{len(rest)}H", *rest))
    for number in own:
        host.set_variable(_path(f"Boot{number:04X}"), None)


def is_next(host: Host) -> bool:
    """Whether BootNext names the entry of Xenable's."""
    return _number(efi_variable(host, "BootNext")) in own_entries(host)


def came_by_entry(host: Host) -> bool:
    """Whether this start of the machine was by the entry of Xenable's."""
    return _number(efi_variable(host, "BootCurrent")) in own_entries(host)


def obstacle(host: Host) -> str:
    """Why BootNext can't be set to that entry; empty where it can, as far as one can see."""
    if not host.names(EFIVARS):
        return f"the firmware's variables are not in {EFIVARS}"
    own, word = own_entries(host), _number(efi_variable(host, "BootNext"))
    if ordered := {*own} & {*_order(host)}:
        return f"the firmware has put entry {min(ordered):04X} into its boot order: `efibootmgr -v` shows it"
    if word not in (None, *own):
        return f"BootNext is set to entry {word:04X} already"
    if not own and boot_option(host) is None:
        return "the firmware does not say which partition the machine starts from"
    return ""


def set_next(host: Host) -> None:
    """Make the next start of the machine the one of that entry, which is made again where it is gone.

    Errors: XenableError where the firmware takes no variable.
    """
    make_entry(host)
    own = own_entries(host)
    if own and not is_next(host):
        _write(host, "BootNext", struct.pack("<H", own[0]))
    if not is_next(host):
        raise XenableError("cannot set the firmware's BootNext: the firmware did not keep it", hint=HINT)


def clear_next(host: Host) -> None:
    """Take BootNext back where it names that entry. Errors: XenableError."""
    if is_next(host):
        host.set_variable(_path("BootNext"), None)


def _order(host: Host) -> tuple[int, ...]:
    """Numbers of the Boot#### variables that the firmware tries, the first one first."""
    order = efi_variable(host, "BootOrder") or b""
    return tuple(number for (number,) in struct.iter_unpack("<H", order[: len(order) // 2 * 2]))


def _starts(host: Host) -> Iterator[bytes]:
    """What the machine starts from: the variable of this start, then those that the firmware tries."""
    options = (efi_variable(host, f"Boot{number:04X}") for number in _order(host))
    return (option for option in (current_option(host), *options) if option is not None)


def _own_option(source: bytes) -> bytes:
    """The value of the variable: on the partition that another one names."""
    file = (OWN.replace("/", "\\") + "\0").encode("utf-16-le")
    nodes = b"".join(node for node in _nodes(source) if not _is_file(node))
    nodes += struct.pack("<BBH", *_FILE_PATH, 4 + len(file)) + file + _END
    return struct.pack("<IH", ACTIVE, len(nodes)) + f"{NAME}\0".encode("utf-16-le") + nodes


def _same(one: bytes, other: bytes) -> bool:
    """Whether two variables start the same file of the same partition, whatever else they say."""
    return _partitions(one) == _partitions(other) and _file(one).lower() == _file(other).lower()


def partition(option: bytes) -> str:
    """The UUID of the partition that a Boot#### variable names, as in /dev/disk/by-partuuid; else empty."""
    # Signature type 2: the unique GUID of a GPT partition (UEFI specification, table 10.51).
    found = (node[24:40] for node in _partitions(option) if len(node) >= 42 and node[41] == 2)
    return next((str(UUID(bytes_le=guid)) for guid in found), "")


def _partitions(option: bytes) -> list[bytes]:
    return [node for node in _nodes(option) if tuple(node[:2]) == _PARTITION]


def _options(host: Host) -> Iterator[tuple[int, bytes]]:
    for name in filter(_BOOT_NAME.fullmatch, host.names(EFIVARS)):
        option = efi_variable(host, name[:8])
        if option is not None:
            yield int(name[4:8], 16), option


def _starts_own(option: bytes) -> bool:
    return _file(option).lower() == OWN.lower()


def _file(option: bytes) -> str:
    return parse_load_option(option)[1].replace("\\", "/")


def _nodes(option: bytes) -> Iterator[bytes]:
    """The nodes of the first device path, without its end."""
    position = _description_end(option) + 2
    while len(option) >= position + 4:
        kind, _, length = struct.unpack_from("<BBH", option, position)
        if length < 4 or kind == 0x7F:
            return
        yield option[position : position + length]
        position += length


def _is_file(node: bytes) -> bool:
    return tuple(node[:2]) == _FILE_PATH


def _description_end(option: bytes) -> int:
    end = 6
    while option[end : end + 2] not in (b"\0\0", b"", option[end : end + 1]):
        end += 2
    return end


def _number(value: bytes | None) -> int | None:
    return int(struct.unpack_from("<H", value)[0]) if value is not None and len(value) >= 2 else None


def _path(name: str, vendor: str = GLOBAL) -> str:
    return f"{EFIVARS}/{name}-{vendor}"


def _write(host: Host, name: str, value: bytes) -> None:
    host.set_variable(_path(name), ATTRIBUTES + value)
