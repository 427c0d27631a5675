# SPDX-License-Identifier: GPL-2.0-or-later
"""`xenable guest …`, from words to exit status, on a folder that is a dom0."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.fixtures import document, person, said, words_to_create
from tests.unit.guests.machine import Xen, tree
from xenable.__main__ import run
from xenable.errors import Exit
from xenable.guests import records
from xenable.guests.libvirt import domain_xml
from xenable.host import Result
from xenable.network import effective

STATE_CHANGES = ("create", "start", "stop", "reboot", "console", "remove", "autostart", "resize")


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
        (["--ssh-key", "~nouser/k"], "cannot use the key in ~nouser/k: "),
        (["--ssh-key", "loop"], "cannot use the key in loop: "),
        (["--type", "hvm"], "'hvm' is not one of"),
    ],
)
def test_a_wrong_word_changes_nothing(
    xen: Xen, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = tree(xen.host.root)
    (tmp_path / "loop").symlink_to("loop")
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
    person(monkeypatch, "n\ny\n")
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
