# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable apply`"""

from __future__ import annotations

import sys
from typing import Any

import click

from xenable.cli.common import (
    accept_overrides,
    json_option,
    need_consent,
    need_root,
    note,
    override_option,
    reboot_after,
    show_status,
    step_states,
    with_reboot,
    working,
)
from xenable.cli.settings import config_for, setting_options
from xenable.config import LASTING, PATH, Config, lasting
from xenable.errors import Exit, XenableError
from xenable.host import Host
from xenable.model import Severity

QUESTION = "Turn this machine into a Xen dom0?"
AGAIN = "Finish the conversion, or start another trial?"
MATTERS = (Severity.BLOCKER, Severity.OVERRIDABLE, Severity.WARNING)


@click.command()
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reboot", "then_reboot", is_flag=True, help="Reboot at the end: the trial begins at once.")
@override_option
@setting_options
def command(as_json: bool, yes: bool, then_reboot: bool, overrides: tuple[str, ...], **options: Any) -> None:
    """Checks, shows packages and steps, asks once, and does them; the full diffs are in `xenable plan`. The
    last step arms the trial boot: until then only the native system is booted, and the trial falls back to
    it by itself.

    After an interruption it goes on where it stopped."""
    from xenable.convert import begun

    need_root("apply")
    host = Host()
    accepted = accept_overrides(overrides)
    config = config_for(host, options)
    if begun(host):
        _refuse_new_terms(overrides, options)
        _resume(host, config, yes, then_reboot)
    else:
        _convert(host, config, accepted, yes, then_reboot)
    with reboot_after(host, then_reboot, "the conversion is done, and the next start is its trial"):
        _tell(host, as_json)


def _convert(host: Host, config: Config, accepted: frozenset[str], yes: bool, then_reboot: bool) -> None:
    from xenable.checks.kernels import GENERIC_ADDED
    from xenable.checks.memory import dom0_memory
    from xenable.convert import prepare, start
    from xenable.journal import Terms
    from xenable.plan import make_plan
    from xenable.ui.findings import render_findings
    from xenable.ui.layout import BLANK, show, width_of
    from xenable.ui.plan import render_packages, render_titles

    facts, findings, good = prepare(host, config, accepted)
    width = width_of(sys.stderr)
    # Of the notes only one that is a choice: nothing is asked about it later.
    told = [f for f in findings if f.severity in MATTERS or f.id == GENERIC_ADDED.id]
    show([*render_findings(told, accepted, width), BLANK], sys.stderr)
    if not good:
        raise XenableError(
            "cannot apply: this machine is not ready",
            hint="mend what the findings above name, or give --override ID for those that allow it",
            status=Exit.NOT_READY,
        )
    steps = make_plan(facts, config)
    titles = [step.title() for step in steps]
    summary = [*render_packages(facts.packages, width), *render_titles(titles, width), BLANK]
    show(summary, sys.stderr)
    memory = dom0_memory(facts, config)
    end = "then Xen becomes the default" if config.auto_confirm else "and to hear `xenable confirm`"
    note(
        f"dom0 gets {memory} MiB of memory; in its trial it has {config.trial_seconds} s "
        f"to show that all is back, {end}; else the machine resets to the native system"
    )
    need_consent(with_reboot(QUESTION, then_reboot), yes)
    with working() as listener:
        start(host, steps, Terms(overrides=sorted(accepted), settings=lasting(host)), listener)


def _refuse_new_terms(overrides: tuple[str, ...], options: dict[str, Any]) -> None:
    """A conversion keeps the terms that it began with; only those of the trial can be others each time."""
    given = [s.key for s in LASTING if options[s.field] is not None]
    given += ["override"] if overrides else []
    if given:
        raise XenableError(
            f"cannot apply --{given[0]}: this machine is converted already, and keeps what that began with",
            hint="leave it out to go on or to try again; for another one, run `xenable revert` first",
        )


def _resume(host: Host, config: Config, yes: bool, then_reboot: bool) -> None:
    from xenable.convert import resume

    note("a conversion is on this machine already: this finishes it, or starts another trial")
    if changed := _changed_since(host):
        note(
            f"{', '.join(changed)}: set otherwise in {PATH} since the conversion began; that takes "
            "`xenable revert` and a new apply, and changes nothing now"
        )
    need_consent(with_reboot(AGAIN, then_reboot), yes)
    with working() as listener:
        resume(host, config, listener)


def _changed_since(host: Host) -> list[str]:
    """Settings whose line in the file is another than when the conversion began."""
    from xenable.journal import read_terms

    then, now = read_terms(host).settings, lasting(host)
    return sorted(key for key in {**then, **now} if then.get(key) != now.get(key))


def _tell(host: Host, as_json: bool) -> None:
    from xenable.trial import status
    from xenable.ui.document import print_document, result_document

    now = status(host)
    if as_json:
        print_document(result_document("applied", step_states(host), now.state), sys.stdout)
    else:
        show_status(now)
