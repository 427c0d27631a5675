# SPDX-License-Identifier: GPL-2.0-or-later
"""vif-xenable as libxl runs it: what it sets up, how it says no, and that nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.sandbox import needs_sandbox
from xenable.host import Host
from xenable.network.counters import spoofed

from .bench import (
    BIN,
    GATEWAY_MAC,
    LOG,
    NET,
    SCRIPT,
    Guest,
    at,
    connected,
    counted,
    dom0,
    executable,
    guest,
    hotplug,
    must,
    network,
    online,
    opened,
    reaches,
    read,
    ruleset,
    run,
    sends,
    settings,
    wait_for,
    write,
)

pytestmark = [pytest.mark.realtool, needs_sandbox]

OWN, OWN6 = "172.20.216.5", "fd12:3456:789a:d8::5"
GATEWAY, GATEWAY6 = "172.20.216.1", "fd12:3456:789a:d8::1"
BOTH = f"{OWN} {OWN6}"


def state() -> str:
    """All of dom0's network that could be left behind, without what the kernel adds by itself."""
    return must(
        "nft list ruleset; ip -br link | grep -v '^vif' || :; "
        "ip -o address | sed 's/ tentative//'; ip route; ip -6 route; "
        "ip neigh show nud permanent; grep . /proc/sys/net/ipv4/conf/*/forwarding"
    )


def refused(one: Guest, *words: str, **env: str) -> None:
    """It says no, in the store and to the caller, and leaves nothing."""
    before = ruleset()
    ran = hotplug(one, "online", **env)
    assert ran.code == 1
    for word in words:
        assert word in ran.err, ran.err
    assert read(f"{one.backend}/hotplug-error") == ran.err.removeprefix("vif-xenable: ").strip()
    assert read(f"{one.backend}/hotplug-status") == "error"
    assert ruleset() == before
    if Path(f"/sys/class/net/{one.vif}").exists():
        assert "state DOWN" in must(f"ip link show {one.vif}")


def test_a_guest_comes_and_goes() -> None:
    def work() -> None:
        one = guest(7, ip=BOTH)
        before = state()
        online(one)
        link = must(f"ip -o link show {one.vif}")
        assert "group 30821" in link and ",UP" in link
        assert must(f"ip route show dev {one.vif}").startswith(f"{OWN} scope link src {GATEWAY} metric 2")
        assert f"{OWN6} metric 2" in must(f"ip -6 route show dev {one.vif}")
        neighbours = must(f"ip neigh show dev {one.vif} nud permanent")
        assert f"{OWN} lladdr {one.mac} PERMANENT" in neighbours
        assert f"{OWN6} lladdr {one.mac} PERMANENT" in neighbours
        assert f"inet6 {GATEWAY6}/128" in must(f"ip -6 address show dev {one.vif}")
        assert (
            must(f"cat /proc/sys/net/ipv4/conf/{one.vif}/proxy_arp /proc/sys/net/ipv4/ip_forward")
            == "0\n0\n"
        )
        heard = [f"/proc/sys/net/ipv6/conf/{one.vif}/{name}" for name in ("accept_ra", "accept_redirects")]
        assert must(f"cat {' '.join(heard)}") == "0\n0\n"
        assert hotplug(one, "offline").code == 0
        assert state() == before
        assert hotplug(one, "offline").err == ""
        assert state() == before
        online(one)

    dom0(work)


def test_real_systems_talk_to_dom0() -> None:
    def work() -> None:
        one = connected(7, BOTH)
        # They can be used at once.
        for name in (one.vif, "xenable0"):
            assert "tentative" not in must(f"ip -6 address show dev {name} scope global")
        assert reaches(one, None, GATEWAY)
        assert reaches(one, None, GATEWAY6)
        # An address that nobody has ends in dom0, and does not wander to the default route.
        assert not sends(one, None, "172.20.216.77")
        assert counted(one.vif) == 0
        assert spoofed(Host()) == {one.vif: 0}
        assert not sends(one, None, GATEWAY, pretended="172.20.216.66")
        dropped = spoofed(Host())
        assert dropped is not None and dropped[one.vif] > 0

    dom0(work)


