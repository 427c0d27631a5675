# SPDX-License-Identifier: GPL-2.0-or-later
"""The health gate: what dom0 has to show before Xen becomes the default.

A probe returns what is missing, in words that complete "dom0 waits for …", or nothing when all is well. It
never waits: the gate asks again. PROBES says the order, and what each is about.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from xenable.boot.environment import environment_folder, one_shot_obstacle
from xenable.errors import XenableError
from xenable.facts.network import probe_network
from xenable.facts.services import jobs, probe_services
from xenable.host import STATE, Host
from xenable.machine import DEFAULT, DEFAULT6, Answer, Network, Services

BEFORE = STATE / "before.json"
HOOKS = Path("/etc/xenable/health.d")
STARTING = "systemd: the system is"


@dataclass(frozen=True, kw_only=True)
class Before:
    """The native system as it was when the trial was armed."""

    known: bool = False
    """Whether there is a record at all: without one nothing can be compared, and that is no pass."""
    addresses: tuple[str, ...] = ()
    """Global addresses: an IPv4 address, or the /64 of an IPv6 address (the rest may be random)."""
    default_routes: tuple[str, ...] = ()
    """`v4` and `v6`: the families that had one."""
    gateways: tuple[str, ...] = ()
    """Addresses of those on default routes whose hardware address was known: they had answered."""
    ssh_listen: tuple[str, ...] = ()
    failed_units: tuple[str, ...] = ()
    starting: bool = False
    """Whether systemd had not finished: some unit never ends, and dom0 can't do better."""


@dataclass(frozen=True, kw_only=True)
class Now:
    """What one look sees: read once, however many probes ask."""

    network: Network
    services: Services
    neighbours: frozenset[str] = frozenset()
    """Addresses whose hardware address is known."""


Probe = Callable[[Host, Before, Now], str]


class About(Enum):
    """What a probe is about."""

    DOM0 = "dom0"
    REACH = "whether anybody can come in, natively too"
    BEFORE = "what the native system had before the trial; no say over later boots of a confirmed dom0"
    UNITS = "the same of units; one that has failed since keeps nobody out, and holds up no further trial"


def _see(host: Host) -> Now:
    return Now(
        network=probe_network(host),
        services=probe_services(host, {}),
        neighbours=neighbours(host),
    )


def look_around(host: Host) -> Before:
    """What must be there again after the trial boot. Errors: XenableError when it can't be seen."""
    now = _see(host)
    network, services = now.network, now.services
    # Units that nobody could name count as well until now: the gate is then stricter, not laxer.
    if not network.known:
        raise XenableError("cannot arm the trial boot: `ip` does not answer, so nothing can be compared")
    return Before(
        known=True,
        addresses=_addresses(network),
        default_routes=_default_routes(network),
        gateways=tuple(sorted(_gateways(network) & now.neighbours)),
        ssh_listen=services.ssh_listen,
        failed_units=services.failed,
        starting=services.is_starting,
    )


def write_before(host: Host, before: Before) -> None:
    host.make_folder(STATE)
    host.write(BEFORE, json.dumps(asdict(before), indent=1).encode() + b"\n", mode=0o644)


def read_before(host: Host) -> Before:
    """What write_before wrote; an empty one when there is none."""
    try:
        found = json.loads(host.text(BEFORE, "{}"))
        others = ("known", "gateways", "starting")
        names = [name for name in Before.__dataclass_fields__ if name not in others]
        return Before(
            known=found["known"] is True,
            # An earlier version of the package may have armed the trial: it did not look for them.
            gateways=tuple(found.get("gateways", ())),
            starting=found.get("starting") is True,
            **{name: tuple(found[name]) for name in names},
        )
    except (ValueError, KeyError, TypeError):
        return Before()


def missing(host: Host, before: Before, *, confirmed: bool) -> tuple[str, ...]:
    """All that dom0 still lacks, in the order of PROBES."""
    now = _see(host)
    passed_over = (About.BEFORE, About.UNITS) if confirmed else ()
    asked = (probe for probe, about in PROBES if about not in passed_over)
    words = (probe(host, before, now) for probe in asked)
    return tuple(word for word in words if word)


