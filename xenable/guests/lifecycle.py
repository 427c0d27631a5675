# SPDX-License-Identifier: GPL-2.0-or-later
"""Start, stop, reboot, reach, change and remove guests that are there.

Starting, stopping and the console work for every guest that xl knows; the rest is for those that Xenable
made.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path

from xenable import trial
from xenable.errors import XenableError
from xenable.guests import claims, create, images, records, storage, words, xl, xlcfg
from xenable.guests.model import Format, Guest
from xenable.guests.records import GUESTS, IMAGES
from xenable.guests.storage import Disk, Storage
from xenable.guests.xl import Domain
from xenable.host import Host
from xenable.model import Progress
from xenable.network import names

STOP_SECONDS = 90
"""A guest's own services get 90 s to end, by systemd's default."""
BEGUN = "removing"
"""Name of a file in a guest's folder: its disk's folder, where that is another, is being removed."""


# ------------------------------------------------------------------------------------------ start and stop


def find_cfg(host: Host, name: str) -> Path:
    """The configuration of a guest, by whomever. Errors: XenableError when there is none."""
    if host.exists(records.cfg(name)):
        return records.cfg(name)
    for file in host.names(records.CFGS):
        if file.endswith(".cfg"):
            with contextlib.suppress(XenableError):
                if xlcfg.summary(host.text(records.CFGS / file), file).name == name:
                    return records.CFGS / file
    raise XenableError(
        f"cannot find the guest {name}: no file in {records.CFGS} is about it",
        hint="`xenable guest list` names all guests",
    )


def start(host: Host, name: str) -> bool:
    """Start a guest; False when it runs already. Errors: XenableError with xl's reason."""
    xl.need_dom0(host, f"start {name}")
    path = find_cfg(host, name)
    domain = xl.find(host, name)
    if (
        domain is not None
        and domain.state not in xl.ALIVE
        and xl.is_gone(host, domain, seconds=xl.GONE_SECONDS)
    ):
        # xl's daemon may have started it anew, as after a crash.
        domain = xl.find(host, name)
    if domain is not None:
        if domain.state in xl.ALIVE:
            return False
        force = " --force" if _is_kept(host, domain) else ""
        raise XenableError(
            f"cannot start {name}: {_presence(domain)}",
            hint=f"sudo xenable guest stop{force} {name} takes that away",
        )
    if host.exists(records.record(name)):
        # The file is what counts for xl: it may have been edited.
        found = xlcfg.summary(host.text(path), str(path))
        guest = records.read(host, name)
        info = host.run(["xl", "info"]).stdout
        create.check_memory(
            info, replace(guest, memory=found.memory or guest.memory, vcpus=found.vcpus or guest.vcpus)
        )
        create.check_dom0_memory(host, guest)
    xl.create(host, path, f"start {name}")
    return True


def stop(host: Host, name: str, *, seconds: int = STOP_SECONDS, force: bool = False) -> bool:
    """Shut a guest down and wait until its domain is gone; False when there is none. With force, its power
    goes after that time. Without, a domain that its file wants kept stays, shut down.

    Errors: XenableError when it is still there.
    """
    domain = _running(host, name, "stop")
    if domain is None:
        return False
    if domain.state in xl.ALIVE:
        # -F: to a guest that does not listen to Xen, as an HVM one without drivers, the power button.
        done = host.run(["xl", "shutdown", "-F", "-w", str(domain.id)], check=False, timeout=seconds)
        if done.code != 0 and not xl.is_gone(host, domain):
            if not force:
                why = f"it did not shut down within {seconds} s" if done.code == 124 else xl.reason(done)
                hint = f"sudo xenable guest console {name} shows what it does; --force takes its power away"
                raise XenableError(f"cannot stop {name}: {why}", hint=hint)
            xl.destroy(host, domain, f"stop {name}")
    if _is_kept(host, domain):
        if not force:
            return True
    elif xl.is_gone(host, domain, seconds=xl.GONE_SECONDS):
        # xl waits for the end of the guest only; its daemon tears the domain down after that.
        return True
    # That daemon died, or there never was one, as after `xl create -e`.
    xl.destroy(host, domain, f"stop {name}")
    if not xl.is_gone(host, domain, seconds=xl.GONE_SECONDS):
        raise XenableError(
            f"cannot stop {name}: it is down, and its domain {domain.id} still there",
            hint="something in dom0 still has its memory: the files in /var/log/xen may tell more",
        )
    return True


