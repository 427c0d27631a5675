# SPDX-License-Identifier: GPL-2.0-or-later
"""How Ethernet cards are configured: the right files, their texts, and no secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factory import UPLINK
from tests.tree import make_tree
from xenable.facts.interface_config import (
    _PROFILE_SECTIONS,
    hide_secrets,
    ifupdown_files,
    network_files,
    parse_iaid,
    parse_profile,
    probe_interface_config,
)
from xenable.facts.network import probe_network
from xenable.host import Host
from xenable.machine import InterfaceConfig

LEASE = "ADDRESS=192.0.2.75\nCLIENTID=ff5f6daaa800020000ab110033bdebf95e192c\n"


def configs(host: Host, manager: str, kind: str = "physical") -> list[InterfaceConfig]:
    card = replace(UPLINK, manager=manager, kind=kind)
    return list(probe_interface_config(host, card, "2", ifupdown_files(host)))


def test_ifupdown_with_all_that_it_includes(tmp_path: Path) -> None:
    files = {
        "/etc/network/interfaces": "source interfaces.d/* \\\n  /etc/network/more/*.cfg\n"
        "source-directory /etc/network/dir\nauto enp0s3\nsource /nowhere\n",
        "/etc/network/interfaces.d/a": "iface enp0s3 inet dhcp\nsource sub/*\n",
        "/etc/network/interfaces.d/sub/d": "mapping *\n",
        "/etc/network/sub/d": "iface enp0s3 inet dhcp\n",
        "/etc/network/interfaces.d/.hidden": "iface enp0s3 inet dhcp\n",
        "/etc/network/more/b.cfg": "source /etc/network/interfaces\niface enp0s31 inet dhcp\n",
        "/etc/network/more/b.old": "iface enp0s3 inet dhcp\n",
        "/etc/network/dir/c_d-1": "iface enp0s3.5 inet dhcp\n",
        "/etc/network/dir/c.bak": "iface enp0s3 inet dhcp\n",
    }
    host = make_tree(tmp_path, files)
    read = ("interfaces", "interfaces.d/a", "more/b.cfg", "dir/c_d-1", "interfaces.d/sub/d")
    assert list(ifupdown_files(host)) == [f"/etc/network/{name}" for name in read]
    assert configs(host, "ifupdown") == [
        InterfaceConfig(interface="enp0s3", file=file, text=files[file])
        for file in (f"/etc/network/{name}" for name in read)
    ]
    assert configs(host, "ifupdown", kind="wireless") == configs(host, "") == []


def test_what_not_everybody_may_read_is_not_shown(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/etc/network/interfaces": "iface enp0s3 inet dhcp\n"})
    host.path("/etc/network/interfaces").chmod(0o640)
    assert [c.text for c in configs(host, "ifupdown")] == [""]


def test_the_file_behind_a_link_is_the_one_that_counts(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/etc/network/real": "iface enp0s3 inet dhcp\n"})
    host.path("/etc/network/interfaces").symlink_to("real")
    assert [c.file for c in configs(host, "ifupdown")] == ["/etc/network/real"]


def test_an_empty_drop_in_counts_and_a_secret_is_hidden(tmp_path: Path) -> None:
    file = "/etc/systemd/network/a.network"
    drop_in = f"{file}.d/b.conf"
    state = f"NETWORK_FILE={file}\nNETWORK_FILE_DROPINS={drop_in}\n"
    text = "[Network]\nIPv6StableSecretAddress = 2001:db8::1\nDNS=192.0.2.1\n"
    host = make_tree(tmp_path, {file: text, drop_in: "", "/run/systemd/netif/links/2": state})
    shown = "[Network]\nIPv6StableSecretAddress=REDACTED\nDNS=192.0.2.1\n"
    assert [c.text for c in configs(host, "networkd")] == [shown]
    host.path(drop_in).chmod(0o600)
    assert [c.text for c in configs(host, "networkd")] == [""]


def test_secrets_are_taken_out() -> None:
    text = (
        "iface w inet dhcp\n\twpa-ssid home\n  wpa-psk a \\\n    b c\nPassword x\n  address 192.0.2.1\n"
        "wpa-psk\n"
    )
    assert hide_secrets(text) == (
        "iface w inet dhcp\n\twpa-ssid REDACTED\n  wpa-psk REDACTED\nPassword REDACTED\n"
        "  address 192.0.2.1\nwpa-psk REDACTED\n"
    )


def test_networkd_with_a_lease(tmp_path: Path) -> None:
    file = "/run/systemd/network/10-netplan-enp0s3.network"
    files = {
        file: "[Match]\nName=enp0s3\n",
        "/run/systemd/netif/links/2": f"ADMIN_STATE=configured\nNETWORK_FILE={file}\nDNS=\n",
        "/run/systemd/netif/leases/2": LEASE,
        # The first folder has the say; the order is that of the names.
        f"/etc/systemd/network/{file.rpartition('/')[2]}.d/b.conf": "[Network]\nDNS=192.0.2.1",
        f"/usr/lib/systemd/network/{file.rpartition('/')[2]}.d/b.conf": "[Network]\nDNS=192.0.2.9\n",
        f"/run/systemd/network/{file.rpartition('/')[2]}.d/a.conf": "[Network]\nDHCP=yes\n\n",
    }
    text = "[Match]\nName=enp0s3\n[Network]\nDHCP=yes\n[Network]\nDNS=192.0.2.1\n"
    expected = InterfaceConfig(interface="enp0s3", file=file, text=text, iaid=0x5F6DAAA8)
    host = make_tree(tmp_path, files)
    assert configs(host, "netplan") == configs(host, "networkd") == [expected]


def test_networkd_that_names_its_drop_ins(tmp_path: Path) -> None:
    file = "/etc/systemd/network/20-lan.network"
    files = {file: "[Match]\n", f"{file}.d/a.conf": "A\n", f"{file}.d/b.conf": "B\n"}
    host = make_tree(tmp_path, files)
    state = f'NETWORK_FILE={file}\nNETWORK_FILE_DROPINS="{file}.d/b.conf:{file}.d/c.conf"\n'
    assert network_files(host, state) == (file, f"{file}.d/b.conf", f"{file}.d/c.conf")
    assert network_files(host, f'NETWORK_FILE={file}\nNETWORK_FILE_DROPINS=""\n') == (file,)
    assert network_files(host, "ADMIN_STATE=unmanaged\n") == ()
    host.path("/run/systemd/netif/links").mkdir(parents=True)
    host.path("/run/systemd/netif/links/2").write_text(state)
    # One that can't be read is missing, so the rest is not the whole.
    assert [(c.text, c.iaid) for c in configs(host, "networkd")] == [("", None)]


@pytest.mark.parametrize(
    ("lease", "iaid"),
    [
        (LEASE, 0x5F6DAAA8),
        ("CLIENTID=FF000003090002\n", None),
        ("CLIENTID=FF0000030900020000AB\n", 777),
        ("CLIENTID=01525400123456\n", None),
        ("CLIENTID=ff5f6daaa80002000\n", None),
        ("ADDRESS=192.0.2.75\n", None),
        ("", None),
    ],
)
def test_the_number_in_a_lease(lease: str, iaid: int | None) -> None:
    assert parse_iaid(lease) == iaid


UUID = "6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11"
PROFILE = """\
# a note
[connection]
id=x
uuid=6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11