def lost(host: Host) -> tuple[str, ...]:
    """What of the record is not there now, under Xen or not: a new record would not ask for it again.

    Units that have failed since are no matter: they would not be waited for, but nobody is kept out by that.
    """
    before, now = read_before(host), _see(host)
    asked = (probe for probe, about in PROBES if about in (About.REACH, About.BEFORE))
    words = (probe(host, before, now) for probe in asked)
    return tuple(word for word in words if word)


# --------------------------------------------------------------------------------------------- the probes


def control_domain(host: Host, _before: Before, _now: Now) -> str:
    # The mount of xenfs is done by Xen's own init script.
    if "control_d" not in host.text("/proc/xen/capabilities"):
        return "the control domain: /proc/xen/capabilities does not say control_d"
    return ""


def xenstore(host: Host, _before: Before, _now: Now) -> str:
    # xenstore-read waits for ever for a xenstored that is not there.
    answer = host.run(["xenstore-read", "/local/domain/0/domid"], check=False, timeout=5)
    if answer.code != 0:
        return "xenstored: it does not answer"
    return ""


def console_daemon(host: Host, _before: Before, _now: Now) -> str:
    return "" if _runs(host, "xenconsoled") else "xenconsoled: it does not run"


def one_shot(host: Host, _before: Before, _now: Now) -> str:
    found = one_shot_obstacle(host, environment_folder(host))
    return f"the firmware: {found}" if found else ""


def toolstack(host: Host, _before: Before, _now: Now) -> str:
    answer = host.run(["xl", "list"], check=False, timeout=15)
    if answer.code != 0 or "Domain-0" not in answer.stdout:
        return f"xl: {(answer.stderr.strip().splitlines() or ['it does not list Domain-0'])[-1]}"
    return ""


def memory(host: Host, _before: Before, _now: Now) -> str:
    """dom0 has the memory that Xen's command line asks for."""
    asked = _asked_memory(host.run(["xl", "info", "xen_commandline"], check=False, timeout=15).stdout)
    answer = host.run(["xl", "list", "0"], check=False, timeout=15)
    fields = (answer.stdout.splitlines() or [""])[-1].split()
    if asked is None or len(fields) < 3 or not fields[2].isdigit():
        return ""
    # Xen rounds, and keeps some pages of the last MiB for itself.
    if int(fields[2]) < asked - 16:
        return f"its memory: {fields[2]} MiB instead of {asked} MiB"
    return ""


def record(_host: Host, before: Before, _now: Now) -> str:
    return "" if before.known else f"{BEFORE}, the record of the native system: it is gone or damaged"


def addresses(_host: Host, before: Before, now: Now) -> str:
    gone = sorted(set(before.addresses) - set(_addresses(now.network)))
    return f"the network: the address {', '.join(gone)} is not back" if gone else ""


def any_default_route(_host: Host, before: Before, now: Now) -> str:
    if before.default_routes and not _default_routes(now.network):
        return f"the network: the default route ({', '.join(before.default_routes)}) is not back"
    return ""


def default_route(_host: Host, before: Before, now: Now) -> str:
    here = _default_routes(now.network)
    gone = sorted(set(before.default_routes) - set(here)) if here else ()
    return f"the network: the default route ({', '.join(gone)}) is not back" if gone else ""


def gateway(host: Host, before: Before, now: Now) -> str:
    """Addresses and routes are there on a card that is deaf, too: somebody has to have answered."""
    cards = {interface.name: interface for interface in now.network.interfaces}
    for destination in (DEFAULT, DEFAULT6):
        names = [r.interface for r in now.network.routes if r.destination == destination]
        if names and all(name in cards and cards[name].carrier is Answer.NO for name in names):
            return f"the network: {', '.join(names)}, where the default route is, has no carrier"
    silent = sorted(set(before.gateways) - now.neighbours)
    for route in now.network.routes:
        if route.gateway in silent:
            # The answer, if there is one, is seen at the next look.
            host.knock(route.gateway, route.interface)
    return f"the network: the gateway {', '.join(silent)} does not answer" if silent else ""


def any_ssh(_host: Host, before: Before, now: Now) -> str:
    if before.ssh_listen and not now.services.ssh_listen:
        return "sshd: it does not listen"
    return ""


def ssh(_host: Host, before: Before, now: Now) -> str:
    listen = now.services.ssh_listen
    gone = sorted(set(before.ssh_listen) - set(listen))
    return f"sshd: nothing listens on {', '.join(gone)}" if gone else ""


