# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive of `xenable report`, of a folder that looks like a machine with secrets in it."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from xenable import report
from xenable.errors import XenableError
from xenable.facts.record import facts_from_json
from xenable.host import Host
from xenable.report import make_report

SECRET = "hunter2hunter2"
MAC = "52:54:ab:12:34:56"
FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian"\n',
    "etc/default/grub": f'GRUB_CMDLINE_LINUX="rd.luks.key={SECRET} net.ifnames=0"\n',
    "etc/default/grub.d/a.cfg": f"GRUB_CMDLINE_LINUX_DEFAULT='iscsi_password={SECRET} quiet'\n",
    "boot/grub/grub.cfg": f"set superusers=root\npassword_pbkdf2 root grub.pbkdf2.sha512.10000.{SECRET}\n",
    "proc/cmdline": f"root=/dev/vda1 rd.luks.key={SECRET} ro\n",
    "etc/shadow": f"root:{SECRET}:1:::::\n",
    "etc/ssh/ssh_host_ed25519_key": f"{SECRET}\n",
    "var/log/xenable/packages.log": f"fetched https://me:{SECRET}@192.0.2.1/debian\nfrom 8.8.8.8 {MAC}\n",
    "etc/network/interfaces": f"iface eth0 inet dhcp\n  wpa-psk {SECRET}\n  client {MAC}\n",
    "sys/class/net/eth0/address": f"{MAC}\n",
    "sys/class/net/eth0/device/x": "",
    "var/lib/xenable/trial.json": '{"verdict": "passed"}\n',
    "var/lib/xenable/store/abc": f"{SECRET}\n",
    "var/lib/xenable/journal.jsonl": json.dumps(
        {"n": 1, "state": "doing", "saved": {"text": f"password root {SECRET}", "packed": "QUJD" * 60}}
    )
    + f"\n{{cut off password={SECRET}",
}


@pytest.fixture
def members(tmp_path: Path) -> dict[str, str]:
    """Name to text of everything in the archive."""
    root = tmp_path / "root"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    target = make_report(Host(root), tmp_path / "r.tar.gz")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target) as tar:
        found: dict[str, str] = {}
        for member in tar.getmembers():
            stream = tar.extractfile(member)
            assert stream is not None and member.mode == 0o600
            found[member.name.removeprefix("xenable-report/")] = stream.read().decode()
        return found


def test_no_secret_is_in_it(members: dict[str, str]) -> None:
    for name, text in members.items():
        assert SECRET not in text, name
        assert MAC not in text and "8.8.8.8" not in text, name
        assert "QUJDQUJD" not in text, name


def test_only_named_files_are_in_it(members: dict[str, str]) -> None:
    files = {name for name in members if name.startswith("files/")}
    assert files == {
        "files/etc/os-release",
        "files/etc/default/grub",
        "files/etc/default/grub.d/a.cfg",
        "files/boot/grub/grub.cfg",
        "files/proc/cmdline",
        "files/var/log/xenable/packages.log",
        "files/var/lib/xenable/trial.json",
    }
    assert {"facts.json", "findings.json", "status.json", "journal.jsonl", "version.txt"} <= set(members)


def test_what_is_useful_is_left(members: dict[str, str]) -> None:
    assert "net.ifnames=0" in members["files/etc/default/grub"]
    assert "set superusers=root" in members["files/boot/grub/grub.cfg"]
    assert "198.18." in members["files/var/log/xenable/packages.log"]
    assert '"state": "doing"' in members["journal.jsonl"]


def test_the_facts_are_a_recorded_machine(members: dict[str, str]) -> None:
    facts = facts_from_json(json.loads(members["facts.json"]))
    assert facts.distribution.id == "debian"
    assert "rd.luks.key=REDACTED" in facts.console.command_line
    (config,) = facts.network.configs
    assert config.text == "iface eth0 inet dhcp\n  wpa-psk REDACTED\n  client 02:00:00:00:00:01\n"
    assert facts.network.interfaces[0].mac == "02:00:00:00:00:01"