def _is_kept(host: Host, domain: Domain) -> bool:
    """Whether the guest's file wants a domain kept that came to its end."""
    with contextlib.suppress(XenableError):
        path = find_cfg(host, domain.name)
        end = "on_crash" if domain.state == "crashed" else "on_poweroff"
        return xlcfg.parse(host.text(path), str(path)).get(end) == "preserve"
    return False


def _presence(domain: Domain) -> str:
    """What is in the way while a domain is there, in words that complete "cannot …:"."""
    return "it runs" if domain.state in xl.ALIVE else f"its domain {domain.id} is there, {domain.state}"


def reboot(host: Host, name: str) -> None:
    """Ask a guest to reboot. Errors: XenableError when it does not run, or does not listen."""
    domain = _running(host, name, "reboot")
    if domain is None:
        raise XenableError(f"cannot reboot {name}: it does not run", hint=f"sudo xenable guest start {name}")
    xl.run(host, ["reboot", "-F", str(domain.id)], f"reboot {name}")


def console(host: Host, name: str) -> None:
    """Become `xl console`; does not return. Errors: XenableError when the guest does not run."""
    domain = _running(host, name, "show the console of")
    if domain is None:
        raise XenableError(
            f"cannot show the console of {name}: it does not run", hint=f"sudo xenable guest start {name}"
        )
    host.replace_process(["xl", "console", str(domain.id)])


def _running(host: Host, name: str, verb: str) -> Domain | None:
    """The guest's domain. Errors: XenableError when there is no guest of that name at all."""
    xl.need_dom0(host, f"{verb} {name}")
    domain = xl.find(host, name)
    if domain is None:
        find_cfg(host, name)
    return domain


# ------------------------------------------------------------------------------------------------ change


def autostart(host: Host, name: str, on: bool) -> bool:
    """Whether xendomains starts a guest with dom0; False when that is so already. Errors: XenableError."""
    path = find_cfg(host, name)
    links = records.auto_links(host, path)
    if bool(links) == on:
        return False
    if on:
        link = records.AUTO / path.name
        if host.exists(link):
            raise XenableError(
                f"cannot let {name} start with dom0: {link} is there, and leads to {host.link_target(link)}",
                hint="give that link another name",
            )
        records.add_auto_link(host, path.name)
    else:
        records.remove_auto_links(host, links)
    return True


def resize(
    host: Host, name: str, *, memory: int | None = None, vcpus: int | None = None, disk: int | None = None
) -> tuple[Guest, bool]:
    """Change memory (MiB), processors, or length of the disk (bytes); what is None stays.

    Returns the guest as it is then, and whether it has to be stopped and started for that. A reboot from
    within is not enough: xl takes the configuration that it started the guest with.
    Errors: XenableError, with nothing changed but perhaps the disk's length.
    """
    with host.lock_folder(GUESTS):
        guest = records.read(host, name)
        running = xl.is_dom0(host) and xl.find(host, name) is not None
        path = records.cfg(name)
        # It may have been edited in whatever encoding: what is not to be changed stays byte for byte.
        before = host.read(path).decode(errors="surrogateescape")
        changes = {key: value for key, value in (("memory", memory), ("vcpus", vcpus)) if value is not None}
        after = xlcfg.change(before, changes, str(path)) if changes else before
        if disk is not None:
            storage.grow_disk(host, storage.disk_of(guest), disk, running=running)
        changed = replace(
            guest,
            memory=memory if memory is not None else guest.memory,
            vcpus=vcpus if vcpus is not None else guest.vcpus,
            disk_bytes=disk if disk is not None else guest.disk_bytes,
        )
        if after != before:
            host.edit(path, after.encode(errors="surrogateescape"))
        if changed != guest:
            records.write(host, changed)
    return changed, running and (changed != guest or after != before)