def test_dom0_answers_who_asks_for_it_whatever_arp_ignore_says() -> None:
    """Machines behind a load balancer, or with several interfaces in one network, have it."""

    def work() -> None:
        must("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        one, two = connected(7, OWN), connected(8, "172.20.216.8", name="web2")
        assert reaches(one, None, GATEWAY) and reaches(two, None, GATEWAY)
        assert hotplug(two, "offline").code == 0
        assert reaches(one, None, GATEWAY)

    dom0(work)


def test_its_own_duplicate_address_detection() -> None:
    def work() -> None:
        one = online(guest(7, ip=BOTH))
        with at(one):
            must(
                f"ip link set eth0 up; ip address add {OWN6}/128 dev eth0; ip route add {GATEWAY6} dev eth0"
            )
            assert wait_for(lambda: "tentative" not in must("ip -6 address show dev eth0"))
            assert "dadfailed" not in must("ip -6 address show dev eth0")
        assert reaches(one, None, GATEWAY6)
        # What it said by itself on the way (MLD, router solicitations, detection) was no spoofing.
        assert counted(one.vif) == 0

    dom0(work)


def test_no_more_programs_than_needed() -> None:
    def work() -> None:
        one, two = guest(7, ip=BOTH), guest(8, ip="172.20.216.8", name="web2")
        LOG.write_text("")
        online(one)
        assert LOG.read_text().split() == ["xenstore-ls", "nft", "ip", "xenstore-write"]
        LOG.write_text("")
        assert hotplug(one, "offline").code == 0
        assert LOG.read_text().split() == ["xenstore-ls", "ip", "nft"]
        opened("web2")
        LOG.write_text("")
        online(two)
        assert LOG.read_text().split() == ["xenstore-ls", "xenstore-read", "nft", "ip", "xenstore-write"]
        # And nothing but those: with no other program to be found it does as well.
        only = Path("/fake/only")
        for name in ("xenstore-ls", "xenstore-read", "xenstore-write", "nft", "ip", "sh"):
            found = must(f"command -v {name}").strip()
            executable(
                only / name, f'#!/bin/sh\nPATH={BIN}:/usr/sbin:/usr/bin:/sbin:/bin exec {found} "$@"\n'
            )
        script = Path("/usr/share/xenable/network/vif-xenable").read_text()
        copy = script.replace('PATH="${PATH:-/usr/sbin}:/usr/sbin:/usr/bin:/sbin:/bin"', f"PATH={only}")
        assert copy != script
        executable(Path("/fake/vif-xenable"), copy)
        for action in ("offline", "online"):
            ran = run("/fake/vif-xenable", action, "type_if=vif", XENBUS_PATH=two.backend, vif=two.vif)
            assert (ran.code, ran.err) == (0, ""), ran

    dom0(work)


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({}, ("it has no address", "write ip=ADDRESS", "172.20.216.0/24 or fd12:3456:789a:d8::/64")),
        ({"ip": ""}, ("it has no address",)),
        ({"ip": GATEWAY}, (GATEWAY, "dom0's own")),
        ({"ip": GATEWAY6}, ("dom0's own",)),
        ({"ip": "fd12:3456:789a:00d8:0::1"}, ("dom0's own",)),
        ({"ip": "172.20.216.0"}, ("not in 172.20.216.0/24",)),
        ({"ip": "172.20.216.255"}, ("not in 172.20.216.0/24",)),
        ({"ip": "172.20.217.5"}, ("not in 172.20.216.0/24",)),
        ({"ip": f"{OWN} 10.0.0.1"}, ("10.0.0.1", "not in")),
        ({"ip": f"{OWN}/24"}, ("is no IPv4 address",)),
        ({"ip": "172.20.216.05"}, ("is no IPv4 address",)),
        ({"ip": "172.20.216.256"}, ("is no IPv4 address",)),
        ({"ip": "172.20.216"}, ("is no IPv4 address",)),
        ({"ip": "172.20.216.5.6"}, ("is no IPv4 address",)),
        ({"ip": "172.20.216.5."}, ("is no IPv4 address",)),
        ({"ip": ".172.20.216.5"}, ("is no IPv4 address",)),
        ({"ip": "$(reboot)"}, ("is no IPv4 address",)),
        ({"ip": "*"}, ("'*' is no IPv4 address",)),
        ({"ip": f"{OWN};reboot"}, ("is no IPv4 address",)),
        ({"ip": "fd12:3456:789a:d9::5"}, ("not in fd12:3456:789a:d8::/64",)),
        ({"ip": "::"}, ("not in fd12",)),
        ({"ip": ":::"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8::5::"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8:0:0:5"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8:0:0:0:0:5"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8:0:0:0:5:"}, ("is no IPv6 address",)),
        ({"ip": ":fd12:3456:789a:d8::5"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8::12345"}, ("is no IPv6 address",)),
        ({"ip": "fd12:3456:789a:d8::5%eth0"}, ("is no IPv6 address",)),
        ({"ip": OWN, "mac": ""}, ("MAC address is ''",)),
        ({"ip": OWN, "mac": "00:16:3e:00:00"}, ("MAC address",)),
        ({"ip": OWN, "mac": "01:16:3e:00:00:07"}, ("MAC address",)),
        ({"ip": OWN, "mac": "00:16:3e:00:00:07 drop"}, ("MAC address",)),
        ({"ip": OWN, "vifname": "a b"}, ("cannot name vif7.0 a b",)),
        ({"ip": OWN, "vifname": "../lo"}, ("cannot name",)),
        ({"ip": OWN, "vifname": "a234567890123456"}, ("cannot name",)),
        ({"ip": OWN, "vifname": "xenable0"}, ("cannot name vif7.0 xenable0", "has to begin with vif")),
        ({"ip": OWN, "vifname": "web-1"}, ("NetworkManager", "write vifname=vif-NAME into the guest's vif")),
    ],
    ids=lambda value: " ".join(map(str, value.items())) if isinstance(value, dict) else "",
)
def test_what_a_vif_line_may_not_say(store: dict[str, str], words: tuple[str, ...]) -> None:
    dom0(lambda: refused(guest(7, **store), *words))


def test_what_an_address_may_look_like() -> None:
    def work() -> None:
        for address in (
            "fd12:3456:789A:D8::5",
            "fd12:3456:789a:00d8:0:0:0:5",
            "fd12:3456:789a:d8:0:0:5::",
            OWN,
        ):
            one = online(guest(7, ip=address))
            assert hotplug(one, "offline").code == 0
            must("ip link del vif7.0")
        one = online(guest(8, ip=OWN, mac="0A:16:3E:00:00:07"))
        assert "fe80::816:3eff:fe00:7" in must(f"nft list chain netdev xenable {one.vif}")

    dom0(work)


@pytest.mark.parametrize(
    ("prefix", "last", "beyond"),
    [("10.24.0.0/13", "10.31.255.254", "10.32.0.1"), ("192.168.7.8/29", "192.168.7.14", "192.168.7.16")],
)
def test_networks_of_other_sizes(prefix: str, last: str, beyond: str) -> None:
    from dataclasses import replace
    from ipaddress import IPv4Network

    wide = replace(NET, ipv4=IPv4Network(prefix), ipv6=None)

    def work() -> None:
        online(guest(7, ip=last))
        refused(guest(8, ip=beyond), "not in")
        refused(guest(9, ip=OWN6), "guests have no IPv6 addresses here")

    dom0(work, wide)


def test_requests_that_make_no_sense() -> None:
    def work() -> None:
        one = guest(7, ip=OWN)
        before = state()
        for env in (
            {"XENBUS_PATH": "backend/vif/7"},
            {"XENBUS_PATH": ""},
            {"XENBUS_PATH": "backend/vif/7/x"},
        ):
            assert hotplug(one, "online", **env).code == 1
        assert "vif8.0" in hotplug(one, "online", vif="vif8.0").err
        assert hotplug(one, "explode").code == 1
        assert hotplug(one, "add").code == hotplug(one, "online", "tap").code == 0
        assert state() == before
        ghost = guest(9, ip=OWN)
        must("ip link del vif9.0")
        refused(ghost, "there is no such interface")
        Path("/etc/xenable/network.env").unlink()
        refused(one, "run xenable apply")

    dom0(work)


def test_without_the_network_of_dom0() -> None:
    def work() -> None:
        one = guest(7, ip=BOTH)
        network("down")
        assert ruleset() == ""
        refused(one, "cannot set the rules of vif7.0", "xenable-network")
        assert ruleset() == ""
        network("up")
        online(one)
        network("down")
        assert ruleset() == ""
        assert hotplug(one, "offline").code == 0
        assert ruleset() == ""

    dom0(work)


def test_bridges_are_the_stock_script_s() -> None:
    def work() -> None:
        executable(
            Path("/etc/xen/scripts/vif-bridge"), f'#!/bin/sh\necho "vif-bridge $* $XENBUS_PATH" >>{LOG}\n'
        )
        must("ip link add br0 type bridge; ip link add name wire type veth peer name wire2")
        before = state()
        one = guest(7, bridge="br0")
        LOG.write_text("")
        for action in ("online", "offline"):
            assert hotplug(one, action).code == 0
        calls = [line for line in LOG.read_text().splitlines() if line.startswith("vif-bridge")]
        assert calls == [
            f"vif-bridge {action} type_if=vif {one.backend}" for action in ("online", "offline")
        ]
        refused(guest(8, bridge="xenbr0"), "it has no address")
        refused(guest(9, bridge="wire"), "it has no address")
        refused(guest(10, bridge="../net/br0"), "it has no address")
        must("ip link del vif7.0; ip link del vif8.0; ip link del vif9.0; ip link del vif10.0")
        assert state() == before
        # With an address the bridge that libxl fills in by itself has no say, though it exists.
        online(guest(11, bridge="br0", ip=OWN))

    dom0(work)


def test_one_address_has_one_guest() -> None:
    def work() -> None:
        one = connected(7, BOTH)
        refused(guest(8, ip=OWN), f"cannot set the addresses {OWN} of vif8.0")
        refused(guest(9, ip=OWN6), "cannot set the addresses")
        assert reaches(one, None, GATEWAY) and reaches(one, None, GATEWAY6)

    dom0(work)


def test_a_reload_of_the_network_does_not_make_a_start_fail() -> None:
    """It finds the interface that is just being connected, and sets its routes first."""

    def work() -> None:
        nft = (BIN / "nft").read_text()

        one, two = guest(7, ip=f"{OWN6} {OWN} 172.20.216.9"), guest(8, ip=f"172.20.216.8 {OWN}")
        executable(
            BIN / "nft",
            nft.replace("exec ", "") + "code=$?\ncase $* in *'counter netdev xenable vif7.0'*)\n"
            f"printf '%s' '{nft}' >{BIN}/nft\n/usr/share/xenable/network/network up\nesac\nexit $code\n",
        )
        online(one)
        assert (BIN / "nft").read_text() == nft
        for address in (OWN, "172.20.216.9", OWN6):
            assert " dev vif7.0 " in must(f"ip route get {address}")
        # What is another guest's is not accepted by that, nor is a part of the addresses.
        refused(two, "another interface may have one of them")
        assert "dev vif8.0" not in must("ip route; ip -6 route")
        assert f"{OWN} dev vif7.0 " in must(f"ip route get {OWN}")

    dom0(work)


def test_offline_copes_with_whatever_is_left() -> None:
    def work() -> None:
        other = connected(8, "172.20.216.8")
        before = ruleset()
        # The kernel has removed the interface, and its chain with it, or not.
        one = online(guest(7, ip=OWN))
        must("ip link del vif7.0")
        assert hotplug(one, "offline").code == 0
        assert ruleset() == before
        # As of Linux 6.12: a chain without an interface. Up to 6.11: a counter alone.
        must("nft 'add chain netdev xenable vif7.0; add rule netdev xenable vif7.0 drop'")
        assert hotplug(one, "offline").code == 0
        assert ruleset() == before
        must("nft 'add counter netdev xenable vif7.0; add element inet xenable open { \"vif7.0\" }'")
        assert hotplug(one, "offline").code == 0
        assert ruleset() == before
        # The store is gone as well.
        must("rm -r /fake/store/local/domain/0/backend/vif/7")
        assert hotplug(one, "offline").code == 0
        # One of our tables is gone.
        one = online(guest(7, ip=OWN))
        must("nft delete table inet xenable")
        assert hotplug(one, "offline").code == 0
        assert "vif7.0" not in ruleset()
        assert reaches(other, None, GATEWAY)

    dom0(work)


def test_a_stale_chain_is_replaced() -> None:
    def work() -> None:
        # A guest before had that number and its chain was left; it counted, was open and let all through.
        must(
            "nft 'table netdev xenable { counter vif7.0 { packets 5 bytes 5; }; "
            "chain vif7.0 { counter name vif7.0 accept; }; }'"
        )
        must(
            'nft \'add element inet xenable open { "vif7.0" }; add element inet xenable lent { "vif7.0" }\''
        )
        one = connected(7, OWN)
        assert counted(one.vif) == 0
        assert "elements" not in ruleset()
        assert "policy drop" in must(f"nft list chain netdev xenable {one.vif}")
        assert reaches(one, None, GATEWAY)
        # The same with a chain that is still tied to the interface.
        online(guest(9, ip="172.20.216.9"))
        must("ip link set vif9.0 down")
        write("backend/vif/9/0/ip", "172.20.216.10")
        assert run(SCRIPT, "online", "type_if=vif", XENBUS_PATH="backend/vif/9/0", vif="vif9.0").code == 0
        assert "172.20.216.10 accept" in ruleset() and "172.20.216.9 " not in ruleset()

    dom0(work)


def test_an_interface_with_a_name_of_its_own() -> None:
    def work() -> None:
        one = guest(7, ip=OWN, vifname="vif-web")
        two = guest(8, ip="172.20.216.8", vifname="vif-web")
        online(one)
        assert not Path("/sys/class/net/vif7.0").exists()
        assert counted("vif-web") == 0
        before = state()
        # Another guest wants the name: it gets none, and what libxl then does leaves the first alone.
        assert "there is such an interface already" in hotplug(two, "online").err
        assert hotplug(two, "offline").code == 0
        assert state() == before
        assert "state UP" in must("ip link show vif-web") or ",UP" in must("ip link show vif-web")
        assert hotplug(one, "offline").code == 0
        assert "vif-web" not in ruleset()

    dom0(work)


def test_a_guest_from_before_that_rule_keeps_its_rules() -> None:
    def work() -> None:
        one = online(guest(7, ip=OWN, vifname="vif-web"))
        must("ip link set vif-web down; ip link set vif-web name web-1; nft flush ruleset")
        write(f"{one.backend}/vifname", "web-1")
        network("up")
        assert "policy drop" in must("nft list chain netdev xenable web-1")
        assert ",UP" in must("ip link show web-1")
        assert hotplug(one, "offline").code == 0
        assert "web-1" not in ruleset()

    dom0(work)


def test_the_emulated_interface() -> None:
    def work() -> None:
        one = guest(7, ip=BOTH)
        tap = guest(9, ip=BOTH, vif="vif7.0-emu")
        before = state()
        online(one)
        LOG.write_text("")
        ran = hotplug(one, "add", "tap", INTERFACE="vif7.0-emu")
        assert (ran.code, ran.err) == (0, "")
        assert "xenstore-write" not in LOG.read_text()
        assert counted("vif7.0-emu") == 0
        assert "group 30821" in must("ip link show vif7.0-emu")
        assert f"{OWN} dev vif7.0-emu" in must(f"ip route get {OWN}")
        assert hotplug(one, "remove", "tap", INTERFACE="vif7.0-emu").code == 0
        assert f"{OWN} dev vif7.0 " in must(f"ip route get {OWN}")
        assert "emu" not in ruleset()
        assert hotplug(one, "offline").code == 0
        assert state() == before
        assert tap.vif == "vif7.0-emu" and GATEWAY_MAC in must("ip link show vif7.0-emu")

    dom0(work)


def test_where_ipv6_is_switched_off() -> None:
    def work() -> None:
        must("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
        network("up")
        one = connected(7, OWN)
        assert reaches(one, None, GATEWAY)
        assert "inet6" not in must("ip address show dev vif7.0")
        write("backend/vif/8/0/ip", BOTH)
        online(guest(8, ip=f"172.20.216.8 {OWN6}"))

    dom0(work)


def test_mode_bridge_has_no_addresses() -> None:
    from dataclasses import replace

    from xenable.network.effective import Mode

    def work() -> None:
        settings(replace(NET, mode=Mode.BRIDGE, bridge="br7"))
        refused(guest(7, ip=OWN), "guests are on the bridge br7 here", "write bridge=br7")

    dom0(work)
