# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch says about itself and what it touches. Pure.

Headers are those of DEP-3, Patch Tagging Guidelines, which mails of git have too: Subject counts as
Description, From as Author.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIELDS = (
    *("Description", "Subject", "Origin", "Author", "From", "Bug", "Forwarded", "Reviewed-by", "Acked-by"),
    *("Last-Update", "Applied-Upstream", "Date", "Message-Id", "Signed-off-by"),
)
ORIGINS = ("upstream", "backport", "vendor", "other")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")
_HUNK = re.compile(r"@@ -[0-9]+(?:,([0-9]+))? \+[0-9]+(?:,([0-9]+))? @@.*")
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
NOTHING = "/dev/null"
"""Stands for the old name of a new file, and for the new name of one that goes."""


@dataclass(frozen=True, kw_only=True)
class Touched:
    """A file that a patch changes; paths are as in the patch, with their first folder."""

    old: str
    new: str


def headers(text: str) -> dict[str, str]:
    """The fields before the first change; names as DEP-3 writes them, the first of each.

    What follows an empty line may be more fields or free text.
    """
    found: dict[str, str] = {}
    current = ""
    names = {name.lower(): name for name in FIELDS}
    for line in text.splitlines():
        if line.startswith(("--- ", "diff ", "Index: ")) or line == "---":
            break
        match = _FIELD.fullmatch(line)
        if match and (name := names.get(match[1].lower(), "")):
            current = name if name not in found else ""
            if current:
                found[current] = match[2].strip()
        elif line.startswith((" ", "\t")) and current:
            found[current] = f"{found[current]}\n{line.strip()}".strip()
        else:
            current = ""
    return found


def flaws(text: str) -> tuple[str, ...]:
    """What a patch lacks of what DEP-3 asks for, a sentence each; empty when nothing is missing."""
    found = headers(text)
    wrong = []
    if not (found.get("Description") or found.get("Subject")):
        wrong.append("there is no Description (or Subject) that says what it is for")
    author = found.get("Author") or found.get("From")
    if not (author or found.get("Origin")):
        wrong.append("there is no Origin, nor an Author (or From)")
    if (origin := found.get("Origin", "")) and not (_is_origin(origin)):
        wrong.append(f"Origin is {origin!r}, and not a URL, or one of {', '.join(ORIGINS)} and a comma")
    if (day := found.get("Last-Update", "")) and not _DATE.fullmatch(day):
        wrong.append(f"Last-Update is {day!r}, and not a day as in 2026-01-31")
    return tuple(wrong)


def _is_origin(text: str) -> bool:
    kind, comma, _ = text.partition(",")
    return (kind.strip() in ORIGINS and (bool(comma) or kind == text)) or "://" in text


def title(text: str) -> str:
    """What a patch is for, in one line."""
    found = headers(text)
    lines = (found.get("Description") or found.get("Subject", "")).splitlines()
    return re.sub(r"^\[PATCH[^\]]*\]\s*", "", lines[0]) if lines else ""


def touched(text: str) -> tuple[Touched, ...]:
    """The files that a unified diff changes. Errors: ValueError for what is none, or for a path that must
    not be: absolute, without a folder before it, or with .. in it."""
    found: list[Touched] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("GIT binary patch") or lines[at].startswith("Binary files "):
            raise ValueError("it changes a file that is no text")
        pair = lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
        if not (pair and at + 2 < len(lines) and _HUNK.fullmatch(lines[at + 2])):
            at += 1
            continue
        old, new = _path(lines[at]), _path(lines[at + 1])
        if old == new == NOTHING:
            raise ValueError("a change is of no file")
        found.append(Touched(old=old, new=new))
        at = _after_hunks(lines, at + 2)
    if not found:
        raise ValueError("there is no change in it that could be read: a unified diff is needed")
    return tuple(found)


def _path(line: str) -> str:
    path = line[4:].partition("\t")[0].rstrip()
    parts = path.split("/")
    if path == NOTHING:
        return path
    if len(parts) < 2 or "" in parts or {".", ".."} & set(parts) or not re.fullmatch(r"[\w.,+@/ -]+", path):
        raise ValueError(f"{path!r} is no path below a folder of the source, as in a/drivers/xen/balloon.c")
    return path


def _after_hunks(lines: list[str], at: int) -> int:
    """Where the hunks that begin at a line end. What is removed may itself look like a header."""
    while at < len(lines) and (match := _HUNK.fullmatch(lines[at])):
        old, new = (1 if count is None else int(count) for count in match.groups())
        at += 1
        while at < len(lines) and (old > 0 or new > 0):
            sign = lines[at][:1]
            if sign not in ("", " ", "+", "-", "\\"):
                raise ValueError(f"line {at + 1} is cut off from its change")
            old -= sign in ("", " ", "-")
            new -= sign in ("", " ", "+")
            at += 1
        if old or new:
            raise ValueError("its last change is cut off, or longer than it says")
        if at < len(lines) and lines[at].startswith("\\"):
            at += 1
    return at
