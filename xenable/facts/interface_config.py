# SPDX-License-Identifier: GPL-2.0-or-later
"""The files by which Ethernet cards are configured, without secrets: what a bridge has to take over."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from xenable.errors import XenableError
from xenable.host import Host
from xenable.machine import Interface, InterfaceConfig
from xenable.redact import REDACTED

INTERFACES = "/etc/network/interfaces"
PROFILES = tuple(f"{folder}/NetworkManager/system-connections" for folder in ("/etc", "/run", "/usr/lib"))

NETWORKD_FOLDERS = tuple(f"{top}/systemd/network" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
"""Of two drop-ins of one name, the one in the first folder is used: systemd.network(5)."""

MOST_FILES = 100
"""Of ifupdown: more than anybody has. Files can include each other."""

_SECRET = re.compile(r"(\s*)(wpa-\S+|wireless-\S+|\S*(?:passw|passphrase|psk|secret|token|key)\S*)\s", re.I)
"""A line of ifupdown's with a secret, or one of those among which secrets are."""

_SECRET_KEY = re.compile(r"^(\s*[^\s=]*(?:passw|psk|secret|token|key)[^\s=]*)\s*=.*$", re.I | re.M)
"""The same in a file of systemd's."""

_PROFILE_SECTIONS = ("connection", "ethernet", "802-3-ethernet", "ipv4", "ipv6")


def probe_interface_config(
    host: Host, interface: Interface, index: str, ifupdown: Mapping[str, str]
) -> Iterator[InterfaceConfig]:
    """The files for a physical interface, none for others.

    index: of the interface, as the kernel counts them. ifupdown: what ifupdown_files found.
    """
    if interface.kind != "physical":
        return
    name = interface.name
    match interface.manager:
        case "ifupdown":
            # All of them: a mapping, or another bridge of that name, need not name the interface.
            for file, text in ifupdown.items():
                shown = hide_secrets(text) if _for_all(host, file) else ""
                yield InterfaceConfig(interface=name, file=_real(host, file), text=shown)
        case "networkd" | "netplan":
            state = host.text(f"/run/systemd/netif/links/{index}")
            files = network_files(host, state)
            if files:
                texts = [host.text(file) for file in files]
                # A drop-in may be empty, or /dev/null; the file itself is not.
                seen = all(text or _for_all(host, file) for file, text in zip(files, texts, strict=True))
                shown = "".join(f"{text.rstrip()}\n" for text in texts if text) if seen and texts[0] else ""
                yield InterfaceConfig(
                    interface=name,
                    file=files[0],
                    text=_SECRET_KEY.sub(rf"\1={REDACTED}", shown),
                    iaid=parse_iaid(host.text(f"/run/systemd/netif/leases/{index}")),
                )
        case "networkmanager":
            state = host.text(f"/run/NetworkManager/devices/{index}")
            found = re.search(r"^connection-uuid=(\S+)$", state, re.MULTILINE)
            if found:
                yield from _profile(host, name, found[1])


def ifupdown_files(host: Host) -> dict[str, str]:
    """Path to text of /etc/network/interfaces and of all that it includes."""
    found: dict[str, str] = {}
    waiting = [INTERFACES]
    while waiting and len(found) < MOST_FILES:
        path = waiting.pop(0)
        text = host.text(path)
        if path in found or not text:
            continue
        found[path] = text
        for row in text.replace("\\\n", " ").split("\n"):
            words = row.split()
            if words[:1] in (["source"], ["source-directory"]):
                for pattern in words[1:]:
                    # From the folder of the file that says so: interfaces(5).
                    named = str(PurePosixPath(path).parent / pattern)
                    waiting += _included(host, named, whole=words[0] == "source-directory")
    return found


