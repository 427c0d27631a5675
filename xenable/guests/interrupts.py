# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to end a piece of work: Ctrl-C, SIGTERM of whoever manages the process, SIGHUP of a terminal that
is gone. All of them come as KeyboardInterrupt, so that what was begun is taken back.

Python lets only the main thread say what becomes of a signal; in others these change nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt meanwhile; what is ignored, as under nohup, stays so."""

    def interrupt(_: int, __: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    wanted = [number for number in ENDING[1:] if signal.getsignal(number) is not signal.SIG_IGN]
    with _handled(dict.fromkeys(wanted, interrupt)):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A second signal does not stop what the first one began; the commands run meanwhile ignore it too."""
    with _handled(dict.fromkeys(ENDING, signal.SIG_IGN)):
        yield


@contextlib.contextmanager
def _handled(handlers: dict[signal.Signals, signal._HANDLER]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and can't be.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
