# SPDX-License-Identifier: GPL-2.0-or-later
"""Where tests get packages of Debian from."""

from __future__ import annotations

import re
import subprocess

import pytest

RETRIES = 'Acquire::Retries "10"'
"""Of apt's settings: nothing is wrong here where a mirror is out of reach for a moment."""


def mirror() -> str:
    """Where this machine's apt gets Debian from, else where mmdebstrap would."""
    form = "$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)"
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", form], capture_output=True, text=True, check=True
    )
    for row in said.stdout.splitlines():
        kind, origin, uri, release = row.split("|")
        if (kind, origin) == ("Packages", "Debian") and "-" not in release:
            return uri
    said = subprocess.run(
        ["mmdebstrap", "--simulate", "--verbose", "--variant=extract", "trixie", "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"https?://\S+/debian\b", said.stderr)
    # Elsewhere than on Debian nothing need say where Debian is.
    return found[0] if found else pytest.skip("no mirror of Debian is known here")
