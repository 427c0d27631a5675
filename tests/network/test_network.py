# SPDX-License-Identifier: GPL-2.0-or-later
"""The network of dom0: who reaches whom, and that other programs' rules and settings stay as they are."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.sandbox import REPOSITORY, needs_sandbox
from xenable.network.effective import Mode

from .bench import (
    BIN,
    NET,
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
    ruleset,
    run,
    sends,
    settings,
    write,
)

pytestmark = [pytest.mark.realtool, needs_sandbox]

ONE, TWO, THREE = "172.20.216.5", "172.20.216.6", "172.20.216.7"
ONE6, TWO6 = "fd12:3456:789a:d8::5", "fd12:3456:789a:d8::6"
GATEWAY, GATEWAY6 = "172.20.216.1", "fd12:3456:789a:d8::1"
WORLD, UPLINK = "192.0.2.1", "192.0.2.2"

# As a container runtime and a firewall leave it.
FOREIGN = """
table ip filter {
	chain DOCKER-USER {
		counter return
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		jump DOCKER-USER
		iifname "docker0" accept
	}
}
table inet firewall {
	chain input {
		type filter hook input priority 0; policy accept;
		iifname "wan" tcp dport 22 accept
	}
}
"""


def world() -> Guest:
    """Another machine, to which dom0's default route leads by the interface `wan`."""
    one = guest(99, vif="wan")
    must(f"ip address add {UPLINK}/24 dev wan; ip link set wan up; ip route add default via {WORLD}")
    with at(one):
        must(
            f"ip address add {WORLD}/24 dev eth0; ip link set eth0 up; "
            f"ip route add 172.20.216.0/24 via {UPLINK}"
        )
    return one


def forwards() -> dict[str, str]:
    """Who forwards IPv4."""
    folder = Path("/proc/sys/net/ipv4/conf")
    return {p.name: (p / "forwarding").read_text().strip() for p in folder.iterdir()}


def foreign() -> str:
    return must("nft list table ip filter; nft list table inet firewall")


