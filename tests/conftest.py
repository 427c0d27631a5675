# SPDX-License-Identifier: GPL-2.0-or-later
"""A unit test that runs a real command is an error, unless it is marked `realtool`."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
from hypothesis import settings

# CI tries the same examples each time, so that a failure is of the change; people search for new ones.
# A deadline for each example would measure what else the machine does.
settings.register_profile("ours", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("ours")


@pytest.fixture(autouse=True)
def no_real_commands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("realtool"):
        return

    def refuse(cmd: Any, *args: Any, **kwargs: Any) -> None:
        pytest.fail(f"a unit test ran a real command: {cmd}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
