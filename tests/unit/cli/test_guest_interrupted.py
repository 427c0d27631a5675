# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest create` that is ended from outside: taken back, or whole, and said."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.fixtures import document, said, words_to_create
from tests.unit.guests.machine import Xen, alive, tree
from xenable.__main__ import run
from xenable.errors import Exit
from xenable.guests import claims, create, interrupts, lifecycle
from xenable.host import Host, Result


def test_ctrl_c(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = tree(xen.host.root)
    with monkeypatch.context() as patch:
        patch.setattr("xenable.guests.seed.tar_seed", interrupt)
        assert run(words_to_create(tmp_path)) == Exit.PUT_BACK
    assert "cannot create the guest web1: interrupted; everything was taken back" in said(capsys)
    assert tree(xen.host.root) == before
    monkeypatch.setattr(lifecycle, "stop", interrupt)
    assert run(["guest", "stop", "web1"]) == 130
    assert "interrupted; `xenable guest list`" in said(capsys)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_creation_is_as_ctrl_c(
    xen: Xen,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ending: signal.Signals,
) -> None:
    """Sent for real, when the guest is started, and once more each while it is taken back."""
    died: list[int] = []

    def mine(number: int, frame: object) -> None:
        died.append(number)

    took_back: list[bool] = []
    whole = claims.take_back

    def end(words: list[str]) -> Result:
        if words[1] == "create":
            os.kill(os.getpid(), ending)
        return whole_xl(words)

    def again(host: Host, claim: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        whole(host, claim)
        took_back.append(True)

    whole_xl = xen.do_xl
    before = tree(xen.host.root)
    monkeypatch.setattr(xen, "do_xl", end)
    monkeypatch.setattr(create, "take_back", again)
    outside = signal.signal(ending, mine)
    try:
        assert run([*words_to_create(tmp_path), "--json"]) == Exit.PUT_BACK
        assert signal.getsignal(ending) is mine
    finally:
        signal.signal(ending, outside)
    assert "interrupted; everything was taken back" in document(capsys)["error"]
    assert died == [] and took_back == [True]
    assert tree(xen.host.root) == before and xen.running == {}


def test_nohup_holds(xen: Xen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(words: list[str]) -> Result:
        os.kill(os.getpid(), signal.SIGHUP)
        return whole(words)

    whole = xen.do_xl
    monkeypatch.setattr(xen, "do_xl", hang_up)
    outside = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(words_to_create(tmp_path)) == Exit.DONE
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, outside)


def test_signals_are_of_the_main_thread_alone() -> None:
    before = [signal.getsignal(number) for number in interrupts.ENDING]

    def look() -> list[Any]:
        with interrupts.as_interrupts(), interrupts.undisturbed():
            return [signal.getsignal(number) for number in interrupts.ENDING]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(look).result() == before
    assert look() == [signal.SIG_IGN] * 3
    assert [signal.getsignal(number) for number in interrupts.ENDING] == before


def test_what_a_kill_left_is_said(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    before = tree(xen.host.root)
    with monkeypatch.context() as patch:
        patch.setattr(create, "take_back", lambda host, claim: None)
        patch.setattr("xenable.guests.xlcfg.render", lambda guest: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(words_to_create(tmp_path))
    capsys.readouterr()
    alive(xen.host, os.getpid(), 101)
    assert run(["guest", "list"]) == Exit.DONE
    streams = capsys.readouterr()
    assert "the creation of web1 had been cut off" in " ".join(streams.err.split())
    assert streams.out.startswith("There are no guests.")
    assert tree(xen.host.root) == before


def test_what_was_whole_at_a_kill_is_kept_and_said(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(words: list[str]) -> Result:
        if words[1] == "create":
            raise Killed
        return whole(words)

    whole = xen.do_xl
    with monkeypatch.context() as patch:
        patch.setattr(create, "take_back", lambda host, claim: None)
        patch.setattr(xen, "do_xl", kill)
        with pytest.raises(Killed):
            run(words_to_create(tmp_path, "--autostart"))
    capsys.readouterr()
    alive(xen.host, os.getpid(), 101)
    assert run(["guest", "list"]) == Exit.DONE
    streams = capsys.readouterr()
    text = " ".join(streams.err.split())
    assert "the creation of web1 had been cut off when all of it was there: it is kept" in text
    assert "`sudo xenable guest start web1`" in text and "web1         stopped" in streams.out
    assert run(["guest", "start", "web1"]) == Exit.DONE
    assert said(capsys) == "xenable: web1 starts"
