# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests against xen-tools and Xen's own vif-route, side by side on one dom0."""

import json
import shlex
from pathlib import Path

from lab.bench import ROUNDS, Figure, seconds
from lab.converted import xenable
from lab.errors import ScenarioFailed
from lab.guestside import KEY, make_dom0, start_dom0
from lab.machines import Lab, machine
from lab.recipe import GUEST, Release
from lab.story import must, say, step
from lab.vm import VM

MEMORY = 4096

THEIR_ROUNDS = 1
"""Of what installs a whole system: that takes an emulated processor most of an hour."""

VIF_ROUNDS = 20

PATIENCE = 3 * 3600.0
"""Seconds for one guest, whoever makes it."""

XEN_TOOLS = ("debian-archive-keyring", "debootstrap", "net-tools", "xen-tools")
"""net-tools has the ifconfig of vif-route."""

STORE = "/srv/xen-tools"

# What apt itself fetches this release from: both get the same.
FIND_MIRROR = (
    "apt-get indextargets --format '$(REPO_URI)' 'Codename: RELEASE' 'Created-By: Packages' | head -n 1"
)

# A system that is like ours: by --pygrub with a kernel of its own, by a hook of all guests with sshd.
THEIRS = f"""set -e
xen-create-image --hostname=NAME --dist=RELEASE --install-method=debootstrap --dir={STORE} --size=SIZE \\
    --fs=ext4 --noswap --dhcp --pygrub --memory=256M --nohosts --mirror=MIRROR </dev/null 2>&1 ||
    {{ tail -n 30 /var/log/xen-tools/NAME.log >&2; exit 1; }}
"""
THEIR_DISK = f"{STORE}/domains/NAME/disk.img"

OURS = f"""set -e
xenable guest create NAME --release RELEASE --disk SIZE --memory 256M --ssh-key {KEY}.pub --no-start \\
    --mirror MIRROR
"""
OUR_DISK = "/var/lib/xenable/images/RELEASE-amd64.raw"

# What has to be in the file system of either.
INSIDE = """set -e
mount -o ro,loop DISK /mnt
trap 'umount /mnt' EXIT
ls /mnt/boot/vmlinuz-*
ls /mnt/usr/sbin/sshd
"""

VIF = "vif250.0"
ADDRESS = "172.20.216.250"
VIF_SCRIPTS = ("/etc/xen/scripts/vif-route", "/etc/xen/scripts/vif-xenable")
"""Theirs and ours."""


def run(lab: Lab) -> tuple[Figure, ...]:
    """The first guest of a release, those after it, and how soon an interface is connected."""
    base = dom0(lab)
    with machine(lab, "guests", base=base, memory=MEMORY) as vm:
        with step("dom0 boots"):
            start_dom0(vm)
        # First: it takes a minute, and the others hours.
        connected = interfaces(vm)
        figures = (*creations(vm, lab.recipe.release), connected)
        vm.shutdown()
    return figures


def dom0(lab: Lab) -> Path:
    """The disk of a confirmed dom0 that has xen-tools as well, and no package in apt's cache."""
    with machine(lab, "prepare-guests", memory=MEMORY) as vm:
        with step("a stock machine becomes a dom0"):
            make_dom0(lab, vm)
        with step("it gets xen-tools"):
            install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
            vm.ssh(f"{install} {' '.join(XEN_TOOLS)}", timeout=1800)
            vm.ssh(f"apt-get clean && mkdir -p {STORE}")
        vm.shutdown()
        return vm.snapshot("dom0")


# ------------------------------------------------------------------------------------------------- creation


def fill(text: str, **words: str) -> str:
    """The text with its words in capitals replaced: name="web1" is put in the place of NAME."""
    for key, value in words.items():
        text = text.replace(key.upper(), value)
    return text


