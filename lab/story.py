# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a scenario read like a story: steps that are told live, and a report of them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from lab.errors import ScenarioFailed


@dataclass
class Story:
    """What has been told so far. clock gives seconds; failing is the innermost step left by an error."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    open_line: bool = False
    steps: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    failing: tuple[BaseException, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()


_current: ContextVar[Story | None] = ContextVar("story", default=None)


def current() -> Story:
    """The story being told; one to stderr is begun when there is none."""
    story = _current.get()
    if story is None:
        story = Story(sys.stderr)
        _current.set(story)
    return story


@contextmanager
def telling(story: Story) -> Iterator[Story]:
    """Tell this story instead of the present one for the length of the with block."""
    token = _current.set(story)
    try:
        yield story
    finally:
        _current.reset(token)


@contextmanager
def step(title: str) -> Iterator[None]:
    """One step: its line appears at once and gets its duration when it ends; steps nest."""
    story = current()
    began = story.clock()
    say(title + " ...", end=False)
    story.steps.append(title)
    try:
        yield
    except BaseException as error:
        if story.failing is None or story.failing[0] is not error:
            story.failing = (error, tuple(story.steps))
        close_step(story, title, began, "FAILED after ")
        raise
    close_step(story, title, began, "")


def close_step(story: Story, title: str, began: float, verdict: str) -> None:
    """End the line of a step, on the line itself when nothing was told in between."""
    story.steps.pop()
    took = f"{verdict}{story.clock() - began:.1f} s"
    story.report.append(f"{'  ' * len(story.steps)}{title}: {took}")
    if story.open_line:
        story.stream.write(f" {took}\n")
        story.open_line = False
    else:
        say(f"= {title}: {took}")
    story.stream.flush()


def say(text: str, *, end: bool = True) -> None:
    """One line with the elapsed seconds in front; with end=False more may follow on it."""
    story = current()
    if story.open_line:
        story.stream.write("\n")
    indent = "  " * len(story.steps)
    story.stream.write(f"{story.clock() - story.began:7.1f} s  {indent}{text}" + ("\n" if end else ""))
    story.stream.flush()
    story.open_line = not end


def must(condition: object, what: str) -> None:
    """Demand something of the machine; raises ScenarioFailed "not so: WHAT" otherwise."""
    if not condition:
        raise ScenarioFailed(f"not so: {what}")


def in_short(story: Story, error: BaseException) -> str:
    """The failing step and the first line of the reason, in one line."""
    said = (str(error) or type(error).__name__).splitlines()[0]
    if story.failing is not None and story.failing[0] is error:
        return f"{' > '.join(story.failing[1])}: {said}"
    return said


def failure(story: Story, error: BaseException, folder: Path | None = None) -> str:
    """What a person needs after a failure: the failing step, the reason, where the logs are."""
    lines = []
    if story.failing is not None and story.failing[0] is error:
        lines.append(f"failed step: {' > '.join(story.failing[1])}")
    lines.append(f"reason: {str(error) or type(error).__name__}")
    if folder is not None:
        lines += [f"serial log: {path}" for path in sorted(folder.rglob("serial.log"))]
        lines.append(f"run folder: {folder}")
    return "\n".join(lines)
