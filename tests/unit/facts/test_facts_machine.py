# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from ipaddress import IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import make_tree
from xenable.facts.console import parse_serial, probe_console
from xenable.facts.conversion import probe_conversion
from xenable.facts.cpu import parse_cpuinfo, probe_cpu
from xenable.facts.distribution import parse_os_release, probe_distribution
from xenable.facts.dpkg import parse_status
from xenable.facts.firewall import parse_chains, parse_policy
from xenable.facts.memory import probe_memory
from xenable.facts.modules import probe_modules
from xenable.facts.network import (
    parse_ipv4_routes,
    parse_ipv6_routes,
    parse_rows,
    policy_routes,
    probe_network,
)
from xenable.facts.other_hypervisors import guest_of, probe_other_hypervisors
from xenable.facts.packages import lock_holders, probe_packages
from xenable.facts.services import parse_sockets, parse_units, probe_services, runtime_watchdog, sshd_ports
from xenable.facts.virtualization import probe_virtualization
from xenable.machine import Answer, Distribution, OtherHypervisor, SerialConsole

CPUINFO = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu {}\n\nprocessor\t: 1\nflags\t: fpu\n"


def test_os_release(tmp_path: Path) -> None:
    text = (
        'NAME="x"\nPRETTY_NAME="Ubuntu 24.04"\nID=ubuntu\nID_LIKE="debian a"\nVERSION_ID=\'24.04\'\nBAD="\n'
    )
    found = probe_distribution(make_tree(tmp_path, {"/usr/lib/os-release": text}))
    assert found == Distribution(
        id="ubuntu", version_id="24.04", codename="", name="Ubuntu 24.04", like=("debian", "a")
    )


@pytest.mark.parametrize(
    ("flags", "files", "hvm"),
    [
        ("vmx", {}, Answer.YES),
        ("svm", {}, Answer.YES),
        ("sse", {}, Answer.NO),
        ("", {"/sys/hypervisor/type": "xen\n"}, Answer.UNKNOWN),
        (
            "",
            {
                "/sys/hypervisor/type": "xen\n",
                "/sys/hypervisor/properties/capabilities": "xen-3.0-x86_64 hvm-3.0-x86_64\n",
            },
            Answer.YES,
        ),
    ],
)
def test_hardware_virtualisation(tmp_path: Path, flags: str, files: dict[str, str], hvm: Answer) -> None:
    host = make_tree(tmp_path, {"/proc/cpuinfo": CPUINFO.format(flags), **files})
    cpu = probe_cpu(host, parse_status("Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\n"))
    assert (cpu.hvm, cpu.count, cpu.vendor, cpu.architecture) == (hvm, 2, "GenuineIntel", "amd64")
    assert cpu.iommu is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("table", "iommu"), [("DMAR", Answer.YES), ("IVRS", Answer.YES), ("APIC", Answer.NO)]
)
def test_iommu_by_acpi_table(tmp_path: Path, table: str, iommu: Answer) -> None:
    assert probe_cpu(make_tree(tmp_path, {f"/sys/firmware/acpi/tables/{table}": ""}), {}).iommu is iommu


XEN = {
    "/sys/hypervisor/type": "xen\n",
    "/sys/hypervisor/version/major": "4",
    "/sys/hypervisor/version/minor": "20",
}
VIRTUAL = {"/proc/cpuinfo": CPUINFO.format("hypervisor")}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/cpuinfo": CPUINFO.format("vmx")}, ("", "", "")),
        ({"/run/systemd/container": "lxc\n"}, ("lxc", "", "")),
        ({"/proc/1/environ": "A=b\0container=podman\0"}, ("podman", "", "")),
        ({"/.dockerenv": ""}, ("docker", "", "")),
        (VIRTUAL | {"/sys/class/dmi/id/sys_vendor": "VMware, Inc.\n"}, ("", "vmware", "")),
        (VIRTUAL | {"/sys/class/dmi/id/sys_vendor": "QEMU\n"}, ("", "qemu", "")),
        (
            VIRTUAL
            | {
                "/sys/class/dmi/id/sys_vendor": "QEMU\n",
                "/sys/devices/system/clocksource/clocksource0/available_clocksource": "kvm-clock tsc\n",
            },
            ("", "kvm", ""),
        ),
        (
            VIRTUAL
            | {
                "/sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n",
                "/sys/class/dmi/id/product_name": "Virtual Machine\n",
            },
            ("", "microsoft", ""),
        ),
        (VIRTUAL, ("", "vm-other", "")),
        (
            {"/proc/cpuinfo": CPUINFO.format("vmx"), "/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"},
            ("", "", ""),
        ),
        (XEN | VIRTUAL | {"/proc/xen/capabilities": "control_d\n"}, ("", "", "dom0")),
        (XEN | VIRTUAL | {"/sys/hypervisor/properties/features": "00000800"}, ("", "", "dom0")),
        (XEN | VIRTUAL | {"/sys/hypervisor/properties/features": "00002705"}, ("", "xen", "domU")),
    ],
)
def test_virtualization(tmp_path: Path, files: dict[str, str], expected: tuple[str, str, str]) -> None:
    found = probe_virtualization(make_tree(tmp_path, dict(files)))
    assert (found.container, found.hypervisor, found.xen_role) == expected
    assert found.xen_version == ("4.20" if found.xen_role else "")


