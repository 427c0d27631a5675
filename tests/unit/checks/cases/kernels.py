# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/kernels.py."""

from __future__ import annotations

from dataclasses import replace

from tests.factory import CLOUD_KERNEL, KERNEL
from tests.unit.checks.cases.common import LEAN, NO_GENERIC, WITH_KERNEL, WITH_LEAN, XEN_KERNEL, Case
from xenable.config import KernelChoice
from xenable.machine import Answer

CASES: tuple[Case, ...] = (
    (
        "kernel/no-dom0-support",
        {"kernels": (CLOUD_KERNEL,), "packages": NO_GENERIC},
        {},
        "The kernel 6.12.107+deb13-cloud-amd64 can't be dom0.",
        "apt-get update",
    ),
    (
        "kernel/no-dom0-support",
        {"kernels": (), "packages": NO_GENERIC},
        {},
        "no kernel in /boot. The package lists have none",
        "",
    ),
    (
        "kernel/compression",
        {"kernels": (replace(KERNEL, compression="zstd"),), "packages": {"xen_series": "4.14"}},
        {},
        "compressed with zstd; Xen 4.14 can't read that",
        "gzip",
    ),
    (
        "kernel/no-initrd",
        {"kernels": (replace(KERNEL, initrd=""),)},
        {},
        "no initrd for it",
        "update-initramfs -c",
    ),
    (
        "kernel/compression-unknown",
        {"kernels": (replace(KERNEL, compression=""),)},
        {},
        "/boot/vmlinuz-6.12.107+deb13-amd64 is compressed in a way",
        "own kernel",
    ),
    (
        "kernel/compression-unknown",
        {"kernels": (replace(KERNEL, compression="", forbidden=True),)},
        {},
        "/boot/vmlinuz-6.12.107+deb13-amd64 may not be read without root rights.",
        "as root",
    ),
    (
        "kernel/other-than-running",
        {"kernels": (CLOUD_KERNEL, replace(KERNEL, running=False))},
        {},
        "6.12.107+deb13-cloud-amd64; dom0 can be 6.12.107+deb13-amd64.",
        "",
    ),
    (
        "kernel/generic-added",
        {"kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL},
        {},
        "linux-image-amd64 6.12.107-1 comes",
        "xenable revert",
    ),
    (
        "kernel/no-watchdog",
        {"kernels": (replace(KERNEL, watchdog=Answer.NO),)},
        {},
        "dom0 would get 6.12.107+deb13-amd64: there is no xen_wdt",
        "linux-modules-extra",
    ),
    (
        "kernel/no-watchdog",
        {"kernels": (KERNEL, replace(XEN_KERNEL, watchdog=Answer.NO))},
        {"kernel": KernelChoice.XEN},
        "dom0 would get 6.12.107-1-xen-lean",
        "",
    ),
    (
        "kernel/options-missing",
        {"kernels": (replace(KERNEL, missing_options=("XEN_BLKDEV_BACKEND", "XEN_GNTDEV")),)},
        {},
        "lacks XEN_BLKDEV_BACKEND and XEN_GNTDEV",
        "generic kernel",
    ),
    (
        "kernel/dom0-unknown",
        {"kernels": (KERNEL, replace(KERNEL, version="6.1-own", dom0=Answer.UNKNOWN, running=False))},
        {},
        "6.1-own",
        "/boot/config-",
    ),
    (
        "kernel/no-xen-kernel",
        {"kernels": (KERNEL,)},
        {"kernel": KernelChoice.XEN},
        "none in /boot, and apt knows none",
        "xenable kernel build",
    ),
    (
        "kernel/no-xen-kernel",
        {"kernels": (replace(XEN_KERNEL, initrd=""),), "packages": {"xen_kernel": LEAN}},
        {"kernel": KernelChoice.XEN},
        "would not install xen-image-lean 6.12.107-1, and there is no usable one",
        "--kernel xen",
    ),
    (
        "kernel/xen-kernel-added",
        {"kernels": (CLOUD_KERNEL,), "packages": WITH_LEAN},
        {"kernel": KernelChoice.XEN},
        "xen-image-lean 6.12.107-1 comes from the local repository",
        "xenable revert",
    ),
    (
        "kernel/not-booted",
        {"kernels": (replace(KERNEL, version="6.12.118+deb13-amd64", running=False), KERNEL)},
        {},
        "Running is 6.12.107+deb13-amd64, and the next start is of 6.12.118+deb13-amd64.",
        "Reboot",
    ),
    (
        "kernel/not-booted",
        {"kernels": (replace(KERNEL, running=False),), "running_kernel": "6.19-own"},
        {},
        "What runs now is no kernel in /boot (6.19-own); there is 6.12.107+deb13-amd64.",
        "neither would Xen",
    ),
)
