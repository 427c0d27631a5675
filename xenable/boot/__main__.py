# SPDX-License-Identifier: GPL-2.0-or-later
"""`python3 -m xenable.boot`: print our part of the boot menu. Run by data/grub.d/90_xenable.

On stdin: the script text that makes $root the device of /boot.
"""

from __future__ import annotations

import os
import sys

from xenable.boot.inputs import gather
from xenable.boot.menu import render
from xenable.errors import XenableError
from xenable.host import Host


def main() -> int:
    """Exit status 0 when the whole text was printed."""
    prepare = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    try:
        text = render(gather(Host(), os.environ, prepare))
    except XenableError as e:
        sys.stderr.write(f"xenable: {e.message}\n")
        return 1
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