[802-1x]
password=hunter2
private-key-password=hunter2
[ipv4]
method=auto
[proxy]

[wifi-security]
psk=hunter2
"""


def test_networkmanager(tmp_path: Path) -> None:
    folder = "/run/NetworkManager/system-connections"
    host = make_tree(
        tmp_path,
        {
            "/run/NetworkManager/devices/2": f"[device]\nconnection-uuid={UUID}\n",
            "/etc/NetworkManager/system-connections/other.nmconnection": "[connection]\nuuid=1\n",
            f"{folder}/x.nmconnection~": PROFILE,
            f"{folder}/x.nmconnection": PROFILE,
        },
    )
    text = (
        "[connection]\nid=x\nuuid=6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11\n[802-1x]\n[ipv4]\nmethod=auto\n"
        "[wifi-security]\n"
    )
    expected = InterfaceConfig(interface="enp0s3", file=f"{folder}/x.nmconnection", text=text)
    assert configs(host, "networkmanager") == [expected]
    host.path("/run/NetworkManager/devices/2").write_text("[device]\nmanaged=true\n")
    assert configs(host, "networkmanager") == []


def test_it_is_a_part_of_the_network(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/sys/class/net/eth0/device/x": "",
            "/sys/class/net/eth0/ifindex": "2",
            "/sys/class/net/br0/bridge/x": "",
            "/etc/network/interfaces": "iface eth0 inet dhcp\niface br0 inet manual\n",
        },
    )
    assert [(c.interface, c.file) for c in probe_network(host).configs] == [
        ("eth0", "/etc/network/interfaces")
    ]


@given(
    st.text(max_size=80) | st.lists(st.sampled_from(["wpa-psk", "[a]", "\\", "\n", "x=1", " "])).map("".join)
)
def test_any_text_is_taken(text: str) -> None:
    hide_secrets(text)
    parse_iaid(text)
    section = ""
    for line in parse_profile(text).splitlines():
        section = line[1:].partition("]")[0] if line.startswith("[") else section
        assert line.startswith("[") or section in _PROFILE_SECTIONS
