# SPDX-License-Identifier: GPL-2.0-or-later
"""Each probe of the gate: what it is content with, and what it calls missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot.firmware import ATTRIBUTES, add_firmware, variable
from xenable import health
from xenable.boot.environment import Environment, write_environment
from xenable.errors import XenableError
from xenable.health import Before
from xenable.host import Host, Result, StrPath
from xenable.machine import DEFAULT6, Answer, Interface, Network, Route, Services

HEALTHY = {
    "xenstore-read": Result(0, "0\n", ""),
    "xl list": Result(0, "Name ID Mem VCPUs\nDomain-0 0 1152 2 r----- 12.0\n", ""),
    "xl info": Result(0, "placeholder dom0_mem=1152M,max:1152M ucode=scan\n", ""),
}
BEFORE = Before(
    known=True,
    addresses=("10.0.2.15", "fec0::/64"),
    default_routes=("v4",),
    ssh_listen=("0.0.0.0:22",),
    failed_units=("old.service",),
)
ENS2 = Interface(
    name="ens2",
    mac="52:54:00:12:34:56",
    kind="physical",
    up=True,
    addresses=("10.0.2.15/24", "fec0::5054:ff:fe12:3456/64", "fe80::1/64"),
    manager="ifupdown",
    carrier=Answer.YES,
)
NETWORK = Network(
    known=True,
    interfaces=(
        Interface(name="lo", mac="", kind="loopback", up=True, addresses=("127.0.0.1/8",), manager=""),
        ENS2,
    ),
    routes=(Route(destination="default", interface="ens2", gateway="10.0.2.2"),),
    firewalls=(),
    forward_policy="",
    ip_forward=Answer.NO,
)
SERVICES = Services(
    known=True,
    failed=("old.service",),
    ssh_listen=("0.0.0.0:22",),
    os_prober=Answer.NO,
    system="running",
)


@dataclass(frozen=True)
class Dom0(Host):
    answers: dict[str, Result] = field(default_factory=lambda: dict(HEALTHY))

    @property
    def live(self) -> bool:
        return True

    def run(self, cmd: Sequence[StrPath], **options: Any) -> Result:
        line = " ".join(str(word) for word in cmd)
        return next(
            (r for start, r in self.answers.items() if line.startswith(start)), Result(127, "", "not found")
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dom0:
    host = Dom0(tmp_path)
    for folder in ("/proc/xen", "/proc/77"):
        host.make_folder(folder)
    host.write("/proc/xen/capabilities", b"control_d\n")
    host.write("/proc/77/comm", b"xenconsoled\n")
    sees(monkeypatch)
    return host


def sees(monkeypatch: pytest.MonkeyPatch, network: Network = NETWORK, services: Services = SERVICES) -> None:
    monkeypatch.setattr(health, "probe_network", lambda _host: network)
    monkeypatch.setattr(health, "probe_services", lambda _host, _known: services)


def missing(host: Host, *, confirmed: bool = False) -> tuple[str, ...]:
    return health.missing(host, BEFORE, confirmed=confirmed)


def test_a_healthy_dom0_lacks_nothing(host: Dom0) -> None:
    assert missing(host) == ()


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("xenstore-read", Result(124, "", "no answer within 5 s"), "xenstored: it does not answer"),
        (
            "xl list",
            Result(1, "", "Can't find hypervisor information in sysfs!\n"),
            "xl: Can't find hypervisor",
        ),
    ],
)
def test_a_command_that_fails_is_named(host: Dom0, command: str, answer: Result, said: str) -> None:
    host = replace(host, answers={**HEALTHY, command: answer})
    assert any(said in word for word in missing(host))


def test_the_firmware_has_to_know_the_next_start(host: Dom0) -> None:
    """Where it keeps the note, a dom0 whose firmware can't be reached would be native at the next reset."""
    host.make_folder("/boot/grub")
    add_firmware(host)
    write_environment(host, "/boot/grub", Environment(try_slot="a"), firmware=True)
    assert missing(host) == ()
    host.set_variable(variable("BootNext"), ATTRIBUTES + b"\0\0")
    assert missing(host, confirmed=True) == ("the firmware: BootNext is set to entry 0000 already",)


