# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of a trial boot: arm, judge, confirm, fall back, and what `xenable status` says of them.

The truth is in three places, each written by the one who knows it: the environment block (GRUB: which slot,
how far), trial.json (the gate in dom0: what it waited for) and the journal (what was applied).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from xenable import health, journal, watchdog
from xenable.boot import efi
from xenable.boot.environment import (
    KEPT,
    UNKNOWN,
    Environment,
    block_hidden,
    by_firmware,
    check_one_shot,
    environment_folder,
    environment_path,
    one_shot_word,
    read_environment,
    used_up,
    write_environment,
)
from xenable.boot.slots import (
    SLOTS,
    lost_kernel,
    lost_part,
    newest_pair_differs,
    read_manifest,
    slot_folder,
    unlisted,
)
from xenable.diagnosis import diagnose
from xenable.errors import XenableError
from xenable.host import Host
from xenable.model import EntryState, Status
from xenable.trialrecord import TRIAL, Trial, of_last_boot, read_trial, this_boot, write_trial

REVOKED = (
    "the firmware's BootNext was taken back, so the next reset boots the native system: "
    "`sudo xenable apply` sets it again"
)


@dataclass(frozen=True, kw_only=True)
class TrialStatus:
    state: Status
    reason: str
    running: str
    """native or xen."""
    next_boot: str
    """native or xen."""
    versions: dict[str, str]
    """xen, kernel: what runs now, and what the next boot would load under Xen."""


# ------------------------------------------------------------------------------------------------- status


def running_xen(host: Host) -> bool:
    return host.text("/sys/hypervisor/type").strip() == "xen"


def running_series(host: Host) -> str:
    """The series of the Xen that runs, as 4.17; empty natively."""
    folder = "/sys/hypervisor/version"
    numbers = [host.text(f"{folder}/{name}").strip() for name in ("major", "minor")]
    return ".".join(numbers) if running_xen(host) and all(numbers) else ""


def status(host: Host) -> TrialStatus:
    """The state of this machine, in one of the five words, with the reason and what the next reset boots.

    Errors: XenableError where only root can see what GRUB noted: it may be any of the five.
    """
    xen = running_xen(host)
    env = environment(host)
    try:
        records = journal.read_journal(host)
        half = _half_done(records)
    except XenableError as e:
        records = ()
        half = f"{e.message}; {e.hint}"
    if env is None:
        if (records or half) and block_hidden(host):
            raise XenableError(
                "cannot tell the state of this machine: GRUB's environment block can't be read without root "
                "rights",
                hint="sudo xenable status",
            )
        converted = any(record.state is not EntryState.UNDONE for record in records)
        reason = half or (_no_block(host) if converted else _untouched(host, xen))
        return _answer(host, Status.NATIVE, reason, xen, env)
    trial = read_trial(host)
    if xen and env.trying:
        return _answer(host, Status.TRYING, _trying(host, trial), xen, env)
    half = half or off_menu(host, env) or (REVOKED if _revoked(host, env) else "")
    if xen and env.default:
        return _answer(host, Status.CONFIRMED, half or _confirmed(host, env, trial), xen, env)
    if env.try_slot:
        return _answer(host, Status.ARMED, half or _armed(host, env, trial), xen, env)
    if not xen and env.trying:
        return _answer(host, Status.FELL_BACK, _fell_back(host, env, trial), xen, env)
    if env.default:
        return _answer(
            host,
            Status.CONFIRMED,
            half or "Xen is the default; the native system was chosen by hand",
            xen,
            env,
        )
    return _answer(host, Status.NATIVE, half or _idle(host), xen, env)


def _revoked(host: Host, env: Environment) -> bool:
    """Whether the block asks for a slot, and the firmware, which has the one-shot, has lost its word."""
    return bool(env.choice) and by_firmware(host, environment_folder(host)) and not efi.is_next(host)


