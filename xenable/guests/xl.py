# SPDX-License-Identifier: GPL-2.0-or-later
"""xl: the domains that run, and why it failed. Formats: tools/xl/xl_info.c and tools/libs/light of Xen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xenable.errors import XenableError
from xenable.host import BOOTED, Host, Result

CAPABILITIES = "/proc/xen/capabilities"
SCOPE = (
    *("systemd-run", "--scope", "--quiet", "--collect", "--slice=system.slice"),
    *("--property=Before=xendomains.service", "--"),
)
"""systemd-run(1); what is ordered before a service is stopped after it."""

_ROW = re.compile(
    r"(?P<name>.*\S)\s+(?P<id>\d+)\s+(?P<memory>\d+)\s+(?P<vcpus>\d+)\s+(?P<state>[rbpscwSd?-]{6})\s+"
    r"(?P<seconds>\d+\.\d+)(?:\s+(?P<uuid>[0-9a-f-]{36})\b.*)?"
)
_UPTIME = re.compile(r"(?P<name>.*\S)\s+(?P<id>\d+)\s+(?:(?P<days>\d+) days?,\s+)?(?P<clock>\d+:\d\d:\d\d)")
_ERROR = re.compile(
    r"(?:libxl|xl|xencall|xc): (?:fatal )?error: \S+?:\d+:(?:\w+:)? ?(?:Domain \d+:)? ?(?P<text>.+)"
)

STATES = (
    (4, "crashed", "c"),
    (3, "shut down", "s"),
    (5, "dying", "d"),
    (2, "paused", "p"),
)
"""Place in xl's state, what that means, its letter; the first counts, as one that crashed is shut down as
well. What has none of them runs or waits for work."""

ALIVE = ("running", "paused")
"""What a domain is in that has not come to its end."""
GONE_SECONDS = 20
"""xl's daemon takes a second or two to tear down what is shut down; much memory takes longer."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain that is there now."""

    id: int
    name: str
    uuid: str
    memory: int
    """MiB."""
    vcpus: int
    state: str
    """running, paused, shut down, crashed or dying."""
    cpu_seconds: float
    uptime: int | None = None
    """Seconds."""


def is_dom0(host: Host) -> bool:
    """Whether this machine runs under Xen, as dom0; anybody may know that."""
    return "control_d" in host.text(CAPABILITIES)


def need_dom0(host: Host, verb: str) -> None:
    """Errors: XenableError when no guest can run here now."""
    if not is_dom0(host):
        raise XenableError(
            f"cannot {verb}: this machine does not run under Xen",
            hint="`xenable status` says what the next start boots",
        )


def parse_list(text: str) -> tuple[Domain, ...]:
    """The guests in the output of `xl list -v`, in order of their ids; without dom0."""
    found = []
    for line in text.splitlines():
        row = _ROW.fullmatch(line.strip())
        if row is None or row["id"] == "0":
            continue
        found.append(
            Domain(
                id=int(row["id"]),
                name=row["name"],
                uuid=row["uuid"] or "",
                memory=int(row["memory"]),
                vcpus=int(row["vcpus"]),
                state=_state(row["state"]),
                cpu_seconds=float(row["seconds"]),
            )
        )
    return tuple(sorted(found, key=lambda domain: domain.id))


def _state(letters: str) -> str:
    for place, word, letter in STATES:
        if letters[place] == letter:
            return word
    return "running"


def parse_uptime(text: str) -> dict[int, int]:
    """Domain id to seconds, from the output of `xl uptime`."""
    found = {}
    for line in text.splitlines():
        row = _UPTIME.fullmatch(line.strip())
        if row is not None:
            hours, minutes, seconds = (int(part) for part in row["clock"].split(":"))
            found[int(row["id"])] = int(row["days"] or 0) * 86400 + hours * 3600 + minutes * 60 + seconds
    return found


@dataclass(frozen=True, kw_only=True)
class Details:
    """What libxl was told of a domain."""

    kind: str = ""
    """pv, pvh or hvm; empty when unknown."""
    addresses: tuple[str, ...] = ()
    vifs: tuple[str, ...] = ()
    """Names in dom0 of its interfaces that have addresses."""


