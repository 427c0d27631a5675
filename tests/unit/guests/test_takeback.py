# SPDX-License-Identifier: GPL-2.0-or-later
"""What a creation that failed, was interrupted or killed has made is taken back, or finished."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guests.machine import (
    BASE,
    DIRECTORY,
    ELSEWHERE,
    NET,
    PLACES,
    REQUEST,
    THIN,
    Xen,
    alive,
    make_xen,
    quiet,
    state,
    tree,
)
from xenable.errors import Exit, XenableError
from xenable.guests import claims, create, lifecycle, records, xlcfg
from xenable.guests.claims import Swept
from xenable.guests.create import Request
from xenable.guests.model import Format
from xenable.guests.storage import Storage
from xenable.host import CommandError, Host, Result

NOTHING = Swept()
CHANGES = ("write", "rename", "make_folder", "symlink", "chmod", "link_or_copy", "run", "remove")


class Killed(BaseException):
    """kill -9: nobody catches it."""


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], BaseException]) -> list[str]:
    """Let the act of that number fail, of those that change something; returns what was done."""
    done: list[str] = []

    def wrap(name: str) -> None:
        whole = getattr(Host, name)

        def act(*args: Any, **options: Any) -> Any:
            reading = name == "run" and (
                list(args[1])[:2] in (["xl", "list"], ["xl", "info"]) or args[1][0] == "lvs"
            )
            if not reading:
                done.append(f"{name} {args[1]}")
                if len(done) == number:
                    raise error()
            return whole(*args, **options)

        monkeypatch.setattr(Host, name, act)

    for name in CHANGES:
        wrap(name)
    return done


def no_space() -> XenableError:
    return XenableError("cannot write: No space left on device", hint="free some")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [no_space, KeyboardInterrupt])
def test_every_failure_is_taken_back(
    tmp_path: Path, place: Storage, error: Callable[[], BaseException]
) -> None:
    for number in range(1, 100):
        root = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            xen = make_xen(root, patch)
            if place is THIN:
                # That the base is in the pool already is of no interest here.
                xen.volumes[f"vg/xenable-base_trixie-amd64_{BASE.uuid[:8]}"] = BASE.bytes
            before = state(xen)
            done = fail_at(patch, number, error)
            try:
                create.create(xen.host, REQUEST, place, NET, quiet)
            except XenableError as e:
                assert len(done) >= number
                assert state(xen) == before, f"after {done[number - 1]}"
                assert ("interrupted" in e.message) is (error is KeyboardInterrupt)
                if any(".creating" in act for act in done):
                    assert e.status is Exit.PUT_BACK and "everything was taken back" in e.message
            else:
                assert len(done) < number
                break
    assert number > 12


COMMIT = "write /etc/xen/web1.cfg"


@pytest.mark.parametrize("place", PLACES)
def test_what_a_kill_leaves_is_taken_back_or_finished(tmp_path: Path, place: Storage) -> None:
    """Nothing of it before the guest's configuration is written, all of it afterwards."""
    kept = 0
    for number in range(1, 100):
        root = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            xen = make_xen(root, patch)
            if place is THIN:
                xen.volumes[f"vg/xenable-base_trixie-amd64_{BASE.uuid[:8]}"] = BASE.bytes
            before = state(xen)
            with pytest.MonkeyPatch.context() as inner:
                done = fail_at(inner, number, Killed)
                inner.setattr(create, "take_back", lambda host, claim: None)
                try:
                    create.create(xen.host, REQUEST, place, NET, quiet)
                except Killed:
                    pass
                else:
                    break
            # While the process lives, nobody takes from it what it makes.
            assert claims.sweep(xen.host) == NOTHING
            running = dict(xen.running)
            alive(xen.host, os.getpid(), 101)
            swept = claims.sweep(xen.host)
            when = f"before {done[number - 1]}"
            if COMMIT in done[: number - 1]:
                kept += 1
                assert swept == Swept(kept=("web1",)) and xen.running == running, when
                assert_whole(xen, when)
                lifecycle.remove(xen.host, "web1", force=True)
            else:
                claimed = any(".creating" in act for act in done[: number - 1])
                assert swept == (Swept(taken_back=("web1",)) if claimed else NOTHING), when
            assert state(xen) == before, when
            assert claims.sweep(xen.host) == NOTHING
    # Its link, its start, the end of the claim.
    assert number > 12 and kept >= 3