def off_menu(host: Host, env: Environment) -> str:
    """Where the menu has no entry for the slot that the block asks for, that, and what to do; else empty."""
    slot = env.choice
    if not slot or not unlisted(host, slot):
        return ""
    return (
        f"the boot menu has no entry for slot {slot}, so the next reset boots the native system: run "
        "`sudo update-grub` or `sudo xenable apply`"
    )


def _no_block(host: Host) -> str:
    folder = environment_folder(host)
    if folder:
        return (
            f"GRUB's environment block {environment_path(folder)} is damaged: GRUB boots the native system"
        )
    return (
        "GRUB's environment block is not there: look whether /boot, or the EFI system partition, is mounted"
    )


def _untouched(host: Host, xen: bool) -> str:
    reverted = bool(host.names(journal.HISTORY))
    if xen and reverted:
        return "the conversion was reverted; Xen runs until the next reset"
    if xen:
        return "Xen runs here, but Xenable did not set it up"
    return "the conversion was reverted" if reverted else "Xenable has changed nothing here"


def _idle(host: Host) -> str:
    """Why nothing is armed, where that is known."""
    lost = next(filter(None, (lost_part(host, slot) for slot in SLOTS)), "")
    if lost:
        return f"{lost}; with another one here `xenable apply` starts a trial"
    return "no trial is armed"


def next_boot(host: Host, env: Environment | None) -> str:
    """What GRUB chooses at the next reset: the slot, or nothing for native. The same rule as in the menu."""
    choice = env.choice if env is not None else ""
    there = choice in SLOTS and host.exists(slot_folder(choice) / "boot.cfg")
    lost = env is not None and _revoked(host, env)
    return choice if there and not unlisted(host, choice) and not lost else ""


def _answer(host: Host, state: Status, reason: str, xen: bool, env: Environment | None) -> TrialStatus:
    slot = next_boot(host, env)
    versions = {"running kernel": host.text("/proc/sys/kernel/osrelease").strip()}
    if xen:
        version = host.text("/sys/hypervisor/version/major").strip()
        minor = host.text("/sys/hypervisor/version/minor").strip()
        extra = host.text("/sys/hypervisor/version/extra").strip()
        versions["running Xen"] = f"{version}.{minor}{extra}"
    shown = slot or (env.trying or env.default if env else "")
    if shown in SLOTS:
        manifest = read_manifest(host, shown)
        if manifest:
            versions |= {f"xen in slot {shown}": manifest.xen, f"kernel in slot {shown}": manifest.kernel}
    return TrialStatus(
        state=state,
        reason=reason,
        running="xen" if xen else "native",
        next_boot="xen" if slot else "native",
        versions=versions,
    )


def _half_done(records: tuple[journal.Record, ...]) -> str:
    states = {record.state for record in records}
    if EntryState.UNDOING in states or (EntryState.UNDONE in states and states != {EntryState.UNDONE}):
        return "a revert was interrupted: run `xenable revert` to finish it"
    if EntryState.DOING in states or (EntryState.PLANNED in states and states != {EntryState.UNDONE}):
        return "an apply was interrupted: `xenable apply` finishes it, `xenable revert` undoes it"
    return ""


def _confirmed(host: Host, env: Environment, trial: Trial | None) -> str:
    if lost := lost_part(host, env.default):
        return f"Xen is the default, but {lost}: run `xenable apply`"
    if trial is not None and trial.earlier:
        return f"Xen is the default; {trial.earlier}"
    if env.try_slot:
        return f"Xen is the default; the next reset tries slot {env.try_slot} once"
    if newest_pair_differs(host, env.default):
        return "Xen is the default; a newer Xen or kernel is here: `xenable apply` tries it"
    return "Xen passed its trial and is the default"


def _armed(host: Host, env: Environment, trial: Trial | None) -> str:
    if trial is not None and trial.slot == env.try_slot and trial.armed_in not in ("", this_boot(host)):
        return (
            "the next reset is to boot Xen once, but at the last one GRUB did not start the trial: another "
            "entry was chosen, or GRUB reads another menu, or it could not write "
            f"{environment_path(environment_folder(host))}: look at the file system with that"
        )
    return "the next reset boots Xen once, as a trial"


