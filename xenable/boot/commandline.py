# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines of the hypervisor and of dom0's kernel. Pure.

What Xen's options do is in its docs/misc/xen-command-line.pandoc.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xenable.errors import XenableError

if TYPE_CHECKING:
    from xenable.machine import SerialConsole

DEADLINE = "xenable.deadline"
HOLD = "xenable.hold"
NO_WATCHDOG = "systemd.watchdog_sec=0"
"""systemd(1): PID 1 opens no watchdog, neither while it runs (RuntimeWatchdogSec=) nor for a reboot. It
would feed Xen's, which is the dead-man, for as long as PID 1 itself lives."""
KEEP_WATCHDOG = "watchdog.stop_on_reboot=0"
"""drivers/watchdog/watchdog_core.c: else the kernel stops the dead-man as soon as it is asked to reset, and
nothing ends a driver that hangs in its shutdown then."""
DRIVER = "xen_wdt"
"""drivers/watchdog/xen_wdt.c: where it is built into the kernel its parameters are read from here."""

_SERIAL = re.compile(r"console=ttyS([01])(?:,([1-9][0-9]{2,6})([neo][5-8])?r?)?")
_OUR_MEMORY = re.compile(r"dom0_mem=([0-9]+)M,max:\1M")
_OUR_CONSOLE = re.compile(r"(com[12]=[0-9]+,8[a-z]1|console=com[12](,com2)?,vga)")
_WATCHDOG = re.compile(
    r"(rd\.)?systemd\.watchdog[_-]sec(=.*)?|watchdog\.stop_on_reboot=.*|xen_wdt\.(timeout|nowayout)=.*"
)
_RESETS = {word: word[0] for word in ("triple", "kbd", "acpi", "pci", "efi")} | {c: c for c in "tkape"}
"""Values of Linux's reboot= (kernel-parameters.txt; its first letter is enough) that Xen's has, too."""
_CSTATES = ("intel_idle.max_cstate", "processor.max_cstate")
_FALSE = ("0", "no", "off", "false", "disable")


