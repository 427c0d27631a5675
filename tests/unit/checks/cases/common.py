# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tables have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.factory import CLOUD_KERNEL, GENERIC, HEALTHY, KERNEL, UPLINK, XEN, configured, make_config
from xenable.checks import run_checks
from xenable.config import Config
from xenable.machine import Candidate, Facts, MenuEntry, Route
from xenable.model import Finding
from xenable.network.effective import Mode

Case = tuple[str, dict[str, Any], dict[str, Any], str, str]
"""Id, what is different from the healthy machine, settings that are not the defaults, and what diagnosis and
remedy say."""

WITH_KERNEL = {"new": (*HEALTHY.packages.new, GENERIC)}
NO_GENERIC = {"kernel": None}
ADDS_KERNEL = {"kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL}
XEN_ENTRY = MenuEntry(
    id="xen-1",
    title="Debian, with Xen",
    path="xen-1",
    titles="Debian, with Xen",
    numbers="2",
    loads_xen=True,
)
VPN = Route(destination="172.16.0.0/12", interface="wg0", gateway="")
VPN6 = Route(destination="fd12:3456:789a::/48", interface="wg0", gateway="")
DROPS = {"forward_policy": "drop", "firewalls": ("docker", "ufw")}
BRIDGE = replace(UPLINK, name="br0", kind="bridge")
WIFI = replace(UPLINK, name="wlp2s0", kind="wireless")
LEAN = Candidate(name="xen-image-lean", version="6.12.107-1")
WITH_LEAN = {"xen_kernel": LEAN, "new": (XEN, LEAN)}
XEN_KERNEL = replace(
    KERNEL,
    version="6.12.107-1-xen-lean",
    image="/boot/linux-6.12.107-1-xen-lean",
    package="xen-image-6.12.107-1-xen-lean",
    flavour="xen-lean",
    compression="gzip",
    xen_only=True,
    running=False,
)
NAT = {"guest_mode": Mode.NAT}
BRIDGED = {"guest_mode": Mode.BRIDGE, "guest_bridge": "br0"}
MADE = {**BRIDGED, "guest_bridge_port": "enp0s3"}
INTERFACES = "/etc/network/interfaces"
PLAIN = configured("ifupdown", (INTERFACES, "auto enp0s3\niface enp0s3 inet dhcp\n"))


def ids_of(facts: Facts, **config: Any) -> set[str]:
    return {f.id for f in run_checks(facts, make_config(**config))}


def others(facts: Facts, config: Config) -> tuple[Finding, ...]:
    """The findings but for the one that every machine has: how much memory dom0 gets."""
    return tuple(f for f in run_checks(facts, config) if f.id != "memory/dom0")