def test_memory(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/proc/meminfo": "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 3145728 kB\n",
            "/proc/spl/kstat/zfs/arcstats": "9 1 0x01\nname type data\nsize 4 1073741824\n",
        },
    )
    memory = probe_memory(host)
    assert (memory.total, memory.used, memory.zfs_arc) == (4096, 1024, 1024)


@pytest.mark.parametrize(
    ("text", "consoles"),
    [
        ("quiet console=tty0 console=ttyS0,115200n8", [(0, 115200, "8n1")]),
        ("console=ttyS1,9600e7r console=ttyS0", [(1, 9600, "7e1"), (0, 9600, "8n1")]),
        ("console=ttyS0,115200 console=ttyUSB0 console=ttyS0x earlycon", [(0, 115200, "8n1")]),
    ],
)
def test_serial_consoles(text: str, consoles: list[tuple[int, int, str]]) -> None:
    assert [(c.port, c.speed, c.mode) for c in parse_serial(text)] == consoles


def test_console_of_dom0_is_known_from_the_settings(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/proc/cmdline": "root=/dev/vda2 console=hvc0\n",
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX="console=ttyS0,57600"\n',
            "/etc/default/grub.d/50.cfg": "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n",
        },
    )
    console = probe_console(host)
    assert console.serial == (SerialConsole(port=0, speed=57600, mode="8n1"),)
    assert console.configured == "console=ttyS0,57600 quiet"


STATUS = """Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21

Package: a
Status: hold ok installed
Version: 1

Package: b
Status: install reinstreq half-installed
Version: 2
Description: x
 Status: no field

Package: xen-utils-4.17
Status: install ok installed
Version: 4.17

Package: xen-old
Status: deinstall ok config-files
Version: 1

"""


def test_packages_of_a_folder(tmp_path: Path) -> None:
    host = make_tree(tmp_path, {"/var/lib/dpkg/status": STATUS, "/var/lib/dpkg/updates/0001": ""})
    found = probe_packages(host, probe_distribution(host), (), parse_status(STATUS))
    assert found.usable is Answer.UNKNOWN
    assert "interrupted" in found.problem
    assert (found.half_installed, found.held) == (("b",), ("a",))
    assert [c.name for c in found.installed_xen] == ["xen-utils-4.17"]
    assert found.xen is None and found.lists_age_days is None


def test_who_holds_a_lock(tmp_path: Path) -> None:
    lock = "/var/lib/dpkg/lock-frontend"
    host = make_tree(tmp_path, {lock: "", "/proc/77/comm": "apt-get\n"}, {"/proc/77/fd/4": lock})
    inode = host.path(lock).stat().st_ino
    place = f"fe:00:{inode} 0 EOF"
    locks = f"1: POSIX  ADVISORY  WRITE 77 {place}\n2: FLOCK  ADVISORY  WRITE 78 {place}\n"
    assert lock_holders(locks, inode) == (77,)
    make_tree(tmp_path, {"/proc/locks": locks, "/var/lib/dpkg/status": ""})
    assert probe_packages(host, probe_distribution(host), (), {}).locked_by == "apt-get (process 77)"


def test_modules(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/proc/modules": "nvidia 1 2 - Live 0x0 (POE)\nvboxdrv 1 0 - Live 0x0 (OE)\next4 1 1 - Live 0x0",
            "/var/lib/dkms/nvidia/550.1/source": "",
            "/var/lib/dkms/nvidia/kernel-6.1-x86_64/x": "",
        },
    )
    found = probe_modules(host)
    assert found.dkms == ("nvidia/550.1",)
    assert (found.tainting, found.graphics) == (("nvidia", "vboxdrv"), ("nvidia",))


