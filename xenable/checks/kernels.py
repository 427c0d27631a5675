# SPDX-License-Identifier: GPL-2.0-or-later
"""Is there a kernel that can be dom0 and that Xen can load?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.boot.pairs import can_unpack, newest_first, parse_series
from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.machine import Answer, Facts, Kernel
from xenable.model import Finding, Severity

NONE = Rule(
    id="kernel/no-dom0-support",
    severity=Severity.BLOCKER,
    title="No kernel here can be dom0",
    why="A dom0 kernel needs CONFIG_XEN_DOM0.",
    remedy="Run `apt-get update`, then `xenable check`. "
    "Or install a kernel with CONFIG_XEN_DOM0=y and its /boot/config file.",
)
UNREADABLE = Rule(
    id="kernel/compression",
    severity=Severity.BLOCKER,
    title="Xen can't unpack the kernel",
    why="Xen would stop with an error before dom0 starts.",
    remedy="Install a kernel that is compressed with gzip or xz.",
)
NO_INITRD = Rule(
    id="kernel/no-initrd",
    severity=Severity.BLOCKER,
    title="The dom0 kernel has no initrd",
    why="The trial needs one: it starts the timer that resets a dom0 which hangs.",
    remedy="Run `update-initramfs -c -k all`, then `xenable check`.",
)
COMPRESSION_UNKNOWN = Rule(
    id="kernel/compression-unknown",
    severity=Severity.BLOCKER,
    title="It is not known how the kernel is compressed",
    why="Xen may not be able to unpack it, so it is not put into the menu.",
    remedy="Install the distribution's own kernel; anew where it is here: `apt-get install --reinstall`.",
)
OTHER_KERNEL = Rule(
    id="kernel/other-than-running",
    severity=Severity.NOTE,
    title="dom0 will use another kernel than the one that runs now",
    why="The running kernel can't be dom0. The native system keeps it.",
    remedy="Nothing to do.",
)
GENERIC_ADDED = Rule(
    id="kernel/generic-added",
    severity=Severity.NOTE,
    title="The distribution's generic kernel will be installed",
    why="It is for dom0 only: the native system keeps the kernel it has.",
    remedy="Nothing to do. `xenable revert` removes it again. "
    "Or give dom0 a smaller one that is built here: `xenable kernel build`, then `--kernel xen`.",
)
NO_XEN_KERNEL = Rule(
    id="kernel/no-xen-kernel",
    severity=Severity.BLOCKER,
    title="There is no kernel for Xen alone",
    why="With `kernel = xen` dom0 gets a kernel that was built on this machine.",
    remedy="Run `xenable kernel build`, or leave out `--kernel xen` for the distribution's kernel.",
)
XEN_KERNEL_ADDED = Rule(
    id="kernel/xen-kernel-added",
    severity=Severity.NOTE,
    title="A kernel for Xen alone will be installed",
    why="It is for dom0: the native system keeps the kernel it has, and its menu never offers this one.",
    remedy="Nothing to do. `xenable revert` removes it again.",
)
NOT_BOOTED = Rule(
    id="kernel/not-booted",
    severity=Severity.OVERRIDABLE,
    title="The native system's next kernel is not the one that runs",
    why="It is what a trial that fails falls back to, and nobody knows yet whether it comes up.",
    remedy="Reboot, see that the machine answers, and run the command again.",
)
NO_WATCHDOG = Rule(
    id="kernel/no-watchdog",
    severity=Severity.BLOCKER,
    title="The dom0 kernel has no driver for Xen's watchdog, or does not show it",
    why="Without xen_wdt nothing would reset a dom0 that hangs in its trial.",
    remedy="Install the distribution's generic kernel with all its modules: on Ubuntu they are in "
    "linux-modules-extra-VERSION.",
)
OPTIONS = Rule(
    id="kernel/options-missing",
    severity=Severity.WARNING,
    title="The dom0 kernel lacks options",
    why="Some guests, their disks or their network will not work.",
    remedy="Install the distribution's generic kernel, which has them.",
)
DOM0_UNKNOWN = Rule(
    id="kernel/dom0-unknown",
    severity=Severity.WARNING,
    title="It is not known whether a kernel can be dom0",
    why="Such a kernel is not used for dom0.",
    remedy="Put its configuration back to /boot/config-VERSION: `apt-get install --reinstall` of its "
    "package.",
)

RULES = (
    NONE,
    UNREADABLE,
    NO_INITRD,
    COMPRESSION_UNKNOWN,
    NO_WATCHDOG,
    OPTIONS,
    DOM0_UNKNOWN,
    NOT_BOOTED,
    OTHER_KERNEL,
    GENERIC_ADDED,
    NO_XEN_KERNEL,
    XEN_KERNEL_ADDED,
)


OLDEST_XEN = (4, 17)
"""Of the distributions that are supported: as which a series that is not known is judged."""


def readable(kernel: Kernel, series: str) -> Answer:
    """Whether Xen of that series (4.20) unpacks the kernel."""
    if not kernel.compression:
        return Answer.UNKNOWN
    return Answer.of(can_unpack(parse_series(series) or OLDEST_XEN, kernel.compression))


def dom0_kernels(facts: Facts) -> tuple[Kernel, ...]:
    """Kernels that can be dom0 as they are: supported, with an initrd, and not known to be unreadable."""
    return tuple(
        k
        for k in facts.kernels
        if k.dom0 is Answer.YES and k.initrd and readable(k, facts.packages.xen_series) is not Answer.NO
    )


def adds_kernel(facts: Facts) -> bool:
    """Whether the plan installs the generic kernel: because none of the distribution here supports dom0."""
    p = facts.packages
    unsupported = not any(k.dom0 is Answer.YES and not k.xen_only for k in facts.kernels)
    return unsupported and p.kernel is not None and p.kernel.name in {c.name for c in p.new}


def adds_xen_kernel(facts: Facts) -> bool:
    """Whether the plan installs a kernel for Xen alone."""
    p = facts.packages
    return p.xen_kernel is not None and p.xen_kernel.name in {c.name for c in p.new}


def next_dom0_kernel(facts: Facts, config: Config) -> Kernel | None:
    """The kernel that dom0 would get, as the menu orders them; None when it is not here yet or not known."""
    if adds_xen_kernel(facts) if config.xen_kernel else adds_kernel(facts):
        return None
    series = facts.packages.xen_series
    fit = {
        k.version: k
        for k in dom0_kernels(facts)
        if k.xen_only is config.xen_kernel and readable(k, series) is Answer.YES
    }
    return fit[newest_first(tuple(fit))[0]] if fit else None


def check_kernels(facts: Facts, config: Config) -> Iterator[Finding]:
    if config.xen_kernel:
        yield from _check_xen_kernel(facts)
        return
    usable = tuple(k for k in dom0_kernels(facts) if not k.xen_only)
    able = [k for k in facts.kernels if k.dom0 is Answer.YES and not k.xen_only]
    series = facts.packages.xen_series
    if not usable:
        generic = facts.packages.kernel
        if generic is not None and adds_kernel(facts):
            yield GENERIC_ADDED.found(
                f"{_all(facts)} {generic.name} {generic.version} comes with the Xen packages.{_other(facts)}"
            )
            return
        if not able:
            asked = facts.packages.usable is Answer.YES
            more = (
                "The package lists have none that can." if asked else "apt could not be asked for another."
            )
            yield NONE.found(f"{_all(facts)} {more}")
            return
        for k in able:
            if readable(k, series) is Answer.NO:
                yield UNREADABLE.found(
                    f"{k.image} is compressed with {k.compression}; Xen {series} can't read that."
                )
            else:
                yield NO_INITRD.found(f"{k.image} can be dom0, but there is no initrd for it.")
        return
    sure = [k for k in usable if readable(k, series) is Answer.YES]
    if not sure and all(k.forbidden for k in usable):
        yield COMPRESSION_UNKNOWN.found(
            f"{words([k.image for k in usable])} may not be read without root rights.",
            "Run the command as root.",
        )
    elif not sure:
        yield COMPRESSION_UNKNOWN.found(
            f"{words([k.image for k in usable])} {are(usable)} compressed in a way that was not recognised, "
            "or cut short."
        )
    running = next((k.version for k in facts.kernels if k.running), "")
    if running and not any(k.running for k in usable):
        yield OTHER_KERNEL.found(f"Running is {running}; dom0 can be {words([k.version for k in usable])}.")


def _check_xen_kernel(facts: Facts) -> Iterator[Finding]:
    there = [k.version for k in dom0_kernels(facts) if k.xen_only]
    found = facts.packages.xen_kernel
    if found is not None and adds_xen_kernel(facts):
        yield XEN_KERNEL_ADDED.found(f"{found.name} {found.version} comes from the local repository.")
    elif not there:
        yield NO_XEN_KERNEL.found(
            "There is none in /boot, and apt knows none."
            if found is None
            else f"apt would not install {found.name} {found.version}, and there is no usable one in /boot."
        )


def _other(facts: Facts) -> str:
    """A sentence about the kernel for Xen alone, where there is one to choose."""
    found = facts.packages.xen_kernel
    return f" {found.name} {found.version}, built here, could be it too." if found is not None else ""


def check_kernel_options(facts: Facts, config: Config) -> Iterator[Finding]:
    lacking = [k for k in dom0_kernels(facts) if k.missing_options]
    if lacking:
        yield OPTIONS.found(" ".join(f"{k.version} lacks {words(k.missing_options, 20)}." for k in lacking))
    unknown = [k.version for k in facts.kernels if k.dom0 is Answer.UNKNOWN]
    if unknown:
        yield DOM0_UNKNOWN.found(f"There is no readable configuration of {words(unknown)}.")


def check_watchdog(facts: Facts, config: Config) -> Iterator[Finding]:
    kernel = next_dom0_kernel(facts, config)
    if kernel is not None and kernel.watchdog is Answer.NO:
        yield NO_WATCHDOG.found(
            f"dom0 would get {kernel.version}: there is no xen_wdt for it, or CONFIG_WATCHDOG_SYSFS is off."
        )


def check_native_kernel(facts: Facts, config: Config) -> Iterator[Finding]:
    """Whether the kernel that GRUB takes by default is the one that runs: apt may have brought another."""
    native = [k.version for k in facts.kernels if not k.xen_only]
    if not native or facts.conversion.state != "none":
        return
    running = next((k.version for k in facts.kernels if k.running), "")
    if not running:
        runs = facts.running_kernel
        yield NOT_BOOTED.found(
            f"What runs now is no kernel in /boot{f' ({runs})' if runs else ''}; there {are(native)} "
            f"{words(native)}.",
            "Reboot into one of them, see that the machine answers, and run the command again. If what runs "
            "then is no kernel in /boot either, it does not come from this menu, and neither would Xen.",
        )
        return
    default = facts.menu.grub_default or "0"
    if default == "saved":
        default = facts.menu.saved_entry or "0"
    # GRUB's own order of kernels is another in each release: the menu that it made knows.
    first = next((e.kernel for e in facts.menu.entries if e.numbers == "0"), "") or newest_first(native)[0]
    # Another default is the administrator's choice, and so is the machine's next kernel.
    if default == "0" and first != running:
        yield NOT_BOOTED.found(f"Running is {running}, and the next start is of {first}.")


def _all(facts: Facts) -> str:
    if not facts.kernels:
        return "There is no kernel in /boot."
    versions = [k.version for k in facts.kernels if not k.xen_only]
    if not versions:
        return "There is none of the distribution's kernels in /boot."
    if len(versions) == 1:
        return f"The kernel {versions[0]} can't be dom0."
    return f"None of the kernels can be dom0: {words(versions)}."
