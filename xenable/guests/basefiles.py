# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a base image has beside its packages."""

from __future__ import annotations

from dataclasses import dataclass

PACKAGES = (
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "initramfs-tools",
    "grub2-common",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "e2fsprogs",
    "procps",
    "less",
    "nano",
)
"""Beside apt, what is essential, and a kernel. grub2-common has update-grub and the hooks in /etc/kernel
that run it after a change of kernels; it brings grub-common with grub-mkconfig, and no boot loader. There
is no ca-certificates: what needs it brings it, and it takes long to install."""

RESOLVED = "systemd-resolved"
"""For guests on a bridge, whose name servers come by DHCP; where it is not a part of systemd."""


@dataclass(frozen=True, kw_only=True)
class BaseFile:
    path: str
    text: str
    mode: int = 0o644


# ext4 is built into the cloud kernel and a module of others; a module that is not there is passed over.
MODULES = """\
# Written by Xenable: all that a guest of Xen needs to find its root file system.
crc32c
ext4
xen-blkfront
"""

INITRAMFS = """\
# Written by Xenable. A guest of Xen has no other hardware: the initrd is small, and quickly made and read.
MODULES=list
COMPRESS=gzip
RESUME=none
"""

GRUB_DEFAULTS = """\
# Written by Xenable. `update-grub` applies a change; GRUB itself comes from dom0.
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=`. /etc/os-release && echo "$NAME"`
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=hvc0"
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
GRUB_DISABLE_RECOVERY=true
"""

DIRECT_ARGUMENTS = "root=/dev/xvda ro console=hvc0"
"""Command line of a kernel that dom0 loads."""


def base_files(uuid: str) -> tuple[BaseFile, ...]:
    """What has to be there before the kernel is installed, which makes its initrd; `uuid` of the root."""
    fstab = (
        "# Written by Xenable. x-systemd.growfs: after `xenable guest resize --disk` the file system fills\n"
        f"# the disk at the next start.\nUUID={uuid} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n"
    )
    return (
        BaseFile(path="/etc/fstab", text=fstab),
        BaseFile(path="/etc/default/grub", text=GRUB_DEFAULTS),
        BaseFile(path="/etc/initramfs-tools/conf.d/xenable", text=INITRAMFS),
        BaseFile(path="/usr/share/initramfs-tools/modules.d/xenable", text=MODULES),
    )


def first_menu(uuid: str, version: str) -> str:
    """The grub.cfg of the image: one kernel. The first update-grub in the guest replaces it."""
    return (
        "# Written by Xenable; the first update-grub in this guest replaces it.\n"
        "set default=0\n"
        "set timeout=1\n"
        f"menuentry 'Linux {version}' {{\n"
        f"\tlinux /boot/vmlinuz-{version} root=UUID={uuid} ro console=hvc0\n"
        f"\tinitrd /boot/initrd.img-{version}\n"
        "}\n"
    )
