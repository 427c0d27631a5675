# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU lab: boots stock Debian machines under emulation so that scenarios can convert them for real.

A separate program: it imports nothing from xenable and treats it as any user would.
"""
