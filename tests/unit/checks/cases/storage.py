# SPDX-License-Identifier: GPL-2.0-or-later
"""Findings of checks/storage.py."""

from __future__ import annotations

from dataclasses import replace

from tests.factory import BOOT, CLOUD_KERNEL, ESP, ROOT
from tests.unit.checks.cases.common import WITH_KERNEL, Case

VAR = replace(ROOT, mount_point="/var", source="/dev/vda5", free=90)

CASES: tuple[Case, ...] = (
    (
        "storage/not-found",
        {"storage": {"root": None}},
        {},
        "no known file system for /.",
        "mountinfo",
    ),
    (
        "storage/read-only",
        {"storage": {"root": replace(ROOT, read_only=True), "boot": replace(ROOT, read_only=True)}},
        {},
        "/ (/dev/vda2, ext4) is mounted read-only",
        "mount -o remount,rw /",
    ),
    (
        "storage/encrypted",
        {"storage": {"root": replace(ROOT, stack=("crypt", "part", "disk"))}},
        {},
        "/ (/dev/vda2) is on an encrypted device.",
        "be there for the trial",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=31)}},
        {},
        "/boot has 31 MiB free; 194 MiB are needed: 2 × the initrd's 48 + 34 for Xen + "
        "64 in reserve for the next initrd.",
        "apt-get autoremove --purge",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=150, kind="vfat")}},
        {},
        "242 MiB are needed",
        "",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=200)}, "kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL},
        {},
        "434 MiB are needed: 2 × the initrd's 90 + 114 for the new kernel",
        "",
    ),
    (
        "storage/root-space",
        {"storage": {"root": replace(ROOT, free=200), "boot": replace(ROOT, free=200)}},
        {},
        "/ has 200 MiB free; 454 MiB are needed: 39 for the download + 157 for the packages",
        "apt-get clean",
    ),
    (
        "storage/root-space",
        {"storage": {"root": replace(ROOT, free=900), "others": (VAR,)}},
        {},
        "/var has 90 MiB free; 103 MiB are needed: 39 for the download + 64 in reserve.",
        "apt-get clean",
    ),
    (
        "storage/root-space",
        {"storage": {"others": (replace(VAR, mount_point="/usr"),)}},
        {},
        "/usr has 90 MiB free; 157 MiB are needed: 157 for the packages.",
        "apt-get clean",
    ),
    (
        "storage/root-space",
        {
            "storage": {
                "root": replace(ROOT, free=440, kind="btrfs"),
                "boot": replace(ROOT, free=440, kind="btrfs"),
                "others": (replace(VAR, source=ROOT.source, free=440, kind="btrfs"),),
            }
        },
        {},
        "/ has 440 MiB free; 454 MiB are needed: 39 for the download + 157 for the packages",
        "apt-get clean",
    ),
    (
        "storage/space-unknown",
        {"storage": {"others": (replace(VAR, free=None),)}},
        {},
        "free space of /var could",
        "df -h",
    ),
    (
        "storage/esp-space",
        {"storage": {"esp": replace(ESP, free=0)}, "boot_loader": {"environment": "/boot/efi/EFI/xenable"}},
        {},
        "/boot/efi has less than 1 MiB free",
        "",
    ),
    (
        "storage/space-unknown",
        {"storage": {"boot": replace(BOOT, free=None)}},
        {},
        "free space of /boot",
        "df -h",
    ),
    (
        "storage/space-unknown",
        {"packages": {"installed_kib": None}},
        {},
        "how large the packages are",
        "df -h",
    ),
)
