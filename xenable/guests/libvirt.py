# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as libvirt has it: domain XML for its libxl driver, by libvirt.org/formatdomain.html."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from xenable.errors import XenableError
from xenable.guests.model import Boot, Format, Guest, Kind
from xenable.guests.xlcfg import LOADERS, summary

_MACHINES = {Kind.PV: ("xenpv", "linux"), Kind.PVH: ("xenpvh", "xenpvh")}
"""Machine, and the text of <os><type>."""


def as_in_file(guest: Guest, text: str, where: str) -> Guest:
    """A guest with the kind, memory and processors of its xl.cfg, which may have been edited.

    Errors: XenableError for a file that xl can't read either, or that makes it neither PV nor PVH.
    """
    found = summary(text, where)
    if found.kind not in [kind.value for kind in _MACHINES]:
        raise XenableError(
            f"cannot export {guest.name}: by {where} its type is {found.kind}, and it has to be pv or pvh",
            hint="write its XML by hand, or set the type that it was made with",
        )
    memory = found.memory if found.memory is not None else guest.memory
    # Without that line xl gives it one.
    return replace(guest, kind=Kind(found.kind), memory=memory, vcpus=found.vcpus or 1)


def domain_xml(guest: Guest) -> str:
    """The text of a domain's XML, to be read by `virsh define`."""
    domain = ET.Element("domain", type="xen")
    _text(domain, "name", guest.name)
    _text(domain, "uuid", guest.uuid)
    _text(domain, "memory", str(guest.memory), unit="MiB")
    _text(domain, "currentMemory", str(guest.memory), unit="MiB")
    _text(domain, "vcpu", str(guest.vcpus))
    _os(domain, guest)
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "restart")
    devices = ET.SubElement(domain, "devices")
    _disk(devices, guest.disk, guest.format, "xvda")
    _disk(devices, guest.seed, Format.RAW, "xvdb", read_only=True)
    _interface(devices, guest)
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="xen", port="0")
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _os(domain: ET.Element, guest: Guest) -> None:
    machine, kind = _MACHINES[guest.kind]
    os = ET.SubElement(domain, "os")
    _text(os, "type", kind, arch="x86_64", machine=machine)
    if guest.boot is Boot.GRUB:
        _text(os, "kernel", LOADERS[guest.kind])
        return
    _text(os, "kernel", guest.kernel)
    if guest.initrd:
        _text(os, "initrd", guest.initrd)
    if guest.arguments:
        _text(os, "cmdline", guest.arguments)


def _disk(devices: ET.Element, path: str, kind: Format, name: str, *, read_only: bool = False) -> None:
    block = kind is Format.BLOCK
    disk = ET.SubElement(devices, "disk", type="block" if block else "file", device="disk")
    # As xl has it: dom0's kernel serves what is raw, by a loop device where it is a file.
    if kind is Format.QCOW2:
        ET.SubElement(disk, "driver", name="qemu", type="qcow2")
    else:
        ET.SubElement(disk, "driver", name="phy", type="raw")
    ET.SubElement(disk, "source", {"dev" if block else "file": path})
    ET.SubElement(disk, "target", dev=name, bus="xen")
    if read_only:
        ET.SubElement(disk, "readonly")


def _interface(devices: ET.Element, guest: Guest) -> None:
    interface = ET.SubElement(devices, "interface", type="bridge" if guest.bridge else "ethernet")
    ET.SubElement(interface, "mac", address=guest.mac)
    if guest.bridge:
        ET.SubElement(interface, "source", bridge=guest.bridge)
        ET.SubElement(interface, "script", path="vif-bridge")
        return
    ET.SubElement(interface, "ip", address=guest.ipv4, family="ipv4")
    if guest.ipv6:
        ET.SubElement(interface, "ip", address=guest.ipv6, family="ipv6")
    ET.SubElement(interface, "script", path="vif-xenable")
