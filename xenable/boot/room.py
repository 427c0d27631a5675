# SPDX-License-Identifier: GPL-2.0-or-later
"""What has to stay free in /boot. Pure: the check beforehand and the filling of a slot agree through it."""

from __future__ import annotations

RESERVE = 16
"""MiB for the menu, configurations and whatever else is written there."""


def room_to_keep(initrd: int) -> int:
    """MiB that stay free beside the slots: update-initramfs writes the next initrd beside the old one.

    initrd: MiB of the largest.
    """
    return initrd + RESERVE
