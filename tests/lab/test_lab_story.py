# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person sees while a scenario runs, and after it failed."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import ScenarioFailed
from lab.story import Story, failure, must, say, step, telling


def ticking() -> Callable[[], float]:
    """A clock that goes on by one second each time it is read."""
    now = iter(range(1000))
    return lambda: float(next(now))


def test_a_step_is_one_line_that_is_there_before_the_step_ends() -> None:
    out = io.StringIO()
    with telling(Story(out, ticking())):
        with step("boot"):
            assert out.getvalue() == "    2.0 s  boot ..."
        assert out.getvalue() == "    2.0 s  boot ... 2.0 s\n"


def test_steps_nest_and_each_tells_its_duration() -> None:
    out = io.StringIO()
    story = Story(out, lambda: 0.0)
    with telling(story), step("outer"):
        with step("inner"):
            pass
        say("a word")
    assert out.getvalue().splitlines() == [
        "    0.0 s  outer ...",
        "    0.0 s    inner ... 0.0 s",
        "    0.0 s    a word",
        "    0.0 s  = outer: 0.0 s",
    ]
    assert story.report == ["  inner: 0.0 s", "outer: 0.0 s"]


def test_a_failure_names_the_step_first_then_the_reason_then_the_log(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "serial.log").touch()
    story = Story(io.StringIO())
    with telling(story), pytest.raises(ScenarioFailed) as caught, step("outer"), step("inner"):
        must(False, "the machine answers")
    assert failure(story, caught.value, tmp_path).splitlines() == [
        "failed step: outer > inner",
        "reason: not so: the machine answers",
        f"serial log: {tmp_path}/vm/serial.log",
        f"run folder: {tmp_path}",
    ]


def test_an_error_that_was_caught_is_not_blamed_later() -> None:
    story = Story(io.StringIO())
    later = ScenarioFailed("later")
    with telling(story):
        with pytest.raises(ScenarioFailed), step("caught"):
            must(False, "this")
        assert "failed step" not in failure(story, later, Path())


def test_must_lets_truth_pass() -> None:
    must(True, "all is well")
    must("text", "something was said")
