# SPDX-License-Identifier: GPL-2.0-or-later
"""A unit test that runs a real command is an error, unless it is marked `realtool`."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_real_commands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("realtool"):
        return

    def refuse(cmd: Any, *args: Any, **kwargs: Any) -> None:
        pytest.fail(f"a unit test ran a real command: {cmd}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
