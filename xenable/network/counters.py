# SPDX-License-Identifier: GPL-2.0-or-later
"""How often guests sent what is not theirs."""

from __future__ import annotations

import json

from xenable.host import Host


def spoofed(host: Host) -> dict[str, int] | None:
    """Name of an interface → frames dropped since its guest was started; None when nft does not answer.

    From the named counters of the table netdev xenable, one for each interface that vif-xenable looks after.
    """
    listed = host.run(["nft", "-j", "list", "counters"], check=False)
    if listed.code != 0:
        return None
    try:
        found = json.loads(listed.stdout)["nftables"]
        counters = [item["counter"] for item in found if "counter" in item]
        return {
            str(counter["name"]): int(counter["packets"])
            for counter in counters
            if (counter["family"], counter["table"]) == ("netdev", "xenable")
        }
    except (ValueError, KeyError, TypeError):
        return None
