# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things of kernels are. All of it is Xenable's own."""

from __future__ import annotations

from pathlib import Path

from xenable.host import STATE

KERNELS = STATE / "kernels"
PATCHES = KERNELS / "patches"
"""A folder a kernel series, each with patches and their order in `series`."""
SOURCES = KERNELS / "sources"
"""Archives of upstream source, and apt's private lists in `apt`."""
WORK = KERNELS / "work"
"""A folder a flavour: the build under way, or failed."""
BUILDS = KERNELS / "builds.json"
"""What was built, and how much work it was."""
REPOSITORY = KERNELS / "repository"
"""A link to the folder that apt reads."""
KEYS = KERNELS / "gnupg"
"""The key that signs it, made for that alone."""
APT_SOURCES = Path("/etc/apt/sources.list.d/xenable-kernels.sources")
