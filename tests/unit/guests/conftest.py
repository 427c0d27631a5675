# SPDX-License-Identifier: GPL-2.0-or-later
"""The dom0 that the tests of guests work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guests.machine import Xen, make_xen


@pytest.fixture
def xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Xen:
    return make_xen(tmp_path, monkeypatch)
