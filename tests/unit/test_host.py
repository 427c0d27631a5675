# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door: whole files or none, and errors that say what to do."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from xenable.errors import XenableError
from xenable.host import STATE, Host

TOP = Path(__file__).resolve().parents[2]


def failing(code: int) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["fchmod", "fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    host = Host(tmp_path)
    host.write("/file", b"old", mode=0o640)
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(XenableError, match="cannot write /file: No space left on device") as caught:
        host.write("/file", b"new")
    assert "free some space" in caught.value.hint
    assert host.read("/file") == b"old" and host.names("/") == ("file",)


def test_a_write_gives_all_that_was_asked_for(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / ".file.xenable-new").write_bytes(b"left by a kill, and longer than what comes")
    attributes = {"user.note": b"a\0b"}
    owner = (os.geteuid(), os.getegid())
    host.write("/file", b"x", mode=0o604, owner=owner, xattrs=attributes, mtime_ns=123_456_789)
    info = host.stat("/file")
    assert info is not None and info.st_mode & 0o7777 == 0o604 and info.st_mtime_ns == 123_456_789
    assert host.read("/file") == b"x" and host.xattrs("/file") == attributes
    assert host.names("/") == ("file",)


def test_what_is_no_path_is_not_there(tmp_path: Path) -> None:
    """A file of the machine may name it: what reads facts never fails."""
    host = Host(tmp_path)
    assert host.text("/a\0b") == "" and host.names("/a\0b") == ()
    assert not any(ask("/a\0b") for ask in (host.forbidden, host.exists, host.is_dir, host.is_file))


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.EROFS, "read-only"), (errno.EACCES, "as root"), (errno.EPERM, "lsattr")]
)
def test_hints_of_write_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, hint: str
) -> None:
    monkeypatch.setattr(os, "open", failing(code))
    for act in (Host(tmp_path).write, Host(tmp_path).append):
        with pytest.raises(XenableError, match=f"cannot write /f: {os.strerror(code)}") as caught:
            act("/f", b"")
        assert hint in caught.value.hint


def test_an_append_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    host.append("/log", b"one\n")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:2]))
    with pytest.raises(XenableError, match="No space left"):
        host.append("/log", b"two\n")
    assert host.read("/log") == b"one\n"


def test_remove_takes_what_a_kill_left(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / ".file.xenable-new").touch()
    host.remove("/file")
    assert host.names("/") == ()
    host.remove("/no/such/folder/file")
    host.make_folder("/full/inner")
    with pytest.raises(XenableError, match="cannot remove /full: Directory not empty"):
        host.remove("/full")


def test_links_are_not_followed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.symlink("/link", "nowhere")
    host.symlink("/link", "elsewhere")
    assert host.exists("/link") and host.link_target("/link") == "elsewhere"
    host.write("/link", b"a file now")
    assert host.link_target("/link") == "" and host.names("/") == ("link",)


def test_overwrite_keeps_the_inode_and_the_length(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("/block", b"1234")
    before = host.stat("/block")
    host.overwrite("/block", b"abcd")
    after = host.stat("/block")
    assert before is not None and after is not None and before.st_ino == after.st_ino
    with pytest.raises(XenableError, match="not 3 bytes long"):
        host.overwrite("/block", b"abc")
    assert host.read("/block") == b"abcd"


def test_an_edit_leaves_the_file_what_it_is(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/etc")
    host.write("/etc/real", b"old", mode=0o600, xattrs={"user.note": b"1"})
    host.symlink("/etc/link", "real")
    host.edit("/etc/link", b"new")
    info = host.stat("/etc/real")
    assert host.read("/etc/real") == b"new" and host.link_target("/etc/link") == "real"
    assert info is not None and info.st_mode & 0o777 == 0o600
    assert host.xattrs("/etc/real") == {"user.note": b"1"}
    for path in ("/etc", "/etc/none"):
        with pytest.raises(XenableError, match=f"cannot change {path}: it is no regular file"):
            host.edit(path, b"")


def test_a_folder_runs_no_command(tmp_path: Path) -> None:
    with pytest.raises(XenableError, match=r"cannot run reboot: .* is a folder"):
        Host(tmp_path).run(["reboot"])


def test_only_one_at_a_time(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with host.lock():
        with pytest.raises(XenableError, match=f"process {os.getpid()}") as caught, host.lock():
            pass
        assert "wait" in caught.value.hint
    with host.lock():
        pass


@pytest.mark.realtool
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["/no/such/program"], 127, "not found"),
        (["/etc"], 126, "may not be executed"),
        (["sh", "-c", "echo reason >&2; exit 3"], 3, "reason"),
        (["sleep", "5"], 124, "no answer within 0.1 s"),
    ],
)
def test_commands_that_fail(command: list[str], code: int, words: str) -> None:
    assert Host().run(command, check=False, timeout=0.1 if code == 124 else 20).code == code
    with pytest.raises(XenableError, match=words) as caught:
        Host().run(command, timeout=0.1 if code == 124 else 20)
    assert f"exit status {code}" in caught.value.hint


