# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on a dom0: made, reached, spoofing in vain, upgraded, started with dom0, gone without a trace."""

import re
from pathlib import Path

from lab import baseimage
from lab.converted import is_native, reboot, wait_state, xenable
from lab.guestside import (
    KEY,
    SPOOFS,
    SSH,
    create,
    guests,
    in_guest,
    make_dom0,
    reaches,
    spoof,
    start_dom0,
    wait_guest,
)
from lab.machines import Lab, machine
from lab.story import must, say, step
from lab.tree import diff_trees
from lab.vm import VM

MEMORY = 4096

LEFT = (
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding",
    "ip -brief link | cut -d' ' -f1",
    "ip route; ip -6 route",
    "nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'",
    "xenstore-ls /local/domain/0/backend 2>/dev/null || true",
    "xenstore-list /local/domain /vm /libxl 2>/dev/null | sort",
    "cat /etc/hosts",
    "xl list | awk '{ print $1, $3 }'",
    "find /var/lib/xenable ! -type d ! -path '*/images/*' | sort",
    "losetup --list --noheadings --output BACK-FILE",
)
"""What has to be as before when the last guest is gone, beside the files of the tree."""

BY_HAND = """name = "byhand"
type = "pv"
kernel = "KERNEL"
memory = 128
vif = ["mac=00:16:3e:01:02:03,ip=172.20.216.2,script=vif-xenable"]
"""
"""A guest of somebody else, in a file that only xl was told of."""

CUT_OFF = ((0.2, "KILL"), (0.35, "INT"), (0.5, "KILL"), (0.65, "INT"), (0.8, "KILL"))
"""After that part of the time that a creation takes, it gets that signal, and all that it started too."""


def run(lab: Lab) -> None:
    """A dom0 gets PV and PVH guests: reached by name, kept from spoofing, upgraded, gone without a trace."""
    base = dom0(lab)
    image = baseimage.drive(lab.recipe.release)
    with machine(lab, "dom0", base=base, memory=MEMORY, extra=image) as vm:
        with step("dom0 boots"):
            start_dom0(vm)
            # An emulated dom0 takes a quarter of an hour to make it.
            baseimage.give(vm)
        before, left = vm.tree(), leftovers(vm)
        # One after the other, and the PVH guest last: guests that boot at once take more than twice as long
        # under emulation, and beside a PVH guest each question takes a minute.
        with step("what is cut off, or does not fit, leaves nothing"):
            cut_off(vm, left)
        with step("a domain of somebody else is seen, and has its address"):
            kernel = vm.ssh("echo /boot/vmlinuz-$(uname -r)").stdout.strip()
            vm.write("/root/byhand.cfg", BY_HAND.replace("KERNEL", kernel).encode())
            vm.ssh("xl create -p /root/byhand.cfg")
            must(guests(vm)["byhand"]["state"] == "paused", f"it is in the list: {guests(vm)}")
        with step("a PV guest is made of the image of its release"):
            say(f"{create(vm, 'web1', '--type pv --autostart'):.0f} s")
            must(guests(vm)["web1"]["addresses"][0] == "172.20.216.3", f"{guests(vm)['web1']}")
            vm.ssh("xl destroy byhand && rm /root/byhand.cfg")
        with step("it answers over ssh and to ping, by name"):
            answers(vm, "web1", "pv")
        with step("what a guest spoofs is dropped, counted and shown"):
            for kind in SPOOFS:
                count = guests(vm)["web1"]["spoofed"]
                spoof(vm, "web1", kind)
                must(guests(vm)["web1"]["spoofed"] > count, f"{kind} was dropped and counted")
            say(xenable(vm, "guest list"))
        with step("another of the same image answers, and has keys and an id of its own"):
            create(vm, "web2", "--type pv --no-isolate")
            answers(vm, "web2", "pv")
            for what in ("cat /etc/machine-id", "cat /etc/ssh/ssh_host_ed25519_key.pub"):
                must(in_guest(vm, "web1", what) != in_guest(vm, "web2", what), what)
        with step("a guest that is isolated is not reached by others"):
            must(not reaches(vm, "web2", "web1"), "web2 does not reach web1")
        with step("a PVH guest is made of the same image"):
            say(f"{create(vm, 'web3', '--type pvh --no-isolate'):.0f} s")
        with step("it answers too"):
            answers(vm, "web3", "pvh")
        with step("guests that are not isolated reach each other, by name"):
            must(reaches(vm, "web2", "web3") and reaches(vm, "web3", "web2"), "web2 and web3 do")
            must(vm.ssh("cat /proc/sys/net/ipv4/ip_forward").stdout.strip() == "0", "dom0 forwards nothing")
            xenable(vm, "guest remove --yes --force web2")
        with step("a kernel upgrade in a guest survives its reboot"):
            upgrade(vm, "web3")
        with step("autostart survives dom0's reboot"):
            # Guests are shut down first, and a PVH guest takes minutes for it.
            reboot(vm, 1800)
            wait_state(vm, "confirmed")
            wait_guest(vm, "web1")
            must(guests(vm)["web3"]["state"] == "stopped", "nobody asked for web3")
        with step("revert refuses while there are guests"):
            result = vm.ssh("xenable revert --yes", check=False)
            must(result.code == 1 and "web1, web3" in result.stderr, f"it names them: {result.stderr}")
        with step("remove leaves nothing"):
            for name in ("web1", "web3"):
                xenable(vm, f"guest remove --yes --force {name}")
            nothing_left(vm, left)
            changed = diff_trees(before, vm.tree())
            must(not changed, "every file is as it was:\n" + "\n".join(changed))
        with step("revert --remove-guests takes guests and images away"):
            create(vm, "web4", "--type pv")
            xenable(vm, "revert --yes --remove-guests")
            reboot(vm)
            is_native(vm)
            found = vm.ssh("find /var/lib/xenable /etc/xen 2>/dev/null || true").stdout
            must("web4" not in found and ".raw" not in found, f"web4 and its image are gone: {found}")
        vm.shutdown()


