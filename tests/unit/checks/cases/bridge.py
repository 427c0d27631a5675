# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/bridge.py."""

from __future__ import annotations

from dataclasses import replace

from tests.factory import UPLINK, configured
from tests.unit.checks.cases.common import BRIDGE, BRIDGED, INTERFACES, MADE, PLAIN, Case
from xenable.network.effective import Mode

CASES: tuple[Case, ...] = (
    (
        "network/no-bridge",
        {},
        {"guest_mode": Mode.BRIDGE},
        "`guest-bridge` is not set.",
        "Or make a bridge first",
    ),
    (
        "network/no-bridge",
        {},
        BRIDGED,
        "There is no interface br0.",
        "Set `guest-bridge-port` to the",
    ),
    (
        "network/no-bridge",
        {},
        {"guest_mode": Mode.BRIDGE, "guest_bridge_port": "enp0s3"},
        "`guest-bridge` is not set.",
        "",
    ),
    (
        "network/bridge-port",
        {},
        {**MADE, "guest_bridge_port": "eth7"},
        "Cannot make the bridge br0 of eth7: there is no interface eth7. The bridge takes over",
        "name another interface",
    ),
    (
        "network/bridge-port",
        {"network": configured("ifupdown", (INTERFACES, "auto enp0s3\niface enp0s3 inet ppp\n"))},
        MADE,
        "a line that can't be carried over to a bridge: `iface enp0s3 inet ppp`.",
        "Change what is in the way",
    ),
    (
        "network/bridge-port",
        {"network": configured("ifupdown", (INTERFACES, ""))},
        MADE,
        f"{INTERFACES} can't be read, or not by everybody",
        "Run the command as root",
    ),
    (
        "network/bridge-port",
        {"network": {"interfaces": (UPLINK, replace(BRIDGE, kind="bond"))}},
        MADE,
        "there is an interface br0 already (kind: bond).",
        "",
    ),
    (
        "network/bridge-port",
        {"network": PLAIN},
        {**MADE, "guest_bridge": "xenable0"},
        "dom0's interface for guests is called xenable0.",
        "Choose another name for `guest-bridge`.",
    ),
    (
        "network/bridged",
        {"network": PLAIN},
        MADE,
        "on br0, which is made of enp0s3 under Xen. Each has a MAC address of its own",
        "On a rented machine",
    ),
    (
        "network/bridge-port-not-used",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        MADE,
        "There is a bridge br0 already.",
        "can be taken out",
    ),
    (
        "network/bridge-port-not-used",
        {},
        {"guest_bridge_port": "enp0s3"},
        "`guest-bridge-port` is enp0s3, and `guest-mode` is routed.",
        "",
    ),
    (
        "network/no-bridge",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        {"guest_mode": Mode.BRIDGE, "guest_bridge": "enp0s3"},
        "enp0s3 is no bridge (kind: physical).",
        "Set `guest-bridge` to one that is there, as br0, or",
    ),
    (
        "network/bridged",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "on br0. Each has a MAC address of its own",
        "On a rented machine",
    ),
    (
        "network/bridge-not-used",
        {},
        {"guest_bridge": "br0"},
        "`guest-bridge` is br0, and `guest-mode` is routed.",
        "",
    ),
)
