# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, from words to exit status: everything under it is replaced, nothing in it."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from pathlib import Path

import click
import pytest

from tests.factory import make_facts
from tests.unit.cli.fixtures import BLOCKER, HELD, RECORD, Machine, document, person
from xenable.__main__ import run
from xenable.checks.kernels import GENERIC_ADDED, OTHER_KERNEL
from xenable.cli import COMMANDS, HIDDEN, xenable
from xenable.errors import Exit, XenableError
from xenable.host import CommandError, Host, Result
from xenable.journal import Terms
from xenable.model import Obstacle

# ------------------------------------------------------------------------------------------ check and plan


def test_check_says_ready(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"]) == Exit.DONE
    assert capsys.readouterr().out == "This machine is ready to become a Xen dom0.\n"


def test_check_says_not_ready(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.findings = (BLOCKER, HELD)
    assert run(["check", "--json", "--override", "packages/held"]) == Exit.NOT_READY
    found = document(capsys)
    assert found["ready"] is False
    assert [(f["id"], f["severity"], f["overridden"]) for f in found["findings"]] == [
        ("firmware/secure-boot", "blocker", False),
        ("packages/held", "overridable", True),
    ]
    assert {"title", "diagnosis", "remedy"} <= set(found["findings"][0])


def test_an_override_makes_ready(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.findings = (HELD,)
    assert run(["check"]) == Exit.NOT_READY
    assert run(["check", "--override", "packages/held"]) == Exit.DONE


@pytest.mark.parametrize("word", ["packages/hold", "firmware/secure-boot", "machine/nested"])
def test_what_can_not_be_overridden(machine: Machine, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert run(["check", "--override", word]) == Exit.FAILED
    assert f"cannot override '{word}'" in capsys.readouterr().err


def test_plan_changes_nothing_and_lists_all_steps(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "--json", "--trial-seconds", "777"]) == Exit.DONE
    found = document(capsys)
    assert [step["kind"] for step in found["steps"]][-1] == "arm"
    assert {"kind", "title", "detail"} == set(found["steps"][0])
    assert "777" in json.dumps(found["steps"])
    assert found["ready"] is True
    assert set(found["packages"]) == {"install", "upgrade", "remove", "download_bytes", "installed_kib"}
    assert machine.calls == []


def test_plan_is_shown_and_says_that_the_machine_is_not_ready(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.findings = (BLOCKER, HELD)
    assert run(["plan"]) == Exit.NOT_READY
    streams = capsys.readouterr()
    assert "arm the trial boot" in streams.out
    assert "not ready: 1 blocker, and 1 that you may override;" in streams.err
    assert run(["plan", "--json", "--override", "packages/held"]) == Exit.NOT_READY
    found = document(capsys)
    assert found["ready"] is False and found["steps"][-1]["kind"] == "arm"


def test_plan_with_overrides_is_the_last_word(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.findings = (HELD,)
    assert run(["plan"]) == Exit.NOT_READY
    capsys.readouterr()
    assert run(["plan", "--override", "packages/held"]) == Exit.DONE
    streams = capsys.readouterr()
    assert "arm the trial boot" in streams.out and streams.err == ""
    assert run(["plan", "--override", "packages/hold"]) == Exit.FAILED
    assert "cannot override 'packages/hold'" in capsys.readouterr().err


def test_a_plan_that_can_not_be_made_on_a_machine_that_is_not_ready(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.facts = make_facts(memory={"total": None, "used": None})
    assert run(["plan"]) == Exit.FAILED
    assert "memory is not known" in capsys.readouterr().err
    machine.findings = (BLOCKER,)
    assert run(["plan", "--json"]) == Exit.NOT_READY
    found = document(capsys)
    assert "memory is not known" in found["error"] and "`xenable check`" in found["hint"]


def test_plan_refuses_on_a_converted_machine(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    assert run(["plan"]) == Exit.FAILED
    assert "hint: `xenable status`" in capsys.readouterr().err


def test_facts_can_be_read_back(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    from xenable.facts.record import facts_from_json

    assert run(["facts", "--json"]) == Exit.DONE
    assert facts_from_json(document(capsys)) == machine.facts


def test_status(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == Exit.DONE
    found = document(capsys)
    assert (found["state"], found["running"], found["next_boot"]) == ("armed", "native", "xen")
    assert found["reason"] and found["versions"] == {"running kernel": "6.12"}


def test_rights_are_mentioned_once(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name, times in (("check", 1), ("plan", 1), ("facts", 1), ("status", 0)):
        assert run([name, "--json"]) == Exit.DONE
        streams = capsys.readouterr()
        assert json.loads(streams.out)["schema"] == 1
        assert streams.err.count("root rights") == times


@pytest.mark.parametrize("name", ["apply", "confirm", "revert", "report", "gate"])
def test_root_rights_are_needed(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run([name]) == Exit.FAILED
    expected = f"xenable: cannot {name}: root rights are needed\nhint: sudo xenable {name}\n"
    assert capsys.readouterr().err == expected
    assert machine.calls == []


# ------------------------------------------------------------------------------------------------- apply


def test_apply_with_yes(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["apply", "--yes", "--json"]) == Exit.DONE
    found = document(capsys)
    assert (found["result"], found["state"]) == ("applied", "armed")
    assert found["steps"] == [{"kind": "write-file", "title": "write /etc/a", "state": "done"}]
    assert machine.calls == ["start"]


def test_apply_says_which_settings_came_too_late(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "xenable.conf"
    monkeypatch.setattr("xenable.config.PATH", settings)
    machine.records = (RECORD,)
    begun = Terms(settings={"guest-mode": "nat", "dom0-memory": "2048"})
    monkeypatch.setattr("xenable.journal.read_terms", lambda host: begun)
    settings.write_text("dom0-memory = 2048\nguest-mode = nat\ntrial-seconds = 300\n")
    assert run(["apply", "--yes"]) == Exit.DONE
    assert "set otherwise" not in capsys.readouterr().err
    settings.write_text("dom0-memory = 4096\ntrial-seconds = 200\n")
    assert run(["apply", "--yes"]) == Exit.DONE
    said = " ".join(capsys.readouterr().err.split())
    assert "dom0-memory, guest-mode: set otherwise in " in said and "changes nothing now" in said


def test_apply_tells_what_it_does_on_stderr(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.findings = (HELD,)
    assert run(["apply", "--yes", "--override", "packages/held"]) == Exit.DONE
    streams = capsys.readouterr()
    assert "packages/held (overridden)" in streams.err and "[1/1] write /etc/a" in streams.err
    assert "arm the trial boot" in streams.err
    assert "Next boot" in streams.out and "\x1b" not in streams.out + streams.err


def test_apply_names_the_choice_between_two_kernels(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person(monkeypatch, "n\n")
    machine.findings = (GENERIC_ADDED.found("A kernel comes."), OTHER_KERNEL.found("Another one runs."))
    assert run(["apply"]) == Exit.FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "kernel/generic-added" in said and "then `--kernel xen`" in said
    assert said.index("then `--kernel xen`") < said.index("Turn this machine into a Xen dom0?")
    assert OTHER_KERNEL.id not in said and machine.calls == []


def test_apply_does_not_start_on_a_machine_that_is_not_ready(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.findings = (BLOCKER,)
    assert run(["apply", "--yes", "--json"]) == Exit.NOT_READY
    found = document(capsys)
    assert found["error"].startswith("cannot apply") and found["status"] == 2
    assert machine.calls == []


def test_apply_does_not_guess_consent(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run(["apply"]) == Exit.FAILED
    assert "cannot ask for your consent" in capsys.readouterr().err
    assert machine.calls == []


@pytest.mark.parametrize(
    ("typed", "calls"), [("y\n", ["start"]), ("YES\n", ["start"]), ("\n", []), ("", []), ("nay\n", [])]
)
def test_apply_asks_once(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    calls: list[str],
) -> None:
    person(monkeypatch, typed)
    assert run(["apply"]) == (Exit.DONE if calls else Exit.FAILED)
    streams = capsys.readouterr()
    assert streams.err.count("Turn this machine into a Xen dom0? [y/N]") == 1
    said = " ".join(streams.err.split())
    assert re.search(r"dom0 gets \d+ MiB of memory; in its trial it has 600 s .*, then Xen becomes", said)
    assert ("without your consent: nothing was changed" in streams.err) is not bool(calls)
    assert machine.calls == calls


def test_a_no_is_a_document_too(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person(monkeypatch, "n\n")
    assert run(["apply", "--json"]) == Exit.FAILED
    assert "consent" in document(capsys)["error"]


def test_apply_goes_on_after_an_interruption(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    machine.findings = (BLOCKER,)
    assert run(["apply", "--yes", "--reboot"]) == Exit.DONE
    assert machine.calls == ["resume", "systemctl reboot"]


@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_a_reboot_does_not_wait_for_somebody_to_hear(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The ssh connection was lost meanwhile: its terminal says EIO to all that is written."""
    machine.records = (RECORD,)

    def write(_text: str) -> int:
        if machine.calls:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return 0

    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "write", write)
    assert run([verb, "--yes", "--reboot"]) == Exit.DONE
    assert machine.calls[-1] == "systemctl reboot"
    machine.calls, machine.records = [], (RECORD,)
    assert run([verb, "--yes"]) == Exit.FAILED


@pytest.mark.parametrize(
    ("verb", "done"),
    [("apply", "the conversion is done, and the next start is its"), ("revert", "the conversion is undone")],
)
def test_a_reboot_that_is_refused(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    done: str,
) -> None:
    """There is one document, of what is done; and what failed is only the reboot."""

    def refuse(host: Host, cmd: list[str]) -> None:
        raise CommandError(cmd, Result(1, "", "Call to Reboot failed: Operation inhibited.\n"))

    monkeypatch.setattr(Host, "run", refuse)
    machine.records = (RECORD,)
    assert run([verb, "--yes", "--reboot", "--json"]) == Exit.FAILED
    streams = capsys.readouterr()
    assert json.loads(streams.out)["result"] == ("applied" if verb == "apply" else "reverted")
    said = " ".join(streams.err.split())
    assert f"cannot reboot: Call to Reboot failed: Operation inhibited; {done}" in said
    assert "Run `sudo systemctl reboot`" in said


def test_nobody_is_asked_where_standard_input_is_closed(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run(["apply"]) == Exit.FAILED
    assert "cannot ask for your consent: standard input is no terminal" in capsys.readouterr().err


@pytest.mark.parametrize("status", [Exit.PUT_BACK, Exit.NOT_PUT_BACK])
def test_a_failed_apply_says_how_far_it_came_back(
    machine: Machine, capsys: pytest.CaptureFixture[str], status: Exit
) -> None:
    machine.failure = XenableError("cannot write /etc/a: No space left", hint="free some", status=status)
    assert run(["apply", "--yes", "--json"]) == status
    streams = capsys.readouterr()
    assert "xenable: cannot write /etc/a: No space left\nhint: free some\n" in streams.err
    assert json.loads(streams.out)["status"] == status


def test_settings_are_checked_before_anything_happens(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["apply", "--yes", "--trial-seconds", "5"]) == Exit.FAILED
    assert "cannot use --trial-seconds '5'" in capsys.readouterr().err
    assert run(["apply", "--yes", "--no-auto-confirm", "--auto-confirm", "yes"]) == Exit.FAILED
    assert "contradict" in capsys.readouterr().err
    assert machine.calls == []


# ------------------------------------------------------------------------------------------------ revert


def test_revert(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    assert run(["revert", "--yes", "--json", "--reboot"]) == Exit.DONE
    found = document(capsys)
    assert (found["result"], found["steps"]) == ("reverted", [])
    assert machine.calls == ["revert", "systemctl reboot"]


def test_revert_of_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["revert", "--json", "--reboot"]) == Exit.DONE
    assert document(capsys)["result"] == "nothing-to-revert"
    assert machine.calls == []


def test_revert_refuses_over_foreign_edits(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    machine.obstacles = (Obstacle(what="/etc/a was edited", diff="--- was\n+++ is\n-x\n+y"),)
    assert run(["revert", "--yes"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "/etc/a was edited" in said and "+y" in said and "--force" in said
    assert machine.calls == []
    assert run(["revert", "--yes", "--force"]) == Exit.DONE
    assert machine.calls == ["revert"]


def test_revert_says_what_is_not_as_it_was(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    machine.left = ("the boot menu was made anew",)
    assert run(["revert", "--yes"]) == Exit.DONE
    said = capsys.readouterr().err
    assert "xenable: the boot menu was made anew" in said
    assert "the rest of the machine is as it was" in said
    machine.records, machine.left = (RECORD,), ()
    assert run(["revert", "--yes"]) == Exit.DONE
    assert "xenable: the machine is as it was" in capsys.readouterr().err


def test_what_can_not_be_forced(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.records = (RECORD,)
    machine.obstacles = (Obstacle(what="/etc/a was edited"), Obstacle(what="later needs xen", final=True))
    for words in (["--yes"], ["--yes", "--force"]):
        assert run(["revert", *words]) == Exit.FAILED
        said = capsys.readouterr().err
        assert "later needs xen" in said and "can't be forced" in said
    assert machine.calls == []


# ---------------------------------------------------------------------------------------------- the table


def test_every_command_of_the_table_works() -> None:
    for name, _, text in (*COMMANDS, *HIDDEN):
        command = xenable.get_command(click.Context(xenable), name)
        assert command is not None and command.name == name
        assert (command.help or "").startswith(text)
