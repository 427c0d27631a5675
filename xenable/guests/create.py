# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a guest, whole or not at all.

First a claim is written, which keeps name and address from others. Then everything is made in hidden
folders, and named last. Whatever goes wrong is taken back at once; what a kill leaves, the next command
finds by its claim, whose process is gone: it takes that back, or keeps the guest when its configuration was
written already, the last of all that makes it one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from xenable.errors import Exit, XenableError
from xenable.guests import basefiles, build, images, memory, records, seed, storage, words, xl, xlcfg
from xenable.guests.claims import NEW, Claim, began, claim_path, is_whole, take_back, taken_addresses
from xenable.guests.images import Base
from xenable.guests.interrupts import undisturbed
from xenable.guests.model import Boot, Format, Guest, Kind, Seed
from xenable.guests.records import GUESTS
from xenable.guests.storage import Disk, Storage
from xenable.host import Host
from xenable.model import Progress
from xenable.network import names
from xenable.network.addresses import free_address, ipv6_of
from xenable.network.effective import GuestNet, Mode


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for; every value has gone through xenable.guests.words."""

    name: str
    kind: Kind
    memory: int
    """MiB."""
    vcpus: int
    disk_bytes: int
    keys: tuple[str, ...]
    """Lines of authorized_keys."""
    release: str = ""
    """Code name; or `image` is set."""
    image: Path | None = None
    mirror: str = ""
    isolate: bool = True
    autostart: bool = False
    start: bool = True


def create(host: Host, request: Request, place: Storage, net: GuestNet, progress: Progress) -> Guest:
    """Make a guest, and start it where that is asked for.

    Errors: XenableError with status PUT_BACK when something was made and taken back, NOT_PUT_BACK when not
    all of it could be. Ctrl-C is such an error too.
    """
    verb = f"create the guest {request.name}"
    if request.start:
        xl.need_dom0(host, verb)
    draft = _draft(request)
    if request.start:
        info = host.run(["xl", "info"]).stdout
        check_memory(info, draft)
        check_kind(info, draft)
    # Before the work of minutes; it counts once the name is claimed.
    _check_name(host, request.name, place)
    with _undone_on_failure(host, verb) as undo:
        base = _base(host, request, progress)
        check_kernel(request, base)
        storage.check_room(host, place, base, request.disk_bytes)
        progress(0.80, f"making {request.name}")
        claim, address = _claim(host, request, place, net, draft.uuid, undo)
        guest = _make(host, request, place, net, base, replace(draft, ipv4=address), claim)
        if request.start:
            # What its disk is turns out when it is made.
            check_dom0_memory(host, guest)
        progress(0.90, f"naming {guest.name}")
        _publish(host, guest, request, claim)
        if request.start:
            progress(0.95, f"starting {guest.name}")
            xl.create(host, records.cfg(guest.name), f"start {guest.name}")
        # From here on it is there.
        host.remove(claim_path(guest.name))
    progress(1.0, guest.name)
    return guest


def check_memory(info: str, guest: Guest) -> None:
    """Errors: XenableError when Xen has not enough memory left, by the output of `xl info`."""
    missing = memory.fits(memory.free_memory(info), guest)
    if missing is not None:
        raise XenableError(
            f"cannot start {guest.name}: {missing}",
            hint="give it less, stop another guest, or give dom0 less (`dom0-memory`, revert, apply anew)",
        )


def check_dom0_memory(host: Host, guest: Guest) -> None:
    """Errors: XenableError when dom0 has not enough memory for what it runs beside the guest."""
    missing = memory.dom0_has_room(host.text("/proc/meminfo"), guest)
    if missing is not None:
        raise XenableError(
            f"cannot start {guest.name}: {missing}",
            hint="stop another guest, or give dom0 more (`dom0-memory`, revert, apply anew)",
        )


def has_hvm(info: str) -> bool:
    """Whether Xen can use the processor's virtualisation, which PVH needs, by the output of `xl info`."""
    found = re.search(r"^virt_caps\s*:(.*)$", info, re.MULTILINE)
    return found is not None and "hvm" in found[1].split()


def check_kind(info: str, guest: Guest) -> None:
    """Errors: XenableError for a PVH guest where there can be none."""
    if guest.kind is Kind.PVH and not has_hvm(info):
        raise XenableError(
            f"cannot start {guest.name}: it is of the type pvh, and Xen finds no VT-x or SVM here to run it",
            hint="create it with --type pv, or switch virtualisation on in the firmware's setup",
        )


def check_kernel(request: Request, base: Base) -> None:
    """Errors: XenableError for a PV guest of an image whose kernel GRUB can't unpack, if known."""
    if request.kind is Kind.PV and not base.ours and base.compression not in ("", *images.GRUB_UNPACKS):
        raise XenableError(
            f"cannot create the guest {request.name}: the kernel of {base.release} is packed with "
            f"{base.compression}, which GRUB can't unpack for a PV guest",
            hint="create it with --type pvh, or of a --release, or put another kernel into the image first",
        )


