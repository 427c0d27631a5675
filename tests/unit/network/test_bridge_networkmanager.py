# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager: two profiles that match under Xen only, and everything that is not carried over."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factory import configured
from xenable.errors import XenableError
from xenable.network.bridge import make_bridge

FILE = "/etc/NetworkManager/system-connections/Wired connection 1.nmconnection"
CONNECTION = """\
[connection]
id=Wired connection 1
uuid=6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11
type=ethernet
interface-name=enp0s3
timestamp=1763000000
"""
DHCP = CONNECTION + "[ipv4]\nmethod=auto\n[ipv6]\naddr-gen-mode=default\nmethod=auto\n"
MANUAL = (
    CONNECTION
    + """\
zone=public
[ethernet]
mtu=1480
mac-address=52:54:00:12:34:56
cloned-mac-address=permanent
[ipv4]
address1=192.0.2.5/24,192.0.2.1
dns=192.0.2.1;
may-fail=false
method=manual
route1=198.51.100.0/24,192.0.2.9
[ipv6]
method=disabled
[user]
"""
)
UNDER_XEN = "[match]\nkernel-command-line=xenable.deadline;\n\n"


def made(text: str) -> tuple[str, str]:
    """The bridge's profile and the port's."""
    bridge, port = make_bridge(configured("networkmanager", (FILE, text)), "enp0s3", "br0").files
    folder = "/etc/NetworkManager/system-connections"
    assert (bridge.path, bridge.mode) == (f"{folder}/xenable-bridge.nmconnection", 0o600)
    assert (port.path, port.mode) == (f"{folder}/xenable-port.nmconnection", 0o600)
    return bridge.text, port.text


def test_dhcp() -> None:
    bridge, port = made(DHCP)
    uuids = [re.findall(r"^uuid=(.*)$", text, re.MULTILINE) for text in (bridge, port)]
    assert uuids[0] != uuids[1] and (bridge, port) == made(DHCP)
    assert bridge == (
        f"[connection]\nid=br0 (Xenable)\nuuid={uuids[0][0]}\ntype=bridge\ninterface-name=br0\n"
        "autoconnect-priority=100\n\n" + UNDER_XEN + "[bridge]\nmac-address=52:54:00:12:34:56\nstp=false\n\n"
        "[ipv4]\nmethod=auto\n\n[ipv6]\naddr-gen-mode=default\nmethod=auto\n"
    )
    assert port == (
        f"[connection]\nid=enp0s3 (Xenable)\nuuid={uuids[1][0]}\ntype=ethernet\ninterface-name=enp0s3\n"
        "master=br0\nslave-type=bridge\nautoconnect-priority=100\n\n" + UNDER_XEN.rstrip("\n") + "\n"
    )


def test_manual() -> None:
    bridge, port = made(MANUAL)
    assert "autoconnect-priority=100\nzone=public\n" in bridge
    assert bridge.endswith(
        "[ipv4]\naddress1=192.0.2.5/24,192.0.2.1\ndns=192.0.2.1;\nmay-fail=false\nmethod=manual\n"
        "route1=198.51.100.0/24,192.0.2.9\n\n[ipv6]\nmethod=disabled\n"
    )
    assert port.endswith("\n[ethernet]\nmtu=1480\n") and "zone" not in port


def test_older_names_of_sections() -> None:
    old = CONNECTION.replace("type=ethernet", "type=802-3-ethernet") + "[802-3-ethernet]\nmtu=9000\n"
    assert made(old)[1].endswith("\n[ethernet]\nmtu=9000\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DHCP + "[802-1x]\n", "[802-1x]"),
        (DHCP + "[proxy]\n", "[proxy]"),
        (CONNECTION + "master=br1\n", "`master=br1`"),
        (CONNECTION + "secondaries=1;\n", "`secondaries=1;`"),
        (CONNECTION + "permissions=user:me:;\n", "`permissions=user:me:;`"),
        (CONNECTION + "autoconnect=false\n", "`autoconnect=false`"),
        (CONNECTION + "autoconnect-priority=100\n", "`autoconnect-priority=100`"),
        (CONNECTION + "autoconnect-priority=--1\n", "`autoconnect-priority=--1`"),
        (CONNECTION.replace("=ethernet", "=wifi"), "`type=wifi`"),
        (CONNECTION + "[ethernet]\ncloned-mac-address=random\n", "`cloned-mac-address=random`"),
        (CONNECTION + "[ethernet]\nmtu=big\n", "`mtu=big`"),
        (CONNECTION + "[ethernet]\ns390-nettype=qeth\n", "`s390-nettype=qeth`"),
        (CONNECTION + "[ipv4]\nmethod=shared\n", "`method=shared`"),
        (CONNECTION + "[ipv4]\ndhcp-client-id=stable\n", "`dhcp-client-id=stable`"),
        (CONNECTION + "[ipv4]\ndhcp-hostname=enp0s3\n", "names enp0s3 where"),
        (CONNECTION + "[ipv4]\nmethod\n", "not understood: `method`"),
        ("", "can't be read"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(XenableError) as e:
        made(text)
    assert e.value.message.startswith("cannot make the bridge br0 of enp0s3: ")
    assert reason in e.value.message


words = st.sampled_from(
    (
        *(
            "[connection]",
            "[ethernet]",
            "[ipv4]",
            "[match]",
            "id=enp0s3",
            "type=ethernet",
            "mtu=",
            "mtu=1500",
        ),
        *("autoconnect-priority=5", "method=auto", "[", "#", "=", "dns=br0"),
    )
)


@given(st.text(max_size=40) | st.lists(words, max_size=12).map("\n".join) | st.lists(words).map("".join))
def test_any_text_is_transformed_or_refused(text: str) -> None:
    try:
        bridge, port = made(text)
    except XenableError as e:
        assert e.message.startswith("cannot make the bridge br0 of enp0s3: ")
        return
    assert "enp0s3" not in bridge
    assert re.findall(r"^.*enp0s3.*$", port, re.MULTILINE) == [
        "id=enp0s3 (Xenable)",
        "interface-name=enp0s3",
    ]
    assert UNDER_XEN.rstrip("\n") in bridge and UNDER_XEN.rstrip("\n") in port