def network_files(host: Host, state: str) -> tuple[str, ...]:
    """The .network file of an interface and its drop-ins, by systemd-networkd's state of it.

    The state is systemd's own, and its form is not promised. systemd 252 does not name drop-ins there.
    """
    file = re.search(r'^NETWORK_FILE="?(/[^"\n]+)"?$', state, re.MULTILINE)
    if not file:
        return ()
    told = re.search(r'^NETWORK_FILE_DROPINS="?([^"\n]*)"?$', state, re.MULTILINE)
    if told:
        return (file[1], *(path for path in told[1].split(":") if path))
    folder = f"{PurePosixPath(file[1]).name}.d"
    found: dict[str, str] = {}
    for top in NETWORKD_FOLDERS:
        for name in host.names(f"{top}/{folder}"):
            if name.endswith(".conf"):
                found.setdefault(name, f"{top}/{folder}/{name}")
    return (file[1], *(found[name] for name in sorted(found)))


def parse_iaid(lease: str) -> int | None:
    """The IAID with which a lease of systemd-networkd was asked for; None when it was without one.

    CLIENTID= is option 61 of DHCP, in hexadecimal: 255, the IAID, the DUID (RFC 4361). Not promised, either.
    """
    found = re.search(
        r"^CLIENTID=ff([0-9a-f]{8})(?:[0-9a-f]{2}){3,130}$", lease, re.MULTILINE | re.IGNORECASE
    )
    return int(found[1], 16) if found else None


def parse_profile(text: str) -> str:
    """Of a profile of NetworkManager what has no secrets; of other sections, the names."""
    kept = []
    header, known = "", False
    for row in text.split("\n"):
        line = row.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            header, known = line, line[1:].partition("]")[0] in _PROFILE_SECTIONS
            if known:
                kept.append(line)
        elif known:
            kept.append(line)
        elif header:
            kept.append(header)
            header = ""
    return "".join(f"{line}\n" for line in kept)


def hide_secrets(text: str) -> str:
    """A text of ifupdown's with REDACTED for each value that is a secret, or stands with one."""
    shown = []
    hiding = False
    for line in text.split("\n"):
        secret = _SECRET.match(line + "\n")
        if not hiding:
            shown.append(f"{secret[1]}{secret[2]} {REDACTED}" if secret else line)
            hiding = secret is not None
        hiding = hiding and line.endswith("\\")
    return "\n".join(shown)


def _included(host: Host, path: str, *, whole: bool) -> list[str]:
    """Files that an absolute pattern names; whole: all of the folders that it names."""
    folders = [""]
    parts = [part for part in path.split("/") if part]
    for part in parts:
        if re.search(r"[*?\[]", part):
            # A shell's wildcards leave hidden names out.
            folders = [
                f"{folder}/{name}"
                for folder in folders
                for name in host.names(folder or "/")
                if fnmatch.fnmatchcase(name, part) and name.startswith(".") <= part.startswith(".")
            ]
        else:
            folders = [f"{folder}/{part}" for folder in folders]
    if not whole:
        return folders
    return [
        f"{folder}/{name}"
        for folder in folders
        for name in host.names(folder)
        if re.fullmatch(r"[A-Za-z0-9_-]+", name)
    ]


def _real(host: Host, path: str) -> str:
    """The file that a path leads to: nothing can be mounted over a link."""
    try:
        return str(host.resolve(path))
    except XenableError:
        return path


def _for_all(host: Host, path: str) -> bool:
    """Whether everybody may read a file: a copy of it spreads no secret then. Links are followed."""
    try:
        info = host.stat(host.resolve(path))
    except XenableError:
        return False
    return info is not None and bool(info.st_mode & 0o004)


def _profile(host: Host, name: str, uuid: str) -> Iterator[InterfaceConfig]:
    for folder in PROFILES:
        for file in host.names(folder):
            path = f"{folder}/{file}"
            text = host.text(path) if file.endswith(".nmconnection") else ""
            if re.search(rf"^\s*uuid\s*=\s*{re.escape(uuid)}\s*$", text, re.MULTILINE):
                yield InterfaceConfig(interface=name, file=path, text=parse_profile(text))
                return