# ------------------------------------------------------------------------------------------------ remove


def remove(host: Host, name: str, *, force: bool = False) -> None:
    """Remove a guest with all that it has. When it is interrupted, it can be run again, and finishes.

    Errors: XenableError for a guest that runs, or whose disk is not there, without force; for one that is
    being made; for one that Xenable did not make.
    """
    guest = _ours(host, name)
    if not force:
        _refuse_without_disk(host, guest)
    with host.lock_folder(GUESTS):
        _refuse_while_making(host, f"remove {name}", name)
    domain = xl.find(host, name, guest.uuid)
    if domain is not None:
        if not force:
            raise XenableError(
                f"cannot remove {name}: {_presence(domain)}",
                hint=f"sudo xenable guest stop {name} first; or --force takes its power away",
            )
        xl.destroy(host, domain, f"stop {name}")
        claims.sweep_network(host)
    with host.lock_folder(GUESTS):
        # Meanwhile somebody may have started it, or removed it and made another.
        if _ours(host, name).uuid != guest.uuid or xl.find(host, name, guest.uuid) is not None:
            raise XenableError(
                f"cannot remove {name}: somebody has started it, or made it anew, at the same time",
                hint="look at `xenable guest list`, then run the command again",
            )
        _remove_files(host, name, storage.disk_of(guest))


def _refuse_without_disk(host: Host, guest: Guest) -> None:
    """Errors: XenableError when the folder of a disk is not there: it may be back tomorrow, and then nobody
    would know of the disk."""
    own = Path(guest.disk).parent
    # Else it is gone because a removal was cut off that had come so far.
    begun = host.exists(records.folder(guest.name) / BEGUN)
    if guest.format is not Format.BLOCK and not begun and not host.exists(own):
        raise XenableError(
            f"cannot remove {guest.name}: {own} is not there, where its disk is",
            hint=f"mount what it is on; `sudo xenable guest remove --force {guest.name}` forgets the disk",
        )


def _remove_files(host: Host, name: str, disk: Disk | None) -> None:
    """Remove what is on disk of a guest that does not run. Only for who holds the lock of GUESTS."""
    # First what starts it, last the record, which says where the rest is.
    host.clean(records.auto_link(name))
    records.remove_auto_links(host, records.auto_links(host, records.cfg(name)))
    host.remove(records.cfg(name))
    claims.forget_name(host, name)
    home = records.folder(name)
    storage.detach_loops(host, home)
    if disk is not None:
        storage.remove_disk(host, disk.path, disk.format)
        own = Path(disk.path).parent
        if disk.format is not Format.BLOCK and own != home and own.name == name:
            host.write(home / BEGUN, b"")
            storage.remove_folder(host, own)
    gone = GUESTS / f".{name}{claims.REMOVING}"
    images.discard(host, gone)
    host.rename(home, gone)
    images.discard(host, gone)


def _ours(host: Host, name: str) -> Guest:
    if not host.exists(records.record(name)):
        path = find_cfg(host, name)
        raise XenableError(
            f"cannot remove {name}: Xenable did not make it, so its disks are not Xenable's to remove",
            hint=f"remove what you made, and {path}",
        )
    return records.read(host, name)


def guests_present(host: Host) -> tuple[str, ...]:
    """Names of the guests that Xenable made, those half made included."""
    half = {claim.name for claim in claims.claims(host)}
    return tuple(sorted({*records.names(host), *half}))


def others_running(host: Host) -> tuple[str, ...]:
    """Names of the domains that run here and that Xenable did not make. A revert that is gone on with has
    asked before it took xl away. Errors: XenableError where xl does not answer in a dom0."""
    try:
        there = xl.domains(host)
    except XenableError as e:
        if "control_d" not in host.text("/proc/xen/capabilities") or trial.reverted(host):
            return ()
        raise XenableError(
            f"cannot tell which domains run: {e.message}",
            hint="shut them down from inside, then boot the native system, where a revert needs no xl; "
            "where there are no guests of Xenable's, --force goes on without it",
        ) from e
    guests = (_read(host, name) for name in records.names(host))
    own = {guest.uuid for guest in guests if guest is not None} | {c.uuid for c in claims.claims(host)}
    # By name where a record is damaged, or a file was given another UUID: so they are found to be removed.
    named = guests_present(host)
    return tuple(
        domain.name
        for domain in there
        if domain.state in ("running", "paused") and domain.uuid not in own and domain.name not in named
    )


