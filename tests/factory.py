# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of a healthy machine, to be changed by a test: Debian 13, UEFI, ext4 root with /boot on it."""

from __future__ import annotations

import dataclasses
from typing import Any

from xenable.config import SETTINGS, Config
from xenable.machine import (
    Answer,
    BootLoader,
    Candidate,
    Console,
    Conversion,
    Cpu,
    Distribution,
    Facts,
    FileSystem,
    Firmware,
    FirmwareKind,
    Interface,
    InterfaceConfig,
    Kernel,
    LoaderKind,
    Memory,
    Menu,
    MenuEntry,
    Modules,
    Network,
    Packages,
    Route,
    SerialConsole,
    Services,
    Storage,
    Virtualization,
)

ROOT = FileSystem(
    mount_point="/",
    source="/dev/vda2",
    uuid="6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11",
    kind="ext4",
    stack=("part", "disk"),
    free=6000,
    total=10000,
    read_only=False,
)
BOOT = dataclasses.replace(ROOT, mount_point="/boot", source="/dev/vda3", free=700, total=900)
ESP = dataclasses.replace(
    ROOT, mount_point="/boot/efi", source="/dev/vda1", uuid="A1B2-C3D4", kind="vfat", free=90, total=100
)
KERNEL = Kernel(
    version="6.12.107+deb13-amd64",
    image="/boot/vmlinuz-6.12.107+deb13-amd64",
    package="linux-image-6.12.107+deb13-amd64",
    compression="xz",
    dom0=Answer.YES,
    missing_options=(),
    initrd="/boot/initrd.img-6.12.107+deb13-amd64",
    initrd_size=48,
    initrd_unpacked=190,
    running=True,
    watchdog=Answer.YES,
)
CLOUD_KERNEL = dataclasses.replace(
    KERNEL,
    version="6.12.107+deb13-cloud-amd64",
    image="/boot/vmlinuz-6.12.107+deb13-cloud-amd64",
    package="linux-image-6.12.107+deb13-cloud-amd64",
    flavour="cloud-amd64",
    dom0=Answer.NO,
    initrd="/boot/initrd.img-6.12.107+deb13-cloud-amd64",
    initrd_size=28,
    initrd_unpacked=90,
)
GENERIC = Candidate(name="linux-image-amd64", version="6.12.107-1")
XEN = Candidate(name="xen-system-amd64", version="4.20.3+127-gc42374a105-0+deb13u1")
UPLINK = Interface(
    name="enp0s3",
    mac="52:54:00:12:34:56",
    kind="physical",
    up=True,
    addresses=("10.0.2.15/24", "fe80::5054:ff:fe12:3456/64"),
    manager="networkd",
)
SUBMENU = "gnulinux-advanced-6e0b"
ENTRIES = (
    MenuEntry(
        id="gnulinux-simple-6e0b",
        title="Debian GNU/Linux",
        path="gnulinux-simple-6e0b",
        titles="Debian GNU/Linux",
        numbers="0",
        loads_xen=False,
    ),
    MenuEntry(
        id="gnulinux-6.12-advanced-6e0b",
        title="Debian GNU/Linux, with Linux 6.12",
        path=f"{SUBMENU}>gnulinux-6.12-advanced-6e0b",
        titles="Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12",
        numbers="1>0",
        loads_xen=False,
    ),
    MenuEntry(
        id="gnulinux-6.12-recovery-6e0b",
        title="Debian GNU/Linux, with Linux 6.12 (recovery mode)",
        path=f"{SUBMENU}>gnulinux-6.12-recovery-6e0b",
        titles="Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12 (recovery mode)",
        numbers="1>1",
        loads_xen=False,
    ),
)

HEALTHY = Facts(
    distribution=Distribution(
        id="debian", version_id="13", codename="trixie", name="Debian GNU/Linux 13 (trixie)"
    ),
    cpu=Cpu(architecture="amd64", vendor="AuthenticAMD", count=4, hvm=Answer.YES, iommu=Answer.YES),
    virtualization=Virtualization(container="", hypervisor="", xen_role="", xen_version=""),
    memory=Memory(total=7900, used=420, zfs_arc=None),
    firmware=Firmware(kind=FirmwareKind.UEFI, secure_boot=Answer.NO, efi_variables=Answer.YES),
    storage=Storage(root=ROOT, boot=ROOT, esp=ESP),
    boot_loader=BootLoader(
        kind=LoaderKind.GRUB,
        name="GRUB",
        version="2.12-9+deb13u2",
        platforms=("x86_64-efi",),
        missing_modules=(),
        environment="/boot/grub",
        environment_obstacle="",
        own_loader="",
        own_loader_obstacle="",
    ),
    menu=Menu(readable=True, entries=ENTRIES, grub_default="0", saved_entry="", next_entry=""),
    kernels=(KERNEL,),
    packages=Packages(
        usable=Answer.YES,
        problem="",
        locked_by="",
        half_installed=(),
        held=(),
        lists_age_days=1,
        install_recommends=True,
        xen=XEN,
        xen_series="4.20",
        kernel=GENERIC,
        recommended=(),
        installed_xen=(),
        new=(XEN, Candidate(name="xen-hypervisor-4.20-amd64", version=XEN.version)),
        removed=(),
        download_bytes=40_000_000,
        installed_kib=160_000,
    ),
    modules=Modules(dkms=(), tainting=(), graphics=()),
    other_hypervisors=(),
    network=Network(
        known=True,
        interfaces=(UPLINK,),
        routes=(
            Route(destination="default", interface="enp0s3", gateway="10.0.2.2"),
            Route(destination="10.0.2.0/24", interface="enp0s3", gateway=""),
        ),
        firewalls=(),
        forward_policy="accept",
        ip_forward=Answer.NO,
    ),
    console=Console(
        command_line="root=UUID=6e0b1a2f ro console=ttyS0,115200n8",
        serial=(SerialConsole(port=0, speed=115200, mode="8n1"),),
    ),
    services=Services(
        known=True,
        failed=(),
        ssh_listen=("0.0.0.0:22", "[::]:22"),
        os_prober=Answer.NO,
        system="running",
    ),
    conversion=Conversion(state="none", legacy_xen=()),
)


def make_facts(**changes: Any) -> Facts:
    """The healthy machine with changes: `memory={"total": 900}` replaces fields of a part, any other value
    replaces the part itself.
    """
    parts: dict[str, Any] = {}
    for name, change in changes.items():
        whole = isinstance(change, dict)
        parts[name] = dataclasses.replace(getattr(HEALTHY, name), **change) if whole else change
    return dataclasses.replace(HEALTHY, **parts)


def make_config(**changes: Any) -> Config:
    """The default settings with changes."""
    values = {s.field: s.parse(s.default) for s in SETTINGS}
    return Config(**{**values, **changes})


def configured(manager: str, *files: tuple[str, str], iaid: int | None = None) -> Network:
    """The healthy machine's network with its card configured by these files: path and text."""
    return dataclasses.replace(
        HEALTHY.network,
        interfaces=(dataclasses.replace(UPLINK, manager=manager),),
        configs=tuple(
            InterfaceConfig(interface=UPLINK.name, file=file, text=text, iaid=iaid) for file, text in files
        ),
    )