def test_guests_are_alone() -> None:
    def work() -> None:
        outside = world()
        one, two = connected(5, f"{ONE} {ONE6}", name="one"), connected(6, f"{TWO} {TWO6}", name="two")
        for there in (GATEWAY, GATEWAY6):
            assert reaches(one, None, there)
        assert not sends(one, two, TWO) and not sends(one, two, TWO6)
        assert not sends(one, outside, WORLD) and not sends(outside, one, ONE)
        assert set(forwards().values()) == {"0"}
        # A machine that forwards for reasons of its own: they are alone nevertheless.
        must("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
        assert not sends(one, two, TWO) and not sends(one, two, TWO6)
        assert counted(one.vif) == counted(two.vif) == 0

    dom0(work)


def test_open_guests_reach_each_other_and_nothing_else() -> None:
    def work() -> None:
        outside = world()
        opened("one")
        opened("two")
        one, two = connected(5, ONE, name="one"), connected(6, TWO, name="two")
        three = connected(7, THREE, name="three")
        assert reaches(one, two, TWO) and reaches(two, one, ONE)
        assert not sends(one, three, THREE) and not sends(three, one, ONE)
        assert not sends(one, outside, WORLD) and not sends(outside, one, ONE)
        must(
            "ip link add lan type veth peer name lan2; ip link set lan up; "
            "ip address add 198.51.100.1/24 dev lan"
        )
        assert not sends(one, None, "172.20.216.99")
        on = {name for name, value in forwards().items() if value == "1"}
        assert on == {one.vif, two.vif}
        # The drop is ours, not for want of a route or an answer.
        before = must("nft list chain inet xenable forward").count("packets 0")
        assert before == 0
        assert hotplug(two, "offline").code == 0
        assert "elements" in must("nft list set inet xenable open")
        assert two.vif not in ruleset()
        assert hotplug(one, "offline").code == 0
        assert "elements" not in ruleset()
        assert set(forwards().values()) == {"0"}

    dom0(work)


def test_a_guest_that_is_being_moved_here_is_open_too() -> None:
    def work() -> None:
        opened("web.example-1")
        one = connected(5, ONE, name="web.example-1--incoming")
        two = connected(6, TWO, name="../guests/web.example-1")
        assert f'"{one.vif}"' in must("nft list set inet xenable open")
        assert two.vif not in must("nft list set inet xenable open")

    dom0(work)


def test_other_rules_and_settings_stay() -> None:
    def work() -> None:
        network("down")
        must(f"nft -f - <<'E'\n{FOREIGN}\nE")
        before, settings_before = ruleset(), forwards()
        network("up")
        opened("one")
        opened("two")
        one, two = connected(5, ONE, name="one"), connected(6, TWO, name="two")
        three = connected(7, THREE)
        assert reaches(one, None, GATEWAY) and reaches(three, None, GATEWAY)
        assert foreign() == before
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
        network("sweep")
        for each in (one, two, three):
            assert hotplug(each, "offline").code == 0
            must(f"ip link del {each.vif}")
        assert foreign() == before
        network("down")
        assert ruleset() == before
        assert forwards() == settings_before

    dom0(work)


def test_up_again_keeps_what_guests_have() -> None:
    def work() -> None:
        opened("one")
        opened("two")
        one, two = connected(5, f"{ONE} {ONE6}", name="one"), connected(6, TWO, name="two")
        # Its own address first: a gateway that it does not know yet it would ask for with the other.
        assert reaches(one, None, GATEWAY)
        assert not sends(one, None, GATEWAY, pretended="172.20.216.66")
        caught = counted(one.vif)
        assert caught > 0
        before = ruleset()
        network("up")
        network("up")
        assert ruleset() == before and counted(one.vif) == caught
        assert reaches(one, two, TWO) and reaches(one, None, GATEWAY6)

    dom0(work)


@pytest.mark.parametrize("what", ["nft flush ruleset", "/usr/share/xenable/network/network down"])
def test_running_guests_are_set_up_again(what: str) -> None:
    def work() -> None:
        opened("one")
        opened("two")
        one, two = connected(5, f"{ONE} {ONE6}", name="one"), connected(6, TWO, name="two")
        three = connected(7, THREE, vifname="vifweb")
        # No guest of ours: a cable of somebody else's with an alias.
        must("ip link add other type veth peer name other2; ip link set other alias 'xen something'")
        before = ruleset()
        must(what)
        network("up")
        assert ruleset() == before
        assert reaches(one, two, TWO) and reaches(one, None, GATEWAY) and reaches(one, None, GATEWAY6)
        assert reaches(three, None, GATEWAY) and not sends(one, three, THREE)
        assert not sends(one, None, GATEWAY, pretended="172.20.216.66")
        assert counted(one.vif) > 0

    dom0(work)


def test_down_cuts_guests_off() -> None:
    def work() -> None:
        one = connected(5, f"{ONE} {ONE6}")
        network("down")
        network("down")
        assert ruleset() == ""
        assert "state DOWN" in must(f"ip link show {one.vif}")
        assert not sends(one, None, GATEWAY)
        # The interface was there before us: it stays, without what we gave it.
        assert "172.20.216" not in must("ip address show dev xenable0")
        network("up")
        must("echo 'made by xenable' >/sys/class/net/xenable0/ifalias")
        network("down")
        assert not Path("/sys/class/net/xenable0").exists()
        network("down")

    dom0(work)


def test_the_dummy_interface_is_made() -> None:
    def work() -> None:
        must("ip link del xenable0")
        # Not every kernel has the driver: a bridge is made where a dummy was asked for.
        real = run("sh", "-c", "command -v ip", PATH="/usr/sbin:/usr/bin:/sbin:/bin").out.strip()
        executable(
            BIN / "ip",
            '#!/bin/sh\ncase $* in\n"link add dev xenable0 type dummy") '
            f'exec {real} link add xenable0 type bridge ;;\nesac\nexec {real} "$@"\n',
        )
        network("up")
        assert "inet 172.20.216.1/24" in must("ip address show dev xenable0")
        assert f"inet6 {GATEWAY6}/64" in must("ip address show dev xenable0")
        network("down")
        assert not Path("/sys/class/net/xenable0").exists()

    dom0(work)


def test_sweep() -> None:
    def work() -> None:
        one = connected(5, ONE)
        before = ruleset()
        must("nft 'add chain netdev xenable vif8.0; add counter netdev xenable vif8.0'")
        must("nft 'add rule netdev xenable vif8.0 counter name vif8.0 drop'")
        must("nft 'add counter netdev xenable vif9.0-emu'")
        must('nft \'add element inet xenable open { "vif8.0", "web-1" }\'')
        must("nft 'add element inet xenable lent { \"vif8.0\" }'")
        network("sweep")
        assert ruleset() == before
        network("sweep")
        assert reaches(one, None, GATEWAY)
        network("down")
        network("sweep")
        assert ruleset() == ""

    dom0(work)


def test_nat() -> None:
    def work() -> None:
        outside = world()
        with at(outside):
            # It knows dom0 and no guest.
            must("ip route del 172.20.216.0/24")
        network("up")
        one, two = connected(5, ONE), connected(6, TWO)
        assert reaches(one, outside, WORLD) and reaches(two, outside, WORLD)
        assert not sends(one, two, TWO)
        with at(outside):
            must(f"ip route add 172.20.216.0/24 via {UPLINK}")
        # Nobody outside begins to talk to a guest, and dom0 is no router for others.
        assert not sends(outside, one, ONE)
        lan = guest(98, vif="lan")
        must("ip address add 198.51.100.1/24 dev lan; ip link set lan up")
        with at(lan):
            must(
                "ip address add 198.51.100.2/24 dev eth0; ip link set eth0 up; "
                "ip route add default via 198.51.100.1"
            )
        with at(outside):
            must(f"ip route add 198.51.100.0/24 via {UPLINK}")
        assert not sends(outside, lan, "198.51.100.2") and not sends(lan, outside, WORLD)
        on = {name for name, value in forwards().items() if value == "1"}
        assert on == {"wan", one.vif, two.vif}
        network("up")
        assert reaches(one, outside, WORLD)
        network("down")
        assert ruleset() == ""
        assert set(forwards().values()) == {"0"}

    def prepare() -> None:
        settings(replace(NET, mode=Mode.NAT, uplink="wan"))
        work()

    dom0(prepare)


def test_nat_on_a_machine_that_forwards_already() -> None:
    def work() -> None:
        settings(replace(NET, mode=Mode.NAT, uplink="wan"))
        outside = world()
        must("echo 1 >/proc/sys/net/ipv4/ip_forward")
        network("up")
        one = connected(5, ONE)
        assert reaches(one, outside, WORLD)
        assert "elements" not in ruleset()
        # Back to guests without a way out: no rule of NAT stays.
        settings(NET)
        network("up")
        assert "masquerade" not in ruleset() and "established" not in ruleset()
        network("down")
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
        assert set(forwards().values()) == {"1"}

    dom0(work)


@pytest.fixture
def br_netfilter() -> Iterator[None]:
    """The module is there for the length of a test: it has a say in all bridges of the machine."""
    there = Path("/proc/sys/net/bridge")
    loaded = not there.exists() and shutil.which("modprobe") and run("modprobe", "br_netfilter").code == 0
    if not there.exists():
        pytest.skip("br_netfilter is not here, and can't be loaded")
    yield
    if loaded:
        run("modprobe", "-r", "br_netfilter")


@pytest.mark.usefixtures("br_netfilter")
def test_a_bridge_as_the_way_out_passes_the_frames_of_others() -> None:
    """With br_netfilter, which container runtimes load, they come by as if they were forwarded."""

    def work() -> None:
        settings(replace(NET, mode=Mode.NAT, uplink="br0"))
        must("ip link add br0 type bridge; ip link set br0 up; ip address add 192.0.2.2/24 dev br0")
        must("echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables")
        must("echo 1 >/proc/sys/net/bridge/bridge-nf-call-ip6tables")
        must(
            "nft 'add table inet seen; "
            "add chain inet seen forward { type filter hook forward priority -20; }; "
            "add rule inet seen forward iifname br0 oifname br0 counter'"
        )
        ends = [guest(97, vif="container"), guest(98, vif="machine")]
        for number, end in enumerate(ends, 3):
            must(f"ip link set {end.vif} master br0 up")
            with at(end):
                must(
                    f"ip address add 192.0.2.{number}/24 dev eth0; ip link set eth0 up; "
                    f"ip address add fd00::{number}/64 dev eth0 nodad; "
                    "ip route add 172.20.216.0/24 via 192.0.2.2"
                )
        one, two = ends
        network("up")
        assert '"br0"' in must("nft list set inet xenable lent")
        assert reaches(one, two, "192.0.2.4") and reaches(two, one, "192.0.2.3")
        assert reaches(one, two, "fd00::4")
        assert "packets 0" not in must("nft list chain inet seen forward")
        # Guests go out, and what is not bridged is dropped as on any other interface.
        web = connected(5, ONE)
        assert reaches(web, two, "192.0.2.4") and not sends(one, web, ONE)
        # The container runtime that loaded it makes a router of the machine.
        must("echo 1 >/proc/sys/net/ipv4/ip_forward")
        assert reaches(one, two, "192.0.2.4")

    dom0(work)


def test_nat_on_a_machine_that_forwards_later() -> None:
    def work() -> None:
        settings(replace(NET, mode=Mode.NAT, uplink="wan"))
        outside = world()
        network("up")
        one = connected(5, ONE)
        must("echo 1 >/proc/sys/net/ipv4/ip_forward")
        # A container, and what its runtime sets up for it.
        inner = guest(98, vif="docker0")
        must("ip address add 198.51.100.1/24 dev docker0; ip link set docker0 up")
        with at(inner):
            must(
                "ip address add 198.51.100.2/24 dev eth0; ip link set eth0 up; "
                "ip route add default via 198.51.100.1"
            )
        with at(outside):
            must(f"ip route add 198.51.100.0/24 via {UPLINK}")
        assert reaches(inner, outside, WORLD)
        assert not sends(outside, inner, "198.51.100.2")
        must(
            "nft 'add table ip docker; "
            "add chain ip docker pre { type nat hook prerouting priority dstnat; }; "
            f"add rule ip docker pre iifname wan ip daddr {UPLINK} udp dport 7777 dnat to 198.51.100.2'"
        )
        assert reaches(outside, inner, UPLINK)
        assert reaches(one, outside, WORLD)
        assert '"wan"' in must("nft list set inet xenable lent")
        network("up")
        assert '"wan"' not in must("nft list set inet xenable lent")
        assert reaches(outside, inner, "198.51.100.2") and reaches(inner, outside, WORLD)

    dom0(work)


def test_a_guest_that_can_not_be_guarded_again_has_no_link() -> None:
    def work() -> None:
        one, two = connected(5, ONE), connected(6, TWO)
        must("nft flush ruleset")
        write(f"{one.backend}/mac", "nonsense")
        assert run("/usr/share/xenable/network/network", "up").code == 1
        assert "state DOWN" in must(f"ip link show {one.vif}")
        assert reaches(two, None, GATEWAY)
        write(f"{one.backend}/mac", one.mac)
        network("up")
        assert reaches(one, None, GATEWAY)

    dom0(work)


def test_where_there_can_be_no_rules_no_guest_has_a_link() -> None:
    def work() -> None:
        one = connected(5, ONE)
        must("nft flush ruleset")
        nft = (BIN / "nft").read_text()
        executable(BIN / "nft", "#!/bin/sh\nexit 1\n")
        assert run("/usr/share/xenable/network/network", "up").code == 1
        assert "state DOWN" in must(f"ip link show {one.vif}")
        executable(BIN / "nft", nft)
        network("up")
        assert reaches(one, None, GATEWAY)

    dom0(work)


def test_nat_without_its_uplink_says_so() -> None:
    def work() -> None:
        settings(replace(NET, mode=Mode.NAT, uplink="wan"))
        ran = run("/usr/share/xenable/network/network", "up")
        assert ran.code == 0 and "there is no interface wan" in ran.err
        online(guest(5, ip=ONE))

    dom0(work)


def test_guests_on_a_bridge_are_none_of_its_business() -> None:
    def work() -> None:
        network("down")
        settings(replace(NET, mode=Mode.BRIDGE, bridge="br0"))
        network("up")
        assert ruleset() == "" and "172.20" not in must("ip address")
        assert must("/usr/share/xenable/network/names").startswith("names: ")

    dom0(work)


def test_names() -> None:
    def work() -> None:
        executable(BIN / "dnsmasq", '#!/bin/sh\nfor word; do echo "$word"; done\n')
        words = must("/usr/share/xenable/network/names").split("\n")
        assert "--listen-address=172.20.216.1" in words and f"--listen-address={GATEWAY6}" in words
        assert "--no-resolv" in words and "--bind-interfaces" in words
        assert f"--host-record=dom0.xen.internal,dom0,{GATEWAY},{GATEWAY6}" in words
        must("echo 1 >/proc/sys/net/ipv6/conf/xenable0/disable_ipv6")
        settings(replace(NET, mode=Mode.NAT, uplink="wan"))
        words = must("/usr/share/xenable/network/names").split("\n")
        assert f"--listen-address={GATEWAY6}" not in words and "--no-resolv" not in words
        # Nobody is told of an address that dom0 does not have.
        assert f"--host-record=dom0.xen.internal,dom0,{GATEWAY}" in words

    dom0(work)


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not here")
def test_dnsmasq_takes_the_options() -> None:
    def work() -> None:
        must(
            "sed 's/^exec dnsmasq/exec dnsmasq --test/' /usr/share/xenable/network/names >/fake/names; "
            "sh /fake/names 2>&1"
        )

    dom0(work)


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not here")
def test_an_address_that_is_taken_is_no_failed_unit() -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("0.0.0.0", 53))
            ran = run("/usr/share/xenable/network/names")
        assert "Address already in use" in ran.err
        unit = (REPOSITORY / "data/systemd/xenable-names.service").read_text()
        good = next(line for line in unit.splitlines() if line.startswith("SuccessExitStatus="))
        assert str(ran.code) in good.partition("=")[2].split()

    dom0(work)


def test_setting_up_has_an_end() -> None:
    unit = (REPOSITORY / "data/systemd/xenable-network.service").read_text()
    assert "\nTimeoutStartSec=60\n" in unit
