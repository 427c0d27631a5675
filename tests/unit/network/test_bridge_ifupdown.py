# SPDX-License-Identifier: GPL-2.0-or-later
"""ifupdown: the file that is mounted over /etc/network/interfaces, and all that is not carried over."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factory import configured
from xenable.errors import XenableError
from xenable.network.bridge import Made, make_bridge
from xenable.network.bridge.ifupdown import mount_unit

INTERFACES = "/etc/network/interfaces"
BEGIN = """\
# The loopback network interface
auto lo
iface lo inet loopback
    dns-search example.org

"""
# As the installer of Debian 12 and 13 writes it.
DHCP = (
    "source /etc/network/interfaces.d/*\n\n"
    + BEGIN
    + """\
# The primary network interface enp0s3
allow-hotplug enp0s3
iface enp0s3 inet dhcp
# This is an autoconfigured IPv6 interface
iface enp0s3 inet6 auto
"""
)
STATIC = (
    BEGIN
    + """\
auto enp0s3
iface enp0s3 inet static
\taddress 192.0.2.5/24
\tgateway 192.0.2.1
\tmtu 1480
\t# dns-* options are implemented by the resolvconf package, if installed
\tdns-nameservers 192.0.2.1 \\
\t\t192.0.2.2
\tpost-up ip route add 198.51.100.0/24 via 192.0.2.9 || true

iface enp0s3 inet6 static
\taddress 2001:db8::5
\tnetmask 64
\tgateway fe80::1
\taccept_ra 0