def _fell_back(host: Host, env: Environment, trial: Trial | None) -> str:
    if trial is not None and trial.verdict == "fell-back" and of_last_boot(env, trial):
        return trial.reason
    return diagnose(host, env, trial)


def _trying(host: Host, trial: Trial | None) -> str:
    if trial is None or trial.boot_id != this_boot(host):
        return "this is the trial boot; the gate has not looked yet"
    end = "no time limit ends this boot"
    if trial.deadline:
        end = f"the machine resets to native in {max(0, trial.deadline - trial.seconds)} s"
    if trial.verdict == "held":
        return f"dom0 is healthy and waits for `xenable confirm`; {end}"
    return f"dom0 waits for {'; '.join(trial.missing) or 'nothing'}; {end}"


def environment(host: Host) -> Environment | None:
    """What the block says; None when there is none, or when it is damaged: GRUB then boots native."""
    folder = environment_folder(host)
    try:
        return read_environment(host, folder) if folder else None
    except XenableError:
        return None


# ---------------------------------------------------------------------------------------- arm and confirm


def on_course(host: Host) -> bool:
    """Whether a trial is armed or runs, or the newest pair has passed one: nothing is left to arm."""
    env = environment(host)
    if env is None:
        return False
    if env.trying and running_xen(host):
        return True
    slot = env.choice
    if not slot or unlisted(host, slot) or _revoked(host, env):
        return False
    return bool(env.try_slot) or not newest_pair_differs(host, slot)


def note_start(host: Host) -> None:
    """Where GRUB can't, put into the block which slot was started: in dom0, or natively if dom0 never ran.

    A default that passed is next again where another slot was started. Nothing is where the firmware has
    started Xenable's entry and BootNext is still set: that is no one-shot. Errors: XenableError.
    """
    folder = environment_folder(host)
    env = environment(host)
    if env is None:
        return
    if one_shot_word(host, folder) == KEPT:
        # What wrote that may have ended before it took BootNext back.
        efi.clear_next(host)
    if not used_up(host, folder):
        return
    xen = running_xen(host)
    # Natively it may never have come to the entry, as after kexec.
    kept = efi.is_next(host) and (xen or efi.came_by_entry(host))
    noted = replace(env, stage="started" if xen else UNKNOWN)
    native = replace(noted, default="") if noted.choice else noted
    try:
        write_environment(host, folder, native if kept else noted, kept=kept)
    except XenableError:
        if kept or native == noted:
            raise
        # That this start was tried has to be written, whatever the next one can't be.
        write_environment(host, folder, native)


def arm(host: Host, slot: str) -> None:
    """Make the next reset boot a slot once. Errors: XenableError when there is no environment block."""
    note_start(host)
    folder = environment_folder(host)
    env = environment(host)
    if env is None:
        raise XenableError("cannot arm the trial boot: there is no environment block that GRUB can write")
    check_one_shot(host, folder)
    health.write_before(host, health.look_around(host))
    # First the slot and the menu, then the word to boot them.
    host.settle()
    write_trial(host, Trial(slot=slot, verdict="armed", seconds=0, deadline=0, armed_in=this_boot(host)))
    # A default that fell back must not come back when this trial does: only `trying` kept it off.
    default = "" if env.trying == env.default else env.default
    try:
        write_environment(
            host, folder, replace(env, default=default, try_slot=slot, trying="", stage="", started="")
        )
    except XenableError:
        _off_the_record(host, slot)
        raise


def armed_slot(host: Host) -> str:
    """The slot that the next reset tries; empty when none is armed."""
    env = environment(host)
    return env.try_slot if env is not None else ""


def call_off(host: Host, slot: str) -> None:
    """Make no reset try that slot, whose files are about to change; what is confirmed stays the default."""
    env = environment(host)
    if env is not None and env.try_slot == slot:
        write_environment(host, environment_folder(host), replace(env, try_slot=""))
        _off_the_record(host, slot)


