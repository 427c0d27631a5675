# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a build under way came: the state in its folder, from which a later run goes on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from xenable.host import Host
from xenable.kernels.packaging import Naming

STATE_FILE = "state.json"
"""In the folder of a build."""


class Stage(StrEnum):
    """How far a build came."""

    BEGUN = "begun"
    UNPACKED = "unpacked"
    CONFIGURED = "configured"
    BUILT = "built"


@dataclass(frozen=True, kw_only=True)
class State:
    """A build under way, as its folder has it."""

    inputs: str
    version: str
    revision: int
    flavour: str
    stage: Stage
    objects: int = 0
    """Files that were compiled so far."""
    seconds: int = 0
    """That compiling took so far."""

    @property
    def naming(self) -> Naming:
        return Naming(upstream=self.version, revision=self.revision, flavour=self.flavour)


def read_state(host: Host, place: Path) -> State | None:
    """None where there is no build that could be gone on with."""
    try:
        data = json.loads(host.text(place / STATE_FILE))
        return State(**(data | {"stage": Stage(data["stage"])}))
    except (ValueError, KeyError, TypeError):
        return None


def reached(host: Host, place: Path, state: State, stage: Stage) -> State:
    """Put on disk that a build is at a stage; returns its state there. Errors: XenableError."""
    state = dataclasses.replace(state, stage=stage)
    host.write(place / STATE_FILE, (json.dumps(dataclasses.asdict(state)) + "\n").encode())
    return state
