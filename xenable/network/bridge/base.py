# SPDX-License-Identifier: GPL-2.0-or-later
"""What the ways of making a bridge have in common: what is made, how it is refused, how texts are read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xenable.boot.commandline import DEADLINE
from xenable.machine import InterfaceConfig

KERNEL_WORD = DEADLINE
"""The word on the kernel's command line without which no bridge is made: the boot of a slot has it."""

HIDDEN = "REDACTED"
"""What the facts have instead of a secret (as xenable/redact.py writes it). Such a file can't be copied."""

MTU = re.compile(r"[1-9][0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class File:
    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Made:
    """What has to be written for a bridge to come up under Xen."""

    files: tuple[File, ...]
    unit: str = ""
    """To be enabled; empty where nothing is."""


class Unfit(Exception):
    """Why no bridge can be made: words that follow `cannot make the bridge …: `, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Section:
    """Of a file with `[Section]` and `key=value` lines."""

    name: str
    settings: tuple[tuple[str, str], ...]

    def values(self, key: str) -> tuple[str, ...]:
        return tuple(value for name, value in self.settings if name == key)


def one_text(configs: tuple[InterfaceConfig, ...]) -> InterfaceConfig:
    """The one file that configures an interface. Errors: Unfit where there is none, or it can't be used."""
    if len(configs) != 1:
        raise Unfit("the file that configures it was not found")
    (config,) = configs
    readable(config)
    return config


def readable(config: InterfaceConfig) -> None:
    """Errors: Unfit for a text that can't be copied as it is."""
    if not config.text:
        raise Unfit(
            f"{config.file} can't be read, or not by everybody, so that a copy could spread a secret",
            hint="run the command as root; if there is no secret in it, `chmod o+r` lets it be copied",
        )
    if "\ufffd" in config.text or "\0" in config.text:
        raise Unfit(f"{config.file} is not UTF-8 text")


def mentions(name: str, text: str) -> bool:
    """Whether a text has that name as a word: eth0 is in eth0.5 and in eth0:1, and not in eth01."""
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", text) is not None


def quoted(line: str) -> str:
    """A line as it is shown: on one line, and not longer than that."""
    text = " ".join(line.split())
    return f"`{text}`" if len(text) <= 80 else f"`{text[:79]}…`"


def sections(text: str, file: str, *, wrapped: bool = False) -> tuple[Section, ...]:
    """The sections of a file. wrapped: a backslash at the end of a line goes on in the next one.

    Errors: Unfit that quotes the line.
    """
    found: list[tuple[str, list[tuple[str, str]]]] = []
    pending = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if wrapped and line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line, pending = (pending + line).strip(), ""
        if line.startswith("[") and line.endswith("]"):
            found.append((line[1:-1], []))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not found or not equals or not re.fullmatch(r"[A-Za-z0-9_.-]+", key):
            raise Unfit(f"{file} has a line that is not understood: {quoted(line)}")
        found[-1][1].append((key, value))
    if pending:
        raise Unfit(f"{file} has a line that is not understood: {quoted(pending)}")
    return tuple(Section(name=name, settings=tuple(settings)) for name, settings in found)


def render(name: str, settings: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings)