def creations(vm: VM, release: Release) -> tuple[Figure, ...]:
    """Guests by both, to disk ready: the first with all downloads, later ones with what was kept of them."""
    first_theirs: list[float] = []
    first_ours: list[float] = []
    for number in range(THEIR_ROUNDS):
        with step(f"round {number + 1}: the first guest"):
            vm.ssh("apt-get clean")
            first_theirs.append(their_guest(vm, release, "4G"))
            forget_image(vm, release)
            first_ours.append(our_guest(vm, release, "4G"))
    figures = [
        Figure("the first guest of a release, 4 GB", tuple(first_theirs), tuple(first_ours), "<= 0.5")
    ]
    for size in ("4G", "400G"):
        with step(f"later guests with {size}"):
            theirs = tuple(their_guest(vm, release, size) for _ in range(THEIR_ROUNDS))
            ours = tuple(our_guest(vm, release, size) for _ in range(ROUNDS))
        figures.append(Figure(f"a later guest, {size.removesuffix('G')} GB", theirs, ours, "<= 0.05"))
    return tuple(figures)


def their_guest(vm: VM, release: Release, size: str) -> float:
    """Seconds that xen-create-image takes for a guest, which is looked at and removed."""
    words = words_of(vm, release, size, "bench-theirs")
    quiet(vm)
    took = seconds(vm, fill(THEIRS, **words), timeout=PATIENCE)
    disk = fill(THEIR_DISK, **words)
    demand_system(vm, disk)
    vm.ssh(f"rm -rf {STORE}/domains/* /etc/xen/bench-theirs.cfg")
    say(f"xen-create-image with {size}: {took:.1f} s")
    return took


def our_guest(vm: VM, release: Release, size: str) -> float:
    """Seconds that `xenable guest create` takes for a guest, which is looked at and removed."""
    words = words_of(vm, release, size, "bench-ours")
    quiet(vm)
    took = seconds(vm, fill(OURS, **words), timeout=PATIENCE)
    demand_system(vm, fill(OUR_DISK, **words))
    guests = json.loads(xenable(vm, "guest list --json"))["guests"]
    must([guest["name"] for guest in guests] == ["bench-ours"], f"the guest is there: {guests}")
    must(guests[0]["disk_bytes"] == int(size.removesuffix("G")) << 30, f"its disk has {size}: {guests}")
    xenable(vm, "guest remove --yes bench-ours")
    say(f"xenable guest create with {size}: {took:.1f} s")
    return took


def words_of(vm: VM, release: Release, size: str, name: str) -> dict[str, str]:
    """What goes into the commands."""
    mirror = vm.ssh(fill(FIND_MIRROR, release=release.value)).stdout.strip().rstrip("/")
    must(mirror, f"apt knows where {release.value} is")
    return {"name": name, "release": release.value, "size": size, "mirror": mirror}


def forget_image(vm: VM, release: Release) -> None:
    """Let the next guest of a release be the first one."""
    images = json.loads(xenable(vm, "guest images --json"))["images"]
    for image in images:
        if image["release"] == release.value:
            xenable(vm, f"guest images --remove {image['name']}")


def quiet(vm: VM) -> None:
    """Nothing of what was done before is still to be written, or helps by being in memory."""
    vm.ssh("sync && echo 3 >/proc/sys/vm/drop_caches")


def demand_system(vm: VM, disk: str) -> None:
    """Demand a kernel and sshd in the file system on a disk."""
    vm.ssh(fill(INSIDE, disk=disk))


# ------------------------------------------------------------------------------------------------ interfaces


def interfaces(vm: VM) -> Figure:
    """The vif script from its start to `connected`: Xen's vif-route against ours, which also guards it."""
    with step(f"{VIF_ROUNDS} interfaces by each vif script"):
        must(
            vm.ssh("systemctl is-active xenable-network", check=False).stdout.strip() == "active",
            "the guest network is up",
        )
        vm.put(GUEST / "vif_times.py", "/run/vif_times.py")
        words = [str(VIF_ROUNDS), VIF, "xenable0", ADDRESS, *VIF_SCRIPTS]
        out = vm.ssh(f"python3 /run/vif_times.py {shlex.join(words)}", timeout=1800).stdout
        return vif_figure(out)


def vif_figure(text: str) -> Figure:
    """The figure in what vif_times.py prints; ScenarioFailed when rounds are missing."""
    times = json.loads(text)
    theirs, ours = (tuple(times[script]) for script in VIF_SCRIPTS)
    if not len(theirs) == len(ours) == VIF_ROUNDS:
        raise ScenarioFailed(f"not all interfaces were measured: {text}")
    return Figure("the vif script, to `connected`", theirs, ours, "<= 1.0")
