# SPDX-License-Identifier: GPL-2.0-or-later
"""All scenarios, by name and in the order of a full run. A new one is a module here and a line below."""

from collections.abc import Callable

from lab.machines import Lab
from lab.scenarios import (
    bridge,
    cloud,
    cloudimage,
    conversion,
    faults,
    guests,
    kernel,
    mirror,
    mishaps,
    neighbours,
    places,
    reverts,
    stock,
    upgrade,
)

SCENARIOS: tuple[tuple[str, Callable[[Lab], None]], ...] = (
    ("stock", stock.run),
    ("rehearsal", conversion.rehearsal),
    ("conversion", conversion.run),
    ("first-guest", conversion.with_guest),
    ("no-network", faults.no_network),
    ("faults", faults.run),
    ("reverts", reverts.run),
    ("mishaps", mishaps.run),
    ("cloud", cloud.run),
    ("upgrade", upgrade.run),
    ("guests", guests.run),
    ("places", places.run),
    ("cloud-image", cloudimage.run),
    ("neighbours", neighbours.run),
    ("mirror", mirror.run),
    ("bridge", bridge.run),
    ("kernel", kernel.run),
)  # fmt: skip
