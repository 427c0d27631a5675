# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels for Xen, built here of stock upstream source: begin with `build.py`, which has the whole order.

table: which series   source: its archive   patches: what goes on top   config: how it is configured
packaging: debian/    build: all of it, stage by stage    repository: where apt finds it    listing
"""
