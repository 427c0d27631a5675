# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the firmware let Xen start?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule
from xenable.config import Config
from xenable.machine import Answer, Facts, FirmwareKind
from xenable.model import Finding, Severity

SECURE_BOOT = Rule(
    id="firmware/secure-boot",
    severity=Severity.BLOCKER,
    title="Secure Boot is on",
    why="With it, GRUB refuses to load Xen: it is not signed by a key that the firmware trusts.",
    remedy="There are three choices. Switch Secure Boot off in the firmware's setup. "
    "Or build and sign a Xen image with a key of your own, enroll that key, and boot it without Xenable. "
    "Or leave this machine as it is.",
)
SECURE_BOOT_UNKNOWN = Rule(
    id="firmware/secure-boot-unknown",
    severity=Severity.OVERRIDABLE,
    title="It is not known whether Secure Boot is on",
    why="If it is on, GRUB refuses to load Xen, and the trial falls back to the native system.",
    remedy="Look with `mokutil --sb-state`, or in the firmware's setup. "
    "If it is off, override this finding.",
)

RULES = (SECURE_BOOT, SECURE_BOOT_UNKNOWN)


def check_secure_boot(facts: Facts, config: Config) -> Iterator[Finding]:
    f = facts.firmware
    if f.secure_boot is Answer.YES:
        yield SECURE_BOOT.found("The firmware says that Secure Boot is on.")
    elif f.secure_boot is Answer.UNKNOWN and f.kind is FirmwareKind.UEFI:
        yield SECURE_BOOT_UNKNOWN.found(
            "This is a UEFI machine whose SecureBoot variable could not be read."
        )
