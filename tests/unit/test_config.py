# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings: file, options, errors that name the line, and the reference page."""

from __future__ import annotations

import dataclasses
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.config import PATH, SETTINGS, Config, KernelChoice, load_config, reference
from xenable.errors import XenableError
from xenable.host import Host
from xenable.network.effective import Mode

REFERENCE = Path(__file__).parents[2] / "docs/reference/settings.md"
DEFAULTS = Config(
    trial_seconds=600,
    dom0_memory=None,
    auto_confirm=True,
    kernel=KernelChoice.DISTRO,
    guest_network=IPv4Network("172.20.216.0/24"),
    guest_network6="auto",
    guest_interface="xenable0",
    guest_mode=Mode.ROUTED,
    guest_bridge="",
    guest_bridge_port="",
    guest_storage="/var/lib/xenable/guests",
)


def host_with(folder: Path, text: str | bytes) -> Host:
    host = Host(folder)
    file = host.path(PATH)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return host


def test_defaults_without_a_file(tmp_path: Path) -> None:
    assert load_config(Host(tmp_path)) == DEFAULTS


def test_every_setting_has_its_field() -> None:
    assert [s.field for s in SETTINGS] == [f.name for f in dataclasses.fields(Config)]


def test_file_and_options(tmp_path: Path) -> None:
    text = "# ours\n\n trial-seconds=900 # slow disks\nauto-confirm = no\r\nguest-network = 10.9.0.0/16\n"
    text += "guest-network6 = fd00:0:0:1::/64\nguest-mode=bridge\nguest-bridge=br0.5\n"
    text += "guest-bridge-port=enp0s3\n"
    text += "guest-interface = X-1\nkernel = xen\n"
    host = host_with(tmp_path, text + "guest-storage = lvm:vg0/thin_pool")
    expected = Config(
        trial_seconds=300,
        dom0_memory=2048,
        auto_confirm=False,
        kernel=KernelChoice.XEN,
        guest_network=IPv4Network("10.9.0.0/16"),
        guest_network6=IPv6Network("fd00:0:0:1::/64"),
        guest_interface="X-1",
        guest_mode=Mode.BRIDGE,
        guest_bridge="br0.5",
        guest_bridge_port="enp0s3",
        guest_storage="lvm:vg0/thin_pool",
    )
    assert load_config(host, {"trial-seconds": "300", "dom0-memory": "2048"}) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("\n\ntrail-seconds = 5\n", "line 3: unknown setting 'trail-seconds'", "mean 'trial-seconds'?"),
        ("colour = red", "line 1: unknown setting 'colour'", "the settings are: trial-seconds, dom0-memory"),
        ("[xenable]", "line 1: '[xenable]' is not `key = value`", "the settings are"),
        ("= 3", "line 1: unknown setting ''", "the settings are"),
        ("trial-seconds = soon", "line 1: trial-seconds can't be 'soon': a whole number", "Time that"),
        ("trial-seconds = 60", "a whole number from 120 to 3600 is needed", "Time that"),
        ("trial-seconds = ٣٠٠", "a whole number from 120 to 3600 is needed", "Time that"),
        ("trial-seconds =", "trial-seconds can't be '': a whole", "Time that"),
        ("dom0-memory = 2G", "(MiB, without a unit), or the word auto", "Memory of dom0"),
        ("auto-confirm = true", "auto-confirm can't be 'true': yes or no", "Whether a trial"),
        ("guest-network = 10.0.0.1/24", "10.0.0.0/24 may be meant", "IPv4 network"),
        ("guest-network = 10.0.0.0", "a prefix length from /8 to /29", "IPv4 network"),
        ("guest-network = fe80::/64", "a prefix length from /8 to /29", "IPv4 network"),
        ("guest-network = nowhere/24", "nowhere is no IPv4 address", "IPv4 network"),
        ("guest-network = 127.0.0.0/8", "loopback", "IPv4 network"),
        ("guest-network = 0.0.0.0/8", "begin with 0", "IPv4 network"),
        ("guest-network6 = fd00::1/64", "fd00::/64 may be meant", "IPv6 network"),
        ("guest-network6 = fd00::/48", "the prefix length /64 is needed", "IPv6 network"),
        ("guest-network6 = fd00:::/64", "fd00::: is no IPv6 address", "IPv6 network"),
        ("guest-network6 = fe80::/64", "link-local", "IPv6 network"),
        ("guest-network6 = ff02::/64", "multicast", "IPv6 network"),
        ("guest-network6 = ::/64", "reserved", "IPv6 network"),
        ("guest-network6 = fec0::/64", "site-local", "IPv6 network"),
        ("guest-network6 =", "or the word auto or none", "IPv6 network"),
        ("guest-interface = 0xen", "a letter first", "Name of the interface"),
        ("guest-interface = abcdefghijklmnop", "of 15 letters", "Name of the interface"),
        ("guest-interface = a b", "of 15 letters", "Name of the interface"),
        ("guest-interface = all", "of 15 letters", "Name of the interface"),
        ("guest-interface = vif1", "for the interfaces of guests", "Name of the interface"),
        ("guest-mode = route", "routed, nat or bridge is needed", "How guests"),
        ("guest-bridge = br/0", "the name of a bridge", "Name of the bridge"),
        ("guest-bridge =", "the name of a bridge", "Name of the bridge"),
        ("guest-bridge-port = eth0.5", "of 15 letters", "Name of an Ethernet"),
        ("guest-bridge-port =", "or the word none", "Name of an Ethernet"),
        ("guest-storage = guests", "an absolute path", "Where the disks"),
        ("guest-storage = /srv/../etc", "an absolute path", "Where the disks"),
        ("guest-storage = /srv/a,b", "an absolute path", "Where the disks"),
        ("guest-storage = /srv/", "without a / at its end", "Where the disks"),
        ("guest-storage = //srv", "an absolute path", "Where the disks"),
        ("guest-storage = /", "an absolute path", "Where the disks"),
        ("guest-storage = lvm:vg0", "or lvm:VG/POOL", "Where the disks"),
        ("guest-storage = lvm:../pool", "can't have that name", "Where the disks"),
        ("guest-storage = lvm:-vg/pool", "or lvm:VG/POOL", "Where the disks"),
        ("auto-confirm = no\nauto-confirm = no", "line 2: auto-confirm is set in line 1", "remove one"),
        ("x" * 3_000_000, f"line 1: '{'x' * 80}'… is not `key = value`", "the settings are"),
        (f"{'k' * 3_000_000} = 1", f"line 1: unknown setting '{'k' * 80}'…", "the settings are"),
        (f"kernel = {'k' * 3_000_000}", f"line 1: kernel can't be '{'k' * 80}'…: ", "Kernel"),
        (b"auto-confirm = no\n# \xff", "line 2: it is not UTF-8 text", "correct"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(XenableError) as e:
        load_config(host_with(tmp_path, text))
    assert e.value.message.startswith(f"cannot read {tmp_path}/etc/xenable/xenable.conf: line ")
    assert message in e.value.message and len(e.value.message) < 1000
    assert hint in e.value.hint


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(XenableError, match="cannot use --dom0-memory '12'") as e:
        load_config(Host(tmp_path), {"dom0-memory": "12"})
    assert e.value.hint.startswith("Memory of dom0")
    with pytest.raises(XenableError, match="unknown setting 'memory'"):
        load_config(Host(tmp_path), {"memory": "12"})


def test_unreadable_file(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.path(PATH).mkdir(parents=True)
    # Of the machine in the folder, not of the one that runs.
    with pytest.raises(XenableError, match=re.escape(f"cannot read {host.path(PATH)}: Is a directory")):
        load_config(host)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert load_config(host_with(tmp_path, "\ufefftrial-seconds = 900\n")).trial_seconds == 900


@given(st.binary(max_size=200) | st.text("=#-/.0123456789\nnoauytrils dmg[", max_size=80).map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    host = host_with(tmp_path_factory.getbasetemp() / "any", data)
    try:
        config = load_config(host)
    except XenableError as e:
        assert "line" in e.message and e.hint
    else:
        assert 120 <= config.trial_seconds <= 3600


@given(st.text(max_size=40))
def test_any_prefix_is_read_or_refused(text: str) -> None:
    setting = next(s for s in SETTINGS if s.key == "guest-network")
    try:
        network = setting.parse(text)
    except ValueError:
        return
    assert str(network) == text


@given(st.text(max_size=24) | st.from_regex(r"(lvm:)?[/a.-]{1,8}(/[\w,.]{0,3}){0,2}"))
def test_what_passes_needs_no_quotes(text: str) -> None:
    """Names and paths go into sh, xl.cfg and sysctl files as they are."""
    parsers = {s.key: s.parse for s in SETTINGS}
    for key in ("guest-interface", "guest-bridge", "guest-bridge-port", "guest-storage"):
        try:
            value = parsers[key](text)
        except ValueError:
            continue
        assert re.fullmatch(r"[A-Za-z0-9/:._+@-]*", value) and ".." not in value.split("/")
        assert key == "guest-storage" or len(value) < 16


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_any_ipv6_prefix_is_read_or_refused(address: object, length: int) -> None:
    setting = next(s for s in SETTINGS if s.key == "guest-network6")
    text = f"{address}/{length}"
    try:
        network = setting.parse(text)
    except ValueError:
        return
    assert network == IPv6Network(text) and length == 64


def test_reference_is_up_to_date() -> None:
    assert reference() in REFERENCE.read_text(), "run `python3 -m xenable.config`"
