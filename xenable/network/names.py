# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of guests, for the guests and for dom0.

A guest has a file in FOLDER, from which dnsmasq answers the guests (its hostsdir; it sees new and changed
files by itself). The lines of all guests stand in a block at the end of dom0's /etc/hosts too; when the last
guest is gone the block goes, and the file is byte for byte what it was. Where a boot has made the file anew,
data/network/hosts writes the same block again. Callers hold the lock of the guests' folder.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import Host

DOMAIN = "xen.internal"
FOLDER = Path("/var/lib/xenable/names")
HOSTS = Path("/etc/hosts")

BEGIN = b"# Guests of this machine, kept by xenable: edits up to the end mark get lost."
BEGIN_NO_NEWLINE = BEGIN + b" The line before had no end."
"""The same, where the newline before it came with the block."""
END = b"# End of xenable's guests."


def publish(host: Host, name: str, addresses: tuple[str, ...]) -> None:
    """Make a guest known by name, or change its addresses. Errors: XenableError."""
    file = FOLDER / _checked(name)
    try:
        lines = [f"{ip_address(address)} {name}.{DOMAIN} {name}\n" for address in addresses if address]
    except ValueError as e:
        raise XenableError(f"cannot publish the name {name}: {e}") from e
    old = host.read(HOSTS) if host.exists(HOSTS) else None
    _split(old or b"")
    host.make_folder(FOLDER)
    host.write(file, "".join(lines).encode())
    _write_hosts(host, old)


def withdraw(host: Host, name: str) -> None:
    """Forget a guest's name; nothing happens when it has none. Errors: XenableError."""
    file = FOLDER / _checked(name)
    old = host.read(HOSTS) if host.exists(HOSTS) else None
    _split(old or b"")
    known = host.exists(file)
    host.remove(file)
    _write_hosts(host, old)
    if known and host.live:
        # Not every dnsmasq forgets by itself what it read from a file that is gone. It may not be running.
        host.run(["systemctl", "reload", "xenable-names"], check=False)


def taken_by(host: Host, name: str) -> str:
    """What a name means already for this machine; empty when it is free. Guests are not looked at."""
    if name == host.text("/etc/hostname").strip().partition(".")[0]:
        return "this machine itself"
    before, after = _split(host.read(HOSTS)) if host.exists(HOSTS) else (b"", b"")
    for line in (before + b"\n" + after).splitlines():
        address, *known = line.partition(b"#")[0].split() or [b""]
        if name.encode() in (word.lower() for word in known):
            return f"{address.decode(errors='replace')}, in {HOSTS}"
    return ""


def with_block(hosts: bytes, lines: bytes) -> bytes:
    """The text of /etc/hosts with these lines in the block; without lines there is no block.

    Errors: XenableError when one of the two marks is missing.
    """
    before, after = _split(hosts)
    if not lines:
        return before + after
    begin = BEGIN
    if before and not before.endswith(b"\n"):
        begin = BEGIN_NO_NEWLINE
        before += b"\n"
    return before + begin + b"\n" + lines + END + b"\n" + after


def _split(hosts: bytes) -> tuple[bytes, bytes]:
    """What is before and after the block. Errors: XenableError."""
    lines = hosts.split(b"\n")
    begins = [n for n, line in enumerate(lines) if line in (BEGIN, BEGIN_NO_NEWLINE)]
    ends = [n for n, line in enumerate(lines) if line == END]
    if not begins and not ends:
        return hosts, b""
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise XenableError(
            f"cannot change {HOSTS}: the marks of the guests' names in it are damaged",
            hint=f"delete what is left of the lines from {BEGIN.decode()!r} to {END.decode()!r}",
        )
    first, last = begins[0], ends[0]
    before = b"".join(line + b"\n" for line in lines[:first])
    after = b"\n".join(lines[last + 1 :])
    if lines[first] == BEGIN_NO_NEWLINE and not after:
        before = before.removesuffix(b"\n")
    return before, after


def _write_hosts(host: Host, old: bytes | None) -> None:
    # A dom0 without the file looks names up without it.
    if old is None:
        return
    lines = b"".join(host.read(FOLDER / name) for name in host.names(FOLDER) if _is_name(name))
    new = with_block(old, lines)
    if new == old:
        return
    host.edit(HOSTS, new)


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name) is not None


def _checked(name: str) -> str:
    if not _is_name(name):
        raise XenableError(
            f"cannot use the name {name!r} for a guest",
            hint="letters, digits, dots and hyphens are possible, 63 at most, a letter or a digit first",
        )
    return name
