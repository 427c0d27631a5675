# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m lab: build stock images, look around in a machine, run scenarios."""

import argparse
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import bench, bench_guests, bench_kernel, bench_vif, passed, preload, ssh
from lab.build import image
from lab.cache import drop_disks, new_run_folder
from lab.errors import LabError, ScenarioFailed
from lab.machines import Lab, machine
from lab.parallel import Job, processors, run_jobs
from lab.recipe import Filesystem, Firmware, Kernel, Recipe, Release, kind
from lab.scenarios import SCENARIOS
from lab.story import Story, current, failure, in_short, say, step, telling

BENCHES: dict[str, bench.Part] = {
    "commands": bench.commands,
    "conversion": bench.conversion,
    "guests": bench_guests.run_here,
    "vif": bench_vif.run,
    "kernel": bench_kernel.run,
}
"""Parts of the figures, in the order of the table."""

EVERYWHERE = ("conversion", "faults", "reverts")
"""What has to pass with every Xen, GRUB and firmware."""

ON_OTHERS = (
    *(
        (name, Recipe(Release.BOOKWORM, Firmware.BIOS))
        for name in ("mishaps", "cloud", "upgrade", "first-guest")
    ),
    *((name, Recipe(filesystem=Filesystem.BTRFS)) for name in ("conversion", "no-network")),
)
"""What has to pass elsewhere too: where apt, dpkg and Xen are older; where GRUB's block is on the ESP."""

# Exit codes: a test runner has to tell "the test says no" from "the lab broke".
PASSED, FAILED, BROKEN = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    machine_options = argparse.ArgumentParser(add_help=False)
    for choice in (Release, Firmware, Kernel, Filesystem):
        name = choice.__name__.lower()
        default = getattr(Recipe(), name).value
        choices = [member.value for member in choice]
        machine_options.add_argument(
            f"--{name}", choices=choices, default=default, help=f"default: {default}"
        )
    machine_options.add_argument(
        "--cpus", type=int, choices=(1, 2), default=min(2, processors()), help="of each machine"
    )
    top = argparse.ArgumentParser(prog="python3 -m lab", description="Real machines under emulation.")
    verbs = top.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser(
        "build", parents=[machine_options], help="build a stock image and fetch packages"
    )
    build.add_argument(
        "--preload", nargs="*", metavar="PKG", help="packages to keep as .debs; none: skip that"
    )
    verbs.add_parser("shell", parents=[machine_options], help="boot a stock machine and say how to get in")
    run = verbs.add_parser("run", parents=[machine_options], help="run scenarios")
    run.add_argument("scenario", nargs="+", choices=[name for name, _ in SCENARIOS], metavar="SCENARIO")
    verbs.add_parser("list", help="name the scenarios")
    verbs.add_parser(
        "rehearse", parents=[machine_options], help="the whole conversion and back, on one machine"
    )
    verbs.add_parser("all", help="every scenario; some on every release and firmware")
    figures = verbs.add_parser("bench", parents=[machine_options], help="the figures, side by side")
    parts = ", ".join(BENCHES)
    figures.add_argument("part", nargs="*", type=part, metavar="PART", help=f"only these: {parts}")
    return top


def part(name: str) -> str:
    """A name in BENCHES; argparse's own choices do not go with an empty list in Python 3.11."""
    if name not in BENCHES:
        raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(BENCHES)}")
    return name


def build(recipe: Recipe, packages: tuple[str, ...]) -> None:
    """Build the image unless it is cached, and keep the packages; print where they are."""
    print(image(recipe))
    if packages:
        print(preload.fetch(recipe, packages))


def shell(recipe: Recipe, cpus: int) -> None:
    """Boot a stock machine, print the ssh command, and wait for Ctrl-C or for the machine to go off."""
    with machine(Lab(new_run_folder("shell"), recipe, cpus)) as vm:
        with step("the machine boots"):
            vm.boot()
            vm.wait_ssh()
        print(shlex.join(ssh.argv(vm.door(), "root", kept=False)), flush=True)
        say(f"serial log: {vm.spec().serial}; Ctrl-C takes the power away")
        while vm.running():
            time.sleep(1)


@dataclass(frozen=True)
class Outcome:
    """How a scenario ended: an exit code, the run's folder, and in one line why it failed."""

    code: int
    folder: Path
    why: str = ""


