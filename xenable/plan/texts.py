# SPDX-License-Identifier: GPL-2.0-or-later
"""The texts of the files that a conversion writes."""

from __future__ import annotations

from xenable.config import KernelChoice
from xenable.datafiles import data_file
from xenable.network.effective import GuestNet, Mode, render

MARK = (
    "# Written by Xenable; `xenable revert` takes it away.\n"
    "# Do not edit: settings are in /etc/xenable/xenable.conf.\n"
)
XEN_KERNELS_FIRST = "export XENABLE_KERNEL=xen\n"
"""For the menu, of a conversion with `kernel = xen`."""


def settings_early() -> str:
    """Sourced by grub-mkconfig before Xen's own xen.cfg, which would make Xen the default at once."""
    return MARK + (
        "# Xen's package must not make itself the default: only a trial boot that passed its gate does.\n"
        "XEN_OVERRIDE_GRUB_DEFAULT=0\n"
    )


def settings_late(
    arguments: str, native_flavour: str = "", kernel: KernelChoice = KernelChoice.DISTRO
) -> str:
    """Sourced after all others: what Xenable asks of the hypervisor, before what the administrator set.

    native_flavour: of the kernels that stay the native default (cloud-amd64), where dom0 needs another.
    """
    text = MARK + f'GRUB_CMDLINE_XEN_DEFAULT="{arguments} ${{GRUB_CMDLINE_XEN_DEFAULT}}"\n'
    if native_flavour:
        text += (
            "# The kernel that came for dom0 must not become the native default.\n"
            f"export XENABLE_NATIVE_FLAVOUR={native_flavour}\n"
        )
    if kernel is KernelChoice.XEN:
        text += f"# Kernels that are for Xen alone come first.\n{XEN_KERNELS_FIRST}"
    return text


def packages_hook() -> str:
    """For apt: what packages change in /boot is tried at the next reset. It never makes apt fail."""
    hook = "/usr/share/xenable/apt/after-packages"
    return MARK.replace("#", "//") + (
        "// A newer Xen or dom0 kernel gets one trial at the next reset; what passed stays beside it.\n"
        f'DPkg::Post-Invoke {{ "[ ! -r {hook} ] || sh {hook} || true"; }};\n'
    )


def generator_script() -> str:
    """What /etc/grub.d gets: it runs the generator that the package ships, so that an upgrade renews it.

    Errors: XenableError when the installation lacks it.
    """
    return data_file("grub.d/shim").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------- the guests' network

MODES = {
    Mode.ROUTED: """\
# routed: guests reach dom0, and one another where they are not kept apart.
# No way is opened to the outside.
""",
    Mode.NAT: """\
# nat: guests reach the outside under dom0's own IPv4 address, and nobody there
# reaches them. For that, forwarding is lent to the guests' interfaces and to
# {uplink}, while Xen runs, and to no other: net.ipv4.ip_forward stays as it is.
# Nothing else is let through from {uplink} by that.
""",
    Mode.BRIDGE: """\
# bridge: guests are on the network of {bridge}, each with a MAC address of its
# own, and get their addresses there. Some providers block such guests, or the
# whole machine with them. The networks below are not used.
""",
}
"""What a mode does and means, for those who read the plan or the file."""

MADE = """\
# {bridge} is made of {port}, whenever the machine boots Xen from one of Xenable's
# slots. Natively nothing of the network changes. If with the bridge the addresses,
# the default route and sshd of before are not back, the trial does not pass: the
# machine resets itself within the time limit, and is native again, with nobody there.
"""
"""The same of a bridge that the mode of that name brings along."""


def network_env(net: GuestNet, port: str = "") -> str:
    """The guests' network, as its units, scripts and `xenable guest` read it.

    port: the interface that the bridge is made of; empty where it is there already.
    """
    told = MODES[net.mode].format(uplink=net.uplink, bridge=net.bridge)
    if port:
        told += MADE.format(bridge=net.bridge, port=port)
    settings = (line for line in render(net).splitlines(keepends=True) if not line.startswith("#"))
    return MARK + told + "".join(settings)


def vif_script() -> str:
    """What /etc/xen/scripts gets: it runs the script that the package ships.

    Errors: XenableError when the installation lacks it.
    """
    return data_file("network/vif-shim").read_text(encoding="utf-8")


def unmanaged_by_networkmanager(interface: str) -> str:
    # Not by unmanaged-devices: another file that is read later takes back what this one says there.
    return MARK + (
        "# The interfaces of guests, and dom0's for them, are not for NetworkManager.\n"
        f"[device-xenable]\nmatch-device=interface-name:vif*;interface-name:{interface}\nmanaged=0\n"
    )


def unmanaged_by_networkd(interface: str) -> str:
    return MARK + (
        "# The interfaces of guests, and dom0's for them, are not for systemd-networkd,\n"
        "# and no boot waits for them.\n"
        f"[Match]\nName=vif* {interface}\n\n[Link]\nUnmanaged=yes\n"
    )
