# SPDX-License-Identifier: GPL-2.0-or-later
"""Building a kernel, stage by stage: each is whole before the next begins, and a later run goes on from it.

    unpack and patch → configure, and prove it → dpkg-buildpackage → into the repository

Nothing is installed, and until the last stage nothing is where apt looks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xenable.errors import XenableError
from xenable.host import STATE, Host, Result
from xenable.kernels import configure, packaging
from xenable.kernels.archive import Archive, extract
from xenable.kernels.commands import cleanly, isolated
from xenable.kernels.flavours import Flavour
from xenable.kernels.makeoutput import Counter, first_error
from xenable.kernels.patches import Patch, try_patches
from xenable.kernels.places import WORK
from xenable.kernels.records import Build, builds, next_naming, same_build
from xenable.kernels.repository import NEEDED
from xenable.kernels.sourcepackage import make_source, source_files
from xenable.kernels.stages import Stage, State, reached, read_state
from xenable.model import Progress

MIB = 1 << 20
LOG = "build.log"
LOG_SECONDS = 20.0
"""Between two writes of it: a power cut must not take all of it."""
_PRODUCTS = ("-name", "*.o", "-o", "-name", "*.a", "-o", "-name", "*.ko", "-o", "-name", ".*.cmd")


@dataclass(frozen=True, kw_only=True)
class Request:
    flavour: Flavour
    archive: Archive
    patches: tuple[Patch, ...]
    base: str
    """The configuration that the flavour stands on; empty for none."""
    jobs: int


def build(host: Host, request: Request, progress: Progress) -> tuple[State, Path]:
    """Make the packages; returns what was made and the folder they are in, for whoever publishes them.

    What an earlier run of the same things left is gone on with. Only for who holds the lock of the kernels'
    folder. Errors: XenableError in one sentence; what was reached stays, for the next run.
    """
    place = WORK / request.flavour.name
    state = _begin(host, request, place)
    if state.stage is Stage.BEGUN:
        state = _unpack(host, request, place, state, progress)
    if state.stage is Stage.UNPACKED:
        progress(0.10, "configuring")
        configure.configure(
            host, request.flavour, request.archive, request.base, state.naming, place / "tree"
        )
        state = reached(host, place, state, Stage.CONFIGURED)
    if state.stage is Stage.CONFIGURED:
        state = _compile(host, request, place, state, progress)
    progress(0.97, "compiled")
    return state, place


def done_before(host: Host, request: Request) -> Build | None:
    """The build of exactly this, where there was one."""
    return same_build(builds(host), request.archive.version, request.flavour.name, digest(host, request))


def packages(host: Host, place: Path) -> tuple[str, ...]:
    """Names of the packages that a build made."""
    return tuple(name for name in host.names(place) if name.endswith(".deb"))


def sources(request: Request, state: State) -> tuple[str, ...]:
    """Names of the files of the source package that a build made, beside its packages."""
    return source_files(state.naming, request.archive)


def finish(host: Host, place: Path) -> None:
    """Remove the folder of a build whose packages are where apt finds them."""
    host.run(["rm", "-rf", "--one-file-system", "--", place], timeout=None)


def tidy(host: Host, request: Request) -> None:
    """Remove the folder of a build that was published, and cut off before `finish`."""
    place = WORK / request.flavour.name
    state = read_state(host, place)
    if state is not None and state.stage is Stage.BUILT and state.inputs == digest(host, request):
        finish(host, place)


def digest(host: Host, request: Request) -> str:
    """SHA-256 over everything that decides about the bytes of the packages."""
    parts = [request.archive.sha256, request.flavour.name, request.flavour.about, request.base]
    parts += [text for pair in request.flavour.fragments.items() for text in pair]
    parts += [text for patch in request.patches for text in (patch.name, patch.text)]
    parts += [text for pair in sorted(packaging.templates().items()) for text in pair]
    parts += host.run(["gcc", "--version"]).stdout.splitlines()[:1]
    parts += host.run(["ld", "--version"]).stdout.splitlines()[:1]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# -------------------------------------------------------------------------------------------------- stages


def _begin(host: Host, request: Request, place: Path) -> State:
    """What an earlier run of the same things reached, or a new folder."""
    inputs = digest(host, request)
    state = read_state(host, place)
    if state is not None and state.inputs == inputs:
        return state
    finish(host, place)
    _check_room(host, request.flavour)
    naming = next_naming(host, request.archive.version, request.flavour.name)
    host.make_folder(place)
    state = State(
        inputs=inputs,
        version=naming.upstream,
        revision=naming.revision,
        flavour=naming.flavour,
        stage=Stage.BEGUN,
    )
    return reached(host, place, state, Stage.BEGUN)


def _unpack(host: Host, request: Request, place: Path, state: State, progress: Progress) -> State:
    """The source with debian/ in it and its patches applied; what is half done has another name."""
    new, tree = place / "tree.new", place / "tree"
    if request.patches:
        try_patches(host, request.patches, request.archive, lambda fraction, text: progress(0.02, text))
    progress(0.04, f"unpacking {request.archive.path.name}")
    host.run(["rm", "-rf", "--", new, tree], timeout=None)
    host.make_folder(new)
    extract(host, request.archive, new)
    for name, text in _debian(request, state).items():
        host.make_folder((new / "debian" / name).parent)
        host.write(new / "debian" / name, text.encode(), mode=0o755 if name == "rules" else 0o644)
    progress(0.09, "applying the patches")
    host.run(cleanly(new, ["dpkg-source", "--before-build", "."]), timeout=900)
    # Else the end of a build would take the patches away again, and the next one compile what they touch.
    host.remove(new / ".pc/.dpkg-source-unapply")
    # The stage is on disk at once, and must not be so before what it stands for.
    host.run(["sync", "-f", new], timeout=None)
    host.rename(new, tree)
    return reached(host, place, state, Stage.UNPACKED)


def _compile(host: Host, request: Request, place: Path, state: State, progress: Progress) -> State:
    """Run dpkg-buildpackage: make goes on where it was. What it said is in build.log."""
    _drop_torn(host, place / "tree")
    expected = _expected(host, request, place / "tree")
    counter = Counter(done=state.objects, expected=expected)
    began = time.monotonic()
    lines: list[str] = []
    written = began

    def listen(line: str) -> None:
        nonlocal written
        lines.append(line)
        if time.monotonic() - written > LOG_SECONDS:
            written = time.monotonic()
            # On a full disk the compiler says so, and what to do is said of that.
            with contextlib.suppress(XenableError):
                _write_log(host, place, lines)
        if counter.feed(line):
            progress(0.12 + 0.83 * counter.fraction, counter.text(time.monotonic() - began))

    progress(0.12, "compiling")
    cmd = [
        "dpkg-buildpackage",
        "--build=binary",
        "--no-pre-clean",
        "--unsigned-source",
        "--unsigned-changes",
    ]
    more = {"DEB_BUILD_OPTIONS": f"parallel={request.jobs} nocheck"}
    try:
        result = host.stream([*isolated(), *cleanly(place / "tree", cmd, more)], listen)
    finally:
        spent = state.seconds + int(time.monotonic() - began)
        state = dataclasses.replace(state, objects=counter.done, seconds=spent)
        with contextlib.suppress(XenableError):
            reached(host, place, state, Stage.CONFIGURED)
            _write_log(host, place, lines)
    if result.code != 0:
        raise _build_error(request.flavour, place, result)
    progress(0.95, "making the source package")
    made = [
        configure.CONFIG,
        *(f"debian/fragments/{n}" for n in host.names(place / "tree/debian/fragments")),
    ]
    names = [*_debian(request, state), *(name.removeprefix("debian/") for name in made)]
    make_source(host, request.archive, state.naming, names, place)
    return reached(host, place, state, Stage.BUILT)


def _debian(request: Request, state: State) -> dict[str, str]:
    return packaging.debian_files(
        packaging.templates(), state.naming, request.flavour, request.archive, request.patches
    )


def _write_log(host: Host, place: Path, lines: Sequence[str]) -> None:
    host.write(place / LOG, "".join(f"{line}\n" for line in lines).encode())


def _drop_torn(host: Host, tree: Path) -> None:
    """Remove what a power cut left empty: make looks at times alone, and would link it."""
    empty: list[str | Path] = ["find", tree, "-xdev", "-type", "f", "-size", "0"]
    host.run([*empty, "(", *_PRODUCTS, ")", "-delete"], timeout=None)


# -------------------------------------------------------------------------------------------------- helpers


def _expected(host: Host, request: Request, tree: Path) -> int:
    """How many files there are to compile: as many as last time, or by the number of options."""
    same = [build for build in builds(host) if build.flavour == request.flavour.name]
    if same:
        return same[-1].objects
    return configure.objects_of(host.text(tree / configure.CONFIG))


def check_tools(host: Host) -> None:
    """Errors: XenableError that names what has to be installed for a build, and for the repository."""
    from xenable.facts.dpkg import read_status

    known = read_status(host)
    # What is needed at the end is missed at the beginning: in between lie hours.
    wanted = (*packaging.build_depends(packaging.templates()["control.in"]), *NEEDED)
    missing = [name for name in wanted if not (name in known and known[name].installed)]
    if missing:
        raise XenableError(
            f"cannot build a kernel: not installed here: {', '.join(missing)}",
            hint=f"sudo apt install --no-install-recommends {' '.join(missing)}",
        )


def _check_room(host: Host, flavour: Flavour) -> None:
    host.make_folder(WORK)
    free = host.free_bytes(WORK)
    if free is not None and free < flavour.room:
        raise XenableError(
            f"cannot build a kernel: {STATE} has {free // MIB} MiB free, and {flavour.room // MIB} MiB are "
            "needed for the time of the work",
            hint="free some space, then run the command again; nothing was changed",
        )


def _build_error(flavour: Flavour, place: Path, result: Result) -> XenableError:
    what = f"cannot build the {flavour.name} kernel"
    log = place / LOG
    if re.search(r"No space left on device", result.stdout):
        return XenableError(
            f"{what}: the disk is full",
            hint="free some space, then run the command again: it goes on from here",
        )
    return XenableError(
        f"{what}: {first_error(result.stdout) or f'dpkg-buildpackage ended with status {result.code}'}",
        hint=f"{log} has all that was said; the next run goes on from here. Nothing was installed",
    )