def system_state(_host: Host, before: Before, now: Now) -> str:
    state = now.services.system
    if now.services.is_starting and not before.starting:
        return f"{STARTING} {state}"
    if state in ("maintenance", "stopping"):
        return f"systemd: the system is in {state}"
    return "" if now.services.known else "systemd: it does not say which units failed"


def units(_host: Host, before: Before, now: Now) -> str:
    new = sorted(set(now.services.failed) - set(before.failed_units))
    return f"units that failed: {', '.join(new)}" if new else ""


def unfinished(host: Host, missing: Sequence[str]) -> str:
    """Which units keep systemd from finishing its start, where that is among what is missing; else empty."""
    if not any(text.startswith(STARTING) for text in missing):
        return ""
    found = jobs(host, timeout=2)
    return f"units that do not finish their start: {', '.join(found)}" if found else ""


def hooks(host: Host, _before: Before, _now: Now) -> str:
    """What the administrator's own checks say: each executable in /etc/xenable/health.d has 30 s."""
    for name in host.names(HOOKS):
        path = HOOKS / name
        # Nor what dpkg and editors leave beside one, or a folder of what several need.
        if name.startswith(".") or name.endswith("~") or ".dpkg-" in name or host.is_dir(path):
            continue
        if not os.access(host.path(path), os.X_OK):
            continue
        answer = host.run([path], check=False, timeout=30)
        if answer.code != 0:
            said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
            return f"{path}: {said[0] if said else f'exit status {answer.code}'}"
    return ""


PROBES: tuple[tuple[Probe, About], ...] = (
    (control_domain, About.DOM0),
    (xenstore, About.DOM0),
    (console_daemon, About.DOM0),
    (toolstack, About.DOM0),
    (memory, About.DOM0),
    (one_shot, About.DOM0),
    (record, About.BEFORE),
    (addresses, About.BEFORE),
    (any_default_route, About.REACH),
    (default_route, About.BEFORE),
    (gateway, About.BEFORE),
    (any_ssh, About.REACH),
    (ssh, About.BEFORE),
    (system_state, About.BEFORE),
    (units, About.UNITS),
    (hooks, About.DOM0),
)


# ------------------------------------------------------------------------------------------------ helpers


def _addresses(network: Network) -> tuple[str, ...]:
    found = set()
    # A bridge of guests' or containers' may only be there while one of them runs.
    for interface in (interface for interface in network.interfaces if not interface.inward):
        for text in interface.addresses:
            try:
                address = ipaddress.ip_interface(text)
            except ValueError:
                continue
            if address.is_loopback or address.is_link_local:
                continue
            if address.version == 6:
                found.add(str(ipaddress.ip_network((address.ip, 64), strict=False)))
            else:
                found.add(str(address.ip))
    return tuple(sorted(found))


def _default_routes(network: Network) -> tuple[str, ...]:
    families = {DEFAULT: "v4", DEFAULT6: "v6"}
    found = {families[r.destination] for r in network.routes if r.destination in families}
    return tuple(sorted(found))


def _gateways(network: Network) -> frozenset[str]:
    return frozenset(route.gateway for route in network.routes if route.is_default and route.gateway)


def neighbours(host: Host) -> frozenset[str]:
    """Addresses that have answered, and are not known to be silent since: ip-neighbour(8)."""
    try:
        rows = json.loads(host.run(["ip", "-json", "neigh", "show"], check=False, timeout=10).stdout or "[]")
        return frozenset(
            str(row["dst"]) for row in rows if row.get("lladdr") and "FAILED" not in row.get("state", ())
        )
    except (ValueError, TypeError, AttributeError, KeyError):
        return frozenset()


def _asked_memory(command_line: str) -> int | None:
    """MiB of `dom0_mem=1152M,max:…`; None where it does not say so plainly."""
    for word in command_line.split():
        key, _, value = word.partition("=")
        if key == "dom0_mem":
            first = value.split(",")[0]
            if first[:-1].isdigit() and first[-1:] in ("M", "G"):
                return int(first[:-1]) * (1024 if first[-1] == "G" else 1)
    return None


def _runs(host: Host, name: str) -> bool:
    return any(
        host.text(f"/proc/{pid}/comm").strip() == name[:15] for pid in host.names("/proc") if pid.isdigit()
    )
