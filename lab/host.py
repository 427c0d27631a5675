# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands on the host: always a list, never a shell string, always an error with a reason."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError

CHECKOUT = Path(__file__).resolve().parent.parent
"""Of Xenable, which the lab is a part of."""


def run(
    argv: Sequence[str],
    *,
    doing: str,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command, return its stdout; with log, append its stdout and stderr to that file instead.

    Raises LabError "cannot DOING: ..." when the command is missing, fails or exceeds timeout seconds.
    """
    try:
        if log is None:
            done = subprocess.run(
                argv, check=False, capture_output=True, text=True, errors="replace", env=env, timeout=timeout
            )
            said = done.stderr
        else:
            with log.open("ab") as stream:
                done = subprocess.run(
                    argv, check=False, stdout=stream, stderr=stream, text=True, env=env, timeout=timeout
                )
            said = "\n".join(log.read_text(errors="replace").splitlines()[-8:]) + f"\n(all of it: {log})"
    except FileNotFoundError:
        raise LabError(f"cannot {doing}: the command {argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"cannot {doing}: {shlex.join(argv)} took more than {timeout} s") from None
    if done.returncode != 0:
        raise LabError(f"cannot {doing}: {shlex.join(argv)} exited {done.returncode}: {said.strip()}")
    return done.stdout or ""


def own_codename() -> str:
    """The code name of this machine's own release, whose archive apt knows here. Raises LabError."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if found is None:
        raise LabError("cannot tell the release of this machine: /etc/os-release has no VERSION_CODENAME")
    return found[1]
