# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs side by side."""

import io
import sys
import time

import pytest

from lab.parallel import Job, run_jobs


def job(name: str, program: str) -> Job:
    return Job(name, (sys.executable, "-c", program))


@pytest.mark.realtool
def test_jobs_run_side_by_side_and_keep_their_order_and_codes() -> None:
    stream = io.StringIO()
    slow = "import time; time.sleep(0.6); print('late')"
    began = time.monotonic()
    codes = run_jobs([job("a", slow), job("b", slow + "; raise SystemExit(3)")], 2, stream)
    assert codes == (0, 3)
    assert time.monotonic() - began < 1.15
    assert sorted(stream.getvalue().splitlines()) == ["a: late", "b: late"]


@pytest.mark.realtool
def test_what_goes_to_stderr_is_told_too() -> None:
    stream = io.StringIO()
    run_jobs([job("a", "import sys; sys.stderr.write('one\\ntwo\\n')")], 1, stream)
    assert stream.getvalue() == "a: one\na: two\n"
