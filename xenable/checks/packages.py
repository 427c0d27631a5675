# SPDX-License-Identifier: GPL-2.0-or-later
"""Will apt do what it is asked, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.machine import Answer, Facts
from xenable.model import Finding, Severity

BROKEN = Rule(
    id="packages/apt-broken",
    severity=Severity.BLOCKER,
    title="apt can't be used",
    why="The packages of Xen can't be installed, nor removed again.",
    remedy="Run `apt-get check` and `apt-get -f install`, then `xenable check`.",
)
LOCKED = Rule(
    id="packages/locked",
    severity=Severity.BLOCKER,
    title="Another program is installing packages",
    why="Only one can do so at a time.",
    remedy="Wait until it ends, then run the command again.",
)
HALF = Rule(
    id="packages/half-installed",
    severity=Severity.BLOCKER,
    title="Some packages are installed only in part",
    why="apt would first try to finish them, which Xenable could not undo.",
    remedy="Run `dpkg --configure -a`, then `apt-get -f install`.",
)
NO_XEN = Rule(
    id="packages/no-xen",
    severity=Severity.BLOCKER,
    title="There is no Xen to install",
    why="Debian has it in the component main, Ubuntu in universe.",
    remedy="Run `apt-get update`; look whether that component is in /etc/apt/sources.list.d.",
)
REMOVALS = Rule(
    id="packages/removals",
    severity=Severity.BLOCKER,
    title="Installing Xen removes packages",
    why="`xenable revert` would not bring them back, so nothing is removed for Xen.",
    remedy="Look with `apt-get -s install xen-system-amd64` why they are in the way. "
    "Remove them yourself if you can do without them.",
)
UPGRADES = Rule(
    id="packages/upgrades",
    severity=Severity.WARNING,
    title="Installing Xen upgrades other packages",
    why="`xenable revert` would leave them at their new version.",
    remedy="Run `apt-get upgrade` first, so that the conversion changes nothing but Xen.",
)
GRUB_UPGRADE = Rule(
    id="packages/upgrades-grub",
    severity=Severity.BLOCKER,
    title="Installing Xen upgrades GRUB itself",
    why="Every way back goes through GRUB, and a new one has never booted this machine.",
    remedy="Run `apt-get upgrade`, and reboot once, so that you know that the new GRUB works.",
)
HELD = Rule(
    id="packages/held",
    severity=Severity.OVERRIDABLE,
    title="Packages of Xen or the kernel are on hold",
    why="apt leaves them at the version they have, so the parts of Xen may not fit together.",
    remedy="Run `apt-mark unhold` for them, if the reason for it is gone.",
)
STALE = Rule(
    id="packages/lists-stale",
    severity=Severity.WARNING,
    title="The package lists are old",
    why="Packages that the lists name may be gone from the archive, and fixes may be missing.",
    remedy="Run `apt-get update`.",
)
SERIES_UNKNOWN = Rule(
    id="packages/xen-series-unknown",
    severity=Severity.WARNING,
    title="The version of Xen that would be installed is not known",
    why="Whether it can read the kernel is judged as for Xen 4.17.",
    remedy="Look with `apt-cache policy xen-system-amd64`.",
)
XEN_INSTALLED = Rule(
    id="packages/xen-installed",
    severity=Severity.WARNING,
    title="Xen packages are installed already",
    why="Xenable uses them. `xenable revert` leaves them in place, for it removes only what it installed.",
    remedy="If they are not needed, remove them first: `apt-get purge` and their names.",
)
RECOMMENDS = Rule(
    id="packages/recommends-off",
    severity=Severity.NOTE,
    title="apt is told not to install recommended packages",
    why="Those that Xen needs to be useful are installed all the same; others are not.",
    remedy="Nothing to do.",
)

RULES = (
    BROKEN,
    LOCKED,
    HALF,
    NO_XEN,
    REMOVALS,
    HELD,
    UPGRADES,
    GRUB_UPGRADE,
    STALE,
    SERIES_UNKNOWN,
    XEN_INSTALLED,
    RECOMMENDS,
)

OLD_LISTS = 30
"""Days. Debian's point releases are about 60 days apart, security updates come each week."""


def check_apt(facts: Facts, config: Config) -> Iterator[Finding]:
    p = facts.packages
    if p.locked_by:
        yield LOCKED.found(f"{p.locked_by} holds the lock of apt or dpkg.")
    if p.half_installed:
        yield HALF.found(f"Installed only in part: {words(p.half_installed)}.")
    if p.usable is not Answer.YES or p.problem:
        # What is recommended for Xen has parts of GRUB's that need one of the same version.
        held = " ".join(name for name in p.held if name.startswith("grub") and name in p.problem)
        yield BROKEN.found(
            f"apt says: {p.problem.rstrip('.')}."
            if p.problem
            else "apt's lists or dpkg's status can't be read.",
            f"On hold: `apt-mark unhold {held}`, `apt-get upgrade`, and reboot once." if held else "",
        )
        return
    if p.lists_age_days is None:
        yield STALE.found("The age of the package lists is not known.")
    elif p.lists_age_days > OLD_LISTS:
        yield STALE.found(f"The package lists are {p.lists_age_days} days old.")
    if not p.install_recommends:
        yield RECOMMENDS.found("APT::Install-Recommends is off.")


def check_transaction(facts: Facts, config: Config) -> Iterator[Finding]:
    p = facts.packages
    if facts.conversion.state != "none" or p.usable is not Answer.YES:
        return
    if p.xen is None and not p.problem:
        yield NO_XEN.found("No repository of this machine has a Xen system package.")
    elif p.xen is not None and not p.xen_series:
        yield SERIES_UNKNOWN.found(f"{p.xen.name} {p.xen.version} does not say which hypervisor it brings.")
    if p.removed:
        yield REMOVALS.found(f"apt would remove {words(p.removed, 12)}.")
    grub = [c.name for c in p.upgraded if c.name.startswith("grub")]
    others = [c.name for c in p.upgraded if c.name not in grub]
    if grub:
        yield GRUB_UPGRADE.found(f"apt would upgrade {words(grub, 12)}.")
    if others:
        yield UPGRADES.found(f"apt would upgrade {words(others, 12)}.")
    held = [name for name in p.held if _concerns(facts, name)]
    if held:
        yield HELD.found(
            f"{words(held, 12)} {are(held)} on hold.",
            f"If the reason is gone: `apt-mark unhold {' '.join(held)}`.",
        )
    # Its libraries come with QEMU and others, and mean nothing by themselves.
    installed = [f"{c.name} {c.version}" for c in p.installed_xen if c.name.startswith("xen")]
    if installed:
        yield XEN_INSTALLED.found(f"Installed: {words(installed)}.")


def _concerns(facts: Facts, name: str) -> bool:
    p = facts.packages
    ours = {
        c.name
        for c in (p.xen, p.kernel, p.xen_kernel, *p.new, *p.recommended, *p.installed_xen)
        if c is not None
    }
    return name in ours or name.startswith(("xen-", "libxen", "linux-image-"))
