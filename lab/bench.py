# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures: each against the way it is done without Xenable, side by side, in machines of one run."""

import json
import os
import re
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import converted
from lab.errors import LabError
from lab.host import CHECKOUT
from lab.machines import Lab, machine
from lab.story import say, step
from lab.vm import VM

ROUNDS = 3
CALLS = 9
LINEAR = 5.5
"""Of five times as many kernels: five times as long at most, and what a measurement may be off."""

BY_HAND = """set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq xen-system-amd64 >/dev/null 2>&1
cat >>/etc/default/grub <<END
GRUB_CMDLINE_XEN="dom0_mem=1152M,max:1152M ucode=scan com1=115200,8n1 console=com1,vga"
GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="console=hvc0"
END
update-grub >/dev/null 2>&1
"""

MANY_KERNELS = """set -e
real=$(ls /boot/vmlinuz-* | head -n 1)
version=${real#/boot/vmlinuz-}
for n in $(seq 2 COUNT); do
    for file in vmlinuz config initrd.img; do
        ln -f /boot/$file-$version /boot/$file-6.1.$n-$version
    done
done
xen=$(ls /boot/xen-4.*-amd64.gz | tail -n 1)
for series in 4.14 4.15; do
    [ -e /boot/xen-$series-amd64.gz ] || ln "$xen" /boot/xen-$series-amd64.gz
done
"""

APT_AS_SHIPPED = """Dir::Etc::parts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Cache "FOLDER/";
"""
"""apt keeps what it has parsed on disk, unless a drop-in says otherwise: images for containers have one."""

CAPTURE = """#!/bin/sh
export -p >/root/mkconfig.env
"""


@dataclass(frozen=True)
class Figure:
    """What both ways took, all rounds; ratio is ours over theirs, both of medians."""

    name: str
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    most_ratio: float | None = None
    """The goal: at most that ratio; or none."""
    most: float | None = None
    """The goal: at most that much of ours, in units; or none."""
    unit: str = "s"

    @property
    def median(self) -> float:
        """Of ours."""
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float:
        return self.median / statistics.median(self.theirs)

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and it was not reached."""
        return (self.most_ratio is not None and self.ratio > self.most_ratio) or (
            self.most is not None and self.median > self.most
        )

    def line(self) -> str:
        """One row of the table."""
        both = f"{statistics.median(self.theirs):9.2f} {self.unit:<2} {self.median:9.2f} {self.unit:<2}"
        goals = [f"<= {self.most_ratio:g}"] if self.most_ratio is not None else []
        goals += [f"<= {self.most:g} {self.unit}"] if self.most is not None else []
        goal = f"{' and '.join(goals)}{' MISSED' if self.missed else ''}"
        return f"{self.name:<46} {both}  {self.ratio:6.3f}  {goal}".rstrip()


Part = Callable[[Lab], tuple[Figure, ...]]
"""What is measured together."""


def run(lab: Lab, parts: Sequence[Part]) -> tuple[Figure, ...]:
    """Measure everything, print a table, and leave it as JSON in the run's folder."""
    figures: list[Figure] = []
    for part in parts:
        figures += part(lab)
        # After each part: the next one may break, hours later.
        rows = [{**figure.__dict__, "ratio": figure.ratio, "missed": figure.missed} for figure in figures]
        (lab.folder / "bench.json").write_text(json.dumps(rows, indent=1) + "\n")
    for line in (table_head(), *(figure.line() for figure in figures)):
        print(line)
    return tuple(figures)


def table_head() -> str:
    """The row above those of the figures."""
    return f"{'medians':<46} {'without':>12} {'Xenable':>12}  ratio   goal"


def conversion(lab: Lab) -> tuple[Figure, ...]:
    """The conversion itself, and the boot menu."""
    base = prepared(lab)
    return (*conversions(lab, base), *generators(lab, base))


def prepared(lab: Lab) -> Path:
    """A stock machine with xenable installed and every package in apt's cache."""
    with machine(lab, "prepare") as vm, step("a stock machine gets xenable and the packages"):
        vm.start()
        converted.install(vm)
        vm.ssh("apt-get install -y -qq --download-only xen-system-amd64", timeout=900)
        vm.shutdown()
        return vm.snapshot("ready")


def seconds(vm: VM, command: str, *, timeout: float = 1200) -> float:
    """Wall time of a shell line in the guest, by the guest's clock."""
    script = f"a=$(date +%s.%N); {{ {command}\n}} >/dev/null; b=$(date +%s.%N); echo $a $b"
    began, ended = vm.ssh(script, timeout=timeout).stdout.split()
    return float(ended) - float(began)