def dom0(lab: Lab) -> Path:
    """The disk of a machine that was converted and confirmed."""
    with machine(lab, "prepare") as vm:
        with step("a stock machine becomes a dom0"):
            make_dom0(lab, vm)
            vm.shutdown()
        return vm.snapshot("dom0")


def answers(vm: VM, name: str, kind: str) -> None:
    """Demand that a guest of that kind comes up, knows its name, and reaches dom0, as dom0 reaches it."""
    wait_guest(vm, name)
    must(in_guest(vm, name, "hostname").strip() == name, f"{name} knows its name")
    in_guest(vm, name, "ping -c 2 -W 5 dom0")
    vm.ssh(f"ping -c 2 -W 5 {name}")
    must(guests(vm)[name]["kind"] == kind, f"{name} is {kind}: {guests(vm)[name]}")


def cut_off(vm: VM, left: dict[str, str]) -> None:
    """Creations that are killed, interrupted, or refused: nothing may be there of them afterwards."""
    # The first one reads everything from the disk, and takes longer.
    took = min(made_and_removed(vm, left) for _ in range(2))
    command = f"xenable guest create cut --type pv --memory 256M --ssh-key {KEY}.pub"
    made = 0
    for part, signal in CUT_OFF:
        result = vm.ssh(f"timeout -s {signal} {part * took:.1f} {command}", check=False, timeout=600)
        said = " ".join(result.stderr.split())
        # Who comes next takes back what a dead one left; what was past its commit point is a whole guest.
        there = "cut" in guests(vm)
        say(f"{signal} after {part * took:.1f} s: {'it was made' if there else 'nothing is there'}")
        if signal == "INT" and not there:
            # Before it has begun there is nothing to take back, and nothing to say of that.
            must(re.search("nothing was left behind|everything was taken back|interrupted", said), said)
        must(there or result.code != 0, f"what it says is so: {result}")
        if there:
            made += 1
            xenable(vm, "guest remove --yes --force cut")
        nothing_left(vm, left)
    must(made < len(CUT_OFF), "some were cut off before their commit point")
    result = vm.ssh(f"{command} --memory 64G", check=False, timeout=600)
    must(result.code != 0 and "65536 MiB" in result.stderr, f"it is refused with the figures: {result}")
    nothing_left(vm, left)


def made_and_removed(vm: VM, left: dict[str, str]) -> float:
    """Make a guest and take it away again; returns how many seconds it took to make."""
    took = create(vm, "cut", "--type pv")
    xenable(vm, "guest remove --yes --force cut")
    nothing_left(vm, left)
    return took


def nothing_left(vm: VM, left: dict[str, str]) -> None:
    """Demand what was there before the first guest, and no more."""
    now = leftovers(vm)
    wrong = [f"{what}:\n{left[what]}\n{now[what]}" for what in LEFT if left[what] != now[what]]
    must(not wrong, "all is as before:\n" + "\n".join(wrong))


def leftovers(vm: VM) -> dict[str, str]:
    """What the commands of LEFT say."""
    return {what: vm.ssh(what).stdout for what in LEFT}


def upgrade(vm: VM, name: str) -> None:
    """Give a guest another kernel by its own dpkg, reboot it, and demand that this one runs.

    It is the newest of the archive before the guest's own, whose files go: as a package that is taken back.
    """
    old = in_guest(vm, name, "uname -r").strip()
    boot = in_guest(vm, name, "cat /proc/sys/kernel/random/boot_id").strip()
    search = "apt-cache pkgnames linux-image-6 | grep -E '^linux-image-[0-9.+deb-]+-cloud-amd64$' | sort -V"
    names = [found.removeprefix("linux-image-") for found in vm.ssh(search).stdout.split()]
    must(old in names and names.index(old) > 0, f"the archive has a kernel before {old}: {names}")
    new = names[names.index(old) - 1]
    vm.ssh(f"cd /var/tmp/lab && apt-get download -q linux-image-{new}", timeout=900)
    send = f"cat /var/tmp/lab/linux-image-{new}_*.deb | {SSH} root@{name} 'cat >/var/tmp/kernel.deb'"
    vm.ssh(send, timeout=600)
    in_guest(vm, name, "DEBIAN_FRONTEND=noninteractive dpkg -i /var/tmp/kernel.deb", timeout=3600)
    in_guest(vm, name, f"rm /boot/*-{old} && update-grub", timeout=600)
    must(f"vmlinuz-{new}" in in_guest(vm, name, "cat /boot/grub/grub.cfg"), f"the menu has {new}")
    xenable(vm, f"guest reboot {name}")
    wait_guest(vm, name, boot)
    must(in_guest(vm, name, "uname -r").strip() == new, f"the guest runs {new}")