def default_kind(host: Host) -> Kind:
    """PVH where it can run: it is faster and better separated. Else PV."""
    if xl.is_dom0(host):
        return Kind.PVH if has_hvm(host.run(["xl", "info"]).stdout) else Kind.PV
    words_of_cpu = host.text("/proc/cpuinfo").split()
    return Kind.PVH if {"vmx", "svm"} & set(words_of_cpu) else Kind.PV


def _draft(request: Request) -> Guest:
    """The guest as far as it is known before anything is made."""
    folder = records.folder(request.name)
    cloud = request.image is not None
    return Guest(
        name=request.name,
        uuid=str(uuid.uuid4()),
        kind=request.kind,
        memory=request.memory,
        vcpus=request.vcpus,
        disk_bytes=request.disk_bytes,
        format=Format.RAW,
        disk=str(folder / "disk.raw"),
        seed=str(folder / ("seed.img" if cloud else "seed.tar")),
        seed_kind=Seed.NOCLOUD if cloud else Seed.TAR,
        mac=new_mac(),
        ipv4="",
        ipv6="",
        release=request.release,
        boot=Boot.GRUB,
        isolate=request.isolate,
        created=images.now(),
    )


def new_mac() -> str:
    """A random hardware address of Xen's own prefix."""
    return ":".join(
        ["00", "16", "3e", f"{secrets.randbelow(128):02x}", *(f"{b:02x}" for b in secrets.token_bytes(2))]
    )


def _base(host: Host, request: Request, progress: Progress) -> Base:
    def part(fraction: float, text: str) -> None:
        progress(fraction * 0.78, text)

    if request.image is not None:
        return images.import_image(host, request.image, part)
    release = words.release(request.release)
    found = images.base_of(host, release.codename)
    return found or build.build_base(host, release, request.mirror, part)


def _claim(
    host: Host, request: Request, place: Storage, net: GuestNet, own: str, undo: list[Claim]
) -> tuple[Claim, str]:
    """Take name and address for this process alone. Errors: XenableError when the name is taken."""
    name = request.name
    with host.lock_folder(GUESTS):
        _check_name(host, name, place)
        address = "" if net.mode is Mode.BRIDGE else str(free_address(net, taken_addresses(host, net)))
        folder = storage.folder_of(place, name)
        claim = Claim(
            name=name,
            uuid=own,
            ipv4=address,
            pid=os.getpid(),
            began=began(host, os.getpid()),
            folder=str(folder) if folder is not None else "",
            volume=storage.volume(place, name) if folder is None else "",
            autostart=request.autostart,
        )
        undo.append(claim)
        host.write(claim_path(name), json.dumps(asdict(claim)).encode() + b"\n", mode=0o600)
    return claim, address


def _check_name(host: Host, name: str, place: Storage) -> None:
    taken = ""
    if means := names.taken_by(host, name):
        taken = f"that name means {means}"
    elif host.exists(records.folder(name)):
        taken = f"there is a guest of that name in {GUESTS}"
    elif host.exists(claim_path(name)):
        taken = "another xenable is making it"
    elif host.exists(records.cfg(name)):
        taken = f"{records.cfg(name)} is there, which Xenable did not write"
    elif xl.find(host, name) is not None:
        taken = "a domain of that name runs"
    elif (folder := storage.folder_of(place, name)) is not None and host.exists(folder):
        taken = f"{folder} is there"
    elif storage.has_volume(host, place, name):
        # Else its claim would name it, and what fails would take it along.
        taken = f"{storage.volume(place, name)} is there"
    if taken:
        raise XenableError(f"cannot create the guest {name}: {taken}", hint="choose another name")


@contextlib.contextmanager
def _undone_on_failure(host: Host, verb: str) -> Iterator[list[Claim]]:
    """Take back the claims in the list when what is done meanwhile fails, or is interrupted."""
    undo: list[Claim] = []
    try:
        yield undo
    except (XenableError, KeyboardInterrupt) as e:
        if isinstance(e, XenableError):
            message, hint = e.message, e.hint
        else:
            message, hint = f"cannot {verb}: interrupted", "the command can be run again"
        if not undo:
            if isinstance(e, XenableError):
                raise
            raise XenableError(f"{message}; nothing was left behind", hint=hint, status=Exit.PUT_BACK) from e
        try:
            with undisturbed():
                for claim in undo:
                    with host.lock_folder(GUESTS):
                        take_back(host, claim)
        except XenableError as worse:
            rest = "the next `xenable guest` command takes the rest back"
            if any(is_whole(host, claim) for claim in undo):
                # So it would be kept.
                rest = "`xenable guest remove` takes back what is there"
            raise XenableError(
                f"{message}; then: {worse.message}",
                hint="; ".join(filter(None, (hint, rest))),
                status=Exit.NOT_PUT_BACK,
            ) from e
        raise XenableError(f"{message}; everything was taken back", hint=hint, status=Exit.PUT_BACK) from e
    except BaseException:
        with undisturbed(), contextlib.suppress(XenableError):
            for claim in undo:
                with host.lock_folder(GUESTS):
                    take_back(host, claim)
        raise


