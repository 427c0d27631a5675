# SPDX-License-Identifier: GPL-2.0-or-later
"""Other hypervisors: what runs now, and what is set up and idle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from xenable.facts.dpkg import Known, installed
from xenable.facts.modules import parse_modules
from xenable.host import Host
from xenable.machine import OtherHypervisor

KVM_PROGRAMS = re.compile(r"qemu-system-\w+|qemu-kvm|kvm|firecracker|cloud-hypervisor")
VIRTUALBOX_PROGRAMS = ("VBoxHeadless", "VirtualBoxVM")


def probe_other_hypervisors(host: Host, known: Mapping[str, Known]) -> tuple[OtherHypervisor, ...]:
    """Those that run guests or are set up to, in the order of their names."""
    guests: dict[str, list[str]] = {}
    for pid in sorted((name for name in host.names("/proc") if name.isdecimal()), key=int):
        if found := guest_of(host.text(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")):
            kind, name = found
            guests.setdefault(kind, []).append(name or f"process {pid}")
    for kind in _idle(host, known):
        guests.setdefault(kind, [])
    return tuple(OtherHypervisor(kind=kind, guests=tuple(names)) for kind, names in sorted(guests.items()))


def guest_of(words: Sequence[str]) -> tuple[str, str] | None:
    """Kind of hypervisor and name of the guest that a process runs; None when it runs none.

    QEMU without hardware virtualisation does not count: it works under Xen as well, and as its helper.
    """
    program = words[0].rpartition("/")[2] if words else ""
    if KVM_PROGRAMS.fullmatch(program):
        text = " ".join(words)
        contained = re.search(r"/(lxd|incus)/", text)
        if "-xen-domid" in words or "-xen-attach" in words:
            return None
        if program.startswith("qemu-system") and not contained and not re.search(r"\bkvm\b", text):
            return None
        return ("lxd" if contained else "kvm"), _after(words, ("-name", "--id")).partition(",")[
            0
        ].removeprefix("guest=")
    if program in VIRTUALBOX_PROGRAMS:
        return "virtualbox", _after(words, ("--comment", "-comment", "--startvm", "-startvm"))
    if program == "vmware-vmx":
        return "vmware", words[-1].rpartition("/")[2].removesuffix(".vmx")
    return None


def _after(words: Sequence[str], options: Sequence[str]) -> str:
    for option in options:
        if option in words[:-1]:
            return words[words.index(option) + 1]
    return ""


def _idle(host: Host, known: Mapping[str, Known]) -> tuple[str, ...]:
    loaded = parse_modules(host.text("/proc/modules"))
    kinds = []
    if installed(known, "libvirt-daemon") or any(
        name.endswith(".xml") for name in host.names("/etc/libvirt/qemu")
    ):
        kinds.append("kvm")
    if "vboxdrv" in loaded:
        kinds.append("virtualbox")
    if "vmmon" in loaded:
        kinds.append("vmware")
    if any(
        host.names(f"{place}/virtual-machines")
        for place in ("/var/snap/lxd/common/lxd", "/var/lib/lxd", "/var/lib/incus")
    ):
        kinds.append("lxd")
    return tuple(kinds)