def run_scenario(name: str, recipe: Recipe, cpus: int) -> Outcome:
    """Run one scenario, tell it on stderr, and leave a report in its run folder."""
    folder = new_run_folder(name)
    begun = passed.begin(name, recipe)
    story = Story(sys.stderr)
    code, why = PASSED, ""
    verdict = f"PASSED: {name}"
    with telling(story):
        try:
            dict(SCENARIOS)[name](Lab(folder, recipe, cpus))
        except (ScenarioFailed, LabError) as error:
            code = FAILED if isinstance(error, ScenarioFailed) else BROKEN
            word = "FAILED" if code == FAILED else "THE LAB BROKE"
            why = in_short(story, error)
            verdict = f"{word}: {name}\n{failure(story, error, folder)}"
        except Exception as error:
            code, why = BROKEN, in_short(story, error)
            verdict = f"THE LAB BROKE: {name}\n{failure(story, error, folder)}\n{traceback.format_exc()}"
        report = folder / "report.txt"
        report.write_text("\n".join([verdict, "", *story.report, ""]))
        say(verdict)
        if code == PASSED:
            drop_disks(folder)
            passed.note(begun, name, recipe, folder)
            say(f"report: {report}")
    return Outcome(code, folder, why)


def rehearse(recipe: Recipe, cpus: int) -> int:
    """Run the rehearsal scenario; the last line says how it went, and so does the exit code."""
    began = time.monotonic()
    outcome = run_scenario("rehearsal", recipe, cpus)
    if outcome.code == PASSED:
        print(f"rehearsal passed in {time.monotonic() - began:.0f} s", flush=True)
    else:
        logs = ", ".join(str(path) for path in sorted(outcome.folder.rglob("serial.log")))
        print(f"rehearsal failed: {outcome.why}; serial log: {logs or 'none was begun'}", flush=True)
    return outcome.code


def run_several(wanted: Sequence[tuple[str, Recipe]]) -> int:
    """Run scenarios side by side, one processor and one machine each; return the worst exit code."""
    jobs = []
    for name, recipe in wanted:
        options = [
            *("--release", recipe.release.value, "--firmware", recipe.firmware.value),
            *("--kernel", recipe.kernel.value, "--filesystem", recipe.filesystem.value, "--cpus", "1"),
        ]
        jobs.append(Job(title(name, recipe), (sys.executable, "-m", "lab", "run", name, *options)))
    began = time.monotonic()
    codes = run_jobs(jobs, processors())
    took = time.monotonic() - began
    for job, code in zip(jobs, codes, strict=True):
        if code != PASSED:
            print(f"failed: {job.name}")
    good = codes.count(PASSED)
    print(f"{good} passed, {len(codes) - good} failed in {took:.0f} s", flush=True)
    return max(codes)


def title(name: str, recipe: Recipe) -> str:
    """A scenario for people: with its machine, unless that is the default one."""
    return f"{name} {kind(recipe)}" if recipe != Recipe() else name


def run_all() -> int:
    """Run all that `lab all` consists of, but for what passed already with the same packages and lab."""
    wanted = []
    for name, recipe in everything():
        record = passed.record_path(name, recipe)
        if passed.still_counts(record):
            print(f"{title(name, recipe)}: {passed.describe(record)}", flush=True)
        else:
            wanted.append((name, recipe))
    return run_several(wanted) if wanted else PASSED


def everything() -> list[tuple[str, Recipe]]:
    """Every scenario on the default machine, those of EVERYWHERE on every other one, and ON_OTHERS."""
    # The rehearsal has nothing that the conversion has not, and no-network is one of the faults.
    wanted = [(name, Recipe()) for name, _ in SCENARIOS if name not in ("rehearsal", "no-network")]
    wanted += [
        (name, Recipe(release, firmware))
        for release in Release
        for firmware in Firmware
        if Recipe(release, firmware) != Recipe()
        for name in EVERYWHERE
    ]
    return [*wanted, *ON_OTHERS]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = parser().parse_args(arguments)
    if options.verb == "list":
        for name, scenario in SCENARIOS:
            print(f"{name}: {(scenario.__doc__ or '').splitlines()[0]}")
        return PASSED
    if options.verb == "all":
        return run_all()
    recipe = Recipe(
        Release(options.release),
        Firmware(options.firmware),
        Kernel(options.kernel),
        Filesystem(options.filesystem),
    )
    try:
        if options.verb == "run":
            if len(options.scenario) > 1:
                return run_several([(name, recipe) for name in options.scenario])
            return run_scenario(options.scenario[0], recipe, options.cpus).code
        if options.verb == "rehearse":
            return rehearse(recipe, options.cpus)
        if options.verb == "bench":
            figures = bench.run(
                Lab(new_run_folder("bench"), recipe), [BENCHES[name] for name in options.part or BENCHES]
            )
            return FAILED if any(figure.missed for figure in figures) else PASSED
        elif options.verb == "shell":
            shell(recipe, options.cpus)
        else:
            chosen = preload.PACKAGES if options.preload is None else tuple(options.preload)
            build(recipe, chosen)
    except (LabError, ScenarioFailed) as error:
        say(failure(current(), error))
        return BROKEN
    except KeyboardInterrupt:
        return 130
    return PASSED


if __name__ == "__main__":
    sys.exit(main())