def assert_whole(xen: Xen, when: str) -> None:
    """The guest is all that a creation makes, and can be started."""
    host = xen.host
    guest = records.read(host, "web1")
    assert host.text("/etc/xen/web1.cfg") == xlcfg.render(guest), when
    assert host.link_target("/etc/xen/auto/web1.cfg") == "../web1.cfg", when
    assert "172.20.216.2 web1.xen.internal web1" in host.text("/etc/hosts"), when
    assert host.exists(guest.seed) and host.exists("/var/lib/xenable/guests/web1/open"), when
    if guest.format is Format.BLOCK:
        assert "vg/xenable-web1" in xen.volumes, when
    else:
        assert host.exists(guest.disk), when
    hidden = [name for name in tree(host.root) if Path(name).name.startswith(".")]
    assert hidden == [], when
    lifecycle.start(host, "web1")
    assert xen.running == {"web1": guest.uuid}, when


def cut_off(xen: Xen, request: Request = REQUEST) -> None:
    """A creation that is killed when all is there, and only the claim was not removed yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "remove", lambda host, path: (_ for _ in ()).throw(Killed()))
        patch.setattr(create, "take_back", lambda host, claim: None)
        with pytest.raises(Killed):
            create.create(xen.host, request, DIRECTORY, NET, quiet)
    alive(xen.host, os.getpid(), 101)


def test_a_guest_in_use_outlives_its_claim(xen: Xen) -> None:
    """Days later: it was stopped and started, edited, and its file is called otherwise."""
    cut_off(xen)
    host = xen.host
    text = host.text("/etc/xen/web1.cfg").replace("memory = 512", "memory = 700")
    host.remove("/etc/xen/auto/web1.cfg")
    host.remove("/etc/xen/web1.cfg")
    host.write("/etc/xen/10-web1.cfg", text.encode())
    running = dict(xen.running)
    assert claims.sweep(host) == Swept(kept=("web1",))
    assert xen.running == running and not xen.said("xl destroy")
    assert host.text("/etc/xen/10-web1.cfg") == text and host.names("/etc/xen/auto") == ()
    assert records.names(host) == ("web1",) and not host.exists(claims.claim_path("web1"))


def test_a_damaged_record_is_kept_with_its_disk(xen: Xen) -> None:
    cut_off(xen)
    xen.host.write(records.record("web1"), b"damaged")
    assert claims.sweep(xen.host) == Swept(kept=("web1",))
    assert xen.host.exists("/var/lib/xenable/guests/web1/disk.qcow2") and "web1" in xen.running


def test_a_file_of_somebody_else_makes_no_guest_whole(xen: Xen) -> None:
    """It was written after the name was claimed, and it stays."""
    cut_off(xen)
    xen.host.write("/etc/xen/web1.cfg", b'name = "web1"\n')
    assert claims.sweep(xen.host) == Swept(taken_back=("web1",))
    assert records.names(xen.host) == () and xen.running == {}
    assert xen.host.text("/etc/xen/web1.cfg") == 'name = "web1"\n'
    assert xen.host.exists("/etc/xen/auto/web1.cfg")


def test_a_claim_of_an_older_version_is_read(xen: Xen) -> None:
    cut_off(xen, replace(REQUEST, autostart=False))
    path = xen.host.path(claims.claim_path("web1"))
    found = json.loads(path.read_text())
    assert found.pop("autostart") is False
    path.write_text(json.dumps(found))
    assert claims.sweep(xen.host) == Swept(kept=("web1",))
    assert xen.host.names("/etc/xen/auto") == ()


def test_a_taking_back_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """The start failed; what was to go must not pass for a guest that is whole."""
    for number in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            xen = make_xen(tmp_path / str(number), patch)
            before = state(xen)
            whole = claims.take_back

            def killed(host: Host, claim: claims.Claim, whole: Any = whole, number: int = number) -> None:
                with pytest.MonkeyPatch.context() as inner:
                    fail_at(inner, number, Killed)
                    whole(host, claim)

            patch.setattr(create, "take_back", killed)
            xen.answers["xl create"] = Result(1, "", "xl: no\n")
            try:
                create.create(xen.host, REQUEST, ELSEWHERE, NET, quiet)
            except XenableError:
                break
            except Killed:
                pass
            alive(xen.host, os.getpid(), 101)
            swept = claims.sweep(xen.host)
            if number == 1:
                del xen.answers["xl create"]
                assert swept == Swept(kept=("web1",))
                assert_whole(xen, "before the first act")
            else:
                assert swept == Swept(taken_back=("web1",)) and state(xen) == before, number
    assert number > 5


def test_a_sweep_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    for number in range(1, 100):
        root = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            xen = make_xen(root, patch)
            before = state(xen)
            with pytest.MonkeyPatch.context() as inner:
                # All is there but the last, the configuration.
                inner.setattr(xlcfg, "render", lambda guest: (_ for _ in ()).throw(Killed()))
                inner.setattr(create, "take_back", lambda host, claim: None)
                with pytest.raises(Killed):
                    create.create(xen.host, REQUEST, ELSEWHERE, NET, quiet)
            alive(xen.host, os.getpid(), 101)
            with pytest.MonkeyPatch.context() as inner:
                fail_at(inner, number, Killed)
                try:
                    claims.sweep(xen.host)
                except Killed:
                    pass
                else:
                    break
            claims.sweep(xen.host)
            assert state(xen) == before, number
    assert number > 4


def test_a_start_that_fails_says_why(xen: Xen) -> None:
    before = state(xen)
    xen.answers["xl create"] = Result(
        3,
        "Parsing config from /etc/xen/web1.cfg\n",
        "libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/vif-xenable online "
        "[2142] exited with error status 1\n"
        "libxl: error: libxl_device.c:1319:device_hotplug_child_death_cb: script: the table is missing\n"
        "libxl: error: libxl_create.c:1862:domcreate_attach_devices: Domain 3:unable to add vif devices\n",
    )
    with pytest.raises(XenableError) as caught:
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert caught.value.message == (
        "cannot start web1: xl says: the table is missing; everything was taken back"
    )
    assert state(xen) == before


def test_a_loop_device_that_nobody_noted_is_let_go_of(xen: Xen) -> None:
    """xl's script had attached the disk when it was killed, and had not written down as what."""
    mine, other = f"{records.folder('web1')}/seed.tar", "/srv/web1/other.img"
    xen.loops = {"/dev/loop3": mine, "/dev/loop4": other, "/dev/loop5": f"{mine} (deleted)"}
    xen.answers["xl create"] = Result(1, "", "libxl: error: killed")
    with pytest.raises(XenableError, match="everything was taken back"):
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert xen.loops == {"/dev/loop4": other}


