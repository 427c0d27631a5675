# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of guests: a file for dnsmasq, and a block in /etc/hosts that leaves no trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.errors import XenableError
from xenable.host import Host
from xenable.network.names import BEGIN, BEGIN_NO_NEWLINE, END, FOLDER, HOSTS, publish, with_block, withdraw

ORIGINAL = b"127.0.0.1 localhost\n\n# mine\n10.0.0.1\tgw\n"
texts = st.binary(max_size=60) | st.lists(st.sampled_from([b"a", b"\n", b"#", b"\r"])).map(b"".join)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_bytes(ORIGINAL)
    return Host(tmp_path)


def test_two_guests_come_and_go(host: Host) -> None:
    publish(host, "web2", ("172.20.216.3",))
    publish(host, "web1", ("172.20.216.2", "fd00::2"))
    assert (
        host.read(FOLDER / "web1")
        == b"172.20.216.2 web1.xen.internal web1\nfd00::2 web1.xen.internal web1\n"
    )
    assert host.read(HOSTS) == (
        ORIGINAL
        + BEGIN
        + b"\n172.20.216.2 web1.xen.internal web1\nfd00::2 web1.xen.internal web1\n"
        + b"172.20.216.3 web2.xen.internal web2\n"
        + END
        + b"\n"
    )
    publish(host, "web1", ("172.20.216.9", ""))
    assert b"172.20.216.2 " not in host.read(HOSTS) and b"172.20.216.9 web1" in host.read(HOSTS)
    withdraw(host, "web1")
    assert b"web1" not in host.read(HOSTS) and b"web2" in host.read(HOSTS)
    withdraw(host, "web2")
    assert host.read(HOSTS) == ORIGINAL
    assert host.names(FOLDER) == ()
    withdraw(host, "web2")
    assert host.read(HOSTS) == ORIGINAL


def test_what_the_file_is_stays(host: Host) -> None:
    file = host.path(HOSTS)
    file.chmod(0o640)
    before = file.stat()
    publish(host, "web1", ("172.20.216.2",))
    withdraw(host, "web1")
    after = file.stat()
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


def test_attributes_stay(host: Host) -> None:
    file = host.path(HOSTS)
    try:
        os.setxattr(file, "user.note", b"mine")
    except OSError:
        pytest.skip("no extended attributes here")
    publish(host, "web1", ("172.20.216.2",))
    assert os.getxattr(file, "user.note") == b"mine"


def test_a_link_stays_one(host: Host) -> None:
    host.rename(HOSTS, "/etc/hosts.real")
    host.symlink(HOSTS, "hosts.real")
    publish(host, "web1", ("172.20.216.2",))
    assert host.link_target(HOSTS) == "hosts.real"
    assert b"web1" in host.read("/etc/hosts.real")


def test_no_file_is_no_obstacle(host: Host) -> None:
    host.remove(HOSTS)
    publish(host, "web1", ("172.20.216.2",))
    assert not host.exists(HOSTS)
    withdraw(host, "web1")


def test_lines_added_behind_the_block_stay(host: Host) -> None:
    publish(host, "web1", ("172.20.216.2",))
    host.append(HOSTS, b"10.0.0.9 later\n")
    publish(host, "web2", ("172.20.216.3",))
    assert host.read(HOSTS).endswith(END + b"\n10.0.0.9 later\n")
    withdraw(host, "web1")
    withdraw(host, "web2")
    assert host.read(HOSTS) == ORIGINAL + b"10.0.0.9 later\n"


@given(texts, st.lists(st.sampled_from([b"1.2.3.4 a\n", b"1.2.3.5 b\n"]), min_size=1, max_size=2))
def test_the_block_goes_without_a_trace(hosts: bytes, lines: list[bytes]) -> None:
    if any(mark in hosts for mark in (BEGIN, END)):
        return
    first = with_block(hosts, lines[0])
    assert lines[0] in first and first.startswith(hosts)
    again = with_block(first, b"".join(lines))
    assert with_block(again, lines[0]) == first
    assert with_block(again, b"") == hosts


@pytest.mark.parametrize(
    "text",
    [
        BEGIN + b"\n",
        END + b"\n",
        END + b"\n" + BEGIN + b"\n",
        BEGIN + b"\n" + BEGIN_NO_NEWLINE + b"\n" + END,
    ],
)
def test_damaged_marks_are_not_guessed_at(host: Host, text: bytes) -> None:
    host.append(HOSTS, text)
    with pytest.raises(XenableError, match="marks of the guests' names in it are damaged"):
        publish(host, "web1", ("172.20.216.2",))
    assert host.read(HOSTS) == ORIGINAL + text
    assert host.names(FOLDER) == ()


@pytest.mark.parametrize("name", ["", "..", "../web", "-web", ".web", "we b", "web\n", "a" * 64, "wéb"])
def test_no_such_names(host: Host, name: str) -> None:
    with pytest.raises(XenableError, match="cannot use the name"):
        publish(host, name, ("172.20.216.2",))
    with pytest.raises(XenableError, match="cannot use the name"):
        withdraw(host, name)


def test_no_such_addresses(host: Host) -> None:
    with pytest.raises(XenableError, match="cannot publish the name web1"):
        publish(host, "web1", ("172.20.216.2 evil\n10.0.0.1",))
    assert host.read(HOSTS) == ORIGINAL


def test_the_name_service_can_read_them_whatever_the_umask(host: Host) -> None:
    before = os.umask(0o077)
    try:
        publish(host, "web1", ("172.20.216.2",))
    finally:
        os.umask(before)
    folder = host.path(FOLDER)
    for path in (folder, folder.parent, folder.parent.parent):
        assert path.stat().st_mode & 0o777 == 0o755
    assert (folder / "web1").stat().st_mode & 0o777 == 0o644
    folder.chmod(0o700)
    host.make_folder(FOLDER)
    assert folder.stat().st_mode & 0o777 == 0o700
