# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest …` and `revert --remove-guests`, from words to exit status, on a folder that is a dom0."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guests.machine import KEY, NET, Xen, alive, make_xen, tree
from xenable import convert, trial
from xenable.__main__ import run
from xenable.cli import guest as guest_module
from xenable.cli import guest_common
from xenable.errors import Exit, XenableError
from xenable.guests import claims, create, interrupts, lifecycle, records
from xenable.guests.libvirt import domain_xml
from xenable.host import Host, Result
from xenable.model import Obstacle, Status
from xenable.network import effective
from xenable.trial import TrialStatus

STATES = {1: "-b----", 2: "--p---", 3: "---s--", 4: "---sc-", 5: "--p--d"}
"""Of domains, as `xl list` writes them; the first two run or may."""
STATE_CHANGES = ("create", "start", "stop", "reboot", "console", "remove", "autostart", "resize")


@pytest.fixture
def xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Xen:
    root = tmp_path / "root"
    xen = make_xen(root, monkeypatch)
    host = xen.host
    # The commands say Host(), which is this machine; here it is the folder.
    for module in (guest_module, guest_common):
        monkeypatch.setattr(module, "Host", lambda: host)
    monkeypatch.setattr("xenable.cli.revert.Host", lambda: host)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host.make_folder("/etc/xenable")
    host.write(effective.PATH, effective.render(NET).encode())
    host.make_folder("/etc")
    host.write("/etc/os-release", b"ID=debian\nVERSION_ID=13\nVERSION_CODENAME=trixie\n")
    host.make_folder(tmp_path)
    host.write(tmp_path / "key.pub", f"{KEY}\n".encode())
    monkeypatch.chdir(tmp_path)
    return xen


def words_to_create(tmp_path: Path, *more: str) -> list[str]:
    return ["guest", "create", "web1", "--ssh-key", str(tmp_path / "key.pub"), "--disk", "256M", *more]


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict) and found["schema"] == 1
    return found


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


# ------------------------------------------------------------------------------------------------- create