def test_what_can_not_be_taken_back_is_said(xen: Xen) -> None:
    xen.answers["xl create"] = Result(1, "", "xl: no\n")
    xen.answers["rm"] = Result(1, "", "rm: Read-only file system\n")
    with pytest.raises(XenableError, match="xl says: xl: no; then: cannot run rm: rm: Read-only") as caught:
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert caught.value.status is Exit.NOT_PUT_BACK and not isinstance(caught.value, CommandError)
    del xen.answers["rm"]
    alive(xen.host, os.getpid(), 101)
    assert claims.sweep(xen.host) == Swept(taken_back=("web1",))
    assert "var/lib/xenable/guests/web1" not in tree(xen.host.root)


def test_what_stays_whole_is_to_be_removed(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """/etc can't be written any more, so that the next command will keep the guest."""
    whole = Host.remove

    def remove(host: Host, path: Any) -> None:
        if str(path).startswith("/etc/xen/"):
            raise XenableError(f"cannot remove {path}: Read-only file system")
        whole(host, path)

    monkeypatch.setattr(Host, "remove", remove)
    xen.answers["xl create"] = Result(1, "", "xl: no\n")
    with pytest.raises(XenableError, match=r"then: cannot remove .*web1\.cfg: Read-only") as caught:
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert caught.value.status is Exit.NOT_PUT_BACK
    assert "`xenable guest remove` takes back what is there" in caught.value.hint
    alive(xen.host, os.getpid(), 101)
    assert claims.sweep(xen.host) == Swept(kept=("web1",))