@pytest.mark.parametrize(
    ("words", "guest"),
    [
        ("/usr/bin/qemu-system-x86_64 -name guest=web01,debug-threads=on -accel kvm", ("kvm", "web01")),
        ("qemu-system-x86_64 -name x -machine q35,accel=kvm", ("kvm", "x")),
        ("kvm -hda disk", ("kvm", "")),
        ("qemu-system-x86_64 -accel tcg -name slow", None),
        ("qemu-system-i386 -xen-domid 3 -name y -enable-kvm", None),
        (
            "/snap/lxd/1/bin/qemu-system-x86_64 -name v1 -pidfile /var/snap/lxd/common/lxd/logs/v1",
            ("lxd", "v1"),
        ),
        ("VBoxHeadless --comment old --startvm 1-2", ("virtualbox", "old")),
        ("vmware-vmx -x /vm/w.vmx", ("vmware", "w")),
        ("vim qemu-system-x86_64", None),
        ("", None),
    ],
)
def test_guests_of_others(words: str, guest: tuple[str, str] | None) -> None:
    assert guest_of(words.split(" ")) == guest


def test_other_hypervisors_run_and_idle(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/proc/9/cmdline": "kvm\0-name\0a\0",
            "/proc/10/cmdline": "kvm\0",
            "/proc/modules": "vboxdrv 1 0 - Live 0x0 (OE)\n",
        },
    )
    assert probe_other_hypervisors(host, {}) == (
        OtherHypervisor(kind="kvm", guests=("a", "process 10")),
        OtherHypervisor(kind="virtualbox", guests=()),
    )


def test_routes() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    v4 = parse_ipv4_routes(
        head
        + "eth0\t00000000\t010210AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "eth0\t00D814AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        + "down\t00D814AC\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\nnonsense\n"
    )
    assert [(r.destination, r.interface, r.gateway) for r in v4] == [
        ("default", "eth0", "172.16.2.1"),
        ("172.20.216.0/24", "eth0", ""),
    ]
    zero = "0" * 32
    v6 = parse_ipv6_routes(
        f"fe800000000000000000000000000000 40 {zero} 00 {zero} 100 1 0 00000001 eth0\n"
        f"{zero} 00 {zero} 00 fe800000000000000000000000000001 400 1 0 00000003 eth0\n"
        f"{zero[:-1]}1 80 {zero} 00 {zero} 0 1 0 80200001 lo\n"
        f"ff000000000000000000000000000000 08 {zero} 00 {zero} 100 1 0 00000001 eth0\n"
    )
    assert [(r.destination, r.gateway) for r in v6] == [("fe80::/64", ""), ("::/0", "fe80::1")]


def test_routes_of_other_tables() -> None:
    """As Tailscale has them, and a VRF: /proc/net/route shows the main table alone."""
    found = policy_routes(
        [
            {"dst": "172.20.0.0/16", "dev": "tailscale0", "table": "52"},
            {"dst": "10.9.8.7", "table": "vrf", "nexthops": [{"dev": "eth1", "gateway": "192.0.2.9"}]},
            {"dst": "default", "dev": "wg0", "table": "51820"},
            {"dst": "0.0.0.0/0", "dev": "wg0", "table": "51820"},
            {"dst": "192.0.2.0/24", "dev": "eth0", "table": "main"},
            {"dst": "192.0.2.0/24", "dev": "eth0"},
            {"dst": "fd00::/64", "dev": "wg0", "table": "51820"},
            {"dst": "10.0.0.0/8", "table": "52"},
            {},
        ]
    )
    assert [(r.destination, r.interface, r.gateway) for r in found] == [
        ("172.20.0.0/16", "tailscale0", ""),
        ("10.9.8.7", "eth1", "192.0.2.9"),
    ]


@pytest.mark.parametrize(
    ("file", "watchers"),
    [
        ("/run/NetworkManager/no-stub-resolv.conf", ("networkmanager",)),
        ("/run/systemd/netif/state", ("networkd",)),
        ("/run/systemd/netif/leases/2", ()),
    ],
)
def test_who_may_take_an_interface_that_appears(
    tmp_path: Path, file: str, watchers: tuple[str, ...]
) -> None:
    assert probe_network(make_tree(tmp_path, {file: ""})).watchers == watchers


