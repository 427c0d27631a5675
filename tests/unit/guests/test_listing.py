# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said about guests: those that run, those that don't, and where little can be seen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.machine import DIRECTORY, KEY, NET, THIN, Xen, quiet
from xenable.errors import XenableError
from xenable.guests import create, listing, records, xl
from xenable.guests.create import Request
from xenable.guests.model import Kind
from xenable.guests.xl import Details
from xenable.host import Result
from xenable.ui.guests import COLUMNS, guests_document, render_guests, short_size, short_time
from xenable.ui.layout import plain

REQUEST = Request(
    name="web1", kind=Kind.PVH, memory=512, vcpus=1, disk_bytes=32 << 20, keys=(KEY,), release="trixie"
)

# The shapes are those of tools/xl/xl_info.c.
LIST = """\
Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label
Domain-0                                     0  1024     4     r-----     100.5 00000000-0000-0000-0000-000000000000        -                -
web1                                         3   512     1     -b----      12.5 0d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55        -                -
by hand                                     12  2048     2     r-----   98765.4 1d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55        -                -
gone                                         7     0     1     --psc-       0.1 2d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55        3                -
halted                                       8   256     1     ---s--       0.1 3d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55        0                -
(null)                                       9     0     1     --p--d       0.0 4d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55        -                -
"""  # noqa: E501
UPTIME = """\
Name                                ID Uptime
Domain-0                             0 10 days,  1:02:03
web1                                 3  0:42:07
by hand                             12 1 day, 13:00:00
"""
LONG = json.dumps(
    [
        {"domid": 0, "config": {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": {}}},
        {
            "domid": 3,
            "config": {
                "c_info": {"type": "pvh", "name": "web1"},
                "b_info": {"max_vcpus": 1, "max_memkb": 524288},
                "nics": [{"devid": 0, "ip": "172.20.216.9 fd12:3456:789a:d8::9", "bridge": "xenbr0"}],
            },
        },
        {"domid": 12, "config": {"c_info": {"type": "hvm"}, "nics": [{"devid": 0}]}},
        {"domid": None, "config": 1},
        "nonsense",
    ]
)


COUNTER = {"family": "netdev", "table": "xenable"}
DROPPED = (("vif3.0", 4), ("vif3.0-emu", 3), ("vif33.0", 9))


def test_the_list_of_xl() -> None:
    found = {domain.name: domain for domain in xl.parse_list(LIST)}
    assert list(found) == ["web1", "gone", "halted", "(null)", "by hand"]
    assert (found["web1"].id, found["web1"].memory, found["web1"].cpu_seconds) == (3, 512, 12.5)
    assert {name: domain.state for name, domain in found.items()} == {
        "web1": "running",
        "by hand": "running",
        "gone": "crashed",
        "halted": "shut down",
        "(null)": "dying",
    }
    assert found["by hand"].uuid == "1d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55"
    short = "a   1   512     1     -b----      12.5"
    assert xl.parse_list(short)[0].uuid == "" and xl.parse_list("") == ()


def test_the_uptime_of_xl() -> None:
    assert xl.parse_uptime(UPTIME) == {0: 867723, 3: 2527, 12: 133200}


def test_the_details_of_xl() -> None:
    assert xl.parse_details(LONG) == {
        0: Details(kind="pv"),
        3: Details(kind="pvh", addresses=("172.20.216.9", "fd12:3456:789a:d8::9"), vifs=("vif3.0",)),
        12: Details(kind="hvm"),
    }
    named = [{"devid": 0, "ip": "10.0.0.1", "ifname": "lan"}, {"devid": 1, "bridge": "br0"}, {"ip": " "}, 7]
    text = json.dumps([{"domid": 4, "config": {"nics": named}}])
    assert xl.parse_details(text)[4] == Details(addresses=("10.0.0.1",), vifs=("lan",))
    for text in ("", "null", "{}", "[1]", '[{"domid": true}]'):
        assert xl.parse_details(text) == {}


@given(st.text(max_size=200))
def test_nothing_that_xl_says_is_too_much(text: str) -> None:
    xl.parse_list(text)
    xl.parse_uptime(text)
    xl.parse_details(text)
    assert xl.reason(Result(1, text, text))


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("libxl: error: libxl_create.c:710:libxl__domain_make: creation fail: No", "creation fail: No"),
        (
            "libxl: error: libxl_x.c:1:f: Domain 3:first\nlibxl: error: libxl_y.c:2:g: Domain 3:second",
            "first",
        ),
        ("libxl: error: a.c:1:f: exited\nlibxl: error: b.c:2:g: script: eth0 is gone", "eth0 is gone"),
        ("web1 is an invalid domain identifier (rc=-6)", "web1 is an invalid domain identifier (rc=-6)"),
        ("", "exit status 3"),
    ],
)  # fmt: skip
def test_why_xl_failed(stderr: str, reason: str) -> None:
    assert xl.reason(Result(3, "", stderr)) == reason


