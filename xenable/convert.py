# SPDX-License-Identifier: GPL-2.0-or-later
"""Convert and revert, whole: the lock, the checks, the journal and the engine in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xenable import engine, health, journal, trial
from xenable.boot.environment import check_one_shot, environment_folder
from xenable.boot.slots import SLOTS, lost_part, newest_pair_differs
from xenable.checks import ready, run_checks
from xenable.config import Config, KernelChoice
from xenable.engine import Listener
from xenable.errors import Exit, XenableError
from xenable.facts import gather
from xenable.host import Host
from xenable.journal import Record
from xenable.machine import Facts
from xenable.model import EntryState, Finding, Obstacle, Status
from xenable.plan import trial_steps
from xenable.plan.texts import XEN_KERNELS_FIRST
from xenable.steps import from_record
from xenable.steps.base import Step
from xenable.steps.files import WriteFile
from xenable.steps.loader import OwnLoader
from xenable.steps.menu import RefreshMenu
from xenable.steps.slot import Arm, filled_by
from xenable.trialrecord import TRIAL


def begun(host: Host) -> bool:
    """Whether a conversion is in the journal, whole or half."""
    return bool(journal.read_journal(host))


def kernel_choice(host: Host) -> KernelChoice | None:
    """What the conversion on this machine began with, by the file for the menu; None where there is none."""
    records = journal.read_journal(host)
    texts = [str(record.fields["content"]) for record in records if record.kind == WriteFile.kind]
    if not records:
        return None
    return KernelChoice.XEN if any(XEN_KERNELS_FIRST in text for text in texts) else KernelChoice.DISTRO


def prepare(
    host: Host, config: Config, overrides: frozenset[str]
) -> tuple[Facts, tuple[Finding, ...], bool]:
    """Look at the machine and judge it. Changes nothing."""
    facts = gather(host, xen_kernel=config.xen_kernel)
    findings = run_checks(facts, config)
    return facts, findings, ready(findings, overrides)


def start(
    host: Host, steps: tuple[Step, ...], terms: journal.Terms, listener: Listener = engine.quiet
) -> None:
    """Apply a new plan. When a step fails, all that was done is undone. The terms go on record.

    Errors: XenableError with status PUT_BACK, or NOT_PUT_BACK when even that failed.
    """
    with host.lock():
        records = engine.plan_into_journal(host, steps, terms)
        try:
            engine.apply(host, records, listener)
        except XenableError as e:
            _put_back(host, e, listener)
        except Exception as e:
            # A mistake of ours must not leave the machine half converted either.
            mistake = XenableError(
                f"cannot apply: internal error: {type(e).__name__}: {e}",
                hint="attach what `xenable report` writes to a bug report",
            )
            mistake.__cause__ = e
            _put_back(host, mistake, listener)


def resume(host: Host, config: Config, listener: Listener = engine.quiet) -> None:
    """Finish what an interrupted apply left; when nothing is left, start another trial.

    A machine that is on trial, or whose newest pair passed, is left alone, but for files in
    /etc/xenable that are gone, and for a menu that has lost the entries for Xen. Errors: XenableError.
    """
    with host.lock():
        journal.repair_tail(host)
        records = journal.read_journal(host)
        if journal.revert_begun(records):
            raise XenableError("cannot apply: a revert was interrupted", hint="`xenable revert` finishes it")
        trial.let_go(host)
        if any(record.state is not EntryState.DONE for record in records):
            _go_on(host, records, listener)
            if all(record.kind != Arm.kind for record in records):
                return
            # What it was begun with is in the journal; how it is to be tried may be said anew.
        engine.apply(host, _lost_files(host, records), listener)
        engine.repeat(host, (*_lost_loader(host, records), *_lost_entries(host, records)), listener)
        if trial.armed_slot(host) or not trial.on_course(host):
            # What is armed already may be another pair by now, or on other terms.
            engine.repeat(host, trial_steps(config), listener)


def _lost_files(host: Host, records: Sequence[Record]) -> tuple[Record, ...]:
    """The steps that wrote a file of /etc/xenable which is not there any more: a folder of our own. What is
    gone elsewhere an administrator may have removed."""
    paths = {r.number: str(r.fields["path"]) for r in records if r.kind == WriteFile.kind}
    gone = {n for n, path in paths.items() if path.startswith("/etc/xenable/") and not host.exists(path)}
    return tuple(record for record in records if record.number in gone)


def _lost_loader(host: Host, records: Sequence[Record]) -> tuple[Step, ...]:
    """The step that makes the GRUB for BootNext, where that or its entry is gone: only it starts Xen."""
    steps = (from_record(record) for record in records if record.kind == OwnLoader.kind)
    return tuple(step for step in steps if not step.is_done(host))


def _lost_entries(host: Host, records: Sequence[Record]) -> tuple[Step, ...]:
    """The step that makes the menu, where this has lost what it made."""
    steps = (from_record(record) for record in records)
    return tuple(step for step in steps if isinstance(step, RefreshMenu) and step.lacks(host))


def _go_on(host: Host, records: Sequence[Record], listener: Listener) -> None:
    try:
        engine.apply(host, records, listener)
    except XenableError as e:
        # The first run may have been days ago: what it did is not taken back unasked.
        rest = "`sudo xenable apply` goes on from here, `sudo xenable revert` puts everything back"
        raise XenableError(
            f"{e.message}; the steps before it stay done",
            hint="; ".join(filter(None, (e.hint, rest))),
            status=e.status,
        ) from e


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A slot that was booted by default or armed, and of which a package went."""

    slot: str
    what: str
    """As of lost_part."""
    default: bool
    """Whether it was what is booted by default, and not only armed."""


