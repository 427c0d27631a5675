# SPDX-License-Identifier: GPL-2.0-or-later
"""/etc/xenable/network.env: what is written comes back, and what is wrong is named."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.errors import XenableError
from xenable.host import Host
from xenable.network.effective import PATH, GuestNet, Mode, parse, read_effective, render

NET = GuestNet(
    mode=Mode.ROUTED,
    interface="xenable0",
    ipv4=IPv4Network("172.20.216.0/24"),
    ipv6=IPv6Network("fd12:3456:789a:d8::/64"),
)
TEXT = """\
# Written by xenable: the network of guests that is in effect. Shell scripts source it.
MODE=routed
INTERFACE=xenable0
ADDRESS4=172.20.216.1
NETWORK4=172.20.216.0/24
ADDRESS6=fd12:3456:789a:d8::1
NETWORK6=fd12:3456:789a:d8::/64
GROUP=30821
UPLINK=
BRIDGE=
"""

interfaces = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}", fullmatch=True)
networks4 = st.builds(
    lambda bits, length: IPv4Network((bits >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(8, 29),
)
networks6 = st.none() | st.integers(0, 2**64 - 1).map(lambda bits: IPv6Network((bits << 64, 64)))


def test_the_text() -> None:
    assert render(NET) == TEXT
    assert parse(TEXT) == NET


def test_without_ipv6() -> None:
    net = GuestNet(mode=Mode.NAT, interface="xenable0", ipv4=NET.ipv4, ipv6=None, uplink="eth0")
    assert "\nADDRESS6=\nNETWORK6=\n" in render(net)
    assert parse(render(net)) == net
    assert net.address6 is None


@given(st.sampled_from(Mode), interfaces, networks4, networks6, interfaces, interfaces)
def test_what_is_written_comes_back(
    mode: Mode, interface: str, ipv4: IPv4Network, ipv6: IPv6Network | None, uplink: str, bridge: str
) -> None:
    net = GuestNet(mode=mode, interface=interface, ipv4=ipv4, ipv6=ipv6, uplink=uplink, bridge=bridge)
    text = render(net)
    assert parse(text) == net
    # The shell sources it: nothing in a value may mean anything to it.
    assert all(c.isalnum() or c in "=./:_-\n" for c in text.partition("\n")[2])


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(XenableError, match=r"cannot read /etc/xenable/network\.env: "):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MODE=routed", "MODE=host", "line 2: MODE can't be 'host': it is one of routed, nat, bridge"),
        ("MODE=routed", "MODE=nat", "line 9: with MODE=nat UPLINK is needed"),
        ("MODE=routed", "MODE=bridge", "line 10: with MODE=bridge BRIDGE is needed"),
        ("INTERFACE=xenable0", "INTERFACE=", "line 3: INTERFACE can't be ''"),
        ("INTERFACE=xenable0", "INTERFACE=$(reboot)", "line 3: INTERFACE can't be .*only letters"),
        ("ADDRESS4=172.20.216.1", "ADDRESS4=172.20.216.2", "line 4: ADDRESS4 has to be 172.20.216.1, not"),
        ("NETWORK4=172.20.216.0/24", "NETWORK4=172.20.216.1/24", "line 5: NETWORK4 can't be"),
        ("NETWORK4=172.20.216.0/24", "NETWORK4=172.20.216.0/31", "line 5: NETWORK4 can't be"),
        ("NETWORK6=fd12:3456:789a:d8::/64", "NETWORK6=", "line 6: ADDRESS6 has to be empty"),
        ("NETWORK6=fd12:3456:789a:d8::/64", "NETWORK6=fd12::/48", "line 7: NETWORK6 can't be"),
        ("GROUP=30821", "GROUP=1", "line 8: GROUP has to be 30821, not '1'"),
        ("UPLINK=", "UPLINK=a b", "line 9: UPLINK can't be 'a b'"),
        ("BRIDGE=", "BRIDGE=\nBRIDGE=", "line 11: BRIDGE is in line 10 already"),
        ("BRIDGE=", "COLOUR=", "line 10: 'COLOUR=' is none of its settings"),
        ("BRIDGE=", "BRIDGE", "line 10: 'BRIDGE' is none of its settings"),
        ("BRIDGE=\n", "", "BRIDGE is missing"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(XenableError, match=message):
        parse(TEXT.replace(old, new, 1))


def test_what_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(XenableError, match="INTERFACE"):
        render(GuestNet(mode=Mode.ROUTED, interface="a;reboot", ipv4=NET.ipv4, ipv6=None))


def test_a_machine_without_it_is_not_converted(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with pytest.raises(XenableError, match="this machine is not converted") as e:
        read_effective(host)
    assert "xenable apply" in e.value.hint
    host.make_folder(PATH.parent)
    host.write(PATH, TEXT.encode())
    assert read_effective(host) == NET
