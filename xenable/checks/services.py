# SPDX-License-Identifier: GPL-2.0-or-later
"""Is there a way back in, and what will look odd afterwards?"""

from __future__ import annotations

from collections.abc import Iterator

from xenable.checks.base import Rule, are, words
from xenable.config import Config
from xenable.machine import Answer, Facts
from xenable.model import Finding, Severity

NO_SSH = Rule(
    id="services/no-ssh",
    severity=Severity.OVERRIDABLE,
    title="There is no way into this machine from outside",
    why="The trial passes if sshd listens as before; here it has nothing to compare.",
    remedy="Run `apt-get install openssh-server`. If you sit at the machine's screen and keyboard, "
    "override this.",
)
UNKNOWN = Rule(
    id="services/unknown",
    severity=Severity.OVERRIDABLE,
    title="The state of the services is not known",
    why="What failed before can't be told from what fails in dom0, nor whether sshd is a way back in.",
    remedy="Look whether `systemctl is-system-running` answers.",
)
FAILED = Rule(
    id="services/failed",
    severity=Severity.WARNING,
    title="Some units have failed already",
    why="The trial ignores them, for Xen is not the reason: it looks only for units that fail anew.",
    remedy="Look with `systemctl status` and their names whether they matter.",
)
STARTING = Rule(
    id="services/starting",
    severity=Severity.WARNING,
    title="The system has not finished its start",
    why="A trial that is armed now asks for no more: it does not wait until dom0 has finished its start, "
    "and so does not see a unit that fails late.",
    remedy="Wait until `systemctl is-system-running` says something else. If a unit never ends, mend it; "
    "`systemctl list-jobs` names it.",
)
OS_PROBER = Rule(
    id="services/os-prober",
    severity=Severity.NOTE,
    title="os-prober adds entries to the boot menu",
    why="Systems on the disks of guests can turn up there, as if they were installed on this machine.",
    remedy="If this machine has no other system: GRUB_DISABLE_OS_PROBER=true in /etc/default/grub.",
)

WATCHDOG = Rule(
    id="watchdog/in-use",
    severity=Severity.OVERRIDABLE,
    title="A program here takes a watchdog for itself",
    why="In dom0 it may take Xen's, which is to reset a trial that hangs. It would then feed it, so that "
    "nothing resets, or keep it from the gate, so that a good dom0 is reset.",
    remedy="Disable it for the time under Xen: `systemctl disable --now` and its name.",
)
RUNTIME_WATCHDOG = Rule(
    id="watchdog/systemd",
    severity=Severity.WARNING,
    title="systemd feeds a watchdog",
    why="In dom0 that is off (systemd.watchdog_sec=0), for Xen's watchdog is to reset a trial that hangs, "
    "and systemd would feed it.",
    remedy="Nothing to do, if this machine can do without its hardware watchdog while it runs under Xen.",
)

RULES = (NO_SSH, UNKNOWN, WATCHDOG, FAILED, STARTING, RUNTIME_WATCHDOG, OS_PROBER)


def check_services(facts: Facts, config: Config) -> Iterator[Finding]:
    s = facts.services
    if not s.known:
        yield UNKNOWN.found("systemd could not be asked.")
    elif not s.ssh_listen and s.ssh_hidden:
        yield UNKNOWN.found(
            f"Something listens on {words(s.ssh_hidden)}, but whether it is sshd may not be seen.",
            "Run the command as root.",
        )
    elif not s.ssh_listen:
        yield NO_SSH.found("No sshd listens.")
    elif all(_local(address) for address in s.ssh_listen):
        yield NO_SSH.found(f"sshd listens on {words(s.ssh_listen)} only, which nobody else can reach.")
    if s.failed:
        yield FAILED.found(f"{words(s.failed)} {are(s.failed)} in the state failed.")
    if s.is_starting:
        waits = f": it waits for {words(s.jobs)}" if s.jobs else ""
        yield STARTING.found(f"systemd says {s.system}{waits}.")
    if s.watchdog_daemons:
        units = words(s.watchdog_daemons)
        yield WATCHDOG.found(
            f"{units} {are(s.watchdog_daemons)} enabled or running.",
            f"Disable for the time under Xen: `systemctl disable --now {' '.join(s.watchdog_daemons)}`.",
        )
    if s.runtime_watchdog:
        yield RUNTIME_WATCHDOG.found(f"There is {s.runtime_watchdog}.")
    if s.os_prober is Answer.YES:
        yield OS_PROBER.found("os-prober is installed and switched on.")
    elif s.os_prober is Answer.UNKNOWN:
        yield OS_PROBER.found("It could not be found out whether os-prober is on.")


def _local(address: str) -> bool:
    return address.startswith(("127.", "[::1]", "::1", "localhost:"))