auto wlx1
iface wlx1 inet dhcp
"""
)


def make(text: str, *more: tuple[str, str], bridge: str = "br0") -> Made:
    return make_bridge(configured("ifupdown", (INTERFACES, text), *more), "enp0s3", bridge)


def copy(text: str, *more: tuple[str, str]) -> str:
    return make(text, *more).files[0].text


def stanza(mtu: str = "", *more: str) -> str:
    lines = [
        "iface enp0s3 inet manual",
        *((f"    mtu {mtu}",) if mtu else ()),
        "    pre-up ip link add name br0 address $(cat /sys/class/net/$IFACE/address) "
        "type bridge forward_delay 0",
        "    pre-up echo 1 >/proc/sys/net/ipv6/conf/$IFACE/disable_ipv6 || true",
        *more,
        "    up ip link set dev $IFACE master br0 up",
        "    up ifup br0",
        "    down ifdown br0",
        "    post-down ip link del dev br0",
        "    post-down cat /proc/sys/net/ipv6/conf/default/disable_ipv6 "
        ">/proc/sys/net/ipv6/conf/$IFACE/disable_ipv6 || true",
    ]
    return "\n".join(lines) + "\n\n"


def test_dhcp() -> None:
    leases = "/var/lib/dhcp/dhclient"
    identity = (
        f"    pre-up [ ! -s {leases}.$IFACE.leases ] || [ -e {leases}.br0.leases ] || "
        f"grep ^default-duid {leases}.$IFACE.leases >{leases}.br0.leases || true"
    )
    head, _, tail = DHCP.partition("iface enp0s3 inet dhcp\n")
    expected = head + stanza("", identity) + "iface br0 inet dhcp\n" + tail.replace("enp0s3", "br0")
    assert copy(DHCP) == expected


def test_static() -> None:
    head, _, tail = STATIC.partition("iface enp0s3 inet static\n")
    expected = head + stanza("1480") + "iface br0 inet static\n" + tail.replace("enp0s3", "br0")
    assert copy(STATIC) == expected


def test_what_is_written_and_enabled() -> None:
    made = make(STATIC)
    (_, unit) = made.files
    assert made.files[0].path == "/etc/xenable/bridge/interfaces"
    assert made.unit == "etc-network-interfaces.mount"
    assert unit.path == f"/etc/systemd/system/{made.unit}"
    lines = unit.text.splitlines()
    assert "ConditionKernelCommandLine=xenable.deadline" in lines
    assert "What=/etc/xenable/bridge/interfaces" in lines and f"Where={INTERFACES}" in lines
    assert "Options=bind,ro" in lines and "WantedBy=sysinit.target" in lines
    assert "DefaultDependencies=no" in lines
    (before,) = (line.removeprefix("Before=").split() for line in lines if line.startswith("Before="))
    assert {"systemd-udev-trigger.service", "networking.service", "umount.target"} <= set(before)


def test_a_file_of_its_own_and_what_brings_it_up_elsewhere() -> None:
    cloud = "/etc/network/interfaces.d/50-cloud-init"
    own = "iface enp0s3 inet dhcp\n    metric 100\n"
    made = make_bridge(
        configured("ifupdown", (INTERFACES, BEGIN + "auto lo enp0s3\n"), (cloud, own)), "enp0s3", "br0"
    )
    assert made.files[0].path == "/etc/xenable/bridge/50-cloud-init"
    assert made.files[0].text.endswith("iface br0 inet dhcp\n    metric 100\n")
    assert made.unit == "etc-network-interfaces.d-50\\x2dcloud\\x2dinit.mount"
    assert f"Where={cloud}" in made.files[1].text


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        # As systemd-escape(1) says it.
        ("/etc/network/interfaces", "etc-network-interfaces.mount"),
        ("/etc//a-b/", "etc-a\\x2db.mount"),
        ("/.hidden/ü", "\\x2ehidden-\\xc3\\xbc.mount"),
        ("/", "-.mount"),
    ],
)
def test_names_of_mount_units(path: str, unit: str) -> None:
    assert mount_unit(path) == unit


UP = "auto enp0s3\niface enp0s3 inet static\n    address 192.0.2.5/24\n"
OTHER = "/etc/network/interfaces.d/other"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (UP + "    hwaddress 52:54:00:12:34:57\n", "`hwaddress 52:54:00:12:34:57`"),
        (UP + "    wpa-psk REDACTED\n", "`wpa-psk REDACTED`"),
        (UP + "    bridge_ports none\n", "`bridge_ports none`"),
        (UP + "    mtu big\n", "`mtu big`"),
        (UP + "    up ethtool -K $IFACE tso off\n", "can't be carried over to a bridge"),
        (UP + "    up ethtool -K enp0s3 \\\n  tso off\n", "names enp0s3 where a bridge would change"),
        (UP + "    up brctl addbr br0\n", "names br0 where a bridge would change"),
        (UP + "iface enp0s3 inet6 v4tunnel\n", "`iface enp0s3 inet6 v4tunnel`"),
        (UP + "iface enp0s3 inet static inherits lan\n", "`iface enp0s3 inet static inherits lan`"),
        (UP + "iface enp0s3\n", "`iface enp0s3`"),
        (UP + "iface enp0s3:1 inet static\n    address 192.0.2.6/24\n", "`iface enp0s3:1 inet static`"),
        (UP + "iface enp0s3.5 inet dhcp\n", "`iface enp0s3.5 inet dhcp`"),
        (UP + "iface v5 inet dhcp\n  vlan-raw-device enp0s3\n", "`vlan-raw-device enp0s3`"),
        (UP + "iface br0 inet manual\n", "`iface br0 inet manual`"),
        (UP + "auto br0\n", "`auto br0`"),
        (UP + "mapping enp*\n  script /bin/map\n", "`mapping enp*`"),
        (UP + "mapping br?\n  script /bin/map\n", "`mapping br?`"),
        (UP + "rename eth0=enp0s3\n", "`rename eth0=enp0s3`"),
        (UP + "no-scripts enp0s3\n", "`no-scripts enp0s3`"),
        (UP + "iface wlx1 inet dhcp\n  wpa-psk REDACTED\n", "has a secret in it"),
        (UP + "    up echo a\\\\\n", "a line that is not understood: `up echo a"),
        (UP + "    up echo \\", "ends within a line"),
        (UP + "    up echo \ufffd\n", "is not UTF-8 text"),
        ("auto lo\niface lo inet loopback\nauto enp0s3\n", "there is no `iface enp0s3` stanza"),
        ("iface enp0s3 inet dhcp\n", "no `auto` or `allow-hotplug` line"),
        ("# auto enp0s3\niface enp0s3 inet dhcp\n", "no `auto` or `allow-hotplug` line"),
        ("", f"{INTERFACES} can't be read"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(XenableError) as e:
        make(text)
    assert e.value.message.startswith("cannot make the bridge br0 of enp0s3: ")
    assert reason in e.value.message


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        (OTHER, "iface enp0s3 inet6 auto\n", f"in several files: {INTERFACES}, {OTHER}"),
        (OTHER, "iface enp0s3.7 inet dhcp\n", f"{OTHER} names enp0s3 where"),
        (OTHER, "", "can't be read"),
    ],
)
def test_other_files_have_a_say(file: str, text: str, reason: str) -> None:
    with pytest.raises(XenableError, match=re.escape(reason)):
        make(UP, (file, text))


@pytest.mark.parametrize(
    "file", ["/srv/interfaces", "/etc/network/../x", "/etc/network/a b", "/etc/network/%i"]
)
def test_a_file_that_is_elsewhere_is_refused(file: str) -> None:
    with pytest.raises(XenableError, match="is not in /etc/network"):
        make_bridge(configured("ifupdown", (file, UP)), "enp0s3", "br0")


def test_secrets_of_other_files_are_not_copied_and_do_not_matter() -> None:
    assert "REDACTED" not in copy(UP, (OTHER, "auto enp0s3\niface wlx1 inet dhcp\n  wpa-psk REDACTED\n"))


words = st.sampled_from(
    (
        *(
            "auto",
            "iface",
            "enp0s3",
            "enp0s3:1",
            "br0",
            "inet",
            "inet6",
            "dhcp",
            "static",
            "manual",
            "mapping",
        ),
        *(
            "address",
            "mtu",
            "1500",
            "up",
            "pre-up",
            "source",
            "\\",
            "#",
            "*",
            "[",
            "lo",
            "192.0.2.5/24",
            "=é",
        ),
    )
)
lines = st.lists(words, max_size=5).map(" ".join)
several = st.lists(lines, max_size=8).map("\n".join)
texts = st.text(max_size=60) | several | several.map(lambda more: UP + more)


@given(texts)
def test_any_text_is_transformed_or_refused(text: str) -> None:
    try:
        result = copy(text)
    except XenableError as e:
        assert e.message.startswith("cannot make the bridge br0 of enp0s3: ")
        return
    # Of the port only its own stanza is left, what brings it up, and comments.
    unwrapped = result.replace("\\\n", " ").splitlines()
    named = [line.split() for line in unwrapped if re.search(r"\benp0s3\b", line)]
    own = [line for line in named if line[0] == "iface"]
    assert own == [["iface", "enp0s3", "inet", "manual"]]
    assert all(line[0] in ("iface", "auto", "allow-hotplug") or line[0].startswith("#") for line in named)
    # And nothing else is lost: without the new stanza and with the old name it is what it was.
    mtu = re.search(r"^iface enp0s3 inet manual\n    mtu (\d+)$", result, re.MULTILINE)
    begin, end = result.index("iface enp0s3 inet manual\n"), result.index("\n\niface br0 ") + 2
    before = result[:begin] + result[end:]
    before = re.sub(r"^iface br0 ", "iface enp0s3 ", before, flags=re.MULTILINE)
    assert before.replace("\\", "").split() == text.replace("\\", "").split()
    assert not mtu or f"mtu {mtu[1]}" in text
