# SPDX-License-Identifier: GPL-2.0-or-later
"""A unit test that runs a real command is an error, unless it is marked `realtool`."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
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


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """A context without root rights, but with root's group, that can still reach the test's own folder."""

    @contextlib.contextmanager
    def drop() -> Iterator[None]:
        own = os.geteuid()
        if own != 0:
            yield
            return
        above = {folder: folder.stat().st_mode & 0o7777 for folder in (tmp_path, *tmp_path.parents)}
        closed = {folder: mode for folder, mode in above.items() if mode & 0o011 != 0o011}
        for folder, mode in closed.items():
            folder.chmod(mode | 0o011)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(own)
            for folder, mode in closed.items():
                # pytest's own stay open: other workers' tests stand in the same ones.
                if "pytest-of-" not in str(folder):
                    folder.chmod(mode)

    return drop