def fill(xen: Xen) -> None:
    """web1 runs, web2 does not, and there are guests of others."""
    create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    request = replace(REQUEST, name="web2", isolate=False, autostart=True, start=False)
    create.create(xen.host, request, THIN, NET, quiet)
    xen.host.write("/etc/xen/off.cfg", b'name = "off"\ntype = "hvm"\nmemory = 64\nvif = ["ip=10.0.0.1"]\n')
    xen.host.write("/etc/xen/broken.cfg", b"name = = 1\n")
    xen.host.write("/etc/xen/xl.conf", b"autoballoon=0\n")
    xen.answers |= {
        "xl list -v": Result(0, LIST, ""),
        "xl list -l": Result(0, LONG, ""),
        "xl uptime": Result(0, UPTIME, ""),
        "nft": Result(
            0,
            json.dumps({"nftables": [{"counter": COUNTER | {"name": n, "packets": p}} for n, p in DROPPED]}),
            "",
        ),
    }


def test_rows(xen: Xen) -> None:
    fill(xen)
    found = {row.name: row for row in listing.rows(xen.host)}
    names = ("web1", "web2", "off", "broken", "by hand", "gone", "halted", "(null)")
    assert list(found) == sorted(names)
    web1 = found["web1"]
    assert (web1.state, web1.kind, web1.uptime, web1.domain) == ("running", "pvh", 2527, 3)
    assert web1.addresses == ("172.20.216.9", "fd12:3456:789a:d8::9")
    assert (web1.spoofed, web1.isolated, web1.ours, web1.autostart) == (7, True, True, False)
    assert web1.disk_bytes == 32 << 20 and web1.disk_used == 4096
    web2 = found["web2"]
    assert (web2.state, web2.isolated, web2.autostart) == ("stopped", False, True)
    assert web2.addresses == ("172.20.216.3", "fd12:3456:789a:d8::3") and web2.spoofed is None
    assert web2.disk_used == (32 << 20) // 10
    off = found["off"]
    assert (off.state, off.kind, off.memory, off.vcpus, off.ours) == ("stopped", "hvm", 64, 1, False)
    assert off.addresses == ("10.0.0.1",)
    assert "line 1" in found["broken"].problem
    assert (found["by hand"].kind, found["by hand"].cpu_seconds) == ("hvm", 98765.4)


def test_a_guest_that_nothing_guards_is_named(xen: Xen) -> None:
    fill(xen)
    assert not unguarded(xen)
    xen.answers["nft"] = Result(0, '{"nftables": []}', "")
    # It runs; others' guests are not Xenable's to guard.
    assert unguarded(xen) == ["web1"]
    assert "reload-or-restart" in plain(render_guests(listing.rows(xen.host), 80))
    # Where nft has no answer, nobody knows.
    xen.answers["nft"] = Result(1, "", "Operation not permitted")
    assert not unguarded(xen)


@pytest.mark.parametrize(
    "nic", [{"devid": 0, "bridge": "br0"}, {"devid": 0, "ip": "10.0.0.1", "ifname": "vif33.0"}]
)
def test_what_is_on_a_bridge_or_has_another_name_is_not_taken_for_unguarded(
    xen: Xen, nic: dict[str, object]
) -> None:
    fill(xen)
    counters = [{"counter": COUNTER | {"name": "vif33.0", "packets": 1}}]
    xen.answers["nft"] = Result(0, json.dumps({"nftables": counters}), "")
    assert unguarded(xen) == ["web1"]
    xen.answers["xl list -l"] = Result(0, json.dumps([{"domid": 3, "config": {"nics": [nic]}}]), "")
    assert not unguarded(xen)


def unguarded(xen: Xen) -> list[str]:
    return [row.name for row in listing.rows(xen.host) if "false addresses" in row.problem]


def test_an_edited_file_wins(xen: Xen) -> None:
    create.create(xen.host, replace(REQUEST, start=False), DIRECTORY, NET, quiet)
    path = records.cfg("web1")
    xen.host.write(path, xen.host.text(path).replace("memory = 512", "memory = 300").encode())
    (row,) = listing.rows(xen.host)
    assert row.memory == 300 and row.ours