def drop_removed(host: Host) -> tuple[Removed, ...]:
    """After packages have changed: make no reset boot a slot of which a part is gone.

    Errors: XenableError.
    """
    if not trial.lost_slots(host):
        return ()
    with host.lock():
        env = trial.environment(host)
        default = env.default if env is not None else ""
        return tuple(
            Removed(slot=slot, what=lost_part(host, slot), default=slot == default)
            for slot in trial.let_go(host)
        )


def try_new(host: Host, listener: Listener = engine.quiet, *, instead_of: str = "") -> bool:
    """After packages have changed: arm a trial of a pair that none has seen yet, beside the one that passed.

    It has the same time limit as the trial that was passed. A pair in the other slot had its trial, or has
    it at the next reset; one that failed is tried again only when a person says so. Where a person confirms,
    nothing is armed, for nobody may be there at the next reset. Returns whether a trial was armed.
    instead_of: the slot that passed, where `drop_removed` has taken the default from it.
    Errors: XenableError when this is not the time, and a later look is needed.
    """
    env = trial.environment(host)
    terms = filled_by(host, instead_of or env.default) if env is not None else None
    if terms is None or terms.hold or not all(newest_pair_differs(host, slot) for slot in SLOTS):
        return False
    state = trial.status(host).state
    if state is Status.TRYING:
        raise XenableError(
            "cannot arm a trial of the newer Xen or kernel: this boot is on trial itself",
            hint="when it has passed, run `sudo xenable apply`, or let apt see to it at its next run",
        )
    fit = (Status.CONFIRMED, Status.ARMED, *((Status.NATIVE,) if instead_of else ()))
    if state not in fit:
        return False
    lost = health.lost(host)
    if lost:
        # Nobody looks: what is missing at this moment must not be forgotten.
        raise XenableError(
            f"cannot arm a trial of the newer Xen or kernel: this system waits for {'; '.join(lost)}",
            hint="when it is back, or if it is gone for good, run `sudo xenable apply`",
        )
    with host.lock():
        if any(record.state is not EntryState.DONE for record in journal.read_journal(host)):
            return False
        # What is in a slot is not tried again unasked: where it can't be armed, it must not get there.
        check_one_shot(host, environment_folder(host))
        engine.repeat(host, (terms, Arm()), listener)
    return True


def obstacles(host: Host) -> tuple[Obstacle, ...]:
    """What a revert would destroy that is not Xenable's own."""
    return engine.obstacles(host, journal.read_journal(host))


def check_obstacles(found: Sequence[Obstacle], *, force: bool) -> None:
    """Errors: XenableError where a revert over these must not begin."""
    if any(obstacle.final for obstacle in found):
        raise XenableError(
            "cannot revert: something is in its way, and that can't be forced",
            hint="see to what is named above, then run the command again",
        )
    if found and not force:
        raise XenableError(
            "cannot revert: others changed what Xenable would put back",
            hint="undo these changes, or give --force to lose them",
        )


def revert(
    host: Host,
    listener: Listener = engine.quiet,
    *,
    force: bool = False,
    first: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Undo a conversion from any state it may be in. Nothing happens when there is none.

    first: what comes before that, and only if nothing is in the way.
    Returns what is not as it was, a sentence each. Errors: XenableError with status NOT_PUT_BACK; with
    FAILED where there are obstacles, and nothing has happened.
    """
    with host.lock():
        # A person may have been asked since they were shown.
        found = obstacles(host)
        try:
            check_obstacles(found, force=force)
        except XenableError as e:
            what = "; ".join(obstacle.what for obstacle in found)
            raise XenableError(f"{e.message}: {what}", hint=e.hint, status=e.status) from e
        first()
        return _undo_all(host, listener)


def _undo_all(host: Host, listener: Listener) -> tuple[str, ...]:
    try:
        journal.repair_tail(host)
        records = journal.read_journal(host)
    except Exception as e:
        raise engine.not_put_back("cannot begin the revert: ", e) from e
    engine.revert(host, records, listener)
    try:
        left = engine.remains(host, journal.read_journal(host))
        host.settle()
        # The journal goes last: what is killed in here, a second revert finishes.
        host.remove(TRIAL)
        host.remove(health.BEFORE)
        journal.put_away(host)
    except Exception as e:
        raise engine.not_put_back("cannot end the revert: ", e) from e
    return left


def _put_back(host: Host, e: XenableError, listener: Listener) -> None:
    try:
        left = _undo_all(host, listener)
    except XenableError as worse:
        raise XenableError(
            f"{e.message}; then: {worse.message}",
            hint="; ".join(filter(None, (e.hint, worse.hint))),
            status=Exit.NOT_PUT_BACK,
        ) from e
    end = f"; everything was put back, but {', and '.join(left)}" if left else "; everything was put back"
    raise XenableError(e.message + end, hint=e.hint, status=Exit.PUT_BACK) from e
