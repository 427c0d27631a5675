# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest images`"""

from __future__ import annotations

import sys

import click

from xenable.cli import CONTEXT
from xenable.cli.common import json_option, reporter, word
from xenable.cli.guest_common import guest_storage, prepare, tell
from xenable.host import Host


@click.command(short_help="Images that guests begin as.", context_settings=CONTEXT)
@click.option("--build", metavar="CODENAME", help="Make the image of a release now, for guests to come.")
@click.option(
    "--mirror",
    default="",
    metavar="URL",
    help="Archive for --build and its -updates; security updates are to be set up by hand.",
)
@click.option("--remove", metavar="NAME", help="Remove it; the next guest of its release makes it anew.")
@json_option
def images(as_json: bool, build: str | None, mirror: str, remove: str | None) -> None:
    """List the images that guests begin as: size (used and whole), day, and the guests whose disks stand on
    it. Such an image stays until they are gone; all others can go at any time."""
    from xenable.guests.listing import image_rows
    from xenable.ui.document import print_document
    from xenable.ui.images import images_document, render_images
    from xenable.ui.layout import show, width_of

    if build is not None and remove is not None:
        raise click.UsageError("--build and --remove contradict each other")
    if mirror and build is None:
        raise click.UsageError("--mirror is for --build")
    if build is not None:
        _build(as_json, build, mirror)
        return
    if remove is not None:
        _remove(as_json, remove)
        return
    rows = image_rows(Host())
    if as_json:
        print_document(images_document(rows), sys.stdout)
    else:
        show(render_images(rows, width_of(sys.stdout)), sys.stdout)


def _build(as_json: bool, codename: str, mirror: str) -> None:
    from xenable.guests import words
    from xenable.guests.build import build_base
    from xenable.guests.images import base_of
    from xenable.guests.interrupts import as_interrupts
    from xenable.ui.progress import progress

    host = prepare("build an image", "images --build")
    release = word("--build", codename, words.release)
    archive = word("--mirror", mirror, words.mirror) if mirror else ""
    there = base_of(host, release.codename)
    if there is not None:
        tell(
            as_json,
            "present",
            there.name,
            f"the image {there.name} is there: it was made on {there.created[:10]}",
        )
        return
    with as_interrupts(), progress(sys.stderr) as listener:
        base = build_base(host, release, archive, reporter(listener, f"make the image of {codename}"))
    tell(as_json, "built", base.name, f"the image {base.name} is there")


def _remove(as_json: bool, name: str) -> None:
    from xenable.guests.lifecycle import remove_image

    host = prepare("remove an image", "images --remove")
    remove_image(host, guest_storage(host), name)
    tell(as_json, "removed", name, f"the image {name} is gone; the next guest of its release makes it anew")