def dom0_memory(total_mib: int, used_mib: int | None, initrd_unpacked_mib: int | None) -> int:
    """MiB for dom0 on a machine with so much memory, a multiple of 16.

    1 GiB and 5 % of all memory, at most 8 GiB (the rule that XCP-ng uses), but not less than what is in use
    now and a quarter of it (256 MiB at least), and not less than 512 MiB and twice the unpacked initrd: its
    RAM disk may take half of the memory. Above all: an eighth of the machine (256 MiB at least) stays with
    Xen and the guests, so on a small machine dom0 gets less than it would like; whether that is enough
    is for the checks to say.
    """
    wanted = min(1024 + total_mib * 5 // 100 // 16 * 16, 8192)
    if used_mib is not None:
        wanted = max(wanted, used_mib + max(256, used_mib // 4))
    if initrd_unpacked_mib is not None:
        wanted = max(wanted, 512 + 2 * initrd_unpacked_mib)
    most = max(total_mib - max(256, total_mib // 8), 0)
    return min(-(-wanted // 16) * 16, most // 16 * 16)


def serial_consoles(linux: Sequence[str]) -> tuple[SerialConsole, ...]:
    """The serial consoles among the words of a Linux command line that Xen can drive: ttyS0 and ttyS1."""
    found: dict[int, SerialConsole] = {}
    for word in linux:
        if match := _SERIAL.fullmatch(word):
            # The menu generator is to start fast, and the whole model is slow to import.
            from xenable.machine import SerialConsole

            port, speed, parity = match.groups()
            mode = f"{parity[1]}{parity[0]}1" if parity else "8n1"
            found[int(port)] = SerialConsole(port=int(port), speed=int(speed or 9600), mode=mode)
    return tuple(found[port] for port in sorted(found))


def xen_arguments(memory: int, serial: Sequence[SerialConsole]) -> str:
    """What Xenable asks of the hypervisor, as text: memory of dom0 in MiB, microcode, watchdog, consoles.

    A serial console is written on both kinds of firmware: under UEFI too Xen drives the port by itself.
    """
    words = [f"dom0_mem={memory}M,max:{memory}M", "ucode=scan", "watchdog"]
    ports = sorted((s for s in serial if s.port in (0, 1)), key=lambda s: s.port)
    words += [f"com{s.port + 1}={s.speed},{s.mode}" for s in ports]
    if ports:
        words.append(f"console={','.join(f'com{s.port + 1}' for s in ports)},vga")
    return " ".join(words)


def merge_xen(words: Sequence[str]) -> tuple[str, ...]:
    """Hypervisor words with ours taken out where the administrator has set the same thing.

    Ours are the run of words that xen_arguments begins with. Errors: XenableError for words that can't work:
    Xen's command line has no quotes, and a Xen that never resets would not fall back.
    """
    for word in words:
        if any(c in word for c in " \t\\'\""):
            raise XenableError(f"cannot put {word!r} on the hypervisor's command line: Xen knows no quotes")
        name, _, value = word.partition("=")
        if (name == "noreboot" and value not in _FALSE) or (name == "reboot" and value.startswith("n")):
            raise XenableError(
                f"cannot use {word} for Xen: after a panic it would stand still for ever",
                hint="take it out of GRUB_CMDLINE_XEN in /etc/default/grub",
            )
    start, end = _our_run(words)
    theirs = {_key(word) for word in (*words[:start], *words[end:])}
    return (*words[:start], *(w for w in words[start:end] if _key(w) not in theirs), *words[end:])


def carried_over(xen: Sequence[str], linux: Sequence[str]) -> tuple[str, ...]:
    """Words for Xen that stand in for words of Linux about what Xen does in its place: the way to reset the
    machine, and the deepest sleep of its processors. What is set for Xen already counts."""
    set_already = {_key(word) for word in xen}
    values = {name: value for name, _, value in (word.partition("=") for word in linux)}
    found = []
    ways = [_RESETS[word] for word in values.get("reboot", "").split(",") if word in _RESETS]
    if ways and "reboot" not in set_already:
        found.append(f"reboot={ways[-1]}")
    limits = [values[name] for name in _CSTATES if re.fullmatch(r"[0-9]{1,2}", values.get(name, ""))]
    if limits and "max_cstate" not in set_already:
        found.append(f"max_cstate={min(map(int, limits))}")
    return tuple(found)


def _our_run(words: Sequence[str]) -> tuple[int, int]:
    for start, word in enumerate(words):
        if _OUR_MEMORY.fullmatch(word) and tuple(words[start + 1 : start + 3]) == ("ucode=scan", "watchdog"):
            end = start + 3
            while end < len(words) and end < start + 6 and _OUR_CONSOLE.fullmatch(words[end]):
                end += 1
            return start, end
    return len(words), len(words)


def _key(word: str) -> str:
    return word.partition("=")[0].removeprefix("no-")


def dom0_arguments(
    linux: Sequence[str], serial: Sequence[SerialConsole], deadline: int | None, *, hold: bool = False
) -> tuple[str, ...]:
    """The words of a native kernel made into those of dom0's kernel.

    Serial consoles that Xen drives become hvc0, which Xen passes on to them. panic=30 makes a kernel or an
    initrd that gives up reset instead of waiting for a person. The deadline (seconds) is for the dead-man,
    which nobody else may feed or stop: other words about watchdogs are left out, and systemd's is off.
    Errors: XenableError for words that GRUB can't hand over unchanged.
    """
    for word in linux:
        # grub_create_loader_cmdline (grub-core/lib/cmdline.c) puts a backslash before these.
        if any(c in word for c in "\\'\"") or any(ord(c) < 32 or ord(c) == 127 for c in word):
            raise XenableError(
                f"cannot put {word!r} on dom0's command line: GRUB would hand it over changed",
                hint="look at GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub",
            )
    ports = tuple(f"console=ttyS{s.port}" for s in serial)
    words: list[str] = []
    ours = ["panic=30"] if _panic(linux) <= 0 else []
    split = list(linux).index("--") if "--" in linux else len(linux)
    for word in linux[:split]:
        if word.partition(",")[0] in ports:
            word = "console=hvc0"
        if word == "console=hvc0" and word in words:
            continue
        if (ours and word.partition("=")[0] == "panic") or _WATCHDOG.fullmatch(word):
            continue
        words.append(word)
    if ports and "console=hvc0" not in words:
        words.append("console=hvc0")
    if deadline is not None:
        ours += [f"{DEADLINE}={deadline}", NO_WATCHDOG, KEEP_WATCHDOG]
        ours += [f"{DRIVER}.timeout={deadline}", f"{DRIVER}.nowayout=0"]
    if hold:
        ours.append(HOLD)
    # What stands behind -- is for init, not for the kernel.
    return (*words, *ours, *(word for word in linux[split:] if not _WATCHDOG.fullmatch(word)))


def is_trial_word(word: str) -> bool:
    """Whether a word of dom0's command line is there for the trial only."""
    return word.partition("=")[0] in (DEADLINE, HOLD) or bool(_WATCHDOG.fullmatch(word))


def _panic(linux: Sequence[str]) -> int:
    """Seconds of the last panic=; 0 when there is none or it is no number."""
    values = [word.partition("=")[2] for word in linux if word.startswith("panic=")]
    return int(values[-1]) if values and re.fullmatch(r"-?[0-9]{1,9}", values[-1]) else 0


def kernel_words(command_line: str) -> dict[str, str]:
    """`key=value` words of a kernel command line; a word without a value has an empty one."""
    return {key: value for key, _, value in (word.partition("=") for word in command_line.split())}
