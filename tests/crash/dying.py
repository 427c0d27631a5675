# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply or revert a plan in a process of its own that dies by SIGKILL at the N-th write.

A kill falls right after the kernel has done what it was asked (before the next such call nothing changes),
and when half of the bytes of an append are out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.factory import make_config
from xenable import convert, journal
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import EntryState
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.files import WriteFile
from xenable.steps.options import SetOptions
from xenable.steps.slot import FillSlot

STEPS: tuple[Step, ...] = (
    WriteFile(path="/etc/default/grub.d/00-xenable.cfg", content="GRUB_TIMEOUT=5\n"),
    WriteFile(path="/etc/site.conf", content="ours = 1\n", mode=0o600),
    WriteFile(path="/etc/link.conf", content="a file now\n"),
    SetOptions(path="/etc/xen/xl.conf", options=(("autoballoon", '"off"'),), why="dom0 keeps its memory"),
    BootEnvironment(folder="/boot/grub/deep"),
    WriteFile(path="/etc/grub.d/90_xenable", content="#!/bin/sh\n", mode=0o755),
)
SLOT: tuple[Step, ...] = (BootEnvironment(folder="/boot/grub"), FillSlot(deadline=300, hold=False))

APPENDS = ("write", "pwrite")
OTHER_CALLS = ("open", "ftruncate", "fchown", "fchmod", "setxattr", "utime", "unlink")
FOLDER_CALLS = ("rename", "link", "symlink", "mkdir", "rmdir", "chmod", "chown")


class Countdown:
    def __init__(self, number: int) -> None:
        self.number = number
        self.moments = 0

    def tick(self) -> None:
        self.moments += 1
        if self.moments == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        after = self.after(call)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            return after(*args, **kwargs)

        return counted

    def after(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            finally:
                self.tick()

        return counted

    def halves(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A write that may also die when half of the bytes are out."""

        def counted(fd: int, data: bytes, *args: Any) -> Any:
            self.moments += 1
            if self.moments == self.number:
                call(fd, data[: len(data) // 2], *args)
                os.kill(os.getpid(), signal.SIGKILL)
            return self.after(call)(fd, data, *args)

        return counted


def die(
    machine: Host, work: Callable[[Host], object], number: int, moments: Path, *, journal_only: bool = False
) -> int:
    """Do the work in a child that dies at moment `number`; returns how it ended, as waitpid(2) says.

    Number 0 never dies, and writes how many moments there were to a file. Moments are all writes, or only
    the beginnings and ends of those of the journal.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        countdown = Countdown(number)
        if journal_only:
            for name in ("write_plan", "write_state", "put_away"):
                setattr(journal, name, countdown.around(getattr(journal, name)))
        else:
            for name in (*APPENDS, *OTHER_CALLS, *FOLDER_CALLS):
                wrap = countdown.halves if name in APPENDS else countdown.after
                setattr(os, name, wrap(getattr(os, name)))
        work(machine)
        moments.write_text(str(countdown.moments))
        code = 0
    finally:
        os._exit(code)


def finish(machine: Host, steps: Sequence[Step] = STEPS) -> None:
    """What `xenable apply` does, the first time and after a kill; half a revert it leaves to `revert`."""
    records = journal.read_journal(machine)
    if journal.revert_begun(records):
        try:
            convert.resume(machine, make_config(trial_seconds=300))
        except XenableError as e:
            assert "a revert was interrupted" in e.message and "xenable revert" in e.hint
            put_back(machine)
            records = ()
    if not records:
        convert.start(machine, tuple(steps), journal.Terms())
    elif any(record.state is not EntryState.DONE for record in records):
        convert.resume(machine, make_config(trial_seconds=300))


def put_back(machine: Host) -> None:
    """What `xenable revert` does."""
    convert.revert(machine)
