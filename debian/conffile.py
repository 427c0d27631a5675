# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints /etc/xenable/xenable.conf: every setting, explained and commented out."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xenable.config import SETTINGS


def conffile() -> str:
    parts = ["# Settings of Xenable; see xenable(8). An option of the command line wins over this file.\n"]
    for setting in SETTINGS:
        words = textwrap.fill(setting.help, 95, initial_indent="# ", subsequent_indent="# ")
        parts.append(f"{words}\n#{setting.key} = {setting.default}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(conffile())
