# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests: what one is, its texts (xl.cfg, seed, libvirt), and what makes, starts and removes it."""
