# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal alone is enough to undo, whatever a power cut left of it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable import journal
from xenable.errors import XenableError
from xenable.host import Host
from xenable.journal import JOURNAL, STORE, Record, Terms
from xenable.model import EntryState

RECORDS = tuple(
    Record(number=n, kind="write-file", fields={"path": f"/{n}", "content": "ü\n"}, state=EntryState.PLANNED)
    for n in (1, 2)
)


def begun(root: Path) -> Host:
    host = Host(root)
    journal.write_plan(host, RECORDS, Terms())
    return host


def test_records_are_the_sum_of_their_lines(tmp_path: Path) -> None:
    host = begun(tmp_path)
    assert journal.read_journal(host) == RECORDS
    doing = journal.write_state(host, RECORDS[0], EntryState.DOING, {"was": [1, "ä"]})
    assert doing.perhaps_done
    done = journal.write_state(host, doing, EntryState.DONE)
    assert journal.read_journal(host) == (done, RECORDS[1])
    assert done.saved == {"was": [1, "ä"]} and not RECORDS[1].perhaps_done


@given(st.floats(0, 1, exclude_max=True))
def test_any_torn_end_is_the_journal_of_before(part: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        host = begun(Path(folder))
        first = journal.write_state(host, RECORDS[0], EntryState.DOING, {"was": "x"})
        whole = host.read(JOURNAL)
        journal.write_state(host, first, EntryState.DONE)
        line = host.read(JOURNAL)[len(whole) :]
        host.path(JOURNAL).write_bytes(whole + line[: int(part * len(line))])
        assert journal.read_journal(host) == (first, RECORDS[1])
        journal.repair_tail(host)
        assert host.read(JOURNAL) == whole
        journal.write_state(host, first, EntryState.DONE)
        assert journal.read_journal(host)[0].state is EntryState.DONE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"not json\n", "line 4 is damaged"),
        (b"[]\n", "line 4 is damaged"),
        (b'{"format": 1, "n": 9, "state": "done"}\n', "line 4 is damaged"),
        (b'{"format": 1, "n": 1, "state": "strange"}\n', "line 4 is damaged"),
        (b'{"format": 99, "n": 1, "state": "done"}\n', "is of format 99"),
    ],
)
def test_damage_in_the_middle_is_an_error(tmp_path: Path, line: bytes, words: str) -> None:
    host = begun(tmp_path)
    host.append(JOURNAL, line)
    with pytest.raises(XenableError, match=words) as caught:
        journal.read_journal(host)
    assert caught.value.hint


def test_the_terms_are_on_record(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert journal.read_terms(host) == Terms()
    terms = Terms(overrides=["packages/held"], settings={"guest-mode": "nat"})
    journal.write_plan(host, RECORDS, terms)
    assert journal.read_terms(host) == terms


def test_half_a_plan_is_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    with pytest.raises(TypeError):
        journal.write_plan(
            host,
            (RECORDS[0], Record(number=2, kind="x", fields={"no": {1}}, state=RECORDS[0].state)),
            Terms(),
        )
    assert journal.read_journal(host) == ()


def test_the_store_finds_bytes_and_notices_damage(tmp_path: Path) -> None:
    host = begun(tmp_path)
    digest = journal.store_bytes(host, b"original")
    assert journal.store_bytes(host, b"original") == digest
    assert journal.load_bytes(host, digest) == b"original"
    assert host.path(STORE).stat().st_mode & 0o777 == 0o700
    host.path(STORE / digest).write_bytes(b"something else")
    with pytest.raises(XenableError, match="its content is damaged"):
        journal.load_bytes(host, digest)
    with pytest.raises(XenableError, match="cannot read"):
        journal.load_bytes(host, "0" * 64)


def test_a_finished_journal_is_put_away(tmp_path: Path) -> None:
    host = begun(tmp_path)
    journal.store_bytes(host, b"original")
    whole = host.read(JOURNAL)
    target = journal.put_away(host)
    assert target is not None and host.read(target) == whole
    assert journal.read_journal(host) == () and not host.exists(STORE)
    assert journal.put_away(host) is None


def test_a_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    host = begun(tmp_path)
    name = os.fsdecode(b"/etc/grub.d/10_linux.s\xe4uberlich")
    journal.write_state(host, RECORDS[0], EntryState.DOING, {name: "é"})
    assert journal.read_journal(host)[0].saved == {name: "é"}


def test_lines_are_json_with_a_format(tmp_path: Path) -> None:
    host = begun(tmp_path)
    journal.write_state(host, RECORDS[0], EntryState.DOING, {})
    assert all(json.loads(line)["format"] == journal.FORMAT for line in host.read(JOURNAL).splitlines())
