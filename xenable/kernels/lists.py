# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's own sources of packages, as sources of source packages. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An address and a suite of an archive, as apt's sources have them."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str
    """Keyring's path, a fingerprint, or a whole key of many lines; empty: whatever apt trusts."""

    def stanza(self) -> str:
        """For a .sources file, as a source of source packages."""
        text = f"Types: deb-src\nURIs: {self.uri}\nSuites: {self.suite}\n"
        if self.components:
            text += f"Components: {' '.join(self.components)}\n"
        if self.signed_by:
            text += f"Signed-By: {self.signed_by}\n"
        return text


def one_line_entries(text: str) -> Iterator[Entry]:
    """Binary entries of sources.list(5), one-line style."""
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)", line)
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            yield Entry(
                uri=match[2],
                suite=match[3],
                components=tuple(match[4].split()),
                signed_by=options.get("signed-by", "").replace(",", " "),
            )


def deb822_entries(text: str) -> Iterator[Entry]:
    """Binary entries of sources.list(5), deb822 style; those that are switched off are none."""
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text):
        fields = stanza_fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in OFF:
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Entry(
                    uri=uri,
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    signed_by=fields.get("signed-by", ""),
                )


OFF = ("no", "false", "0", "off", "without", "disable")


def stanza_fields(paragraph: str) -> dict[str, str]:
    """Fields of a deb822 paragraph, names in small letters; comments are left out, other lines kept."""
    found: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            found[name] += f"\n{line.rstrip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return found


def source_list(files: Mapping[str, str], own: Collection[tuple[str, str]], component: str = "main") -> str:
    """A .sources file for source packages.

    `files` are apt's by name; `own` the pairs of address and suite that are of the distribution itself. Each
    once; nobody else's, for who has only packages has no list of sources. Empty when nothing is left.
    """
    wanted = {(_plain(uri), suite) for uri, suite in own}
    found: dict[tuple[str, str], Entry] = {}
    for entry in _entries(files):
        key = (_plain(entry.uri), entry.suite)
        if key in wanted and component in entry.components:
            found.setdefault(key, Entry(**{**vars(entry), "components": (component,)}))
    return "\n".join(entry.stanza() for entry in found.values())


def _plain(uri: str) -> str:
    """An address in one form: apt itself says mirror+file:/etc/x/ of the mirror+file:///etc/x of a file."""
    return re.sub(":/+", ":/", uri, count=1).rstrip("/")


def _entries(files: Mapping[str, str]) -> Iterable[Entry]:
    for name, text in files.items():
        if name.endswith(".list"):
            yield from one_line_entries(text)
        elif name.endswith(".sources"):
            yield from deb822_entries(text)


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """A version of a source package that apt's lists have."""

    version: str
    """As the archive numbers it: 6.1.176-1."""
    archive: str
    """Name of the upstream archive."""
    sha256: str

    @property
    def upstream(self) -> tuple[int, ...]:
        return tuple(int(number) for number in self.version.partition("-")[0].split("."))


def source_versions(showsrc: str, package: str) -> tuple[SourceVersion, ...]:
    """What `apt-cache showsrc` says of one source package, the newest upstream first; each archive once.

    Release candidates, and sources without one archive of the upstream, are left out.
    """
    found: dict[str, SourceVersion] = {}
    for paragraph in showsrc.split("\n\n"):
        fields = stanza_fields(paragraph)
        version = fields.get("version", "").rpartition(":")[2]
        files = re.findall(
            r"(?m)^ ?([0-9a-f]{64}) [0-9]+ (\S+\.orig\.tar\.\w+)$", fields.get("checksums-sha256", "")
        )
        right = re.fullmatch(r"[0-9]+\.[0-9]+(\.[0-9]+)?-\S+", version)
        if fields.get("package") == package and right and len(files) == 1:
            found.setdefault(
                files[0][1], SourceVersion(version=version, archive=files[0][1], sha256=files[0][0])
            )
    return tuple(sorted(found.values(), key=lambda v: v.upstream, reverse=True))
