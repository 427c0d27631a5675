# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest network: what is in effect, addresses, names, and what was dropped."""
