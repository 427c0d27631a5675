# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the tiny kernel as `xenable kernel build` would, in the namespace that a test made; prints JSON.

`--stop-after N` interrupts it, as Ctrl-C does, when it has compiled N files. `--work` is where it compiles.
`--also` is one more line of its configuration. It has one patch on top, which says at boot that it is there.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import tempfile
from pathlib import Path

from xenable.host import Host
from xenable.kernels import places
from xenable.kernels.flavours import Base, Flavour

FRAGMENT = Path(__file__).with_name("tiny.config")
PATCH = "say-so.patch"
PATCHED = "arch/x86/xen/enlighten.c"
"""Early in the archive: to look for a file means to unpack what lies before it."""
BANNER = '\tpr_info("Booting kernel on %s\\n", pv_info.name);\n'
SAYS_SO = '\tpr_info("this kernel is patched for a test\\n");\n'


def tiny(also: str) -> Flavour:
    return Flavour(
        name="tiny",
        about=" This flavour boots, and does nothing else.",
        base=Base.NOTHING,
        fragments={FRAGMENT.name: f"{FRAGMENT.read_text(encoding='utf-8')}{also}\n"},
        room=2 << 30,
    )


def add_the_patch(host: Host) -> None:
    """As `xenable kernel add-patch` does it; once. It is made here, so that it applies to every series."""
    from xenable.kernels.archive import extract
    from xenable.kernels.make import Choice, get_source
    from xenable.kernels.patches import add_patch, read_patch

    if host.names(places.PATCHES):
        return
    archive, _ = get_source(host, Choice(), lambda fraction, text: None)
    with tempfile.TemporaryDirectory() as folder:
        extract(host, archive, Path(folder), [PATCHED])
        old = (Path(folder) / PATCHED).read_text(encoding="utf-8")
        assert old.count(BANNER) == 1
        new = old.replace(BANNER, BANNER + SAYS_SO)
        before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
        body = "".join(difflib.unified_diff(before, after, f"a/{PATCHED}", f"b/{PATCHED}"))
        path = Path(folder) / PATCH
        path.write_text(f"Description: say that it is there\nOrigin: vendor\n\n{body}", encoding="utf-8")
        add_patch(host, read_patch(host, path), archive.series, archive, lambda fraction, text: None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stop-after", type=int, default=0)
    parser.add_argument("--work", type=Path, default=places.WORK)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--also", default="")
    chosen = parser.parse_args()
    places.WORK = chosen.work
    from xenable.kernels.make import Choice, make_kernel

    seen: list[tuple[float, str]] = []

    def progress(fraction: float, text: str) -> None:
        seen.append((fraction, text))
        match = re.match(r"compiling: (\d+) of", text)
        if chosen.stop_after and match and int(match[1]) >= chosen.stop_after:
            raise KeyboardInterrupt

    host = Host()
    add_the_patch(host)
    made = make_kernel(host, tiny(chosen.also), Choice(), chosen.jobs, progress)
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
