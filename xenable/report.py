# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable report`: one archive that says what a machine is and what happened to it, fit to be shown.

facts.json in it can be dropped into tests/machines/ as it is. Only what is named here goes in, and all of it
goes through a Redactor.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import tarfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from xenable import __version__
from xenable.boot.environment import FOLDERS as ENVIRONMENT_FOLDERS
from xenable.boot.environment import environment_path
from xenable.boot.slots import SLOTS, slot_folder
from xenable.errors import XenableError
from xenable.host import LOGS, STATE, Host
from xenable.journal import JOURNAL
from xenable.machine import Facts
from xenable.network.effective import PATH as NETWORK_ENV
from xenable.redact import Redactor

FILES: tuple[str, ...] = (
    "/etc/os-release",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/proc/cmdline",
    "/etc/xenable/xenable.conf",
    str(NETWORK_ENV),
    str(STATE / "trial.json"),
    str(STATE / "before.json"),
    *(environment_path(folder) for folder in ENVIRONMENT_FOLDERS),
    *(str(slot_folder(slot) / name) for slot in SLOTS for name in ("manifest.json", "boot.cfg")),
)
FOLDERS: tuple[str, ...] = ("/etc/default/grub.d", str(LOGS), "/var/lib/systemd/pstore")

_JOURNALCTL = ("journalctl", "--no-pager", "--no-hostname")

UNITS = (
    *("xenable-gate", "xenable-network", "xenable-names"),
    *("xen", "xen-init-dom0", "xenstored", "xenconsoled", "xendomains", "xen-qemu-dom0-disk-backend"),
    *("networking", "ifupdown-pre", "ifupdown-wait-online", "NetworkManager", "NetworkManager-wait-online"),
    *("systemd-networkd", "systemd-networkd-wait-online", "systemd-udevd", "systemd-modules-load"),
    *("ssh", "sshd", "nftables", "ufw", "firewalld"),
)

SYSTEM = (
    *("_TRANSPORT=kernel", "+", "_PID=1", "+"),
    *(f"_SYSTEMD_UNIT={name}.service" for name in UNITS),
    # ifup@eth0.service and its like: a match knows no patterns.
    *("+", "_SYSTEMD_SLICE=system-ifup.slice"),
)
"""What of systemd's journal may be shown: the kernel, PID 1, and the units of Xen, the network and the way
in. Anything else, as what people ran with sudo, tells nothing of a boot."""

COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("journal-this-boot.txt", (*_JOURNALCTL, "-b", "-n", "4000", *SYSTEM)),
    ("journal-last-boot.txt", (*_JOURNALCTL, "-b", "-1", "-n", "4000", *SYSTEM)),
    ("journal-gate.txt", (*_JOURNALCTL, "-u", "xenable-gate", "-n", "2000")),
    ("dmesg.txt", ("dmesg",)),
    ("failed-units.txt", ("systemctl", "--no-pager", "--plain", "list-units", "--failed")),
    (
        "packages.txt",
        ("dpkg-query", "-W", "-f", "${Status} ${Package} ${Version}\\n", "*xen*", "grub*"),
    ),
    ("efibootmgr.txt", ("efibootmgr", "-v")),
    ("grub-env.txt", ("grub-editenv", "/boot/grub/grubenv", "list")),
    ("xl-info.txt", ("xl", "info")),
    ("xl-dmesg.txt", ("xl", "dmesg")),
)

MOST_BYTES = 2 << 20
"""Of a file or an output: its end, as the end tells why something stopped."""
_PACKED = re.compile(r"[A-Za-z0-9+/=\n]{120,}")
"""Base64 of a saved file: nobody can see whether a secret is in it."""


def make_report(host: Host, target: Path) -> Path:
    """Write a .tar.gz, mode 0600; returns its path. What can't be had is named in missing.txt inside.

    Errors: XenableError when the archive can't be written.
    """
    target = _place(target)
    redactor = Redactor()
    missing: list[str] = []
    members: dict[str, bytes] = {}

    def collect(name: str, part: Callable[[], str]) -> None:
        # A machine that needs a report is one where something is broken: whatever fails, the rest goes in.
        try:
            text = part()
        except Exception as e:
            missing.append(f"{name}: {type(e).__name__}: {redactor.text(str(e))}")
            return
        members[name] = text.encode(errors="replace")

    for name, document in _documents(host):
        collect(name, partial(_document, document, redactor))
    collect("journal.jsonl", partial(_journal, host, redactor))
    for path in _paths(host):
        collect(f"files{path}", partial(_file, host, path, redactor))
    for name, cmd in commands(host) if host.live else ():
        collect(name, partial(_output, host, cmd, redactor))
    members["missing.txt"] = "".join(f"{line}\n" for line in missing).encode()
    members["version.txt"] = f"xenable {__version__}\n".encode()

    before = os.umask(0o077)
    try:
        Host().write(target, _archive(members), mode=0o600)
    finally:
        os.umask(before)
    return target