def remove_image(host: Host, place: Storage, name: str) -> None:
    """Remove a base image: the next guest of that release makes it anew, of the packages there are then.

    Errors: XenableError while guests' disks stand on it, or while images or guests are made.
    """
    with host.lock_folder(IMAGES, wait=False), host.lock_folder(GUESTS):
        base = next((base for base in images.bases(host) if base.name == name), None)
        if base is None:
            raise XenableError(
                f"cannot remove the image {name}: there is none of that name",
                hint="`xenable guest images` names them",
            )
        # Its disk may stand on it already; no record says so yet.
        _refuse_while_making(host, f"remove the image {name}")
        images.remove_base(host, base)
        storage.remove_base(host, place, base)


def _refuse_while_making(host: Host, verb: str, name: str = "") -> None:
    """Errors: XenableError when a guest, or that one, is being made. Only for who holds GUESTS' lock."""
    # The end of a process that died is nothing to wait for.
    claims.sweep_held(host)
    making = [claim.name for claim in claims.claims(host) if name in ("", claim.name)]
    if making:
        raise XenableError(f"cannot {verb}: {', '.join(making)} is being made", hint="wait until it ends")


def remove_all(host: Host, place: Storage, progress: Progress) -> tuple[str, ...]:
    """Remove every guest and every base image, and the folders of both; returns the guests' names.

    Errors: XenableError, with nothing removed while images or guests are made, or a disk's folder is not
    there; it can be run again, and goes on.
    """
    with host.lock_folder(IMAGES, wait=False), host.lock_folder(GUESTS):
        _refuse_while_making(host, "remove the guests")
        gone = records.names(host)
        for known in filter(None, (_read(host, name) for name in gone)):
            _refuse_without_disk(host, known)
        for number, name in enumerate(gone):
            progress(number / (len(gone) + 1), f"removing {name}")
            guest = _read(host, name)
            domain = xl.find(host, name, guest.uuid if guest is not None else "")
            if domain is not None:
                xl.destroy(host, domain, f"stop {name}")
                claims.sweep_network(host)
            disk = storage.disk_of(guest) if guest is not None else _disk_by_name(host, place, name)
            _remove_files(host, name, disk)
        progress(len(gone) / (len(gone) + 1), "removing images")
        images.remove_all(host)
        storage.remove_bases(host, place)
        for folder in (IMAGES, GUESTS, names.FOLDER):
            # What else is in there is not ours.
            if not host.names(folder):
                host.remove(folder)
    progress(1.0, "")
    return gone


def _read(host: Host, name: str) -> Guest | None:
    """A guest's record; None when it is damaged."""
    try:
        return records.read(host, name)
    except XenableError:
        return None


def _disk_by_name(host: Host, place: Storage, name: str) -> Disk | None:
    """The disk of a guest whose record is damaged: what has its name in the place of disks.

    That only when the guest's xl.cfg names it too: the place may be another one by now, and what has the
    name there somebody else's. None when there is no such disk; the guest's own folder goes anyway.
    """
    folder = storage.folder_of(place, name)
    path = str(folder) if folder is not None else storage.volume(place, name)
    if not re.search(rf"{re.escape(path)}(?![A-Za-z0-9_+.-])", host.text(records.cfg(name))):
        return None
    if folder is None:
        return Disk(path=path, format=Format.BLOCK, bytes=0)
    return Disk(path=str(folder / "disk.raw"), format=Format.RAW, bytes=0)


def describe(guest: Guest) -> str:
    """What a guest is, in one line: `pvh, 512M, 1 processor, 4G, trixie`."""
    processors = "1 processor" if guest.vcpus == 1 else f"{guest.vcpus} processors"
    parts = (guest.kind.value, words.show_size(guest.memory << 20), processors)
    return ", ".join((*parts, words.show_size(guest.disk_bytes), guest.release))
