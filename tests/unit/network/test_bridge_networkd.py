# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd-networkd: three files that match under Xen only, and everything that is not carried over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factory import configured
from xenable.errors import XenableError
from xenable.network.bridge import make_bridge

FILE = "/etc/systemd/network/20-lan.network"
NETPLAN = "/run/systemd/network/10-netplan-enp0s3.network"

# As netplan 0.106 and 1.1 write it for a cloud image.
OF_NETPLAN = """\
[Match]
MACAddress=52:54:00:12:34:56
Name=enp0s3

[Network]
DHCP=ipv4
LinkLocalAddressing=ipv6

[DHCP]
RouteMetric=100
UseMTU=true
"""
STATIC = """\
[Match]
Name=en*

[Link]
MTUBytes=1480
RequiredForOnline=routable

[Network]
; both families
Address=192.0.2.5/24
Gateway=192.0.2.1
DNS=192.0.2.1 \\
# the second one
  192.0.2.2

[Address]
Address=2001:db8::5/64

[Route]
Gateway=fe80::1
GatewayOnLink=yes
"""

NETDEV = """\
[Match]
KernelCommandLine=xenable.deadline

[NetDev]
Name=br0
Kind=bridge
MACAddress=52:54:00:12:34:56

[Bridge]
STP=no
ForwardDelaySec=0
"""


def made(text: str, file: str = FILE, iaid: int | None = None) -> dict[str, str]:
    """Name to text."""
    found = make_bridge(configured("networkd", (file, text), iaid=iaid), "enp0s3", "br0")
    assert not found.unit and all(f.mode == 0o644 for f in found.files)
    return {f.path.removeprefix("/etc/systemd/network/05-xenable-"): f.text for f in found.files}


def test_a_file_of_netplan() -> None:
    network = configured("netplan", (NETPLAN, OF_NETPLAN), iaid=0x5F6DAAA8)
    assert [f.text for f in make_bridge(network, "enp0s3", "br0").files] == [
        NETDEV,
        "[Match]\nKernelCommandLine=xenable.deadline\nName=br0\n\n"
        "[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n\n"
        "[DHCP]\nRouteMetric=100\nUseMTU=true\n\n"
        "[DHCPv4]\nIAID=1601022632\n",
        "[Match]\nKernelCommandLine=xenable.deadline\nName=enp0s3\n\n"
        "[Link]\nRequiredForOnline=no\n\n"
        "[Network]\nBridge=br0\nLinkLocalAddressing=no\n",
    ]


def test_static_addresses() -> None:
    found = made(STATIC)
    assert found["bridge.netdev"] == NETDEV
    assert found["bridge.network"] == (
        "[Match]\nKernelCommandLine=xenable.deadline\nName=br0\n\n"
        "[Link]\nMTUBytes=1480\nRequiredForOnline=routable\n\n"
        "[Network]\nAddress=192.0.2.5/24\nGateway=192.0.2.1\nDNS=192.0.2.1  192.0.2.2\n\n"
        "[Address]\nAddress=2001:db8::5/64\n\n"
        "[Route]\nGateway=fe80::1\nGatewayOnLink=yes\n"
    )
    assert "[Link]\nMTUBytes=1480\nRequiredForOnline=no\n" in found["port.network"]


@pytest.mark.parametrize(
    ("more", "iaid", "expected"),
    [
        ("", 7, True),
        ("[DHCPv4]\nClientIdentifier=duid\n", 7, True),
        ("[DHCPv4]\nClientIdentifier=mac\n", 7, False),
        ("[DHCP]\nClientIdentifier=mac\n", 7, False),
        ("[DHCPv4]\nIAID=9\n", 7, False),
        ("", None, False),
    ],
)
def test_a_dhcp_server_is_to_know_the_bridge_again(more: str, iaid: int | None, expected: bool) -> None:
    text = made("[Network]\nDHCP=yes\n" + more, iaid=iaid)["bridge.network"]
    assert text.endswith("[DHCPv4]\nIAID=7\n") is expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Network]\nBridge=br1\n", "`Bridge=br1`"),
        ("[Network]\nBond=bond0\n", "`Bond=bond0`"),
        ("[Network]\nMACVLAN=m0\n", "`MACVLAN=m0`"),
        ("[Network]\nVLAN=v5\n", "`VLAN=v5`"),
        ("[Network]\nIPMasquerade=both\n", "`IPMasquerade=both`"),
        ("[Link]\nMACAddress=52:54:00:12:34:57\n", "`MACAddress=52:54:00:12:34:57`"),
        ("[Link]\nMTUBytes=9K\n", "`MTUBytes=9K`"),
        ("[Bridge]\nCost=5\n", "[Bridge]"),
        ("[SR-IOV]\nVirtualFunction=1\n", "[SR-IOV]"),
        ("[Address]\nAddress=192.0.2.5/24\nLabel=enp0s3:1\n", "names enp0s3 where"),
        ("[Network]\nDescription=becomes br0\n", "names br0 where"),
        ("[Network]\nDHCP\n", "not understood: `DHCP`"),
        ("DHCP=yes\n[Network]\n", "not understood: `DHCP=yes`"),
        ("[Network]\nDNS=1.1.1.1 \\\n", "not understood: `DNS=1.1.1.1`"),
        ("[Network]\nDHCP=\ufffd\n", "is not UTF-8 text"),
        ("", "can't be read"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(XenableError) as e:
        made(text)
    assert e.value.message.startswith("cannot make the bridge br0 of enp0s3: ")
    assert reason in e.value.message


@pytest.mark.parametrize("name", ["00-lan.network", "05-xenable-bridge.network", "05-xenable-aaa.network"])
def test_a_file_that_would_come_first_is_refused(name: str) -> None:
    with pytest.raises(XenableError, match="sorts before"):
        made("[Network]\nDHCP=yes\n", f"/etc/systemd/network/{name}")


def test_without_a_file_there_is_no_bridge() -> None:
    with pytest.raises(XenableError, match="the file that configures it was not found"):
        make_bridge(configured("netplan"), "enp0s3", "br0")


words = st.sampled_from(
    (
        "[Network]",
        "[Match]",
        "[Link]",
        "DHCP=yes",
        "Name=enp0s3",
        "MTUBytes=",
        "[",
        "\\",
        "#",
        "\n",
        "=",
        "br0",
    )
)


@given(st.text(max_size=40) | st.lists(words, max_size=12).map("\n".join) | st.lists(words).map("".join))
def test_any_text_is_transformed_or_refused(text: str) -> None:
    try:
        found = made(text)
    except XenableError as e:
        assert e.message.startswith("cannot make the bridge br0 of enp0s3: ")
        return
    assert [name for name, made_text in found.items() if "enp0s3" in made_text] == ["port.network"]
    assert all("KernelCommandLine=xenable.deadline\n" in made_text for made_text in found.values())