@pytest.mark.realtool
def test_a_program_without_a_first_line(tmp_path: Path) -> None:
    script = tmp_path / "hook"
    script.write_text("exit 0\n")
    script.chmod(0o755)
    done = Host().run([script], check=False)
    assert (done.code, done.stderr) == (126, f"{script}: Exec format error")


@pytest.mark.realtool
def test_commands_speak_plain_english_and_read_nothing() -> None:
    result = Host().run(["sh", "-c", "cat; echo $LC_ALL $NAME"], env={"NAME": "value"})
    assert result.stdout == "C.UTF-8 value\n"


# ---------------------------------------------------------------------------------- output as it is written

setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")


@pytest.mark.realtool
@setpriv
def test_output_is_seen_while_a_command_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    go_on = tmp_path / "seen"

    def see(line: str) -> None:
        seen.append(line)
        if line == "two":
            go_on.touch()

    wait = 'for i in $(seq 600); do [ ! -e "$FLAG" ] || break; sleep 0.05; done; [ -e "$FLAG" ] || exit 9'
    result = Host().stream(
        ["sh", "-c", f"umask; echo two >&2; {wait}; echo $NAME; cat; printf rest; exit 3"],
        see,
        env={"NAME": "three", "FLAG": str(go_on)},
    )
    assert (result.code, result.stdout, result.stderr) == (3, "0022\ntwo\nthree\nrest", "")
    assert seen == ["0022", "two", "three", "rest"]


@pytest.mark.realtool
@setpriv
def test_a_stream_that_can_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Host().stream(["/no/such/program"], print).code == 127
    with pytest.raises(XenableError, match="is a folder"):
        Host(tmp_path).stream(["true"], print)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", failing(errno.ENOENT))
    assert Host().stream(["true"], print).code == 127


@pytest.mark.realtool
@setpriv
def test_the_command_dies_with_the_listener() -> None:
    pids: list[str] = []

    def interrupt(line: str) -> None:
        pids.append(line)
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Host().stream(["sh", "-c", "echo $$; exec sleep 60"], interrupt)
    assert time.monotonic() - begin < 30
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.realtool
@setpriv
def test_the_command_dies_with_the_process() -> None:
    code = (
        "from xenable.host import Host; "
        "Host().stream(['sh', '-c', 'echo $$; exec sleep 60'], lambda pid: print(pid, flush=True))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as out:
        pid = out.readline().strip()
    child.send_signal(signal.SIGKILL)
    child.wait()
    state = ["R"]
    for _ in range(100):
        state = Host().text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
        if state in ([], ["Z"]):
            break
        time.sleep(0.05)
    assert pid.isdigit() and state in ([], ["Z"])


def test_becoming_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *words: became.append(words))
    with pytest.raises(XenableError, match="is a folder"):
        Host(tmp_path).replace_process(["xl", "console"])
    Host().replace_process(["xl", Path("console")])
    assert became[0][:2] == ("xl", ["xl", "console"])
    monkeypatch.setattr(os, "execvpe", failing(errno.ENOENT))
    with pytest.raises(XenableError, match="cannot run xl: No such file"):
        Host().replace_process(["xl"])


# ----------------------------------------------------------------------------------------- parts of files


def test_parts_and_sums(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("/a", b"0123456789")
    assert (host.part("/a", 3), host.part("/a", 3, 8), host.part("/a", 3, 20)) == (b"012", b"89", b"")
    assert host.sha256("/a") == hashlib.sha256(b"0123456789").hexdigest()
    assert host.is_file("/a") and not host.is_file("/") and not host.is_file("/b")
    for act in (lambda: host.part("/b", 1), lambda: host.sha256("/b")):
        with pytest.raises(XenableError, match="cannot read /b: No such file"):
            act()


def test_a_length_never_gets_shorter(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("/a", b"0123456789")
    host.lengthen("/a", 5)
    assert host.read("/a") == b"0123456789"
    host.lengthen("/a", 12)
    assert host.read("/a") == b"0123456789\0\0"
    with pytest.raises(XenableError, match="cannot make /b longer"):
        host.lengthen("/b", 5)


def test_where_paths_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path / "root")
    host.make_folder("/srv")
    host.symlink("/srv/link", "real")
    host.symlink("/srv/out", "../../elsewhere")
    assert host.resolve("/srv/../srv/link") == host.resolve("srv/link") == Path("/srv/real")
    for name, why in (("out", "leads out of"), ("a\0b", "cannot follow")):
        with pytest.raises(XenableError, match=why):
            host.resolve(f"/srv/{name}")
    monkeypatch.chdir(tmp_path / "root/srv")
    assert Host().resolve("link") == tmp_path.resolve() / "root/srv/real"


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with host.lock_folder(STATE), host.lock_folder("/other", wait=False):
        taken = pytest.raises(XenableError, match="cannot work in /var/lib/xenable: another")
        with taken, host.lock_folder(STATE, wait=False):
            pass
        # The lock of a conversion is another one.
        with host.lock():
            pass
    with host.lock_folder(STATE, wait=False):
        assert host.names("/other") == ()
