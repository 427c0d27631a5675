# SPDX-License-Identifier: GPL-2.0-or-later
"""The repository that apt installs these kernels from: on this machine, signed by a key made for it alone.

It is a folder that is made whole beside the one in use, and then the link that apt reads is turned over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from xenable.facts.apt import LISTS
from xenable.host import Host
from xenable.kernels.places import APT_SOURCES, BUILDS, KERNELS, KEYS, REPOSITORY

_MOVING = re.compile(r"xen-(image|headers)-[a-z]+_")
"""Files of metapackages: xen-image-lean_6.12.107-1_amd64.deb."""

NEEDED = ("apt-utils", "gpg", "gpg-agent")
"""Packages with the programs that make it. gpg only recommends its agent, and makes no key without it."""

OWNER = "Kernels built by Xenable on this machine"
RELEASE = (
    ("Origin", "Xenable"),
    ("Label", "Kernels built on this machine"),
    ("Suite", "local"),
    ("Codename", "local"),
    ("Architectures", "amd64"),
    ("Description", "Kernels for Xen, built by xenable on this machine"),
)


def publish(host: Host, folder: Path, files: Sequence[str], keep: Collection[str]) -> None:
    """Add packages to the repository, whole or not at all, and make apt see it. Errors: XenableError.

    files: names in the folder, of packages, and of what source packages consist of.
    keep: names of what is in it already and stays; metapackages never do.
    """
    fingerprint = _key(host)
    old = host.link_target(REPOSITORY)
    new = KERNELS / f"repository.{int(old.rpartition('.')[2]) + 1 if old else 1}"
    host.run(["rm", "-rf", "--", new])
    host.make_folder(new)
    for name in host.names(REPOSITORY):
        # What apt offers is what was built last: metapackages of earlier builds may be newer, of another
        # series or flavour, or of patches that were taken out again.
        if name in keep and not _MOVING.match(name):
            host.link_or_copy(REPOSITORY / name, new / name)
    for name in files:
        # By copy: the folder of the build may be on another file system. Not into what is there: two builds
        # of one Linux share its archive, and that file is the one that apt reads until the end.
        host.run(
            ["cp", "--reflink=auto", "--remove-destination", "--", folder / name, new / name], timeout=None
        )
        host.chmod(new / name, 0o644)
    _index(host, new, fingerprint)
    host.run(["sync", "-f", new], timeout=None)
    host.symlink(REPOSITORY, new.name)
    # Also those of a run that was killed between the two.
    for name in _folders(host):
        if name != new.name:
            host.run(["rm", "-rf", "--", KERNELS / name])
    text = sources_text(_public(host, fingerprint), with_source=_has_source(host, REPOSITORY))
    host.write(APT_SOURCES, text.encode())
    _refresh(host)


def remove(host: Host) -> bool:
    """Take the repository out of apt, and away, with its key; returns whether there was one.

    Kernels that were installed from it stay. Errors: XenableError while a kernel is built.
    """
    if not host.exists(APT_SOURCES) and not host.exists(KERNELS):
        return False
    with host.lock_folder(KERNELS, wait=False):
        there = host.exists(APT_SOURCES) or host.exists(REPOSITORY) or host.exists(KEYS)
        # apt first: with a source that is gone every `apt update` would fail.
        host.remove(APT_SOURCES)
        for name in host.names(LISTS):
            if name.startswith(str(REPOSITORY).replace("/", "_")):
                host.remove(f"{LISTS}/{name}")
        folders = _folders(host)
        host.remove(REPOSITORY)
        for path in (*(KERNELS / name for name in folders), KEYS):
            host.run(["rm", "-rf", "--", path])
        host.remove(BUILDS)
    return there


def _folders(host: Host) -> list[str]:
    """Names of the folders that are a repository, or were meant to be one."""
    return [name for name in host.names(KERNELS) if re.fullmatch(r"repository\.[0-9]+", name)]


def sources_text(key: str, *, with_source: bool) -> str:
    """The file for apt, with the public key in it: sources.list(5). Pure.

    with_source: whether there is an index of source packages; apt would complain about one that is missing.
    """
    types = "deb deb-src" if with_source else "deb"
    lines = (f" {line}" if line.strip() else " ." for line in key.strip().splitlines())
    return (
        "# Written by `xenable kernel build`; `xenable kernel remove-repository` takes it away.\n"
        f"Types: {types}\nURIs: file:{REPOSITORY}\nSuites: ./\nSigned-By:\n" + "\n".join(lines) + "\n"
    )


def _has_source(host: Host, folder: Path) -> bool:
    return any(name.endswith(".dsc") for name in host.names(folder))


def _index(host: Host, folder: Path, fingerprint: str) -> None:
    """Packages, Sources, Release and InRelease of a folder of packages; Sources where it has any."""
    indexes = {"Packages": "packages", **({"Sources": "sources"} if _has_source(host, folder) else {})}
    for name, word in indexes.items():
        text = host.run(["env", "-C", folder, "apt-ftparchive", word, "."], timeout=600).stdout
        host.write(folder / name, text.encode())
    options = [word for key, value in RELEASE for word in ("-o", f"APT::FTPArchive::Release::{key}={value}")]
    release = host.run(["env", "-C", folder, "apt-ftparchive", *options, "release", "."], timeout=600).stdout
    host.write(folder / "Release", release.encode())
    # gpg would ask before it overwrites.
    host.remove(folder / "InRelease")
    _gpg(
        host,
        "--local-user",
        fingerprint,
        "--output",
        folder / "InRelease",
        "--clearsign",
        folder / "Release",
    )
    host.chmod(folder / "InRelease", 0o644)


def _key(host: Host) -> str:
    """Fingerprint of the key, which is made at the first use."""
    host.make_folder(KEYS, 0o700)
    found = _fingerprint(host)
    if not found:
        _gpg(host, "--quick-generate-key", OWNER, "ed25519", "sign", "never")
        found = _fingerprint(host)
    return found


def _fingerprint(host: Host) -> str:
    listed = _gpg(host, "--with-colons", "--list-secret-keys")
    match = re.search(r"(?m)^fpr:+([0-9A-F]{40}):$", listed)
    return match[1] if match else ""


def _public(host: Host, fingerprint: str) -> str:
    return _gpg(host, "--armor", "--export-options", "export-minimal", "--export", fingerprint)


def _gpg(host: Host, *words: str | Path) -> str:
    alone: list[str | Path] = ["gpg", "--homedir", KEYS, "--batch", "--no-tty", "--quiet"]
    try:
        return host.run([*alone, "--pinentry-mode", "loopback", "--passphrase", "", *words]).stdout
    finally:
        # Its agent would go on in the background, and keep the folder.
        host.run(["gpgconf", "--homedir", KEYS, "--kill", "all"], check=False)


def _refresh(host: Host) -> None:
    """Let apt read this repository, and no other: nothing is fetched from anywhere."""
    only = ["-o", f"Dir::Etc::sourcelist={APT_SOURCES}", "-o", "Dir::Etc::sourceparts=-"]
    host.run(["apt-get", "-q", *only, "-o", "APT::Get::List-Cleanup=0", "update"], timeout=600)
