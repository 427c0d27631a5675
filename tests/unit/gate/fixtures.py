# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder that answers like a dom0 on trial."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from xenable import health
from xenable.health import Before
from xenable.host import Host, Result, StrPath

GRUB = "/boot/grub"
WATCHDOG = "/sys/class/watchdog/watchdog1"


BOOT_ID = "1f2e3d4c-5b6a-4788-9a0b-c1d2e3f40516"


@dataclass(frozen=True)
class Dom0(Host):
    """A folder that answers the commands of a healthy dom0."""

    @property
    def live(self) -> bool:
        return True

    def run(self, cmd: object, **options: object) -> Result:
        return Result(0, "", "")


class Clock:
    """Each pause of the gate is ten seconds of uptime."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seconds = 20
        self.write()

    def write(self) -> None:
        self.host.write("/proc/uptime", f"{self.seconds}.00 1.00\n".encode())

    def sleep(self, _seconds: float) -> None:
        self.seconds += 10
        assert self.seconds < 1000, "the gate waits for ever"
        self.write()


def looks(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[bool]:
    """What each look of the gate finds missing; the last answer stays. Returns the `confirmed` of each."""
    asked: list[bool] = []
    left = list(answers)

    def missing(_host: Host, _before: Before, *, confirmed: bool) -> tuple[str, ...]:
        asked.append(confirmed)
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(health, "missing", missing)
    return asked


def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, but for looks at messages, which get an answer."""
    ran: list[list[str]] = []

    def run(_self: Host, cmd: list[StrPath], **_options: object) -> Result:
        words = [str(word) for word in cmd]
        if words[-1] == "dmesg":
            return (
                Result(0, f"said to {words[0]}\n", "")
                if words[0] == "xl"
                else Result(1, "", "not allowed\n")
            )
        ran.append(words)
        jobs = "7 slow.service start running\n" if words[1] == "list-jobs" else ""
        return Result(0, jobs, "")

    monkeypatch.setattr(Dom0, "run", run)
    return ran
