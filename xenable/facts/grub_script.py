# SPDX-License-Identifier: GPL-2.0-or-later
"""GRUB's script language, as far as a menu needs it: words, quotes, commands and blocks (GRUB manual, 6)."""

from __future__ import annotations

from dataclasses import dataclass

Word = str

SEPARATORS = ";\n|&<>"

DEEPEST = 100
"""Blocks within blocks that are followed; a real menu has a handful."""


@dataclass(frozen=True)
class Command:
    words: tuple[Word, ...]
    """Unquoted; variables other than $menuentry_id_option are left as they are written."""
    body: Block | None
    """What stands between { and } after the words."""
    text: str
    """As written, without the body."""

    @property
    def name(self) -> str:
        return self.words[0] if self.words else ""


@dataclass(frozen=True)
class Block:
    commands: tuple[Command, ...]


def parse_grub_script(text: str) -> Block:
    """All commands. `if`, `then` and the like are dropped: what stands between them is in the result.

    Never fails: an open quote or block ends with the text, and reading ends where blocks go too deep.
    """
    finished: list[list[Command]] = [[]]
    openers: list[tuple[tuple[Word, ...], str]] = []
    words: list[Word] = []
    start = position = 0

    def end_command(stop: int) -> None:
        if words:
            finished[-1].append(Command(tuple(words), None, text[start:stop]))
            words.clear()

    while position < len(text) and len(openers) <= DEEPEST:
        char = text[position]
        if char in SEPARATORS:
            end_command(position)
            position += 1
        elif char in " \t\r":
            position += 1
        elif char == "#":
            position = _line_end(text, position)
        elif char == "{":
            openers.append((tuple(words), text[start:position]))
            words.clear()
            finished.append([])
            position += 1
        elif char == "}":
            end_command(position)
            position += 1
            if openers:
                opener, written = openers.pop()
                body = Block(tuple(finished.pop()))
                finished[-1].append(Command(opener, body, written))
        else:
            if not words:
                start = position
            word, position = _word(text, position)
            if not (not words and word in ("if", "then", "else", "elif", "while", "until", "do", "!")):
                words.append(word)
    end_command(len(text))
    while openers:
        opener, written = openers.pop()
        body = Block(tuple(finished.pop()))
        finished[-1].append(Command(opener, body, written))
    return Block(tuple(finished[0]))


def _word(text: str, position: int) -> tuple[Word, int]:
    out: list[str] = []
    while position < len(text):
        char = text[position]
        if char in " \t\r{}" or char in SEPARATORS:
            break
        if char == "'":
            end = text.find("'", position + 1)
            end = len(text) if end < 0 else end
            out.append(text[position + 1 : end])
            position = end + 1
        elif char == '"':
            inside, position = _double(text, position + 1)
            out.append(inside)
        elif char == "\\":
            # A backslash before the end of a line joins it with the next one.
            if text[position + 1 : position + 2] != "\n":
                out.append(text[position + 1 : position + 2])
            position += 2
        elif char == "$":
            name, position = _variable(text, position)
            out.append(name)
        else:
            out.append(char)
            position += 1
    return "".join(out), min(position, len(text))


def _double(text: str, position: int) -> tuple[str, int]:
    out: list[str] = []
    while position < len(text) and text[position] != '"':
        if text[position] == "\\" and text[position + 1 : position + 2] in ("\\", '"', "$", "\n"):
            if text[position + 1] != "\n":
                out.append(text[position + 1])
            position += 2
        else:
            out.append(text[position])
            position += 1
    return "".join(out), position + 1


def _variable(text: str, position: int) -> tuple[str, int]:
    end = position + 1
    if text[end : end + 1] == "{":
        close = text.find("}", end)
        end = len(text) if close < 0 else close + 1
    else:
        while end < len(text) and (text[end].isalnum() or text[end] in "_?*#@"):
            end += 1
    written = text[position:end]
    # Every GRUB since 2.00 has the feature, and 00_header then sets this.
    return ("--id" if written.strip("${}") == "menuentry_id_option" else written), end


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
