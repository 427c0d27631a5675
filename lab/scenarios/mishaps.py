# SPDX-License-Identifier: GPL-2.0-or-later
"""An apply that goes wrong on the way: said in one sentence, put back, and every reset still answers."""

import json
import re
import time

from lab import converted
from lab.converted import is_native, status, xenable
from lab.errors import ScenarioFailed
from lab.machines import Lab, machine
from lab.preload import ARCHIVES
from lab.story import must, say, step
from lab.tree import Entry, diff_trees
from lab.vm import VM

ASIDE = "/var/tmp/kept"
FILLER = "/var/tmp/filler"
STATUS_BEFORE = "/var/tmp/dpkg-status"
LOG = "/var/log/xenable/packages.log"

BROKEN = """set -e
mkdir -p /var/tmp/broken/DEBIAN
printf 'Package: lab-broken\\nVersion: 1\\nArchitecture: all\\n' >/var/tmp/broken/DEBIAN/control
printf 'Maintainer: lab <lab@invalid>\\nDescription: no\\n' >>/var/tmp/broken/DEBIAN/control
printf '#!/bin/sh\\nexit 1\\n' >/var/tmp/broken/DEBIAN/postinst
chmod 755 /var/tmp/broken/DEBIAN/postinst
dpkg-deb --root-owner-group --build /var/tmp/broken /var/tmp/broken.deb
! dpkg --install /var/tmp/broken.deb
"""

HOLDER = """import fcntl, os, signal
held = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(held, fcntl.LOCK_EX)
open("/run/lab-holds", "w").write(str(os.getpid()))
signal.pause()
"""


def run(lab: Lab) -> None:
    """No archive, broken dpkg, held lock, full disk, power cut: apply says so, and all is as it was."""
    with machine(lab) as vm:
        with step("a stock machine gets xenable"):
            vm.start()
            converted.install(vm)
        before = vm.tree()
        vm.ssh(f"cp /var/lib/dpkg/status {STATUS_BEFORE}")
        with step("the archive can't be reached"):
            vm.ssh(f"mkdir {ASIDE} && mv {ARCHIVES}/*.deb {ASIDE}")
            proxy = (
                b'Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::https::Proxy "http://127.0.0.1:9";\n'
            )
            vm.write("/etc/apt/apt.conf.d/99lab", proxy)
            said = refused(vm, "apply --yes", 3)
            must(re.search(r"cannot download .* archive can't be reached", said), said)
            vm.ssh(f"rm /etc/apt/apt.conf.d/99lab && mv {ASIDE}/*.deb {ARCHIVES} && rmdir {ASIDE}")
            must(status(vm)["state"] == "native", "the state is native")
        with step("dpkg is broken"):
            vm.ssh(BROKEN)
            said = refused(vm, "apply --yes", 2)
            must("lab-broken" in said, f"the package is named: {said}")
            vm.ssh("dpkg --purge lab-broken && rm -r /var/tmp/broken /var/tmp/broken.deb")
        with step("another program works on packages"):
            vm.ssh(f"nohup python3 -c '{HOLDER}' </dev/null >/dev/null 2>&1 &")
            vm.ssh("until test -e /run/lab-holds; do sleep 0.2; done")
            said = refused(vm, "apply --yes", 2)
            must(re.search(r"python3 \(process \d+\) holds the lock of apt or dpkg", said), said)
            vm.ssh("kill $(cat /run/lab-holds) && rm /run/lab-holds")
            must(status(vm)["state"] == "native", "the state is native")
        with step("the disk gets full while packages unpack"):
            begin(vm)
            wait_unpacking(vm)
            # All that is free, and not what df calls available: root may use the rest as well.
            vm.ssh(f"fallocate -l $(($(stat -f -c '%f * %S' /) - 50000000)) {FILLER}")
            vm.ssh(f"! dd if=/dev/zero of={FILLER} bs=64k oflag=append conv=notrunc 2>/dev/null")
            code, said = ended(vm)
            vm.ssh(f"rm {FILLER}")
            must(code in (3, 4), f"the exit status is 3 or 4, not {code}: {said}")
            must("the disk is full" in said, said)
            xenable(vm, "revert --yes")
            same(vm, before)
        with step("the power goes while packages unpack"):
            begin(vm)
            wait_unpacking(vm)
            vm.power_cut()
            vm.boot()
            vm.wait_ssh()
            is_native(vm)
            answer = status(vm)
            must("interrupted" in answer["reason"], f"status knows of it: {answer}")
            xenable(vm, "revert --yes")
            same(vm, before)
        with step("after all that the machine is still ready for a conversion"):
            must(json.loads(xenable(vm, "check --json"))["ready"], "the machine is ready")


def refused(vm: VM, command: str, code: int) -> str:
    """Run `xenable COMMAND`, demand its exit status, and return what it said on stderr."""
    result = vm.ssh(f"xenable {command}", check=False, timeout=900)
    must(result.code == code, f"`xenable {command}` exits {code}, not {result.code}: {result.stderr}")
    must("Traceback" not in result.stderr, "no traceback is shown")
    # The lines are broken for a terminal.
    said = " ".join(result.stderr.split())
    say(said[-200:])
    return said


def begin(vm: VM) -> None:
    """Start an apply that outlives its ssh session."""
    vm.ssh(f"rm -f /run/lab-code {LOG}")
    # Not on the disk, which may be full by then.
    command = "xenable apply --yes >/run/lab-said 2>&1; echo $? >/run/lab-code"
    vm.ssh(f"nohup sh -c '{command}' </dev/null >/dev/null 2>&1 &")


def ended(vm: VM, timeout: float = 900) -> tuple[int, str]:
    """Wait for the end of that apply; returns its exit status and what it said."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        code = vm.ssh("cat /run/lab-code 2>/dev/null || true").stdout.strip()
        if code:
            return int(code), vm.ssh("cat /run/lab-said").stdout
        time.sleep(2)
    raise ScenarioFailed(f"apply does not end within {timeout:.0f} s")


def wait_unpacking(vm: VM) -> None:
    """Wait until dpkg has unpacked some of the new packages, but by far not all."""
    # Not by dpkg-query: dpkg keeps to itself what it unpacks until it has unpacked all.
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if int(vm.ssh(f"grep -c '^Unpacking' {LOG} 2>/dev/null || true").stdout.strip() or 0) >= 5:
            return
        time.sleep(0.5)
    raise ScenarioFailed("dpkg unpacks nothing")


def same(vm: VM, before: dict[str, Entry]) -> None:
    """Demand the files of before."""
    changed = diff_trees(before, vm.tree())
    if changed:
        say(vm.ssh(f"diff {STATUS_BEFORE} /var/lib/dpkg/status", check=False).stdout[-2000:])
    must(not changed, "every file is as it was:\n" + "\n".join(changed))