def test_files_that_only_xendomains_reads(xen: Xen) -> None:
    create.create(xen.host, replace(REQUEST, start=False, autostart=True), DIRECTORY, NET, quiet)
    xen.host.write("/etc/xen/auto/10-hand", b'name = "hand"\nmemory = 64\n')
    xen.host.write("/etc/xen/auto/broken.cfg", b"name = = 1\n")
    xen.host.symlink("/etc/xen/auto/nowhere.cfg", "../nowhere.cfg")
    xen.host.make_folder("/etc/xen/auto/folder")
    found = {row.name: row for row in listing.rows(xen.host)}
    assert list(found) == ["broken", "hand", "web1"] and all(row.autostart for row in found.values())
    assert found["hand"].memory == 64 and "line 1" in found["broken"].problem
    assert found["broken"].problem.startswith("cannot read /etc/xen/auto/broken.cfg")


def test_the_file_of_its_name_has_the_say(xen: Xen) -> None:
    create.create(xen.host, replace(REQUEST, start=False, autostart=True), DIRECTORY, NET, quiet)
    path = records.cfg("web1")
    copy = xen.host.text(path).replace("memory = 512", "memory = 300").encode()
    for name in ("web0.cfg", "web1.old.cfg"):
        xen.host.write(f"/etc/xen/{name}", copy)
    (row,) = listing.rows(xen.host)
    assert (row.memory, row.autostart) == (512, True)
    # xendomains would start it from there too.
    xen.host.remove("/etc/xen/auto/web1.cfg")
    assert not listing.rows(xen.host)[0].autostart
    xen.host.symlink("/etc/xen/auto/web1.cfg", "../web1.old.cfg")
    assert listing.rows(xen.host)[0].autostart
    xen.host.remove(path)
    (row,) = listing.rows(xen.host)
    assert (row.memory, row.autostart) == (300, True)


def test_natively_no_guest_runs(xen: Xen) -> None:
    fill(xen)
    xen.host.remove("/proc/xen/capabilities")
    xen.calls.clear()
    found = listing.rows(xen.host)
    assert {row.state for row in found} == {"no Xen"} and not xen.said("xl") and not xen.said("nft")
    assert "does not run under Xen" in plain(render_guests(found, 80))


def test_without_root_rights(xen: Xen) -> None:
    fill(xen)
    xen.answers["xl list -v"] = Result(1, "", "libxl: error: cannot open privcmd: Permission denied")
    found = {row.name: row for row in listing.rows(xen.host)}
    assert found["web1"].state == "unknown" and found["web1"].memory == 512
    assert xl.is_dom0(xen.host)
    with pytest.raises(XenableError):
        xl.domains(xen.host)


def test_a_damaged_record_is_shown(xen: Xen) -> None:
    create.create(xen.host, replace(REQUEST, start=False), DIRECTORY, NET, quiet)
    xen.host.write(records.record("web1"), b"{")
    (row,) = listing.rows(xen.host)
    assert "damaged" in row.problem and row.ours


# ------------------------------------------------------------------------------------------------- the text


def test_the_table(xen: Xen) -> None:
    fill(xen)
    xen.host.write("/etc/xen/long.cfg", b'name = "a-name-longer-than-its-column"\nmemory = 131072\n')
    text = plain(render_guests(listing.rows(xen.host), 80))
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == [heading for heading, _, _ in COLUMNS]
    (web1,) = [line for line in lines if line.startswith("web1 ")]
    assert web1.split() == [
        *("web1", "running", "pvh", "512M", "1", "12s", "42m", "4K/32M", "172.20.216.9"),
    ]
    assert "  7 frames with the address of another sender dropped" in lines
    assert lines[lines.index("a-name-longer-than-its-column") + 1].split()[:3] == ["stopped", "pv", "128G"]
    document = guests_document(listing.rows(xen.host))
    assert document["schema"] == 1 and json.loads(json.dumps(document)) == document
    assert plain(render_guests((), 80)).startswith("There are no guests")


def test_names_do_not_drive_the_terminal(xen: Xen) -> None:
    rows = (listing.Row(name="\x1b[31mred", state="running", addresses=("\x1b]0;x",)),)
    assert "\x1b" not in plain(render_guests(rows, 80))


@given(st.integers(0, 1 << 60))
def test_sizes_are_short(size: int) -> None:
    assert len(short_size(size)) <= 8 and short_size(size)[0].isdigit()


def test_sizes_and_times() -> None:
    sizes = {
        0: "0",
        999: "999",
        4096: "4K",
        1 << 20: "1M",
        1536 << 20: "1.5G",
        1000 << 20: "1G",
        100 << 30: "100G",
    }
    assert {size: short_size(size) for size in sizes} == sizes
    times = {0: "0s", 99.9: "99s", 100: "1m", 5999: "99m", 6000: "1h", 360000: "4d"}
    assert {seconds: short_time(seconds) for seconds in times} == times
    assert short_size(None) == short_time(None) == ""
