# SPDX-License-Identifier: GPL-2.0-or-later
"""Words and quotes of GRUB's script language (GRUB manual, "Shell-like scripting: Quoting").

A value of /etc/default/grub reaches grub.cfg as script text, so `a="b c"` is one word there. We take such
text apart by GRUB's rules, keep the words, and put every word back in quotes that nothing can break.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from xenable.errors import XenableError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_SPECIAL = "{}|&;<>"
_ESCAPED_IN_DOUBLE = '$"\\'


def quote(word: str) -> str:
    """One word for a GRUB script, taken literally. Errors: XenableError for control characters."""
    if any(ord(c) < 32 or ord(c) == 127 for c in word):
        raise XenableError(f"cannot put {word!r} into the boot menu: it has a control character")
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def split_words(text: str) -> tuple[str, ...]:
    """The words that GRUB would see in this text.

    Errors: XenableError for what would not come out as it is written: a variable, a second command, an
    open quote, a comment, a control character other than the white space between words.
    """

    def refuse(reason: str) -> XenableError:
        return XenableError(
            f"cannot use {text!r} in the boot menu: {reason}",
            hint="look at GRUB_CMDLINE_… in /etc/default/grub and /etc/default/grub.d",
        )

    words: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c in " \t\n":
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        if ord(c) < 32 or ord(c) == 127:
            raise refuse("it has a control character")
        if word is None:
            if c == "#":
                raise refuse("a word begins with #, which is a comment for GRUB")
            word = []
        if c == "'":
            end = text.find("'", at)
            if end < 0:
                raise refuse("a quote is not closed")
            word.append(text[at:end])
            at = end + 1
        elif c == '"':
            inside, at = _double_quoted(text, at, refuse)
            word.append(inside)
        elif c == "\\":
            if at == len(text) or text[at] == "\n":
                raise refuse("it ends in a backslash")
            word.append(text[at])
            at += 1
        elif c == "$":
            raise refuse("GRUB would take what follows $ as a variable")
        elif c in _SPECIAL:
            raise refuse(f"{c} outside of quotes ends the command")
        else:
            word.append(c)
    if word is not None:
        words.append("".join(word))
    if any(ord(c) < 32 or ord(c) == 127 for w in words for c in w):
        raise refuse("it has a control character")
    return tuple(words)


def _double_quoted(text: str, at: int, refuse: Callable[[str], XenableError]) -> tuple[str, int]:
    """What stands up to the closing quote, and the position after it."""
    inside: list[str] = []
    while at < len(text):
        c = text[at]
        at += 1
        if c == '"':
            return "".join(inside), at
        if c == "$":
            raise refuse("GRUB would take what follows $ as a variable")
        if c == "\\" and text[at : at + 1] and text[at] in _ESCAPED_IN_DOUBLE:
            c = text[at]
            at += 1
        inside.append(c)
    raise refuse("a quote is not closed")


def join(words: Iterable[str]) -> str:
    """Words as text for a GRUB script."""
    return " ".join(quote(word) for word in words)


def load_text(
    *, xen: str, linux: str, initrd: str, xen_words: Sequence[str], linux_words: Sequence[str]
) -> tuple[str, ...]:
    """Lines that load a pair and start it; what follows them runs only when something failed.

    The three paths are script text, `"($device)"/path`; initrd may be empty. `placeholder` is where Xen and
    its dom0 expect the name of the program (as GRUB's own 20_linux_xen has it).
    """
    commands = [
        f"multiboot2 {xen} placeholder {join(xen_words)} $xenable_efi",
        f"module2 {linux} placeholder {join(linux_words)}",
    ]
    if initrd:
        commands.append(f"module2 --nounzip {initrd}")
    # Each command has a line of its own, so that a person can add a word at its end.
    lines = [line for command in commands for line in ("if", "\t" + command, "then")]
    return (*lines, "\txenable_started", "\tboot", *("fi" for _ in commands))
