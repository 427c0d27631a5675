# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings: file, options, errors that name the line, and the reference page."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.config import PATH, SETTINGS, Config, load_config, reference
from xenable.errors import XenableError
from xenable.host import Host

REFERENCE = Path(__file__).parents[2] / "docs/reference/settings.md"
DEFAULTS = Config(
    trial_seconds=600, dom0_memory=None, auto_confirm=True, guest_network=IPv4Network("172.20.216.0/24")
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
    text = "# ours\n\n trial-seconds=900 # slow disks\nauto-confirm = no\r\nguest-network = 10.9.0.0/16"
    host = host_with(tmp_path, text)
    expected = Config(
        trial_seconds=300, dom0_memory=2048, auto_confirm=False, guest_network=IPv4Network("10.9.0.0/16")
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
        ("auto-confirm = no\nauto-confirm = no", "line 2: auto-confirm is set in line 1", "remove one"),
        (b"auto-confirm = no\n# \xff", "line 2: it is not UTF-8 text", "correct"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(XenableError) as e:
        load_config(host_with(tmp_path, text))
    assert e.value.message.startswith("cannot read /etc/xenable/xenable.conf: line ")
    assert message in e.value.message
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
    with pytest.raises(XenableError, match=r"cannot read /etc/xenable/xenable\.conf: Is a directory"):
        load_config(host)


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


def test_reference_is_up_to_date() -> None:
    assert reference() in REFERENCE.read_text(), "run `python3 -m xenable.config`"
