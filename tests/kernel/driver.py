# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the tiny kernel as `xenable kernel build` would, in the namespace that a test made; prints JSON.

`--stop-after N` interrupts it, as Ctrl-C does, when it has compiled N files. `--work` is where it compiles.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from xenable.host import Host
from xenable.kernels import places
from xenable.kernels.flavours import Base, Flavour

FRAGMENT = Path(__file__).with_name("tiny.config")


def tiny() -> Flavour:
    return Flavour(
        name="tiny",
        about=" This flavour boots, and does nothing else.",
        base=Base.NOTHING,
        fragments={FRAGMENT.name: FRAGMENT.read_text(encoding="utf-8")},
        room=2 << 30,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stop-after", type=int, default=0)
    parser.add_argument("--work", type=Path, default=places.WORK)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    places.WORK = chosen.work
    from xenable.kernels.make import Choice, make_kernel

    seen: list[tuple[float, str]] = []

    def progress(fraction: float, text: str) -> None:
        seen.append((fraction, text))
        match = re.match(r"compiling: (\d+) of", text)
        if chosen.stop_after and match and int(match[1]) >= chosen.stop_after:
            raise KeyboardInterrupt

    made = make_kernel(Host(), tiny(), Choice(), chosen.jobs, progress)
    print(
        json.dumps(
            {
                "release": made.build.naming.release,
                "packages": made.build.packages,
                "present": made.present,
                "objects": made.build.objects,
                "seconds": made.build.seconds,
                "progress": seen,
            }
        )
    )


if __name__ == "__main__":
    main()
