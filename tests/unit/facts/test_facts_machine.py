# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
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
from xenable.facts.firewall import parse_chains
from xenable.facts.memory import probe_memory
from xenable.facts.modules import probe_modules
from xenable.facts.network import (
    parse_ipv4_routes,
    parse_ipv6_routes,
    parse_rows,
    policy_routes,
)
from xenable.facts.other_hypervisors import guest_of, probe_other_hypervisors
from xenable.facts.packages import lock_holders, probe_packages
from xenable.facts.services import parse_sockets, parse_units
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
