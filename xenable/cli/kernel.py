# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable kernel`"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xenable.cli import CONTEXT
from xenable.cli.common import interruptible, json_option, need_root, note, reporter, word, working
from xenable.errors import XenableError
from xenable.host import Host

if TYPE_CHECKING:
    from xenable.kernels.make import Choice


@click.group(
    cls=interruptible("nothing was installed; a build is gone on with by the same command"),
    context_settings=CONTEXT,
)
def command() -> None:
    """Kernels for dom0 and guests, built on this machine of stock upstream source. `xenable kernel COMMAND
    --help` has the options of each."""


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What says which Linux."""
    for option in reversed(
        (
            click.option(
                "--xen", metavar="SERIES", help="Xen that it is for, as 4.20; else this machine's."
            ),
            click.option("--linux", metavar="SERIES", help="Series of Linux, as 6.12, in place of Xen's."),
            click.option("--tarball", metavar="FILE", help="Archive of upstream source, in place of apt's."),
            click.option("--sha256", metavar="HEX", help="SHA-256 that the archive has to have."),
        )
    ):
        function = option(function)
    return function


@command.command(short_help="Build a kernel into the local repository.", context_settings=CONTEXT)
@click.option(
    "--flavour",
    "flavour_name",
    type=click.Choice(["lean", "generic"]),
    default="lean",
    help="lean: for servers and virtual machines, the default. generic: with all drivers of the "
    "distribution's kernel.",
)
@click.option("--jobs", metavar="NUMBER", help="Compilers at a time; the default is one a processor.")
@source_options
@json_option
def build(as_json: bool, flavour_name: str, jobs: str | None, **options: Any) -> None:
    """Build a kernel of stock upstream source and the patches that were added, into a repository on this
    machine. `xenable apply --kernel xen` installs from it; on a machine that is converted already, apt does.
    Nothing is installed here.

    What was interrupted, or failed, is gone on with by the same command."""
    from xenable.kernels.flavours import flavour
    from xenable.kernels.make import make_kernel
    from xenable.ui.document import print_document
    from xenable.ui.kernels import build_document

    need_root("build a kernel", "kernel build …")
    choice = _choice(options)
    workers = word("--jobs", jobs, _jobs) if jobs is not None else os.cpu_count() or 1
    chosen = flavour(flavour_name)
    with working() as listener:
        made = make_kernel(
            Host(), chosen, choice, workers, reporter(listener, f"build the {flavour_name} kernel")
        )
    release = made.build.naming.release
    for version in made.newer:
        note(f"the archive names Linux {version} and does not have its source; this one is older")
    if as_json:
        result = "present" if made.present else "built"
        print_document(build_document(result, made.build, made.newer), sys.stdout)
    elif made.present:
        note(f"{release} is there already, made of the same things")
    else:
        note(f"{release} is in the local repository; {_next_step(Host(), flavour_name)}")


def _next_step(host: Host, flavour_name: str) -> str:
    """How dom0 gets the kernel that was built: a conversion keeps the choice that it began with."""
    from xenable.config import KernelChoice
    from xenable.convert import kernel_choice

    try:
        begun_with = kernel_choice(host)
    except XenableError:
        # The kernel is built all the same; every other command says what is wrong with the journal.
        begun_with = None
    if begun_with is KernelChoice.XEN:
        return (
            f"`sudo apt install xen-image-{flavour_name}` brings it, for a trial beside the one that passed"
        )
    if begun_with is KernelChoice.DISTRO:
        return (
            "dom0 keeps the distribution's kernel until `xenable revert`; "
            "then `xenable apply --kernel xen` takes this one"
        )
    return "`xenable apply --kernel xen` takes it"


@command.command(
    name="add-patch", short_help="Add a patch to the kernels to come.", context_settings=CONTEXT
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@source_options
@json_option
def add_patch(as_json: bool, file: Path, **options: Any) -> None:
    """Add a patch, such as that of a Xen security advisory, to the kernels that are built from now on. It
    needs the headers of DEP-3, and has to apply after those that were added before."""
    from xenable.kernels.make import get_source
    from xenable.kernels.patches import add_patch as add
    from xenable.kernels.patches import read_patch
    from xenable.kernels.table import show
    from xenable.ui.document import print_document
    from xenable.ui.kernels import patches_document

    need_root("add a patch", "kernel add-patch …")
    host = Host()
    patch = read_patch(host, file)
    with working() as listener:
        report = reporter(listener, f"try {patch.name}")
        archive, _ = get_source(host, _choice(options), lambda fraction, text: report(fraction * 0.5, text))
        series = add(host, patch, archive.series, archive, lambda at, text: report(0.5 + at * 0.5, text))
        report(1.0, "it applies")
    if as_json:
        print_document(patches_document([p.name for p in series], show(archive.series)), sys.stdout)
    else:
        note(f"{patch.name} applies to Linux {archive.version}, and is in what is built from now on")


@command.command(name="list", short_help="Every kernel, and what it is good for.", context_settings=CONTEXT)
@json_option
def list_kernels(as_json: bool) -> None:
    """List the kernels in /boot and /lib/modules: who made them, and whether they can be dom0, a guest, or
    be started without Xen. Changes nothing."""
    from xenable.kernels.listing import kernel_rows
    from xenable.ui.document import print_document
    from xenable.ui.kernels import kernels_document, render_kernels
    from xenable.ui.layout import show, width_of

    rows = kernel_rows(Host())
    if as_json:
        print_document(kernels_document(rows), sys.stdout)
    else:
        show(render_kernels(rows, width_of(sys.stdout)), sys.stdout)


@command.command(
    name="remove-repository", short_help="Remove the local repository.", context_settings=CONTEXT
)
@json_option
def remove_repository(as_json: bool) -> None:
    """Take the local repository out of apt and remove it, with its key. Kernels that were installed from it
    stay, and so do the patches."""
    from xenable.kernels.repository import remove
    from xenable.model import SCHEMA
    from xenable.ui.document import print_document

    need_root("remove the repository", "kernel remove-repository")
    there = remove(Host())
    if as_json:
        print_document({"schema": SCHEMA, "result": "removed" if there else "absent"}, sys.stdout)
    else:
        note("the local repository is gone" if there else "there is no local repository")


def _choice(options: dict[str, Any]) -> Choice:
    """Which Linux is asked for, checked before anything is done."""
    from xenable.kernels.make import Choice
    from xenable.kernels.source import parse_sha256
    from xenable.kernels.table import parse_series

    if (options["tarball"] is None) != (options["sha256"] is None):
        raise click.UsageError("--tarball and --sha256 belong together")
    if options["tarball"] is not None and (options["linux"] or options["xen"]):
        raise click.UsageError("--tarball says which Linux it is: leave --linux and --xen out")
    if options["linux"] and options["xen"]:
        raise click.UsageError("--linux and --xen contradict each other")
    return Choice(
        tarball=Path(options["tarball"]) if options["tarball"] is not None else None,
        sha256=word("--sha256", options["sha256"], parse_sha256) if options["sha256"] is not None else "",
        kernel=word("--linux", options["linux"], parse_series) if options["linux"] else None,
        xen=word("--xen", options["xen"], parse_series) if options["xen"] else None,
    )


def _jobs(text: str) -> int:
    from xenable.config import number

    return number(text, 1, 1024)