# ----------------------------------------------------------------------------------------------- making


def _make(
    host: Host, request: Request, place: Storage, net: GuestNet, base: Base, draft: Guest, claim: Claim
) -> Guest:
    """Everything in hidden folders; returns the guest as it will be when they have their names."""
    folder = GUESTS / f".{draft.name}{NEW}"
    host.make_folder(folder)
    disk_folder = folder
    if claim.folder and Path(claim.folder) != records.folder(draft.name):
        disk_folder = Path(claim.folder).parent / f".{draft.name}{NEW}"
        host.make_folder(disk_folder)
    disk = storage.create_disk(host, place, base, draft.name, request.disk_bytes, disk_folder)
    if disk.format is not Format.BLOCK:
        host.chmod(disk.path, 0o600)
        host.run(["sync", disk.path], timeout=None)
    guest = _complete(host, draft, base, net, disk, claim, folder)
    _write_seed(host, guest, net, request.keys, folder)
    if not guest.isolate:
        host.write(folder / "open", b"")
    records.write(host, guest, folder / "guest.json")
    return guest


def _complete(
    host: Host, draft: Guest, base: Base, net: GuestNet, disk: Disk, claim: Claim, folder: Path
) -> Guest:
    at_home = f"{claim.folder}/{Path(disk.path).name}" if claim.folder else disk.path
    ipv6 = ipv6_of(net, IPv4Address(draft.ipv4)) if draft.ipv4 else None
    guest = replace(
        draft,
        format=disk.format,
        disk=at_home,
        disk_bytes=disk.bytes,
        ipv6=str(ipv6 or ""),
        release=base.release,
        bridge=net.bridge if net.mode is Mode.BRIDGE else "",
    )
    if not needs_direct_boot(guest.kind, base):
        loader = xlcfg.LOADERS[guest.kind]
        if not host.exists(loader):
            raise XenableError(
                f"cannot boot {guest.name}: {loader} is missing", hint="sudo apt install grub-xen-host"
            )
        return guest
    # Names of their own: the guest goes on when the image is made anew, or goes.
    for name, source in (("vmlinuz", base.kernel), ("initrd", base.initrd)):
        host.link_or_copy(source, folder / name)
    home = records.folder(guest.name)
    arguments = basefiles.DIRECT_ARGUMENTS
    return replace(
        guest,
        boot=Boot.DIRECT,
        kernel=str(home / "vmlinuz"),
        initrd=str(home / "initrd"),
        arguments=arguments,
    )


def needs_direct_boot(kind: Kind, base: Base) -> bool:
    """Whether GRUB can't start this kernel: for PV it has to unpack it, and knows few compressions."""
    return kind is Kind.PV and base.ours and base.compression not in images.GRUB_UNPACKS


def _write_seed(host: Host, guest: Guest, net: GuestNet, keys: tuple[str, ...], folder: Path) -> None:
    """The second disk. It holds no secret, but nobody else needs it."""
    target = folder / Path(guest.seed).name
    if guest.seed_kind is Seed.TAR:
        host.write(target, seed.tar_seed(seed.seed_files(guest, net, keys)), mode=0o600)
        return
    files = folder / "nocloud"
    host.make_folder(files, 0o700)
    for name, text in seed.nocloud_files(guest, net, keys).items():
        host.write(files / name, text.encode(), mode=0o600)
    source = {"driver": "vvfat", "dir": str(files), "label": "CIDATA", "floppy": True, "fat-type": 12}
    host.run(["qemu-img", "convert", "-O", "raw", "json:" + json.dumps(source), target])
    host.run(["sync", target])
    images.discard(host, files)


def _publish(host: Host, guest: Guest, request: Request, claim: Claim) -> None:
    """Give everything its name, the configuration last: without it neither xl nor xendomains sees it."""
    home = records.folder(guest.name)
    if claim.folder and Path(claim.folder) != home:
        host.rename(Path(claim.folder).parent / f".{guest.name}{NEW}", claim.folder)
    host.rename(GUESTS / f".{guest.name}{NEW}", home)
    with host.lock_folder(GUESTS):
        if guest.ipv4:
            # Not the IPv6 address, which everybody would try first: open guests reach one another by IPv4
            # only, for Linux has no forwarding of IPv6 for one interface.
            names.publish(host, guest.name, (guest.ipv4,))
    host.make_folder(records.CFGS)
    # The commit point: whoever finds it, keeps the guest.
    host.write(records.cfg(guest.name), xlcfg.render(guest).encode())
    if request.autostart:
        records.add_auto_link(host, records.cfg(guest.name).name)
