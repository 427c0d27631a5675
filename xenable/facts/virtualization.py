# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this is a container, a virtual machine or a Xen domain, and of which kind.

Names are those of systemd-detect-virt(1); all of it is read from files, so that it works on a folder too.
"""

from __future__ import annotations

from xenable.facts.cpu import parse_cpuinfo
from xenable.facts.files import line
from xenable.host import Host
from xenable.machine import Virtualization

XENFEAT_DOM0 = 11
"""Bit of /sys/hypervisor/properties/features (Xen's public/features.h)."""

DMI = "/sys/class/dmi/id"
DMI_NAMES = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
)
"""What firmware tables of virtual machines begin with."""

CLOCKS = (("kvm-clock", "kvm"), ("hyperv_clocksource", "microsoft"), ("xen", "xen"))


def probe_virtualization(host: Host) -> Virtualization:
    xen_role = _xen_role(host)
    return Virtualization(
        container=_container(host),
        hypervisor="xen" if xen_role == "domU" else _hypervisor(host, under_xen=bool(xen_role)),
        xen_role=xen_role,
        xen_version=_xen_version(host) if xen_role else "",
    )


def _container(host: Host) -> str:
    for path in ("/run/systemd/container", "/run/host/container-manager"):
        if name := line(host, path):
            return name
    for word in host.text("/proc/1/environ").split("\0"):
        name, _, value = word.partition("=")
        if name == "container":
            return value or "container-other"
    if host.exists("/run/.containerenv"):
        return "podman"
    if host.exists("/.dockerenv"):
        return "docker"
    if host.exists("/proc/vz") and not host.exists("/proc/bc"):
        return "openvz"
    kernel = line(host, "/proc/sys/kernel/osrelease")
    return "wsl" if "Microsoft" in kernel or "WSL" in kernel else ""


def _xen_role(host: Host) -> str:
    if line(host, "/sys/hypervisor/type") != "xen":
        return ""
    if "control_d" in host.text("/proc/xen/capabilities"):
        return "dom0"
    # xenfs may not be mounted (yet): the features say it too.
    try:
        features = int(line(host, "/sys/hypervisor/properties/features"), 16)
    except ValueError:
        return "domU"
    return "dom0" if features >> XENFEAT_DOM0 & 1 else "domU"


def _xen_version(host: Host) -> str:
    major, minor, extra = (line(host, f"/sys/hypervisor/version/{x}") for x in ("major", "minor", "extra"))
    return f"{major}.{minor}{extra}" if major and minor else ""


def _hypervisor(host: Host, *, under_xen: bool) -> str:
    flags = parse_cpuinfo(host.text("/proc/cpuinfo")).get("flags", "").split()
    # A bare-metal instance of a cloud carries the vendor's name as well, but no hypervisor bit.
    # Under Xen that bit is Xen's own, so there only the firmware can tell.
    if flags and "hypervisor" not in flags and not under_xen:
        return ""
    found = _from_dmi(host)
    if under_xen:
        return found
    clocks = host.text("/sys/devices/system/clocksource/clocksource0/available_clocksource").split()
    if found in ("", "qemu", "google", "bochs"):
        for clock, kind in CLOCKS:
            if clock in clocks or (
                clock == "hyperv_clocksource" and any(c.startswith(clock) for c in clocks)
            ):
                return found if found == "google" else kind
    return found or ("vm-other" if "hypervisor" in flags else "")


def _from_dmi(host: Host) -> str:
    product, vendor = line(host, f"{DMI}/product_name"), line(host, f"{DMI}/sys_vendor")
    if vendor == "Microsoft Corporation" and product == "Virtual Machine":
        return "microsoft"
    others = (line(host, f"{DMI}/{name}") for name in ("board_vendor", "bios_vendor", "product_version"))
    for text in (product, vendor, *others):
        for beginning, kind in DMI_NAMES:
            if text.startswith(beginning):
                return kind
    return ""
