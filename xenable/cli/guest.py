# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest`"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xenable.cli import CONTEXT
from xenable.cli.common import interruptible, json_option, need_consent, note, reporter, word
from xenable.cli.guest_common import guest_storage, name_argument, prepare, tell
from xenable.cli.guest_images import images
from xenable.errors import XenableError
from xenable.host import Host

if TYPE_CHECKING:
    from xenable.guests.create import Request


@click.group(cls=interruptible("`xenable guest list` shows how the guests are"), context_settings=CONTEXT)
def command() -> None:
    """Guests are ordinary domains of Xen: xl, xendomains and libvirt see them too. `xenable guest COMMAND
    --help` has the options of each."""


# ------------------------------------------------------------------------------------------------- create


@command.command(short_help="Make a guest and start it.", context_settings=CONTEXT)
@click.argument("name", metavar="NAME")
@click.option(
    "--release",
    metavar="CODENAME",
    help="Release to install, as trixie; the default is dom0's own.",
)
@click.option(
    "--image", metavar="FILE", help="Cloud image to begin with, raw or qcow2, in place of a release."
)
@click.option("--memory", default="512M", metavar="SIZE", help="Memory; the default is 512M.")
@click.option("--vcpus", default="1", metavar="NUMBER", help="Virtual processors; the default is 1.")
@click.option("--disk", default="4G", metavar="SIZE", help="Length of its disk; the default is 4G.")
@click.option(
    "--ssh-key",
    "key_files",
    multiple=True,
    metavar="FILE",
    help="Public key that may log in as root: at least one; may be given more than once.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(["pv", "pvh"]),
    help="The default is pvh, or pv where the processor can't run that.",
)
@click.option(
    "--mirror",
    default="",
    metavar="URL",
    help="Archive for the release's packages and their -updates; security updates are to be set up by hand.",
)
@click.option(
    "--isolate/--no-isolate",
    default=True,
    help="Keep it from other guests, the default; or let it and other such guests reach each other.",
)
@click.option("--autostart", is_flag=True, help="Start it with dom0.")
@click.option("--no-start", is_flag=True, help="Do not start it now.")
@json_option
def create(as_json: bool, name: str, **options: Any) -> None:
    """Make a guest and start it: whole, or not at all.

    The first guest of a release takes some minutes: its packages are installed once, into an image that all
    guests of that release begin with."""
    from xenable.guests.create import create as create_guest
    from xenable.guests.interrupts import as_interrupts
    from xenable.network.effective import read_effective
    from xenable.ui.document import print_document
    from xenable.ui.guests import guest_document, next_steps
    from xenable.ui.progress import progress

    host = prepare("create a guest")
    request = _request(host, name, options)
    net = read_effective(host)
    place = guest_storage(host)
    with as_interrupts(), progress(sys.stderr) as listener:
        guest = create_guest(host, request, place, net, reporter(listener, f"create {request.name}"))
    if as_json:
        print_document(guest_document("created", guest, started=request.start), sys.stdout)
        return
    from xenable.guests.lifecycle import describe

    address = guest.ipv4 or f"on {guest.bridge}"
    note(f"{guest.name} is there: {describe(guest)}, {address}; {next_steps(guest, running=request.start)}")


def _request(host: Host, name: str, options: dict[str, Any]) -> Request:
    """What is asked for, checked before anything is done."""
    from xenable.guests import images, words
    from xenable.guests.create import Request, default_kind
    from xenable.guests.model import Kind

    if options["image"] and options["release"]:
        raise click.UsageError("--image and --release contradict each other")
    if options["image"] and options["mirror"]:
        raise click.UsageError("--image and --mirror contradict each other")
    name = word("the name", name, words.guest_name)
    if not options["key_files"]:
        raise XenableError(
            f"cannot create the guest {name}: nobody could log in to it",
            hint="give --ssh-key FILE with your public key; `ssh-keygen -t ed25519` makes one",
        )
    release = ""
    if not options["image"]:
        release = options["release"] or _own_release(host)
        word("--release", release, words.release)
        if options["mirror"] and images.base_of(host, release) is not None:
            note(f"the image of {release} is there already: --mirror has no say")
    return Request(
        name=name,
        kind=Kind(options["kind"]) if options["kind"] else default_kind(host),
        memory=word("--memory", options["memory"], words.memory),
        vcpus=word("--vcpus", options["vcpus"], words.vcpus),
        disk_bytes=word("--disk", options["disk"], words.disk),
        keys=tuple(_key(host, file) for file in options["key_files"]),
        release=release,
        image=word("--image", str(host.resolve(options["image"])), words.path) if options["image"] else None,
        mirror=word("--mirror", options["mirror"], words.mirror) if options["mirror"] else "",
        isolate=options["isolate"],
        autostart=options["autostart"],
        start=not options["no_start"],
    )