def _off_the_record(host: Host, slot: str) -> None:
    """Forget an arming that was called off: the next boot of another slot would find that it failed."""
    trial = read_trial(host)
    if trial is not None and (trial.slot, trial.verdict) == (slot, "armed"):
        # It only explains: what keeps GRUB from the slot is on disk.
        with contextlib.suppress(XenableError):
            host.remove(TRIAL)


def lost_slots(host: Host) -> tuple[str, ...]:
    """The slots that are the default, or armed, and of which a part was removed."""
    env = environment(host)
    return _lost(host, env) if env is not None else ()


def _lost(host: Host, env: Environment) -> tuple[str, ...]:
    wanted = dict.fromkeys((env.default, env.try_slot))
    return tuple(slot for slot in wanted if slot in SLOTS and lost_part(host, slot))


def let_go(host: Host) -> tuple[str, ...]:
    """Make no reset boot a slot of which a part was removed: it would come up without drivers, or not pass.

    Returns lost_slots. One that runs stays on trial, for its dead-man has to go on; `accept` does not make
    it the default. Errors: XenableError when the block can't be written.
    """
    env = environment(host)
    if env is None:
        return ()
    lost = _lost(host, env)
    if lost:
        changed = {field: "" for field in ("default", "try_slot") if getattr(env, field) in lost}
        write_environment(host, environment_folder(host), replace(env, **changed))
        if env.try_slot in lost:
            _off_the_record(host, env.try_slot)
    return lost


def disarm(host: Host) -> None:
    """Make the next reset boot native, whatever was armed or confirmed. The first act of every revert."""
    folder = environment_folder(host)
    if folder and (environment(host) != Environment() or efi.is_next(host)):
        write_environment(host, folder, Environment())


def accept(host: Host) -> bool:
    """Make the slot that runs now the default. The dead-man is stopped after it, never before.

    A power cut between the two leaves a default that is guarded again at its next boot.
    Returns False where it is not to be booted again, for its kernel was removed meanwhile: the default
    is what it was, or none if it was that. Errors: XenableError when the block can't be written.
    """
    # /boot may have come late, or could not be written at the first look.
    note_start(host)
    folder = environment_folder(host)
    env = environment(host)
    if env is None:
        raise XenableError("cannot confirm: there is no environment block that GRUB can write")
    # Its tools have just answered.
    lost = env.trying in SLOTS and bool(lost_kernel(host, env.trying))
    if env.trying:
        default = env.trying if env.trying in SLOTS and not lost else env.default
        if lost and default == env.trying:
            default = ""
        # What is armed is older than what passed now.
        armed = env.try_slot if lost else ""
        write_environment(
            host, folder, replace(env, default=default, trying="", try_slot=armed, stage="", started="")
        )
        if reverted(host):
            # It began after the block was read here, and has the last word.
            disarm(host)
            raise XenableError("cannot confirm: a revert has begun")
    return not lost


def confirm(host: Host) -> TrialStatus:
    """`xenable confirm`: a person's word, after the gate's own look.

    Errors: XenableError with what is missing.
    """
    now = status(host)
    if now.state is Status.CONFIRMED:
        return now
    if now.state is not Status.TRYING:
        raise XenableError(
            f"cannot confirm: this is no trial boot (the state is {now.state.value})",
            hint="`xenable apply --no-auto-confirm --reboot` starts one that waits for it",
        )
    lacking = health.missing(host, health.read_before(host), confirmed=False)
    if lacking:
        raise XenableError(
            f"cannot confirm: dom0 waits for {'; '.join(lacking)}",
            hint="mend it and run `xenable confirm` again; or do nothing, and the machine goes back",
        )
    accept(host)
    watchdog.stop_dead_man(host)
    return status(host)


def reverted(host: Host) -> bool:
    """Whether the journal says that a revert is at work here, or was: the next reset is native anyway.

    A journal that is not there, or that can't be read, says nothing of the kind.
    """
    try:
        records = journal.read_journal(host)
    except XenableError:
        return False
    if not records:
        return bool(host.names(journal.HISTORY))
    return journal.revert_begun(records)
