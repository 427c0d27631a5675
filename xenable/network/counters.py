# SPDX-License-Identifier: GPL-2.0-or-later
"""How often guests sent what is not theirs."""

from __future__ import annotations

import json

from xenable.host import Host


def spoofed(host: Host) -> dict[str, int]:
    """Name of an interface → frames dropped since its guest was started; empty when there is no table.

    From the named counters of the table netdev xenable, one for each interface that vif-xenable looks after.
    """
    listed = host.run(["nft", "-j", "list", "table", "netdev", "xenable"], check=False)
    if listed.code != 0:
        return {}
    try:
        found = json.loads(listed.stdout)["nftables"]
        counters = [item["counter"] for item in found if "counter" in item]
        return {str(counter["name"]): int(counter["packets"]) for counter in counters}
    except (ValueError, KeyError, TypeError):
        return {}
