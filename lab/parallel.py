# SPDX-License-Identifier: GPL-2.0-or-later
"""Several scenarios at a time, each in a process of its own, told line by line under its name."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TextIO

from lab.host import CHECKOUT


@dataclass(frozen=True)
class Job:
    """A name for people, and what to run in the checkout."""

    name: str
    argv: tuple[str, ...]


def run_jobs(jobs: Sequence[Job], at_once: int, stream: TextIO = sys.stderr) -> tuple[int, ...]:
    """Run all jobs, at most at_once together; returns their exit codes in the order of the jobs."""
    lock = Lock()

    def one(job: Job) -> int:
        process = subprocess.Popen(
            job.argv,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        for line in process.stdout:
            with lock:
                stream.write(f"{job.name}: {line}")
                stream.flush()
        return process.wait()

    with ThreadPoolExecutor(at_once) as pool:
        return tuple(pool.map(one, jobs))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))