def conversions(lab: Lab, base: Path) -> tuple[Figure, ...]:
    """`xenable apply` against apt-get, an editor and update-grub; each round on a fresh machine."""
    theirs: list[float] = []
    ours: list[float] = []
    for number in range(ROUNDS):
        for name, command, times in (
            ("by-hand", BY_HAND, theirs),
            ("apply", "xenable apply --yes 2>/dev/null", ours),
        ):
            with (
                machine(lab, f"{name}-{number}", base=base) as vm,
                step(f"round {number + 1}: {name}"),
            ):
                vm.start()
                times.append(seconds(vm, command))
                say(f"{times[-1]:.1f} s")
    return (Figure("a conversion, packages downloaded", tuple(theirs), tuple(ours), most_ratio=1.0),)


def generators(lab: Lab, base: Path) -> tuple[Figure, ...]:
    """Our menu generator against 20_linux_xen on 1, 10 and 50 kernels with 3 hypervisors."""
    figures: list[Figure] = []
    by_count: dict[int, tuple[float, ...]] = {}
    with machine(lab, "generators", base=base) as vm:
        with step("the machine is converted"):
            vm.start()
            converted.xenable(vm, "apply --yes")
            vm.write("/etc/grub.d/99_lab", CAPTURE.encode())
            vm.ssh("chmod 755 /etc/grub.d/99_lab && grub-mkconfig >/dev/null 2>&1 && rm /etc/grub.d/99_lab")
        for count in (1, 10, 50):
            with step(f"{count} kernels and 3 hypervisors"):
                vm.ssh(MANY_KERNELS.replace("COUNT", str(count)))
                pairs = re.findall(
                    r"xenable-4", vm.ssh(". /root/mkconfig.env; /etc/grub.d/90_xenable 2>/dev/null").stdout
                )
                say(f"{len(pairs)} entries")
                load = ". /root/mkconfig.env;"
                theirs = [
                    seconds(vm, f"{load} sh /etc/grub.d/20_linux_xen 2>/dev/null") for _ in range(ROUNDS)
                ]
                ours = [seconds(vm, f"{load} /etc/grub.d/90_xenable 2>/dev/null") for _ in range(ROUNDS)]
                by_count[count] = tuple(ours)
                goal = 0.1 if count == 50 else None
                figures.append(
                    Figure(f"menu generator, {count} kernels x 3 Xen", tuple(theirs), by_count[count], goal)
                )
    linear = Figure("Xenable's own, 50 kernels against 10", by_count[10], by_count[50], most_ratio=LINEAR)
    return (*figures, linear)


def commands(lab: Lab) -> tuple[Figure, ...]:
    """What a person waits for at each call, on this machine; beside it what apt or Python takes."""
    policy = ["apt-cache", "policy", "xen-system-amd64"]
    check = ["/usr/bin/python3", "-m", "xenable", "check"]
    ready_or_not = (0, 2)
    with step("a look at this machine, and a help text"):
        as_it_is = (timed(policy), timed(check, ready_or_not))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "archives/partial").mkdir(parents=True)
            Path(folder, "conf").write_text(APT_AS_SHIPPED.replace("FOLDER", folder))
            kept = {"APT_CONFIG": f"{folder}/conf"}
            # apt-cache writes what `check` only reads.
            as_shipped = (timed(policy, env=kept), timed(check, ready_or_not, env=kept))
        python = timed(["/usr/bin/python3", "-c", "pass"])
        help_text = timed(["/usr/bin/python3", "-m", "xenable", "--help"])
    return (
        Figure("xenable check (without: apt-cache policy)", *as_it_is, most=1.0),
        Figure("the same, apt's caches as Debian has them", *as_shipped, most=1.0),
        Figure("xenable --help (without: python3 -c pass)", python, help_text, most=0.15),
    )


def timed(
    argv: Sequence[str], codes: tuple[int, ...] = (0,), env: Mapping[str, str] | None = None
) -> tuple[float, ...]:
    """Wall times of a command in the checkout, after one that is not counted; env: more for its environment.

    Python's bytecode is kept between them, as it is where a package was installed.
    Raises LabError when it ends with another exit status than these.
    """
    times = []
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        environment |= env or {}
        for _ in range(CALLS + 1):
            began = time.monotonic()
            done = subprocess.run(
                argv,
                cwd=CHECKOUT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            times.append(time.monotonic() - began)
            if done.returncode not in codes:
                raise LabError(f"cannot measure {shlex.join(argv)}: it exited {done.returncode}")
    return tuple(times[1:])