def test_a_bridge_of_containers_is_not_waited_for(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only there while one of them runs that somebody has started by hand."""
    podman = replace(ENS2, name="podman0", kind="bridge", addresses=("10.88.0.1/16",), inward=True)
    sees(monkeypatch, network=replace(NETWORK, interfaces=(*NETWORK.interfaces, podman)))
    assert health.look_around(host).addresses == ("10.0.2.15", "fec0::/64")


@pytest.mark.parametrize(("name", "asked"), [("raid.sh", True), ("raid~", False), ("raid.dpkg-old", False)])
def test_only_what_is_a_check_by_its_name_is_asked(host: Dom0, name: str, asked: bool) -> None:
    host.make_folder(health.HOOKS / "lib")
    host.write(health.HOOKS / name, b"#!/bin/sh\n", mode=0o755)
    assert bool(missing(host)) is asked


def test_memory_that_is_less_than_asked_is_named(host: Dom0) -> None:
    host = replace(host, answers={**HEALTHY, "xl list": Result(0, "Name\nDomain-0 0 900 2\n", "")})
    assert missing(host) == ("its memory: 900 MiB instead of 1152 MiB",)


def test_no_control_domain_and_no_console_daemon(host: Dom0) -> None:
    host.remove("/proc/xen/capabilities")
    host.remove("/proc/77/comm")
    words = missing(host)
    assert words[0].startswith("the control domain") and words[1].startswith("xenconsoled")


def test_the_network_of_before_is_asked_for(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    sees(monkeypatch, network=replace(NETWORK, interfaces=NETWORK.interfaces[:1], routes=()))
    words = missing(host)
    assert "the network: the address 10.0.2.15, fec0::/64 is not back" in words
    assert "the network: the default route (v4) is not back" in words
    # A later boot has to be reachable, though perhaps at another address.
    assert missing(host, confirmed=True) == ("the network: the default route (v4) is not back",)
    sees(monkeypatch, network=replace(NETWORK, interfaces=NETWORK.interfaces[:1]))
    assert missing(host, confirmed=True) == ()


def test_a_default_route_without_a_gateway_is_of_its_family(
    host: Dom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = Route(destination=DEFAULT6, interface="six", gateway="")
    sees(monkeypatch, network=replace(NETWORK, routes=(tunnel,)))
    assert "the network: the default route (v4) is not back" in missing(host)
    # A later boot is content with one way out: the other may be gone for good.
    assert missing(host, confirmed=True) == ()


def test_a_card_that_is_deaf_is_no_network(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    """With addresses that are set by hand all looks well on it."""
    deaf = replace(NETWORK, interfaces=(*NETWORK.interfaces[:1], replace(ENS2, carrier=Answer.NO)))
    sees(monkeypatch, network=deaf)
    assert missing(host) == ("the network: ens2, where the default route is, has no carrier",)
    # Natively it was so already with one of two.
    other = Route(destination="default", interface="ens3", gateway="10.0.3.2")
    cards = (*deaf.interfaces, replace(ENS2, name="ens3", addresses=()))
    sees(monkeypatch, network=replace(deaf, routes=(*deaf.routes, other), interfaces=cards))
    assert missing(host) == ()


def test_the_gateway_has_to_answer(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Host, "knock", lambda _host, *words: asked.append(words))
    before = replace(BEFORE, gateways=("10.0.2.2",))
    assert health.missing(host, before, confirmed=False) == (
        "the network: the gateway 10.0.2.2 does not answer",
    )
    assert asked == [("10.0.2.2", "ens2")]
    known = [
        {"dst": "10.0.2.2", "dev": "ens2", "lladdr": "52:55:0a:00:02:02", "state": ["STALE"]},
        {"dst": "10.0.2.3", "dev": "ens2", "state": ["FAILED"]},
    ]
    host = replace(host, answers={**HEALTHY, "ip -json neigh": Result(0, json.dumps(known), "")})
    assert health.missing(host, before, confirmed=False) == ()
    assert health.look_around(host).gateways == ("10.0.2.2",)
    # One that did not answer natively is not asked for.
    assert health.look_around(replace(host, answers=HEALTHY)).gateways == ()


@pytest.mark.parametrize("state", ["initializing", "starting", "maintenance", "stopping"])
def test_a_system_that_is_not_up_is_not_well(
    host: Dom0, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    sees(monkeypatch, services=replace(SERVICES, system=state))
    (said,) = missing(host)
    assert said.startswith("systemd: the system is ") and said.endswith(state)
    assert missing(host, confirmed=True) == ()


def test_dom0_need_not_finish_a_start_that_native_never_finished(
    host: Dom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit of the kind oneshot never ends."""
    sees(monkeypatch, services=replace(SERVICES, system="starting"))
    before = health.look_around(host)
    assert before == replace(BEFORE, starting=True)
    health.write_before(host, before)
    assert health.missing(host, health.read_before(host), confirmed=False) == ()
    assert health.lost(host) == ()
    sees(monkeypatch, services=replace(SERVICES, system="starting", failed=("new.service",)))
    # It is no reason not to try a newer pair, months later.
    assert health.lost(host) == ()
    assert health.missing(host, before, confirmed=False) == ("units that failed: new.service",)


def test_a_record_of_an_earlier_package_is_one(host: Dom0) -> None:
    """It armed the trial, and was upgraded."""
    health.write_before(host, BEFORE)
    record = json.loads(host.read(health.BEFORE))
    del record["gateways"], record["starting"]
    host.write(health.BEFORE, json.dumps(record).encode())
    assert health.read_before(host) == replace(BEFORE, gateways=())


def test_sshd_and_new_failures_are_asked_for(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    services = replace(SERVICES, failed=("old.service", "new.service"), ssh_listen=())
    sees(monkeypatch, services=services)
    assert missing(host) == (
        "sshd: it does not listen",
        "sshd: nothing listens on 0.0.0.0:22",
        "units that failed: new.service",
    )
    assert missing(host, confirmed=True) == ("sshd: it does not listen",)


def test_the_administrators_own_checks_agree_or_not(host: Dom0) -> None:
    host.make_folder("/etc/xenable/health.d")
    host.write("/etc/xenable/health.d/raid", b"#!/bin/sh\n", mode=0o755)
    host.write("/etc/xenable/health.d/README", b"text\n")
    answers = {**HEALTHY, "/etc/xenable/health.d/raid": Result(1, "", "array degraded\n")}
    assert missing(replace(host, answers=answers)) == ("/etc/xenable/health.d/raid: array degraded",)


def test_before_comes_back_as_it_was(host: Dom0) -> None:
    health.write_before(host, BEFORE)
    assert health.read_before(host) == BEFORE
    host.write(health.BEFORE, b"[1]")
    assert health.read_before(host) == Before()


def test_looking_around_finds_what_the_gate_compares(host: Dom0) -> None:
    assert health.look_around(host) == BEFORE


def test_without_a_record_of_before_nothing_passes(host: Dom0) -> None:
    words = health.missing(host, Before(), confirmed=False)
    assert any("the record of the native system" in word for word in words)
    assert health.missing(host, Before(), confirmed=True) == ()


def test_what_can_not_be_seen_is_not_well(host: Dom0, monkeypatch: pytest.MonkeyPatch) -> None:
    sees(monkeypatch, services=replace(SERVICES, known=False))
    assert "systemd: it does not say which units failed" in missing(host)
    sees(monkeypatch, network=replace(NETWORK, known=False))
    with pytest.raises(XenableError, match="cannot arm"):
        health.look_around(host)
