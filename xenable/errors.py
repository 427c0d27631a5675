# SPDX-License-Identifier: GPL-2.0-or-later
"""How Xenable says no: one sentence, then what to do. Each error carries the exit status of the command."""

from __future__ import annotations

from enum import IntEnum

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    NOT_READY = 2
    PUT_BACK = 3
    """Failed, and everything was put back."""
    NOT_PUT_BACK = 4
    """Failed, and not everything could be put back."""


class XenableError(Exception):
    """`cannot <do thing>: <reason>`, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "", status: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
