# SPDX-License-Identifier: GPL-2.0-or-later
"""What kernel a cloud image brings, read from its ext4 without mounting anything in dom0."""

from __future__ import annotations

import json
import re
from pathlib import Path

from xenable.boot.pairs import HEAD, kernel_compression, newest_first
from xenable.host import Host

SECTOR = 512
_KERNEL = re.compile(r"vmlinuz-[A-Za-z0-9][A-Za-z0-9.+~_-]*")


def kernel_inside(host: Host, image: Path, scratch: Path) -> str:
    """Compression of the newest kernel on a raw disk image, as xenable.boot.pairs names it.

    Empty where none is found: another file system than ext4, no kernel, or a tool that is missing.
    scratch: a file that may be written, and that is gone afterwards.
    """
    for offset in _partitions(host, image):
        for folder in ("/boot", "/"):
            listed = _debugfs(host, f"ls -p {folder}", image, offset)
            # Each line is /inode/mode/uid/gid/name/size/ (debugfs(8)); links have another mode.
            rows = (line.split("/") for line in listed.splitlines())
            names = [row[5] for row in rows if len(row) == 8 and row[2].startswith("100")]
            kernels = [name for name in names if _KERNEL.fullmatch(name)]
            if kernels:
                newest = f"vmlinuz-{newest_first([k.removeprefix('vmlinuz-') for k in kernels])[0]}"
                _debugfs(host, f"dump {folder.rstrip('/')}/{newest} {scratch}", image, offset)
                found = kernel_compression(host.part(scratch, HEAD)) if host.exists(scratch) else ""
                host.remove(scratch)
                return found
    return ""


def _partitions(host: Host, image: Path) -> tuple[int, ...]:
    """Where the partitions begin, in bytes, the largest first: that is where the root file system is."""
    if not host.exists("/sbin/sfdisk"):
        return ()
    result = host.run(["sfdisk", "--json", image], check=False)
    if result.code != 0:
        return ()
    table = json.loads(result.stdout)["partitiontable"]
    sector = int(table.get("sectorsize", SECTOR))
    parts = sorted(table.get("partitions", ()), key=lambda part: int(part["size"]), reverse=True)
    return tuple(int(part["start"]) * sector for part in parts)


def _debugfs(host: Host, request: str, image: Path, offset: int) -> str:
    """What debugfs prints; empty where there is no ext4 file system."""
    return host.run(["debugfs", "-R", request, f"{image}?offset={offset}"], check=False).stdout
