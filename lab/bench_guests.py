# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests against xen-tools, side by side on this machine: disks need no Xen to be made."""

import json
import os
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from lab.bench import ROUNDS, Figure
from lab.errors import LabError
from lab.host import CHECKOUT, own_codename, run
from lab.machines import Lab
from lab.story import must, say, step

SAME = 1.25
"""Times of a second or less that differ by less than that are the same."""

XEN_TOOLS = ("debian-archive-keyring", "debootstrap", "mmdebstrap", "qemu-utils", "xen-tools")

NETWORK = """MODE=routed
INTERFACE=xenable0
ADDRESS4=172.20.216.1
NETWORK4=172.20.216.0/24
ADDRESS6=
NETWORK6=
GROUP=30821
UPLINK=
BRIDGE=
"""
"""What a conversion writes to /etc/xenable/network.env."""

PRIVATE = ("/var/lib/xenable", "/etc/xenable", "/etc/xen", "/srv/xen-tools", "/var/cache/apt/archives")
"""Folders of the machine that both see as empty ones of their own, in a mount namespace."""

# What apt itself fetches this release from: both get the same.
FIND_MIRROR = (
    "apt-get indextargets --format '$(REPO_URI)' 'Codename: RELEASE' 'Created-By: Packages' | head -n 1"
)

# A system that is like ours: by --pygrub with a kernel of its own, by a hook of all guests with sshd.
THEIRS = """xen-create-image --hostname=bench-theirs --dist=RELEASE --install-method=debootstrap \\
    --dir=/srv/xen-tools --size=SIZE --fs=ext4 --noswap --dhcp --pygrub --memory=256M --nohosts \\
    --mirror=MIRROR </dev/null >/srv/xen-tools/said 2>&1 || { tail -n 30 /srv/xen-tools/said >&2; exit 1; }
"""
THEIR_DISK = "/srv/xen-tools/domains/bench-theirs/disk.img"

OURS = """/usr/bin/python3 -m xenable guest create bench-ours --release RELEASE --disk SIZE --memory 256M \\
    --ssh-key /etc/xenable/key.pub --no-start --mirror MIRROR
"""
OUR_DISK = "/var/lib/xenable/images/RELEASE-amd64.raw"

CHECK = """disk=$(echo /var/lib/xenable/guests/bench-ours/disk.*)
case $disk in *.qcow2) qemu-img check -q "$disk" ;; esac
qemu-img dd -O raw if="$disk" of=/var/lib/xenable/head bs=1M count=64
trap 'rm /var/lib/xenable/head' EXIT
cmp -n 67108864 /var/lib/xenable/head /var/lib/xenable/images/*.raw
"""

# What has to be in the file system of either.
INSIDE = """mount -o ro,loop DISK /mnt
trap 'umount /mnt' EXIT
ls /mnt/boot/vmlinuz-* /mnt/usr/sbin/sshd
"""


def run_here(lab: Lab) -> tuple[Figure, ...]:
    """Guests by both, to disk ready: the first with all downloads, later ones with what was kept of them."""
    if os.geteuid() != 0:
        raise LabError("cannot measure guests: xen-create-image needs root rights: run it with sudo")
    scratch = lab.folder / "machine"
    missing = [Path(folder) for folder in PRIVATE if not Path(folder).exists()]
    try:
        return measured(scratch)
    finally:
        # Something has to be there for inside() to mount over.
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def measured(scratch: Path) -> tuple[Figure, ...]:
    """All figures of guests; what both write is below a folder."""
    with step("xen-tools is here, and both have a place to work in"):
        prepare(scratch)
        release = own_codename()
        mirror = inside(scratch, fill(FIND_MIRROR, release=release)).strip().rstrip("/")
        must(mirror, f"apt knows where {release} is")
    words = {"release": release, "mirror": mirror}
    first_theirs: list[float] = []
    first_ours: list[float] = []
    for number in range(ROUNDS):
        with step(f"round {number + 1}: the first guest"):
            inside(scratch, "apt-get clean")
            first_theirs.append(their_guest(scratch, words, "4G"))
            inside(scratch, "rm -rf /var/lib/xenable/images")
            first_ours.append(our_guest(scratch, words, "4G"))
    figures = [
        Figure("the first guest of a release, 4 GB", tuple(first_theirs), tuple(first_ours), most_ratio=0.5)
    ]
    later: dict[str, tuple[float, ...]] = {}
    for size in ("4G", "400G"):
        with step(f"later guests with {size}"):
            theirs = tuple(their_guest(scratch, words, size) for _ in range(ROUNDS))
            later[size] = tuple(our_guest(scratch, words, size) for _ in range(ROUNDS))
        title = f"a later guest, {size.removesuffix('G')} GB"
        figures.append(Figure(title, theirs, later[size], most_ratio=0.05))
    title = "Xenable's later guest, 400 GB against 4 GB"
    return (*figures, Figure(title, later["4G"], later["400G"], most_ratio=SAME))


