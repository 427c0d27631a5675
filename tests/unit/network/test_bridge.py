# SPDX-License-Identifier: GPL-2.0-or-later
"""Of what a bridge can be made at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.factory import UPLINK, configured
from xenable.errors import XenableError
from xenable.machine import Network
from xenable.network.bridge import make_bridge
from xenable.network.bridge.base import Unfit, quoted, sections

NETWORK = configured("networkd", ("/etc/systemd/network/20-lan.network", "[Network]\nDHCP=yes\n"))


def changed(**changes: Any) -> Network:
    return replace(NETWORK, interfaces=(replace(UPLINK, **changes),))


@pytest.mark.parametrize(
    ("network", "port", "bridge", "reason"),
    [
        (NETWORK, "eth0", "br0", "there is no interface eth0"),
        (replace(NETWORK, known=False), "enp0s3", "br0", "interfaces and routes could not be read"),
        (changed(kind="wireless"), "enp0s3", "br0", "enp0s3 is no Ethernet card (kind: wireless)"),
        (changed(kind="vlan"), "enp0s3", "br0", "enp0s3 is no Ethernet card (kind: vlan)"),
        (changed(manager=""), "enp0s3", "br0", "nothing that Xenable knows configures enp0s3"),
        (changed(mac=""), "enp0s3", "br0", "enp0s3 has no MAC address"),
        (NETWORK, "enp0s3", "enp0s3", "there is an interface enp0s3 already (kind: physical)"),
        (NETWORK, "enp0s3", "br0.5", "br0.5 is no name for it"),
        (NETWORK, "enp0s3", "all", "all is no name for it"),
        (NETWORK, "enp0s3", "vif1", "for the interfaces of guests"),
        (NETWORK, "enp0s3;id", "br0", "enp0s3;id is no name for it"),
    ],
)
def test_what_can_be_no_port(network: Network, port: str, bridge: str, reason: str) -> None:
    with pytest.raises(XenableError) as e:
        make_bridge(network, port, bridge)
    assert e.value.message.startswith(f"cannot make the bridge {bridge} of {port}: ")
    assert reason in e.value.message


def test_who_may_not_read_the_file_is_told() -> None:
    with pytest.raises(XenableError, match="can't be read") as e:
        make_bridge(configured("networkmanager", ("/etc/x.nmconnection", "")), "enp0s3", "br0")
    assert e.value.hint.startswith("run the command as root")


def test_lines_are_quoted_on_one_line() -> None:
    assert quoted("  up  a \\\n\tb") == "`up a \\ b`"
    assert len(quoted("x" * 500)) == 82


def test_sections_keep_their_order_and_their_twins() -> None:
    found = sections("[A]\nx=1\n[B]\n[A]\nx=2=3\nx=\n", "file")
    assert [(s.name, s.settings) for s in found] == [
        ("A", (("x", "1"),)),
        ("B", ()),
        ("A", (("x", "2=3"), ("x", ""))),
    ]
    with pytest.raises(Unfit, match="not understood: `x y=1`"):
        sections("[A]\nx y=1\n", "file")
