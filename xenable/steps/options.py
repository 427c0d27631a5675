# SPDX-License-Identifier: GPL-2.0-or-later
"""Set a few keys in a configuration file whose content is not known when the plan is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xenable.host import Host
from xenable.journal import load_bytes, store_bytes
from xenable.model import Obstacle, Preview, Progress
from xenable.steps import files, snapshot
from xenable.steps.base import Saved, Step

MARK = "# Set by Xenable"
"""Begins the comment over every line of ours: `edited` of the packages leaves such a file to this kind."""

MODE = 0o644
"""Of a file that was not there."""


@dataclass(frozen=True, kw_only=True)
class SetOptions(Step):
    """Lines `key=value` in a file at an absolute path that a package of an earlier step brings.

    Of lines that set one key the last has the say, in shell and in xl.conf(5) alike. So a plain line that
    has the say gets the new value where it stands, beside what explains it; in any other case a line of
    ours comes last. Nothing else in the file changes.
    """

    kind: ClassVar[str] = "set-options"

    path: str
    options: tuple[tuple[str, str], ...]
    """Key and value as they are written, with their quotes. A key only once."""
    why: str
    """What it does, in words that complete "so that …": they stand in the file, and in the preview."""

    def title(self) -> str:
        return f"set {', '.join(key for key, _ in self.options)} in {self.path}"

    def preview(self, host: Host) -> Preview:
        text = _read(host, self.path)
        if text is not None:
            after = self._edited(text)
            detail = snapshot.diff(_bytes(text), _bytes(after), self.path, self.path)
            return Preview(title=self.title(), detail=detail or f"they are set already: {self.why}\n")
        lines = "".join(f"  {line}\n" for line in _lines(self.options))
        detail = f"these lines, in the file that comes with the packages:\n{lines}so that {self.why}\n"
        return Preview(title=self.title(), detail=detail)

    def is_done(self, host: Host) -> bool:
        text = _read(host, self.path)
        return text is not None and self._edited(text) == text

    def save(self, host: Host) -> Saved:
        saved = files.take(host, self.path)
        after = self._edited(_read(host, self.path) or "")
        # Kept as it will be written: a later version of Xenable may word its comment otherwise.
        return {
            **saved,
            "mode": saved["before"].get("mode", MODE),
            "written": store_bytes(host, _bytes(after)),
        }

    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        host.clean(self.path)
        if not self.is_done(host):
            after = self._edited(_read(host, self.path) or "")
            files.replace(host, self.path, _bytes(after), saved["mode"], saved)

    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        # Gone with its package, or by hand: there is nothing of anybody's left to lose.
        if not host.exists(self.path):
            return ()
        return files.edits(host, self.path, load_bytes(host, saved["written"]), saved["mode"], saved)

    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        if host.exists(self.path):
            snapshot.restore(host, self.path, saved["before"])
        else:
            host.clean(self.path)
            snapshot.remove_folders(host, saved["before"]["folders"])

    def _edited(self, text: str) -> str:
        return with_options(text, self.options, self.why)


def with_options(text: str, options: Sequence[tuple[str, str]], why: str) -> str:
    """A file's text with these keys set. The same again when they are set already."""
    mark = f"{MARK}: {why}. `xenable revert` undoes it."
    lines = text.split("\n")
    last = []
    for key, value in options:
        at = max((n for n, line in enumerate(lines) if _sets(line, key)), default=None)
        plain = None if at is None else _plain(lines, at, key)
        if at is None or plain is None:
            last.append((key, value))
        elif plain[1] != value:
            lines[at] = f"{key}={value}{plain[2]}"
            if at == 0 or lines[at - 1] != mark:
                lines.insert(at, mark)
    text = "\n".join(lines)
    if last:
        # The empty line also ends a last line that goes on with a backslash.
        text += "" if not text else "\n" if text.endswith("\n") else "\n\n"
        text += "".join(f"{line}\n" for line in (mark, *_lines(last)))
    return text


def _lines(options: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{key}={value}" for key, value in options]


def _sets(line: str, key: str) -> bool:
    """Whether a line may set a key, in whatever way: indented, exported, after another one."""
    return bool(re.match(rf"[^#]*(?<![\w.]){re.escape(key)}[ \t]*\+?=", line))


def _plain(lines: Sequence[str], at: int, key: str) -> re.Match[str] | None:
    """A line that does nothing but set a key: group 1 is the value, group 2 what stands behind it."""
    if at > 0 and lines[at - 1].endswith("\\"):
        return None
    value = r"""("[^"\\$`]*"|'[^']*'|[\w./:,@%+-]*)"""
    return re.fullmatch(rf"{re.escape(key)}={value}([ \t]*|[ \t]+#.*)", lines[at])


def _read(host: Host, path: str) -> str | None:
    """What a file says, where there is one (a link leads to it)."""
    if not host.path(path).is_file():
        return None
    return host.read(path).decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
