# SPDX-License-Identifier: GPL-2.0-or-later
"""How big an initrd becomes in memory, told without unpacking it.

An initrd is a row of cpio archives (Linux: driver-api/early-userspace/buffer-format.rst): early
ones with microcode, not compressed, whose sizes are read from their headers, then one that is compressed.
"""

from __future__ import annotations

import os
import struct

from xenable.host import Host

RATIO = 4
"""Taken for formats that do not say their unpacked size, and for streams that leave it out: what kernel
modules and programs are compressed to, rather too much than too little."""

_HEADER = 110
_FIELDS = 8


def unpacked_bytes(host: Host, path: str) -> int | None:
    """Unpacked size in bytes: exact for gzip and xz, an estimate for others; None when unreadable."""
    try:
        fd = os.open(host.path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        early = _cpio_end(fd, size)
        return early + (_compressed(fd, early, size) if size > early else 0)
    except OSError:
        return None
    finally:
        os.close(fd)


def _cpio_end(fd: int, size: int) -> int:
    """Where the archives that are not compressed end."""
    position = 0
    while position < size:
        header = os.pread(fd, _HEADER, position)
        if header[:1] == b"\0":
            # Between archives there are zeros, up to a multiple of four or of a block.
            block = os.pread(fd, 65536, position)
            position += len(block) - len(block.lstrip(b"\0"))
            continue
        if len(header) < _HEADER or header[:6] not in (b"070701", b"070702"):
            break
        try:
            file_size, name_size = (int(header[6 + _FIELDS * n :][:_FIELDS], 16) for n in (6, 11))
        except ValueError:
            break
        position = _aligned(_aligned(position + _HEADER + name_size) + file_size)
    return min(position, size)


def _aligned(position: int) -> int:
    return position + 3 & ~3


def _compressed(fd: int, start: int, size: int) -> int:
    magic = os.pread(fd, 18, start)
    exact: int | None = None
    if magic.startswith(b"\x1f\x8b"):
        # The last four bytes are the size modulo 4 GiB (RFC 1952).
        exact = struct.unpack("<I", os.pread(fd, 4, size - 4))[0] if size - start >= 18 else None
    elif magic.startswith(b"\xfd7zXZ\0"):
        exact = _xz(fd, start, size)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        exact = _zstd(magic)
    # A second member after the first, or padding, makes the numbers in a trailer those of something else.
    return exact if exact is not None and exact >= size - start else (size - start) * RATIO


def _zstd(frame: bytes) -> int | None:
    """Frame_Content_Size (RFC 8878, 3.1.1.1); None when the frame does not have it."""
    descriptor = frame[4] if len(frame) > 4 else 0
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    field = frame[start : start + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)


def _xz(fd: int, start: int, size: int) -> int | None:
    """Sum of the sizes in the index (xz file format 1.2.1, 4); None when there is more than one stream."""
    footer = os.pread(fd, 12, size - 12)
    if len(footer) < 12 or footer[10:] != b"YZ":
        return None
    index_size = (struct.unpack_from("<I", footer, 4)[0] + 1) * 4
    if index_size > size - start - 12:
        return None
    index = os.pread(fd, index_size, size - 12 - index_size)
    position, total = 1, 0
    count, position = _varint(index, position)
    stream = 12 + index_size + 12
    for _ in range(min(count, len(index))):
        unpadded, position = _varint(index, position)
        unpacked, position = _varint(index, position)
        stream += unpadded + 3 & ~3
        total += unpacked
    return total if stream == size - start else None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 63:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if not byte & 0x80:
            break
    return value, position