def parse_details(text: str) -> dict[int, Details]:
    """Details by domain id, from the JSON of `xl list -l`; empty when it can't be read."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    found: dict[int, Details] = {}
    for entry in document if isinstance(document, list) else ():
        config = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(config, dict) or type(entry.get("domid")) is not int:
            continue
        info = config.get("c_info")
        kind = str(info.get("type", "")) if isinstance(info, Mapping) else ""
        nics = config.get("nics")
        routed = [nic for nic in nics if isinstance(nic, dict)] if isinstance(nics, list) else []
        routed = [nic for nic in routed if str(nic.get("ip") or "").split()]
        found[entry["domid"]] = Details(
            kind=kind,
            addresses=tuple(word for nic in routed for word in str(nic["ip"]).split()),
            vifs=tuple(_vif(entry["domid"], nic) for nic in routed),
        )
    return found


def _vif(domain: int, nic: Mapping[str, Any]) -> str:
    # vifname of xl.cfg; else what the kernel calls it.
    return str(nic.get("ifname") or f"vif{domain}.{nic.get('devid', 0)}")


def domains(host: Host) -> tuple[Domain, ...]:
    """The guests that are there now; none when this is no dom0. Errors: XenableError when xl is mute."""
    if not is_dom0(host):
        return ()
    return parse_list(host.run(["xl", "list", "-v"]).stdout)


def details(host: Host) -> dict[int, Details]:
    """Details of the guests that are there now, by domain id; empty where xl has no answer."""
    return parse_details(host.run(["xl", "list", "-l"], check=False).stdout) if is_dom0(host) else {}


def find(host: Host, name: str, uuid: str = "") -> Domain | None:
    """The domain of that UUID, which stays when it is renamed, else of that name. Errors: as of domains."""
    found = domains(host)
    same = (domain for domain in found if uuid and domain.uuid == uuid)
    return next(same, next((domain for domain in found if domain.name == name), None))


def create(host: Host, cfg: Path, what: str) -> None:
    """Start a guest of a file. Errors: as of run.

    xl's daemon and the QEMU that serves a disk live as long as the guest. In the session of whoever starts
    it systemd would end them at the beginning of a shutdown, and the disk would be gone while xendomains
    shuts the guest down. In a scope of their own, which starts before that service, they end after it.
    """
    run(host, ["create", str(cfg)], what, timeout=300, within=SCOPE if host.exists(BOOTED) else ())


def is_gone(host: Host, domain: Domain, *, seconds: int = 0) -> bool:
    """Whether a domain is gone, or goes within that time. No other one gets its number.

    Errors: as of domains.
    """
    for turn in range(2 * seconds + 1):
        if turn:
            time.sleep(0.5)
        if all(other.id != domain.id for other in domains(host)):
            return True
    return False


def destroy(host: Host, domain: Domain, what: str) -> None:
    """Take a domain's power away; one that went by itself meanwhile is gone as well. Errors: as of run."""
    try:
        run(host, ["destroy", str(domain.id)], what)
    except XenableError:
        if not is_gone(host, domain):
            raise


def reason(result: Result) -> str:
    """Why xl failed, in one line: what a script said, else the first error of libxl, else its last line."""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    texts = [found["text"] for line in lines if (found := _ERROR.fullmatch(line))]
    for text in texts:
        if text.startswith("script: "):
            return text.removeprefix("script: ")
    return (texts or lines[-1:] or [f"exit status {result.code}"])[0]


def run(
    host: Host, words: Sequence[str], what: str, *, timeout: float | None = 120, within: Sequence[str] = ()
) -> Result:
    """Run xl, perhaps by another program.

    Errors: XenableError `cannot WHAT: …` with its reason, and where to read more.
    """
    result = host.run([*within, "xl", *words], check=False, timeout=timeout)
    if result.code != 0:
        raise XenableError(
            f"cannot {what}: xl says: {reason(result)}",
            hint="`sudo xl dmesg` and the files in /var/log/xen may tell more",
        )
    return result
