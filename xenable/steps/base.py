# SPDX-License-Identifier: GPL-2.0-or-later
"""What a step is: frozen data, a title and six verbs.

`save` returns all that `undo` needs; the engine has it on disk before it calls `do`. `do` and `undo` are
idempotent: after a power cut each may be called again on what the first call left. The design has five
verbs; `obstacles` is the sixth, so that revert can refuse over a foreign edit before it has changed
anything, and not in the middle. A kind that can't put everything back says so in `remains`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from xenable.host import Host
from xenable.model import Obstacle, Preview, Progress

Saved = Mapping[str, Any]
"""JSON: what `save` returned."""


class Step(ABC):
    """Subclasses are frozen dataclasses whose fields are plain JSON (text, numbers, tuples of text)."""

    kind: ClassVar[str]
    """Name in the journal; never changes its meaning."""

    @abstractmethod
    def title(self) -> str:
        """What it does, in a few words, from its fields alone: `write /etc/grub.d/90_xenable`."""

    @abstractmethod
    def preview(self, host: Host) -> Preview:
        """What a person sees in `xenable plan`. Changes nothing."""

    @abstractmethod
    def is_done(self, host: Host) -> bool:
        """Whether `do` would change nothing."""

    @abstractmethod
    def save(self, host: Host) -> Saved:
        """All that undo needs. Changes nothing but the store."""

    @abstractmethod
    def do(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Do it. Errors: XenableError."""

    @abstractmethod
    def obstacles(self, host: Host, saved: Saved) -> tuple[Obstacle, ...]:
        """What undo would destroy that is not Xenable's. Changes nothing."""

    @abstractmethod
    def undo(self, host: Host, saved: Saved, progress: Progress) -> None:
        """Put back what `save` saw. Errors: XenableError."""

    def remains(self, host: Host, saved: Saved) -> tuple[str, ...]:
        """What undo did not put back as it was, a sentence each without its full stop. Changes nothing."""
        return ()

    def fields(self) -> dict[str, Any]:
        """As JSON for the journal."""
        return dict(vars(self))