def test_findings_are_a_document(members: dict[str, str]) -> None:
    found = json.loads(members["findings.json"])
    assert found["schema"] == 1 and found["findings"]


def test_a_broken_machine_gets_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: Host, *, xen_kernel: bool) -> None:
        raise RuntimeError(f"no such luck, password={SECRET}")

    monkeypatch.setattr("xenable.facts.gather", broken)
    with tarfile.open(make_report(Host(tmp_path), tmp_path / "r.tar.gz")) as tar:
        stream = tar.extractfile("xenable-report/missing.txt")
        assert stream is not None
        text = stream.read().decode()
    assert "facts.json: RuntimeError: no such luck, password=REDACTED" in text
    assert "journal.jsonl" in text


def test_long_files_keep_their_end_and_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_BYTES", 40)
    log = tmp_path / "var/log/xenable/x.log"
    log.parent.mkdir(parents=True)
    log.write_text("first line\n" + f"password={SECRET}{'x' * 20}\nthe end\n")
    with tarfile.open(make_report(Host(tmp_path), tmp_path / "r.tar.gz")) as tar:
        stream = tar.extractfile("xenable-report/files/var/log/xenable/x.log")
        assert stream is not None
        assert stream.read().decode() == "(the beginning is left out)\nthe end\n"


@pytest.mark.parametrize(
    ("id", "there"), [("1f2e3d4c5b6a47889a0bc1d2e3f40516", True), ("", False), ("-x", False), (7, False)]
)
def test_messages_of_the_boot_on_trial(tmp_path: Path, id: object, there: bool) -> None:
    """After one more boot they are of neither this boot nor the last one."""
    host = Host(tmp_path)
    host.make_folder("/var/lib/xenable")
    record = {"slot": "a", "verdict": "fell-back", "seconds": 1, "deadline": 2, "missing": [], "boot_id": id}
    host.write("/var/lib/xenable/trial.json", json.dumps(record).encode())
    found = dict(report.commands(host))
    assert set(found) == set(dict(report.COMMANDS)) | ({"journal-trial-boot.txt"} if there else set())
    if there:
        assert found["journal-trial-boot.txt"][3:] == ("-b", id, "-n", "4000", *report.SYSTEM)


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    """It is root who writes: /dev/null and /dev/stdout would be gone."""
    target = tmp_path / "r.tar.gz"
    (tmp_path / "file").touch()
    if kind == "fifo":
        os.mkfifo(target)
    else:
        target.symlink_to(tmp_path / ("file" if kind == "link" else "none"))
    before = target.lstat()
    with pytest.raises(XenableError, match=r"cannot write .*: it is no regular file"):
        make_report(Host(tmp_path / "root"), target)
    assert target.lstat() == before
    assert make_report(Host(tmp_path / "root"), tmp_path / "file").stat().st_size > 0


def test_the_current_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(XenableError, match=r"cannot write r\.tar\.gz: the current folder is gone"):
        make_report(Host(tmp_path), Path("r.tar.gz"))


def test_of_the_journal_only_what_tells_of_a_boot(tmp_path: Path) -> None:
    """The whole of it has what people ran with sudo, and what any program had to say."""
    asked = [cmd for _, cmd in report.commands(Host(tmp_path)) if cmd[0] == "journalctl"]
    assert len(asked) == 3
    for cmd in asked:
        assert "xenable-gate" in cmd or cmd[-len(report.SYSTEM) :] == report.SYSTEM
    # Alternatives: without a + between them, journalctl wants two different fields both to match.
    fields = " ".join(report.SYSTEM).split(" + ")
    assert all(len({match.partition("=")[0] for match in part.split()}) == 1 for part in fields)


@pytest.mark.realtool
def test_this_machine(tmp_path: Path) -> None:
    with tarfile.open(make_report(Host(), tmp_path / "r.tar.gz")) as tar:
        names = set(tar.getnames())
    assert {"xenable-report/facts.json", "xenable-report/xl-info.txt"} <= names