def _own_release(host: Host) -> str:
    from xenable.facts.distribution import probe_distribution
    from xenable.guests.words import RELEASES

    own = probe_distribution(host).codename
    if own not in {release.codename for release in RELEASES}:
        raise XenableError(
            f"cannot choose a release for the guest: this machine's own is {own or 'not known'}",
            hint="give --release, as in --release trixie; or --image FILE",
        )
    return own


def _key(host: Host, file: str) -> str:
    from xenable.guests.words import ssh_key

    try:
        path = Path(file).expanduser().resolve()
    except (OSError, RuntimeError) as e:
        # A user or a folder that is not there, or links in a circle.
        raise XenableError(f"cannot use the key in {file}: {e}", hint="name a file that is there") from e
    text = host.read(path).decode("utf-8", "replace")
    try:
        return ssh_key(text)
    except ValueError as e:
        raise XenableError(f"cannot use the key in {file}: {e}") from e


# --------------------------------------------------------------------------------------------------- list


@command.command("list", short_help="Every guest, with what it has and needs.", context_settings=CONTEXT)
@json_option
def list_command(as_json: bool) -> None:
    """Every guest: state, memory, processors and their time, time since the start, disk (used and whole) and
    address. Guests that others made are in it too. With root rights it first takes back what is left of a
    creation that was cut off; a guest of which all was there is kept."""
    from xenable.guests.listing import rows
    from xenable.ui.document import print_document
    from xenable.ui.guests import guests_document, render_guests
    from xenable.ui.layout import show, width_of

    host = prepare("list guests") if os.geteuid() == 0 else Host()
    found = rows(host)
    if as_json:
        print_document(guests_document(found), sys.stdout)
    else:
        show(render_guests(found, width_of(sys.stdout)), sys.stdout)


# --------------------------------------------------------------------------------------- start, stop, reach


@command.command(short_help="Start a guest.", context_settings=CONTEXT)
@name_argument
@json_option
def start(as_json: bool, name: str) -> None:
    """Start a guest, after a look whether the memory is there for it."""
    from xenable.guests import lifecycle

    done = lifecycle.start(prepare(f"start {name}"), name)
    if done:
        tell(as_json, "started", name, f"{name} starts")
    else:
        tell(as_json, "running", name, f"{name} runs already")


@command.command(short_help="Shut a guest down, and wait.", context_settings=CONTEXT)
@name_argument
@click.option("--force", is_flag=True, help="Take its power away if it is not down by then.")
@json_option
def stop(as_json: bool, name: str, force: bool) -> None:
    """Shut a guest down, for 90 s at most, and wait until its domain is gone."""
    from xenable.guests import lifecycle

    done = lifecycle.stop(prepare(f"stop {name}"), name, force=force)
    if done:
        tell(as_json, "stopped", name, f"{name} is down")
    else:
        tell(as_json, "not-running", name, f"{name} does not run")


@command.command(short_help="Ask a guest to reboot.", context_settings=CONTEXT)
@name_argument
@json_option
def reboot(as_json: bool, name: str) -> None:
    """Ask a guest to reboot. Its configuration stays the one that it was started with."""
    from xenable.guests import lifecycle

    lifecycle.reboot(prepare(f"reboot {name}"), name)
    tell(as_json, "rebooting", name, f"{name} reboots")


@command.command(short_help="Show a guest's console.", context_settings=CONTEXT)
@name_argument
def console(name: str) -> None:
    """Show a guest's console; Ctrl-] leaves it. root's password is locked in guests that Xenable made."""
    from xenable.guests import lifecycle

    host = prepare(f"show the console of {name}", "console")
    note("Ctrl-] leaves the console")
    sys.stderr.flush()
    lifecycle.console(host, name)


