# SPDX-License-Identifier: GPL-2.0-or-later
"""What a conversion does for guests: the network they will be on, and how Xen's tools treat them."""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.bridge import bridge_of
from xenable.checks.network import guest_network6, ipv4_uplink
from xenable.config import Config
from xenable.errors import XenableError
from xenable.machine import Facts
from xenable.network.bridge import Made
from xenable.network.effective import PATH, GuestNet, Mode
from xenable.plan import texts
from xenable.steps.base import Step
from xenable.steps.files import WriteFile
from xenable.steps.options import SetOptions
from xenable.steps.units import EnableUnit

NETWORKMANAGER = "/etc/NetworkManager/conf.d/90-xenable.conf"
NETWORKD = "/etc/systemd/network/05-xenable.network"
VIF_SCRIPT = "/etc/xen/scripts/vif-xenable"
XL_CONF = "/etc/xen/xl.conf"
XENDOMAINS = "/etc/default/xendomains"
UNITS = ("xenable-network.service", "xenable-names.service")


def network_steps(facts: Facts, config: Config) -> tuple[Step, ...]:
    """After the packages, which bring the files of /etc/xen. Nothing of it takes effect before Xen runs.

    Forwarding for `nat` is no setting here: those of sysctl.d(5) hold for the native system too, and would
    make a router of it. xenable-network.service lends it, behind rules that keep it to the guests.

    Errors: XenableError where the mode lacks what it needs.
    """
    net = guest_net(facts, config)
    made = bridge_of(facts, config)
    port = config.guest_bridge_port if made else ""
    return (
        WriteFile(path=str(PATH), content=texts.network_env(net, port)),
        *_left_alone(facts, net),
        *(_bridge_steps(made) if made else ()),
        WriteFile(path=VIF_SCRIPT, content=texts.vif_script(), mode=0o755),
        SetOptions(path=XL_CONF, options=xl_options(net), why=_why(net)),
        SetOptions(
            path=XENDOMAINS,
            options=(("XENDOMAINS_SAVE", '""'), ("XENDOMAINS_RESTORE", "false")),
            why="guests are shut down with dom0, and their memory is not written to its disk",
        ),
        *(EnableUnit(unit=unit) for unit in UNITS),
    )


def guest_net(facts: Facts, config: Config) -> GuestNet:
    """The network as it will be. Errors: XenableError where the mode lacks what it needs."""
    mode = config.guest_mode
    uplink = ipv4_uplink(facts) if mode is Mode.NAT else ""
    bridge = config.guest_bridge if mode is Mode.BRIDGE else ""
    if mode is Mode.NAT and not uplink:
        raise XenableError(
            "cannot plan: there is no default route for IPv4, through which guests could go out",
            hint="set `guest-mode = routed` in /etc/xenable/xenable.conf",
        )
    if mode is Mode.BRIDGE and not bridge:
        raise XenableError(
            "cannot plan: guests are to be on a bridge, and none is named",
            hint="set `guest-bridge` in /etc/xenable/xenable.conf",
        )
    return GuestNet(
        mode=mode,
        interface=config.guest_interface,
        ipv4=config.guest_network,
        ipv6=guest_network6(facts, config),
        uplink=uplink,
        bridge=bridge,
    )


def xl_options(net: GuestNet) -> tuple[tuple[str, str], ...]:
    """What xl is to do where a guest's configuration says nothing, and never: take memory from dom0."""
    autoballoon = ("autoballoon", '"off"')
    if net.mode is Mode.BRIDGE:
        bridge = ("vif.default.bridge", f'"{net.bridge}"')
        return (("vif.default.script", '"vif-bridge"'), bridge, autoballoon)
    return (("vif.default.script", '"vif-xenable"'), autoballoon)


def _why(net: GuestNet) -> str:
    where = f"on the bridge {net.bridge}" if net.mode is Mode.BRIDGE else "in Xenable's network"
    return f"guests are {where}, and dom0 keeps its memory"


def _bridge_steps(made: Made) -> Iterator[Step]:
    """Files that natively are without effect, so that the network is touched by the trial boot alone."""
    for file in made.files:
        yield WriteFile(path=file.path, content=texts.MARK + file.text, mode=file.mode)
    if made.unit:
        yield EnableUnit(unit=made.unit)


def _left_alone(facts: Facts, net: GuestNet) -> Iterator[Step]:
    """ifupdown touches only what it was told to; the others take whatever appears, also where they have
    nothing to manage yet."""
    managers = {i.manager for i in facts.network.interfaces} | set(facts.network.watchers)
    if "networkmanager" in managers:
        yield WriteFile(path=NETWORKMANAGER, content=texts.unmanaged_by_networkmanager(net.interface))
    if managers & {"networkd", "netplan"}:
        yield WriteFile(path=NETWORKD, content=texts.unmanaged_by_networkd(net.interface))