def test_interfaces_of_a_folder(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/sys/class/net/eth0/address": "52:54:00:00:00:01\n",
            "/sys/class/net/eth0/device/x": "",
            "/sys/class/net/eth0/ifindex": "2",
            "/sys/class/net/eth0/operstate": "up",
            "/sys/class/net/br0/bridge/x": "",
            "/sys/class/net/br0/ifindex": "3",
            "/sys/class/net/wl0/phy80211/x": "",
            "/sys/class/net/wl0/ifindex": "4",
            "/sys/class/net/en1/device/x": "",
            "/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=/run/10-netplan-x.network\n",
            "/run/NetworkManager/devices/4": "[device]\nmanaged=true\n",
            "/etc/network/interfaces": "source /etc/network/interfaces.d/*\niface lo inet loopback\n",
            "/etc/network/interfaces.d/b": "iface br0 inet static\n",
            "/etc/netplan/1.yaml": "network:\n  ethernets:\n    en1:\n      dhcp4: true\n",
            "/etc/ufw/ufw.conf": "ENABLED=yes\n",
            "/proc/sys/net/ipv4/ip_forward": "1\n",
        },
    )
    found = probe_network(host)
    assert not found.known
    assert [(i.name, i.kind, i.manager, i.up) for i in found.interfaces] == [
        ("br0", "bridge", "ifupdown", False),
        ("en1", "physical", "netplan", False),
        ("eth0", "physical", "netplan", True),
        ("wl0", "wireless", "networkmanager", False),
    ]
    assert (found.firewalls, found.forward_policy, found.ip_forward) == (("ufw",), "", Answer.YES)


@pytest.mark.parametrize("machine_id", ["", "uninitialized\n", "0" * 31 + "\n", "x" * 32 + "\n"])
def test_without_an_identity_a_machine_has_no_prefix_of_its_own(tmp_path: Path, machine_id: str) -> None:
    assert probe_network(make_tree(tmp_path, {"/etc/machine-id": machine_id})).ula_prefix == ""


def test_a_machine_has_one_prefix_of_its_own(tmp_path: Path) -> None:
    prefixes = []
    for name, machine_id in (("a", "0" * 32), ("b", "0" * 32), ("c", "0" * 31 + "1")):
        host = make_tree(tmp_path / name, {"/etc/machine-id": machine_id + "\n"})
        prefixes.append(IPv6Network(probe_network(host).ula_prefix))
    assert prefixes[0] == prefixes[1] != prefixes[2]
    assert all(p.prefixlen == 64 and p.subnet_of(IPv6Network("fd00::/8")) for p in prefixes)


def test_firewall_output() -> None:
    chain = {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}
    assert parse_chains(json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}]})) == [chain]
    assert parse_chains("[]") is None
    assert parse_policy("-P FORWARD DROP\n-A FORWARD -j X\n") == "drop"
    assert parse_policy("") == ""


def test_services_output() -> None:
    assert parse_units('[{"unit":"a.service","load":"loaded"}]') == ("a.service",)
    assert parse_units("No units") is None
    text = (
        'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=5,fd=3))\n'
        'LISTEN 0 4096 *:2222 *:* users:(("systemd",pid=1,fd=40))\n'
        'LISTEN 0 4096 *:9090 *:* users:(("systemd",pid=1,fd=41))\n'
        'LISTEN 0 511 [::1]:80 [::]:* users:(("nginx",pid=9,fd=3))\n'
    )
    assert parse_sockets(text, frozenset(("2222",))) == ("0.0.0.0:22", "*:2222")


def test_listeners_of_ssh_sessions_are_not_sshd() -> None:
    text = "".join(
        f'LISTEN 0 128 {place} *:* users:(("sshd",pid=5,fd=3))\n'
        for place in (
            "0.0.0.0:22",
            "127.0.0.1:6010",
            "[::1]:6010",
            "127.0.0.1:2200",
            "[::1]:22",
            "0.0.0.0:9",
        )
    )
    assert parse_sockets(text, frozenset()) == ("0.0.0.0:22", "[::1]:22", "0.0.0.0:9")
    assert "127.0.0.1:2200" in parse_sockets(text, frozenset(), frozenset(("2200",)))


