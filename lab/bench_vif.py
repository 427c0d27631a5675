# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon a guest's interface is connected: Xenable's script against Xen's own vif-route, on one dom0."""

import json
import shlex

from lab.bench import Figure
from lab.errors import ScenarioFailed
from lab.guestside import make_dom0
from lab.machines import Lab, machine
from lab.recipe import GUEST
from lab.story import must, step
from lab.vm import VM

VIF_ROUNDS = 20
VIF = "vif250.0"
ADDRESS = "172.20.216.250"
VIF_SCRIPTS = ("/etc/xen/scripts/vif-route", "/etc/xen/scripts/vif-xenable")
"""Theirs and ours."""


def run(lab: Lab) -> tuple[Figure, ...]:
    """The vif scripts, on a stock machine that was converted."""
    with machine(lab, "vif") as vm:
        with step("a stock machine becomes a dom0, with the ifconfig that vif-route needs"):
            make_dom0(lab, vm)
            vm.ssh("DEBIAN_FRONTEND=noninteractive apt-get install -y -q net-tools", timeout=900)
        return (interfaces(vm),)


def interfaces(vm: VM) -> Figure:
    """The vif script from its start to `connected`: Xen's vif-route against ours, which also guards it."""
    with step(f"{VIF_ROUNDS} interfaces by each vif script"):
        must(
            vm.ssh("systemctl is-active xenable-network", check=False).stdout.strip() == "active",
            "the guest network is up",
        )
        vm.put(GUEST / "vif_times.py", "/run/vif_times.py")
        gateway6 = vm.ssh("ip -6 -o addr show dev xenable0 scope global").stdout.split()[3].partition("/")[0]
        must(gateway6.endswith("::1"), f"guests have IPv6 too: {gateway6}")
        # As a guest of each has it by default: Xen's script is asked for no IPv6.
        addresses = (ADDRESS, f"{ADDRESS} {gateway6.removesuffix('1')}fa")
        what = [word for pair in zip(VIF_SCRIPTS, addresses, strict=True) for word in pair]
        words = [str(VIF_ROUNDS), VIF, "xenable0", *what]
        out = vm.ssh(f"python3 /run/vif_times.py {shlex.join(words)}", timeout=1800).stdout
        return vif_figure(out)


def vif_figure(text: str) -> Figure:
    """The figure in what vif_times.py prints; ScenarioFailed when rounds are missing."""
    times = json.loads(text)
    theirs, ours = (tuple(times[script]) for script in VIF_SCRIPTS)
    if not len(theirs) == len(ours) == VIF_ROUNDS:
        raise ScenarioFailed(f"not all interfaces were measured: {text}")
    return Figure("the vif script, to `connected`", theirs, ours, most_ratio=1.0)