def _place(target: Path) -> Path:
    """Where the archive will be, absolute. Errors: XenableError where that would destroy what is no file."""
    try:
        target = target.absolute()
    except FileNotFoundError as e:
        raise XenableError(
            f"cannot write {target}: the current folder is gone", hint="give -o with a whole path"
        ) from e
    info = Host().stat(target)
    if info is not None and not stat.S_ISREG(info.st_mode):
        raise XenableError(f"cannot write {target}: it is no regular file", hint="give -o with another name")
    return target


def commands(host: Host) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What is run, by the name of what it says: COMMANDS, and the messages of the boot on trial.

    Its id has to be on record, for that boot may be several ago.
    """
    from xenable.trialrecord import read_trial

    trial = read_trial(host)
    id = str(trial.boot_id) if trial is not None else ""
    if not re.fullmatch(r"[0-9a-f]{32}", id):
        return COMMANDS
    return (*COMMANDS, ("journal-trial-boot.txt", (*_JOURNALCTL, "-b", id, "-n", "4000", *SYSTEM)))


def _documents(host: Host) -> tuple[tuple[str, Callable[[], Any]], ...]:
    from xenable import trial
    from xenable.checks import ready, run_checks
    from xenable.config import load_config
    from xenable.facts import gather
    from xenable.plan import make_plan
    from xenable.ui import document

    @cache
    def facts() -> Facts:
        xen_kernel = False
        # Damaged settings are told of where they are read.
        with contextlib.suppress(XenableError):
            xen_kernel = load_config(host).xen_kernel
        return gather(host, xen_kernel=xen_kernel)

    def findings() -> Any:
        found = run_checks(facts(), load_config(host))
        return document.findings_document(found, (), ready=ready(found, frozenset()))

    def plan() -> Any:
        config = load_config(host)
        steps = [(step.kind, step.preview(host)) for step in make_plan(facts(), config)]
        good = ready(run_checks(facts(), config))
        return document.plan_document(steps, facts().packages, ready=good)

    def status() -> Any:
        now = trial.status(host)
        return document.status_document(now.state, now.reason, now.running, now.next_boot, now.versions)

    return (
        ("facts.json", lambda: document.facts_document(facts())),
        ("findings.json", findings),
        ("plan.json", plan),
        ("status.json", status),
    )


def _journal(host: Host, redactor: Redactor) -> str:
    """The journal, line by line; a line that is no JSON goes in as text."""
    lines = []
    for row in host.read(JOURNAL).decode(errors="replace").splitlines():
        try:
            entry = redactor.value(json.loads(row))
        except ValueError:
            lines.append(_unpacked(redactor.text(row)))
            continue
        lines.append(json.dumps(_walk(entry)))
    return "".join(f"{line}\n" for line in lines)


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _walk(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item) for item in value]
    return _unpacked(value) if isinstance(value, str) else value


def _unpacked(text: str) -> str:
    return _PACKED.sub(lambda m: f"({len(m[0])} characters of packed data left out)", text)


def _paths(host: Host) -> list[str]:
    found = [path for path in FILES if host.exists(path)]
    for folder in FOLDERS:
        found += [f"{folder}/{name}" for name in host.names(folder) if not host.is_dir(f"{folder}/{name}")]
    return found


def _file(host: Host, path: str, redactor: Redactor) -> str:
    return redactor.text(_tail(host.read(path)))


def _output(host: Host, cmd: tuple[str, ...], redactor: Redactor) -> str:
    result = host.run(cmd, check=False, timeout=30)
    return redactor.text(_tail((result.stdout + result.stderr).encode())) + f"(exit status {result.code})\n"


def _document(make: Callable[[], Any], redactor: Redactor) -> str:
    return json.dumps(redactor.value(make()), indent=2) + "\n"


def _tail(data: bytes) -> str:
    if len(data) <= MOST_BYTES:
        return data.decode(errors="replace")
    # A cut in the middle of a line could leave the second half of a secret.
    _, _, rest = data[-MOST_BYTES:].partition(b"\n")
    return "(the beginning is left out)\n" + rest.decode(errors="replace")


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"xenable-report/{name}")
            info.size, info.mode, info.mtime = len(data), 0o600, now
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