def test_create(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    text = said(capsys)
    assert "[1/1] create web1" in text and "`ssh root@web1` gets you in" in text
    assert "web1 is there: pvh, 512M, 1 processor, 256M, trixie, 172.20.216.2;" in text
    guest = records.read(xen.host, "web1")
    assert (guest.memory, guest.vcpus, guest.isolate) == (512, 1, True) and "web1" in xen.running


def test_create_as_a_document(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--no-start", "--no-isolate", "--autostart", "--memory", "1G", "--vcpus", "2", "--type", "pv"]
    assert run([*words_to_create(tmp_path, *words), "--json"]) == Exit.DONE
    found = document(capsys)
    assert (found["result"], found["started"]) == ("created", False)
    assert (found["guest"]["memory"], found["guest"]["kind"], found["guest"]["ipv4"]) == (
        1024,
        "pv",
        "172.20.216.2",
    )
    assert xen.running == {} and records.auto_link("web1").name in xen.host.names("/etc/xen/auto")


@pytest.mark.parametrize(
    ("words", "isolated"),
    [
        ([], True),
        (["--isolate"], True),
        (["--no-isolate"], False),
        (["--no-isolate", "--isolate"], True),
        (["--isolate", "--no-isolate"], False),
    ],
)
def test_isolation_is_said_either_way(xen: Xen, tmp_path: Path, words: list[str], isolated: bool) -> None:
    assert run(words_to_create(tmp_path, *words)) == Exit.DONE
    assert records.read(xen.host, "web1").isolate is isolated
    assert xen.host.exists(records.folder("web1") / "open") is not isolated


def test_autostart_alone_means_on(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    for words, there in (([], True), (["off"], False), (["on"], True), ([], True)):
        assert run(["guest", "autostart", "web1", *words]) == Exit.DONE
        assert xen.host.exists("/etc/xen/auto/web1.cfg") is there
        assert said(capsys) == f"xenable: web1 {'starts' if there else 'does not start'} with dom0"
    assert run(["guest", "autostart", "--help"]) == Exit.DONE
    assert "NAME [on|off]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "5"], "cannot use --memory '5': "),
        (["--vcpus", "0"], "cannot use --vcpus '0': "),
        (["--disk", "1K"], "cannot use --disk '1K': "),
        (["--release", "woody"], "cannot use --release 'woody': "),
        (["--mirror", "ftp://x"], "cannot use --mirror 'ftp://x': "),
        (["--image", "/a,b"], "cannot use --image '/a,b': "),
        (["--image", "x", "--release", "trixie"], "--image and --release contradict each other"),
        (["--ssh-key", "/none"], "cannot read /none: No such file"),
        (["--type", "hvm"], "'hvm' is not one of"),
    ],
)
def test_a_wrong_word_changes_nothing(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = tree(xen.host.root)
    assert run(words_to_create(tmp_path, *words)) == Exit.FAILED
    assert message in said(capsys)
    assert tree(xen.host.root) == before


def test_names_and_keys_are_needed(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guest", "create", "../etc", "--ssh-key", str(tmp_path / "key.pub")]) == Exit.FAILED
    assert "cannot use the name '../etc'" in said(capsys)
    assert run(["guest", "create", "web1"]) == Exit.FAILED
    assert "nobody could log in to it hint: give --ssh-key" in said(capsys)
    (tmp_path / "root" / str(tmp_path / "key.pub").lstrip("/")).write_text(
        "-----BEGIN OPENSSH PRIVATE KEY-----"
    )
    assert run(words_to_create(tmp_path)) == Exit.FAILED
    assert "this is a private key" in said(capsys)


@pytest.mark.parametrize("verb", [*STATE_CHANGES[1:], "export"])
@pytest.mark.parametrize("name", ["../../tmp/x", ".web1.new", "a b"])
def test_a_name_leads_nowhere_else(
    xen: Xen, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    xen.host.make_folder("/tmp")
    xen.host.write("/tmp/x.cfg", b'name = "x"\nuuid = "0d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55"\n')
    more = {"autostart": ["on"], "resize": ["--vcpus", "2"], "export": ["--libvirt"], "remove": ["--yes"]}
    before = tree(xen.host.root)
    assert run(["guest", verb, name, *more.get(verb, [])]) == Exit.FAILED
    assert f"cannot use the name {name!r}: letters, digits and" in said(capsys)
    assert tree(xen.host.root) == before and xen.running == {}


def test_the_help_says_what_a_mirror_lacks(xen: Xen, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["create"], ["images"]):
        assert run(["guest", *words, "--help"]) == Exit.DONE
        assert "security updates are to be set up by hand" in " ".join(capsys.readouterr().out.split())


def test_a_release_that_can_not_be_guest(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xen.host.write("/etc/os-release", b"ID=debian\nVERSION_CODENAME=sid\n")
    assert run(words_to_create(tmp_path)) == Exit.FAILED
    assert "this machine's own is sid hint: give --release" in said(capsys)


def test_an_image_that_is_there_needs_no_mirror(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words_to_create(tmp_path, "--mirror", "http://mirror.example.org/debian")) == Exit.DONE
    assert "--mirror has no say" in said(capsys)


def test_a_machine_that_is_not_converted(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xen.host.remove(effective.PATH)
    assert run([*words_to_create(tmp_path), "--json"]) == Exit.FAILED
    assert "not converted" in document(capsys)["error"]


def test_a_failed_start_is_taken_back(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(xen.host.root)
    xen.answers["xl create"] = Result(1, "", "libxl: error: a.c:1:f: script: no table\n")
    assert run([*words_to_create(tmp_path), "--json"]) == Exit.PUT_BACK
    found = document(capsys)
    assert "xl says: no table; everything was taken back" in found["error"] and found["status"] == 3
    assert tree(xen.host.root) == before


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


# -------------------------------------------------------------------------------------------------- others


def test_the_life_of_a_guest(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    for words, result in (
        (["start", "web1"], "running"),
        (["reboot", "web1"], "rebooting"),
        (["stop", "web1"], "stopped"),
        (["stop", "web1"], "not-running"),
        (["start", "web1"], "started"),
        (["autostart", "web1", "on"], "autostart-on"),
        (["autostart", "web1", "off"], "autostart-off"),
        (["resize", "web1", "--memory", "1G"], "resized"),
        (["export", "--libvirt", "web1"], "exported"),
        (["remove", "web1", "--yes", "--force"], "removed"),
    ):
        assert run(["guest", *words, "--json"]) == Exit.DONE, words
        found = document(capsys)
        assert found["result"] == result
        assert found.get("name", found.get("guest", {}).get("name")) == "web1"
    assert records.names(xen.host) == () and xen.running == {}


def test_resize_says_when(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["guest", "resize", "web1"]) == Exit.FAILED
    assert "--memory, --vcpus or --disk is needed" in said(capsys)
    assert run(["guest", "resize", "web1", "--vcpus", "3"]) == Exit.DONE
    text = said(capsys)
    assert "web1 is now: pvh, 512M, 3 processors" in text and "guest stop web1, then start" in text
    assert run(["guest", "resize", "web1", "--disk", "300M", "--json"]) == Exit.FAILED
    assert "while the guest runs" in document(capsys)["error"]


def test_export(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    before = tree(xen.host.root)
    assert run(["guest", "export", "--libvirt", "web1"]) == Exit.DONE
    streams = capsys.readouterr()
    assert streams.out == domain_xml(records.read(xen.host, "web1")) and streams.err == ""
    assert run(["guest", "export", "web1", "--libvirt", "--json"]) == Exit.DONE
    assert document(capsys)["xml"] == streams.out
    assert tree(xen.host.root) == before


def test_export_goes_by_the_file(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path, "--vcpus", "2")) == Exit.DONE
    path = records.cfg("web1")
    text = xen.host.text(path).replace("memory = 512", "memory = 700").replace('"pvh"', '"pv"')
    xen.host.write(path, text.replace("vcpus = 2\n", "vcpus = 3\n").encode())
    capsys.readouterr()
    assert run(["guest", "export", "--libvirt", "web1", "--json"]) == Exit.DONE
    found = document(capsys)
    assert (found["guest"]["memory"], found["guest"]["vcpus"], found["guest"]["kind"]) == (700, 3, "pv")
    assert 'unit="MiB">700<' in found["xml"] and "<vcpu>3<" in found["xml"]
    assert 'machine="xenpv"' in found["xml"] and "grub-x86_64-xen.bin" in found["xml"]
    # Without such lines: what xl gives it, and what it was made with.
    xen.host.write(path, text.replace("vcpus = 2\n", "").replace("memory = 700\n", "").encode())
    assert run(["guest", "export", "--libvirt", "web1"]) == Exit.DONE
    xml = capsys.readouterr().out
    assert "<vcpu>1<" in xml and 'unit="MiB">512<' in xml
    for damaged, why in (
        (text + "vcpus = = 1\n", "cannot read /etc/xen/web1.cfg: line "),
        (text.replace('"pv"', '"hvm"'), "by /etc/xen/web1.cfg its type is hvm"),
    ):
        xen.host.write(path, damaged.encode())
        assert run(["guest", "export", "--libvirt", "web1"]) == Exit.FAILED
        streams = capsys.readouterr()
        assert why in " ".join(streams.err.split()) and streams.out == ""
    xen.host.remove(path)
    assert run(["guest", "export", "--libvirt", "web1"]) == Exit.DONE
    assert capsys.readouterr().out == domain_xml(records.read(xen.host, "web1"))


def test_export_needs_a_format(xen: Xen, capsys: pytest.CaptureFixture[str]) -> None:
    # Before the guest is looked for: there is none.
    assert run(["guest", "export", "web1"]) == Exit.FAILED
    text = said(capsys)
    assert "the format is needed; the one that there is: --libvirt" in text
    assert "`xenable guest export --help` lists" in text
    assert run(["guest", "export", "web1", "--json"]) == Exit.FAILED
    assert "--libvirt" in document(capsys)["error"]
    assert run(["guest", "export", "--libvirt", "web1"]) == Exit.FAILED
    assert "Xenable made none of that name" in said(capsys)


def test_list(xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["guest", "list"]) == Exit.DONE
    head, row = capsys.readouterr().out.splitlines()
    assert head.startswith("Name") and row.startswith("web1         running   pvh    512M")
    assert run(["guest", "list", "--json"]) == Exit.DONE
    (only,) = document(capsys)["guests"]
    assert (only["name"], only["state"], only["addresses"][0]) == ("web1", "running", "172.20.216.2")


def test_remove_asks(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(words_to_create(tmp_path, "--no-start")) == Exit.DONE
    typed = io.StringIO("n\ny\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    assert run(["guest", "remove", "web1"]) == Exit.FAILED
    assert "Remove web1 and all that is on its disk? [y/N]" in said(capsys)
    assert records.names(xen.host) == ("web1",)
    assert run(["guest", "remove", "web1"]) == Exit.DONE
    assert records.names(xen.host) == ()


@pytest.mark.parametrize("name", STATE_CHANGES)
def test_root_rights_are_needed(
    xen: Xen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    more = {"autostart": ["on"], "resize": ["--memory", "1G"]}
    assert run(["guest", name, "web1", *more.get(name, [])]) == Exit.FAILED
    text = said(capsys)
    assert "root rights are needed" in text and f"hint: sudo xenable guest {name}" in text
    assert xen.calls == []


def test_the_list_needs_no_root_rights(
    xen: Xen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(["guest", "list"]) == Exit.DONE
    assert run(["guest"]) in (0, 1, 2)


# ------------------------------------------------------------------------------------------------- revert


@pytest.fixture
def converted(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A conversion; returns what was done to it."""
    done: list[str] = []

    def revert(host: Host, listener: Any) -> tuple[str, ...]:
        done.append(f"revert with {len(records.names(host))} guests")
        return ()

    now = TrialStatus(state=Status.NATIVE, reason="none", running="native", next_boot="native", versions={})
    monkeypatch.setattr(convert, "begun", lambda host: True)
    monkeypatch.setattr(convert, "obstacles", lambda host: ())
    monkeypatch.setattr(convert, "revert", revert)
    monkeypatch.setattr(trial, "status", lambda host: now)
    return done


def test_revert_refuses_while_there_are_guests(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["revert", "--yes", "--force"]) == Exit.FAILED
    text = said(capsys)
    assert "there are guests on this machine: web1" in text and "--remove-guests" in text
    assert converted == [] and records.names(xen.host) == ("web1",)


@pytest.mark.parametrize("words", [[], ["--force"], ["--remove-guests"]])
def test_revert_refuses_while_domains_of_others_run(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """The toolstack would be removed under them; --remove-guests is about what Xenable made alone."""
    assert run(words_to_create(tmp_path)) == Exit.DONE
    xen.running |= {"by-xl": "1" * 36, "tools-1": "2" * 36}
    before = dict(xen.running)
    capsys.readouterr()
    assert run(["revert", "--yes", *words]) == Exit.FAILED
    text = said(capsys)
    assert "cannot revert: domains run that Xenable did not make: by-xl, tools-1" in text
    assert "`sudo xl shutdown NAME`" in text
    assert ("there are guests on this machine: web1" in text) is ("--remove-guests" not in words)
    assert converted == [] and xen.running == before and records.names(xen.host) == ("web1",)


def test_a_renamed_guest_is_nobody_elses(xen: Xen, tmp_path: Path, converted: list[str]) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    xen.running["other"] = xen.running.pop("web1")
    assert lifecycle.others_running(xen.host) == ()
    # Without its record only the name tells.
    xen.host.write(records.record("web1"), b"damaged")
    assert lifecycle.others_running(xen.host) == ("other",)
    xen.running["web1"] = xen.running.pop("other")
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.DONE
    assert converted == ["revert with 0 guests"] and xen.running == {}


def test_what_does_not_run_any_more_stops_no_revert(
    xen: Xen, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = "{:40} {:5} {:5} {:5}     {} {:8.1f} {} {:>8} {:>16}"
    rows = [row.format(f"d{n}", n, 1, 1, state, 0.1, str(n) * 36, "-", "-") for n, state in STATES.items()]
    xen.answers["xl list -v"] = Result(0, "\n".join(rows), "")
    assert lifecycle.others_running(xen.host) == ("d1", "d2")
    del rows[:2]
    xen.answers["xl list -v"] = Result(0, "\n".join(rows), "")
    assert run(["revert", "--yes"]) == Exit.DONE


def test_a_revert_that_is_gone_on_with_needs_no_xl(xen: Xen, converted: list[str]) -> None:
    """Its package may be gone by then, and Xen runs until the reboot."""
    xen.answers["xl"] = Result(127, "", "xl: not found")
    assert run(["revert", "--yes"]) == Exit.DONE
    assert converted == ["revert with 0 guests"]


def test_revert_removes_guests_first(
    xen: Xen, tmp_path: Path, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    capsys.readouterr()
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.DONE
    assert "[1/1] remove guests and images" in said(capsys)
    assert converted == ["revert with 0 guests"] and xen.running == {}
    assert not xen.host.exists("/var/lib/xenable/images")


def test_revert_says_that_images_stay(
    xen: Xen, converted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["revert", "--yes"]) == Exit.DONE
    assert "stay in /var/lib/xenable/images; --remove-guests removes them too" in said(capsys)
    assert converted == ["revert with 0 guests"]


def test_revert_asks_for_both_at_once(
    xen: Xen,
    tmp_path: Path,
    converted: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    typed = io.StringIO("n\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    assert run(["revert", "--remove-guests"]) == Exit.FAILED
    assert "Remove web1 with all that is on their disks, and turn this machine back" in said(capsys)
    assert converted == [] and records.names(xen.host) == ("web1",)


def test_guests_stay_when_a_revert_is_refused(
    xen: Xen,
    tmp_path: Path,
    converted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE
    monkeypatch.setattr(convert, "obstacles", lambda host: (Obstacle(what="/etc/a was edited"),))
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.FAILED
    assert converted == [] and records.names(xen.host) == ("web1",)


def test_guests_that_can_not_be_removed_stop_a_revert(
    xen: Xen, tmp_path: Path, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(words_to_create(tmp_path)) == Exit.DONE

    def fail(*_: Any, **__: Any) -> None:
        raise XenableError("cannot remove web1")

    monkeypatch.setattr(lifecycle, "destroy", fail)
    assert run(["revert", "--yes", "--remove-guests"]) == Exit.FAILED
    assert converted == []