def prepare(scratch: Path) -> None:
    """Install xen-tools, and make what inside() puts in the place of the machine's own folders."""
    names = " ".join(XEN_TOOLS)
    install = f"DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {names}"
    run(["sh", "-c", f"dpkg-query -W {names} >/dev/null 2>&1 || {install}"], doing="install xen-tools")
    for folder in PRIVATE:
        (scratch / folder.lstrip("/")).mkdir(parents=True)
    (scratch / "etc/xenable/network.env").write_text(NETWORK)
    key = scratch / "etc/xenable/key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.fspath(key)], doing="make a key")


def inside(scratch: Path, command: str) -> str:
    """Run a shell line as root where PRIVATE is the bench's own; returns its stdout. Raises LabError."""
    binds = [
        f"mkdir -p {folder} && mount --bind {shlex.quote(os.fspath(scratch / folder.lstrip('/')))} {folder}"
        for folder in PRIVATE
    ]
    script = "\n".join(("set -e", *binds, f"cd {shlex.quote(os.fspath(CHECKOUT))}", command))
    return run(["unshare", "--mount", "sh", "-c", script], doing=f"run {command.split()[0]}")


def fill(text: str, **words: str) -> str:
    """The text with its words in capitals replaced: release="trixie" is put in the place of RELEASE."""
    for key, value in words.items():
        text = text.replace(key.upper(), value)
    return text


def their_guest(scratch: Path, words: dict[str, str], size: str) -> float:
    """Seconds that xen-create-image takes for a guest, which is looked at and removed."""
    took = seconds(scratch, fill(THEIRS, **words, size=size))
    inside(scratch, fill(INSIDE, disk=THEIR_DISK))
    inside(scratch, "rm -rf /srv/xen-tools/domains /etc/xen/bench-theirs.cfg")
    say(f"xen-create-image with {size}: {took:.1f} s")
    return took


def our_guest(scratch: Path, words: dict[str, str], size: str) -> float:
    """Seconds that `xenable guest create` takes for a guest, which is looked at and removed."""
    took = seconds(scratch, fill(OURS, **words, size=size))
    # The disk stands on the image: both have to be whole, and a part of the one is read as the guest would.
    inside(scratch, fill(INSIDE, disk=fill(OUR_DISK, **words)))
    inside(scratch, CHECK)
    xenable = "/usr/bin/python3 -m xenable guest"
    (guest,) = json.loads(inside(scratch, f"{xenable} list --json"))["guests"]
    must(guest["disk_bytes"] == int(size.removesuffix("G")) << 30, f"its disk has {size}: {guest}")
    inside(scratch, f"{xenable} remove --yes bench-ours")
    say(f"xenable guest create with {size}: {took:.2f} s")
    return took


def seconds(scratch: Path, command: str) -> float:
    """Wall time of a shell line, with nothing of what was before still to be written, or in memory."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    began = time.monotonic()
    inside(scratch, command)
    return time.monotonic() - began
