# SPDX-License-Identifier: GPL-2.0-or-later
"""Xenable turns an existing Debian or Ubuntu install into a Xen dom0, and back."""

__version__ = "0.1.0"
