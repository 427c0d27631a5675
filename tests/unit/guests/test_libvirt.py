# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden domains, valid by libvirt's schema. `XENABLE_UPDATE_GOLDEN=1 pytest` writes them anew."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.guests.fixtures import CASES, guests, make_guest
from xenable.guests.libvirt import domain_xml
from xenable.guests.model import Format, Guest
from xenable.guests.xlcfg import render, summary

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text = domain_xml(make_guest(**CASES[name]))
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@given(guests())
def test_it_is_the_guest_of_the_xl_cfg(guest: Guest) -> None:
    domain, cfg = ET.fromstring(domain_xml(guest)), summary(render(guest))
    assert domain.findtext("name") == cfg.name
    assert domain.findtext("memory") == str(cfg.memory)
    assert domain.findtext("vcpu") == str(cfg.vcpus)
    machine = domain.find("os/type")
    assert machine is not None and machine.get("machine") == f"xen{cfg.kind}"
    disks = domain.findall("devices/disk")
    for found, disk in zip(disks, cfg.disks, strict=True):
        source, target, driver = found.find("source"), found.find("target"), found.find("driver")
        assert source is not None and target is not None and driver is not None
        assert list(source.attrib.values()) == [disk.target]
        assert target.get("dev") == disk.vdev
        assert driver.get("type") == disk.format
        assert driver.get("name") == ("qemu" if disk.format == "qcow2" else "phy")
        assert (found.find("readonly") is None) == disk.writable
    assert disks[0].get("type") == ("block" if guest.format is Format.BLOCK else "file")
    script = domain.find("devices/interface/script")
    assert script is not None and script.get("path") == cfg.vifs[0]["script"]
