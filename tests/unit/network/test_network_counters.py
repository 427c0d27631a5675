# SPDX-License-Identifier: GPL-2.0-or-later
"""What nft says of dropped frames."""

from __future__ import annotations

import pytest

from xenable.host import Host, Result
from xenable.network.counters import spoofed

LISTED = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
 {"table": {"family": "netdev", "name": "xenable", "handle": 1}},
 {"counter": {"family": "netdev", "name": "vif3.0-emu", "table": "xenable", "packets": 0, "bytes": 0}},
 {"counter": {"family": "netdev", "name": "vif3.0", "table": "xenable", "packets": 17, "bytes": 900}},
 {"counter": {"family": "netdev", "name": "vif3.0", "table": "theirs", "packets": 1, "bytes": 90}},
 {"chain": {"family": "netdev", "table": "xenable", "name": "vif3.0", "handle": 1}}]}"""


@pytest.mark.parametrize(
    ("result", "counts"),
    [
        (Result(0, LISTED, ""), {"vif3.0-emu": 0, "vif3.0": 17}),
        (Result(1, "", "Error: Operation not permitted"), None),
        (Result(127, "", "nft: not found"), None),
        (Result(0, "", ""), None),
        (Result(0, '{"nftables": []}', ""), {}),
        (Result(0, "[]", ""), None),
    ],
)
def test_spoofed(monkeypatch: pytest.MonkeyPatch, result: Result, counts: dict[str, int] | None) -> None:
    asked: list[list[str]] = []

    def run(self: Host, cmd: list[str], *, check: bool = True) -> Result:
        asked.append(cmd)
        return result

    monkeypatch.setattr(Host, "run", run)
    assert spoofed(Host()) == counts
    assert asked == [["nft", "-j", "list", "counters"]]