@pytest.mark.parametrize(
    ("main", "more", "ports"),
    [
        ("#Port 22\n", "", {"22"}),
        ("Port 2200\n", "", {"2200"}),
        ("port=2200\n Port 2201\n", "Port 2202", {"2200", "2201", "2202"}),
        ("ListenAddress 127.0.0.1:2200\nListenAddress [::1]:2201\n", "", {"22", "2200", "2201"}),
        ("ListenAddress ::1\nListenAddress 10.0.0.1\n", "Port 2200", {"2200"}),
    ],
)
def test_ports_of_sshd(tmp_path: Path, main: str, more: str, ports: set[str]) -> None:
    host = make_tree(tmp_path, {"/etc/ssh/sshd_config": main, "/etc/ssh/sshd_config.d/50.conf": more})
    assert sshd_ports(host) == ports


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ""),
        ({"/etc/systemd/system.conf": "[Manager]\n#RuntimeWatchdogSec=off\n"}, ""),
        ({"/etc/systemd/system.conf": "RuntimeWatchdogSec = 30s\n"}, "=30s in /etc/systemd/system.conf"),
        ({"/usr/lib/systemd/system.conf": "RuntimeWatchdogSec=9\n"}, "=9 in /usr/lib/systemd/system.conf"),
        (
            {
                "/usr/lib/systemd/system.conf": "RuntimeWatchdogSec=9\n",
                "/etc/systemd/system.conf": "[Manager]\n",
            },
            "",
        ),
        (
            {
                "/etc/systemd/system.conf": "RuntimeWatchdogSec=30\n",
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=0s\n",
            },
            "",
        ),
        (
            {
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=1min\n",
                "/etc/systemd/system.conf.d/40.conf": "RuntimeWatchdogSec=off\n",
            },
            "=1min in /usr/lib/systemd/system.conf.d/50.conf",
        ),
        (
            {
                "/usr/lib/systemd/system.conf.d/50.conf": "RuntimeWatchdogSec=1min\n",
                "/etc/systemd/system.conf.d/50.conf": "",
            },
            "",
        ),
    ],
)
def test_systemds_own_watchdog(tmp_path: Path, files: dict[str, str | bytes], found: str) -> None:
    assert runtime_watchdog(make_tree(tmp_path, files)) == (f"RuntimeWatchdogSec{found}" if found else "")


def test_watchdog_daemons(tmp_path: Path) -> None:
    links = {
        "/etc/systemd/system/default.target.wants/watchdog.service": "/lib/systemd/system/watchdog.service",
        "/etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service",
        "/run/systemd/units/invocation:wd_keepalive.service": "abc",
    }
    found = probe_services(make_tree(tmp_path, {}, links), {})
    assert found.watchdog_daemons == ("watchdog.service", "wd_keepalive.service")


def entry(state: str) -> str:
    return json.dumps({"format": 1, "n": 1, "state": state, "kind": "x", "step": {}}) + "\n"


@pytest.mark.parametrize(
    ("journal", "state"),
    [
        (None, "none"),
        (["planned"], "half-applied"),
        (["planned", "doing"], "half-applied"),
        (["planned", "doing", "done"], "applied"),
        (["planned", "doing", "undoing"], "half-reverted"),
        (["nonsense"], "unreadable"),
    ],
)
def test_conversion(tmp_path: Path, journal: list[str] | None, state: str) -> None:
    files: dict[str, str | bytes] = {
        "/boot/xen-4.17-amd64.gz": "",
        "/boot/xen-4.8.gz": "",
        "/boot/xenable/a/xen": "",
        "/usr/local/sbin/xl": "",
        "/var/lib/dpkg/info/xen-hypervisor-4.17-amd64.list": "/boot\n/boot/xen-4.17-amd64.gz\n",
        "/var/lib/dpkg/diversions": "/etc/grub.d/20_linux_xen\n/etc/grub.d/08_linux_xen\n:\n",
    }
    if journal is not None:
        files["/var/lib/xenable/journal.jsonl"] = "".join(map(entry, journal))
    found = probe_conversion(make_tree(tmp_path, files))
    assert found.state == state
    assert found.legacy_xen == ("/usr/local/sbin/xl", "/etc/grub.d/20_linux_xen", "/boot/xen-4.8.gz")


@given(st.text(max_size=200))
def test_garbage_never_fails(text: str) -> None:
    parse_cpuinfo(text)
    parse_os_release(text)
    parse_status(text)
    parse_serial(text)
    policy_routes(parse_rows(text) or ())
    parse_chains(text)
    parse_units(text)
    parse_sockets("LISTEN " + text, frozenset())
    parse_ipv4_routes("\n" + text)
    parse_ipv6_routes(text)
    lock_holders(text, 1)
    guest_of(text.split("\0"))
