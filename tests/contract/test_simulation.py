# SPDX-License-Identifier: GPL-2.0-or-later
"""What `check` says that apt would do, against what the real apt says itself."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from xenable.facts import apt
from xenable.facts.apt import KERNELS_DEBIAN, Simulation, simulate
from xenable.facts.dpkg import read_status
from xenable.host import Host

from .sandbox import build, command, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()


def of_apt(words: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """New and upgraded packages with their versions, and the removed ones, of `apt-get --simulate`."""
    said = command(f"apt-get --simulate --no-install-recommends install {words}")
    comes = re.findall(r"^Inst (\S+) (\[\S+\] )?\((\S+) ", said, re.MULTILINE)
    new = {name: version for name, here, version in comes if not here}
    upgraded = {name: version for name, here, version in comes if here}
    return new, upgraded, set(re.findall(r"^Remv (\S+) ", said, re.MULTILINE))


def of_ours(told: Simulation | None) -> tuple[dict[str, str], dict[str, str], set[str]]:
    assert told is not None and told.problem == ""
    new = {candidate.name: candidate.version for candidate in told.new}
    return new, {candidate.name: candidate.version for candidate in told.upgraded}, set(told.removed)


def simulations() -> tuple[Simulation | None, Simulation | None]:
    """With dpkg's records at hand, and without."""
    return (
        simulate(HOST, KERNELS_DEBIAN, with_kernel=True, names=read_status(HOST)),
        simulate(HOST, KERNELS_DEBIAN, with_kernel=True),
    )


def test_it_is_what_apt_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        # As on a server that has not been upgraded for a while: what Xen needs takes others along.
        for version in ("1", "2"):
            build("libone", version)
            build("one-daemon", version, Depends=f"libone (= {version})" + ", libtwo" * (version == "2"))
            build("one-client", version, Depends=f"one-daemon (= {version})")
        for name in ("libtwo", "other", "linux-image-amd64"):
            build(name)
        build("xen-hypervisor-4.20-amd64")
        build("xen-utils", Depends="libone (>= 2)")
        build("xen-system-amd64", Depends="xen-hypervisor-4.20-amd64, xen-utils")
        publish()
        command("apt-get -qq -y install one-client=1 one-daemon=1 libone=1 other >/dev/null 2>&1")
        theirs = of_apt("xen-system-amd64 linux-image-amd64")
        assert set(theirs[1]) == {"libone", "one-daemon", "one-client"} and "libtwo" in theirs[0]
        for told in simulations():
            assert of_ours(told) == theirs
        # With dpkg's records it need not look at every package of the archive, of which there are 100000.
        touched = apt._touched
        nothing: Any = SimpleNamespace()
        monkeypatch.setattr(apt, "_touched", lambda cache, *rest: touched(nothing, *rest))
        told = simulate(HOST, KERNELS_DEBIAN, with_kernel=True, names=read_status(HOST))
        assert of_ours(told) == theirs

    inside(work)


def test_it_says_what_would_go() -> None:
    def work() -> None:
        for name in ("other", "linux-image-amd64", "xen-hypervisor-4.20-amd64"):
            build(name)
        build("xen-system-amd64", Depends="xen-hypervisor-4.20-amd64", Conflicts="other")
        publish()
        command("apt-get -qq -y install other >/dev/null 2>&1")
        theirs = of_apt("xen-system-amd64 linux-image-amd64")
        assert theirs[2] == {"other"}
        for told in simulations():
            assert of_ours(told) == theirs

    inside(work)