# ------------------------------------------------------------------------------------------ change, remove


@command.command(short_help="Whether a guest starts with dom0.", context_settings=CONTEXT)
@name_argument
@click.argument("state", type=click.Choice(["on", "off"]), default="on", metavar="[on|off]")
@json_option
def autostart(as_json: bool, name: str, state: str) -> None:
    """Whether a guest starts with dom0; `on` where nothing is said. It is a link in /etc/xen/auto, which
    xendomains goes by."""
    from xenable.guests import lifecycle

    on = state == "on"
    lifecycle.autostart(prepare("change what starts with dom0", "autostart"), name, on)
    tell(as_json, f"autostart-{state}", name, f"{name} {'starts' if on else 'does not start'} with dom0")


@command.command(short_help="Change memory, processors or disk.", context_settings=CONTEXT)
@name_argument
@click.option("--memory", metavar="SIZE", help="As in 1G.")
@click.option("--vcpus", metavar="NUMBER", help="Virtual processors.")
@click.option("--disk", metavar="SIZE", help="As in 10G; it never gets shorter.")
@json_option
def resize(as_json: bool, name: str, memory: str | None, vcpus: str | None, disk: str | None) -> None:
    """Change memory, processors or disk. Only these lines of the guest's file in /etc/xen are written anew.

    A guest that runs has them when it is stopped and started; its file system then grows by itself. A disk
    that is a qcow2 file grows only while the guest is stopped."""
    from xenable.guests import lifecycle, words
    from xenable.ui.document import print_document
    from xenable.ui.guests import guest_document

    if memory is None and vcpus is None and disk is None:
        raise click.UsageError("--memory, --vcpus or --disk is needed")
    sizes = {
        "memory": word("--memory", memory, words.memory) if memory is not None else None,
        "vcpus": word("--vcpus", vcpus, words.vcpus) if vcpus is not None else None,
        "disk": word("--disk", disk, words.disk) if disk is not None else None,
    }
    guest, later = lifecycle.resize(prepare(f"resize {name}"), name, **sizes)
    if as_json:
        print_document(guest_document("resized", guest, restart_needed=later), sys.stdout)
        return
    note(f"{name} is now: {lifecycle.describe(guest)}")
    if later:
        note(f"it runs, and has that when it is started again: sudo xenable guest stop {name}, then start")


@command.command(short_help="Remove a guest with all that it has.", context_settings=CONTEXT)
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--force", is_flag=True, help="Take its power away if it runs; forget a disk that is not there."
)
@json_option
def remove(as_json: bool, name: str, yes: bool, force: bool) -> None:
    """Remove a guest with its disk, its configuration and its name."""
    from xenable.guests import lifecycle, records

    host = prepare(f"remove {name}")
    if host.exists(records.record(name)):
        need_consent(f"Remove {name} and all that is on its disk?", yes)
    lifecycle.remove(host, name, force=force)
    tell(as_json, "removed", name, f"{name} is gone")


@command.command(short_help="Print a guest in the form of another program.", context_settings=CONTEXT)
@name_argument
@click.option("--libvirt", is_flag=True, help="Domain XML, as libvirt's driver for Xen takes it.")
@json_option
def export(as_json: bool, name: str, libvirt: bool) -> None:
    """Print a guest in the form of another program, which has to be named, with the type, memory and
    processors that its file in /etc/xen gives it. Changes nothing.

    `xenable guest export --libvirt NAME >NAME.xml; virsh -c xen:///system define NAME.xml` makes it known to
    libvirt."""
    from xenable.guests import records
    from xenable.guests.libvirt import as_in_file, domain_xml
    from xenable.ui.document import print_document
    from xenable.ui.guests import guest_document

    if not libvirt:
        raise click.UsageError("the format is needed; the one that there is: --libvirt")
    host = Host()
    guest, cfg = records.read(host, name), records.cfg(name)
    if host.exists(cfg):
        # xl goes by the file, edits included; the record only says what Xenable made.
        guest = as_in_file(guest, host.read(cfg).decode("utf-8", "replace"), str(cfg))
    text = domain_xml(guest)
    if as_json:
        print_document(guest_document("exported", guest, xml=text), sys.stdout)
    else:
        sys.stdout.write(text)


command.add_command(images)
