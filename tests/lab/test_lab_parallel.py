# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs side by side."""

import io
import sys
from pathlib import Path

import pytest

from lab.parallel import Job, run_jobs

PYTHON = (sys.executable, "-c")
MEET = """import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:3])
mine.touch()
end = time.monotonic() + 60
while not other.exists() and time.monotonic() < end:
    time.sleep(0.01)
print("met" if other.exists() else "alone")
sys.exit(int(sys.argv[3]))
"""


@pytest.mark.realtool
def test_jobs_run_side_by_side_and_keep_their_order_and_codes(tmp_path: Path) -> None:
    stream = io.StringIO()
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    jobs = [Job("a", (*PYTHON, MEET, one, two, "0")), Job("b", (*PYTHON, MEET, two, one, "3"))]
    assert run_jobs(jobs, 2, stream) == (0, 3)
    assert sorted(stream.getvalue().splitlines()) == ["a: met", "b: met"]


@pytest.mark.realtool
def test_what_goes_to_stderr_is_told_too() -> None:
    stream = io.StringIO()
    run_jobs([Job("a", (*PYTHON, "import sys; sys.stderr.write('one\\ntwo\\n')"))], 1, stream)
    assert stream.getvalue() == "a: one\na: two\n"
