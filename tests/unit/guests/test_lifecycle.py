# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting, stopping, changing and removing guests."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.machine import (
    BASE,
    DIRECTORY,
    ELSEWHERE,
    KEY,
    NET,
    PLACES,
    SIZE,
    THIN,
    Xen,
    alive,
    make_xen,
    quiet,
    state,
    tree,
)
from xenable.errors import XenableError
from xenable.guests import claims, create, lifecycle, listing, records, storage, xlcfg
from xenable.guests.create import Request
from xenable.guests.model import Kind
from xenable.guests.storage import Storage
from xenable.host import Host, Result

REQUEST = Request(
    name="web1", kind=Kind.PVH, memory=512, vcpus=1, disk_bytes=4 * SIZE, keys=(KEY,), release="trixie",
    autostart=True,
)  # fmt: skip


def make(xen: Xen, place: Storage = DIRECTORY, **changes: Any) -> None:
    create.create(xen.host, replace(REQUEST, **changes), place, NET, quiet)
    xen.calls.clear()


# ------------------------------------------------------------------------------------------ start and stop


def test_start_and_stop(xen: Xen) -> None:
    make(xen)
    assert lifecycle.start(xen.host, "web1") is False and not xen.said("xl create")
    assert lifecycle.stop(xen.host, "web1") is True and xen.running == {}
    assert xen.said("xl shutdown") == [["xl", "shutdown", "-F", "-w", "1"]]
    assert lifecycle.stop(xen.host, "web1") is False
    assert lifecycle.start(xen.host, "web1") is True and "web1" in xen.running


def test_start_goes_by_the_file(xen: Xen) -> None:
    make(xen, start=False)
    path = records.cfg("web1")
    xen.host.write(path, xen.host.text(path).replace("memory = 512", "memory = 4096").encode())
    with pytest.raises(XenableError, match=r"web1 needs .* 4096 MiB are free"):
        lifecycle.start(xen.host, "web1")
    assert not xen.said("xl create")


def test_a_guest_that_does_not_listen(xen: Xen) -> None:
    make(xen)
    xen.answers["xl shutdown"] = Result(124, "", "no answer within 5 s")
    with pytest.raises(XenableError, match="did not shut down within 5 s") as caught:
        lifecycle.stop(xen.host, "web1", seconds=5)
    assert "--force" in caught.value.hint and "web1" in xen.running
    assert lifecycle.stop(xen.host, "web1", seconds=5, force=True) is True
    assert xen.said("xl destroy") == [["xl", "destroy", "1"]] and xen.running == {}


def test_guests_that_others_made(xen: Xen) -> None:
    xen.host.write(
        "/etc/xen/file.cfg",
        b'name = "byhand"\nuuid = "0d9a3b0e-6a5e-4c1f-9d3b-2f6f0c1a7e55"\nmemory = 256\n',
    )
    xen.host.write("/etc/xen/broken.cfg", b"name = = 1\n")
    assert lifecycle.start(xen.host, "byhand") is True
    assert xen.said("xl create") == [["xl", "create", "/etc/xen/file.cfg"]]
    assert lifecycle.autostart(xen.host, "byhand", True) is True
    assert xen.host.link_target("/etc/xen/auto/file.cfg") == "../file.cfg"
    assert lifecycle.autostart(xen.host, "byhand", True) is False
    assert lifecycle.stop(xen.host, "byhand") is True
    with pytest.raises(XenableError, match="Xenable did not make it"):
        lifecycle.remove(xen.host, "byhand", force=True)
    assert lifecycle.autostart(xen.host, "byhand", False) is True
    assert xen.host.names("/etc/xen/auto") == ()


@pytest.mark.parametrize("then", ["start", "remove", "resize"])
def test_a_guest_that_was_stopped_is_gone(xen: Xen, then: str) -> None:
    """xl does not wait for its daemon, which tears the domain down a little later."""
    make(xen)
    assert lifecycle.stop(xen.host, "web1") is True
    if then == "start":
        assert lifecycle.start(xen.host, "web1") is True and xen.said("xl create")
        assert xen.states == {}
    elif then == "remove":
        lifecycle.remove(xen.host, "web1")
    else:
        lifecycle.resize(xen.host, "web1", disk=5 * SIZE)
    assert not xen.said("xl destroy")


def test_nobody_tears_the_domain_down(xen: Xen) -> None:
    """Its daemon died, or it was started with `xl create -e`."""
    make(xen)
    xen.daemon = False
    assert lifecycle.stop(xen.host, "web1") is True
    assert xen.running == {} and xen.said("xl destroy") == [["xl", "destroy", "1"]]
    lifecycle.start(xen.host, "web1")
    xen.shut_down("web1")
    xen.calls.clear()
    with pytest.raises(XenableError, match="cannot start web1: its domain 2 is there, shut down") as caught:
        lifecycle.start(xen.host, "web1")
    assert "guest stop web1" in caught.value.hint and not xen.said("xl create")
    with pytest.raises(XenableError, match="cannot remove web1: its domain 2 is there, shut down"):
        lifecycle.remove(xen.host, "web1")
    assert lifecycle.stop(xen.host, "web1") is True and not xen.said("xl shutdown")
    assert lifecycle.start(xen.host, "web1") is True


def test_a_domain_that_its_file_wants_kept(xen: Xen) -> None:
    make(xen)
    path = records.cfg("web1")
    text = xen.host.text(path).replace('on_poweroff = "destroy"', 'on_poweroff = "preserve"')
    xen.host.write(path, text.encode())
    xen.daemon = False
    assert lifecycle.stop(xen.host, "web1") is True and "web1" in xen.running
    with pytest.raises(XenableError, match="its domain 1 is there, shut down") as caught:
        lifecycle.start(xen.host, "web1")
    assert "guest stop --force web1" in caught.value.hint
    assert lifecycle.stop(xen.host, "web1", force=True) is True and xen.running == {}
    assert lifecycle.start(xen.host, "web1") is True


@pytest.mark.parametrize("letters", ["-----d", "---sc-", "---s--"])
def test_start_waits_for_what_goes(xen: Xen, letters: str) -> None:
    make(xen)
    xen.shut_down("web1")
    xen.states[xen.running["web1"]] = letters
    assert lifecycle.start(xen.host, "web1") is True and xen.states == {}


def test_start_finds_what_xl_started_anew(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    make(xen)
    uuid = xen.running["web1"]
    xen.shut_down("web1")
    xen.states[uuid] = "---sc-"
    whole = xen.gone

    def restart(name: str) -> None:
        whole(name)
        xen.running[name] = uuid

    monkeypatch.setattr(xen, "gone", restart)
    assert lifecycle.start(xen.host, "web1") is False and not xen.said("xl create")


def test_a_paused_guest_counts_as_started(xen: Xen) -> None:
    make(xen)
    xen.states[xen.running["web1"]] = "--p---"
    assert lifecycle.start(xen.host, "web1") is False


def test_what_can_not_be_destroyed_is_not_down(xen: Xen) -> None:
    """Something in dom0 has its memory."""
    make(xen)
    xen.daemon = False
    xen.answers["xl destroy"] = Result(0, "", "")
    with pytest.raises(XenableError, match="cannot stop web1: it is down, and its domain 1 still there"):
        lifecycle.stop(xen.host, "web1")


@pytest.mark.parametrize("force", [False, True])
def test_a_guest_that_goes_by_itself_meanwhile(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    make(xen)
    whole = xen.do_xl

    def vanish(words: list[str]) -> Result:
        if words[1] == ("destroy" if force else "shutdown"):
            xen.gone("web1")
            return whole(words)
        return Result(124, "", "no answer") if words[1] == "shutdown" else whole(words)

    monkeypatch.setattr(xen, "do_xl", vanish)
    assert lifecycle.stop(xen.host, "web1", force=force) is True and xen.running == {}


@pytest.mark.parametrize("theirs", [False, True])
def test_the_folder_of_links_goes_with_the_last_one_if_it_was_made(xen: Xen, theirs: bool) -> None:
    """Debian has none; an administrator's own stays, empty as it was."""
    if theirs:
        xen.host.make_folder("/etc/xen/auto")
    make(xen)
    make(xen, name="web2", start=False)
    lifecycle.remove(xen.host, "web1", force=True)
    assert xen.host.names("/etc/xen/auto") == ("web2.cfg",)
    assert lifecycle.autostart(xen.host, "web2", False) is True
    assert xen.host.exists("/etc/xen/auto") is theirs
    assert not xen.host.exists(records.MADE_AUTO)


@pytest.mark.parametrize("target", ["../web1.cfg", "absolute", "first"])
def test_a_link_by_another_name_starts_it_too(xen: Xen, target: str) -> None:
    """As administrators number them, for the order in which guests start."""
    make(xen, autostart=False)
    make(xen, name="web2", start=False)
    host = xen.host
    absolute = str(host.path("/etc/xen/web1.cfg"))
    host.symlink("/etc/xen/auto/10-web1", absolute if target == "absolute" else target)
    if target == "first":
        host.symlink("/etc/xen/auto/first", "../web1.cfg")
    assert {row.name: row.autostart for row in listing.rows(host)} == {"web1": True, "web2": True}
    assert lifecycle.autostart(host, "web1", True) is False
    assert lifecycle.autostart(host, "web1", False) is True
    assert host.names("/etc/xen/auto") == ("web2.cfg",)
    host.symlink("/etc/xen/auto/10-web1", "../web1.cfg")
    # Nothing may lead nowhere: xendomains stumbles over that at boot.
    lifecycle.remove(host, "web1", force=True)
    assert host.names("/etc/xen/auto") == ("web2.cfg",)


def test_a_link_of_its_name_may_be_another_s(xen: Xen) -> None:
    make(xen, autostart=False)
    make(xen, name="web2", autostart=False)
    xen.host.make_folder("/etc/xen/auto")
    xen.host.symlink("/etc/xen/auto/web1.cfg", "../web2.cfg")
    assert {row.name: row.autostart for row in listing.rows(xen.host)} == {"web1": False, "web2": True}
    with pytest.raises(XenableError, match=r"auto/web1\.cfg is there, and leads to \.\./web2\.cfg"):
        lifecycle.autostart(xen.host, "web1", True)
    lifecycle.remove(xen.host, "web1", force=True)
    assert xen.host.link_target("/etc/xen/auto/web1.cfg") == "../web2.cfg"
    # A loop starts nothing.
    xen.host.symlink("/etc/xen/auto/loop", "loop")
    assert lifecycle.autostart(xen.host, "web2", False) is True
    assert xen.host.names("/etc/xen/auto") == ("loop",)


@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "console", "remove", "resize", "autostart"])
def test_no_such_guest(xen: Xen, verb: str) -> None:
    words: dict[str, Any] = {"resize": {"memory": 1024}, "autostart": {"on": True}}
    with pytest.raises(XenableError, match="cannot find the guest none"):
        getattr(lifecycle, verb)(xen.host, "none", **words.get(verb, {}))


@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "console"])
def test_natively_nothing_runs(xen: Xen, verb: str) -> None:
    make(xen, start=False)
    xen.host.remove("/proc/xen/capabilities")
    with pytest.raises(XenableError, match="does not run under Xen"):
        getattr(lifecycle, verb)(xen.host, "web1")


def test_reboot_and_console(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    make(xen)
    lifecycle.reboot(xen.host, "web1")
    assert xen.said("xl reboot") == [["xl", "reboot", "-F", "1"]]
    became: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *words: became.append(words))
    monkeypatch.setattr(Host, "live", True)
    lifecycle.console(xen.host, "web1")
    assert became[0][:2] == ("xl", ["xl", "console", "1"])
    lifecycle.stop(xen.host, "web1")
    for verb in ("reboot", "console"):
        with pytest.raises(XenableError, match="it does not run"):
            getattr(lifecycle, verb)(xen.host, "web1")


# ------------------------------------------------------------------------------------------------ change


def test_resize_changes_only_its_lines(xen: Xen) -> None:
    make(xen, kind=Kind.PV)
    path = records.cfg("web1")
    edited = (
        xen.host.text(path).replace("memory = 512", "  memory=512 # was less").replace("vcpus = 1\n", "")
    )
    xen.host.write(path, (edited + "cpus = '2-3'\n").encode())
    xen.calls.clear()
    with pytest.raises(XenableError, match="while the guest runs"):
        lifecycle.resize(xen.host, "web1", memory=1024, disk=5 * SIZE)
    assert xen.host.text(path) == edited + "cpus = '2-3'\n"
    guest, later = lifecycle.resize(xen.host, "web1", memory=1024, vcpus=2)
    assert later and (guest.memory, guest.vcpus) == (1024, 2)
    wanted = edited.replace("  memory=512 # was less", "  memory=1024 # was less")
    assert xen.host.text(path) == wanted + "cpus = '2-3'\nvcpus = 2\n"
    assert records.read(xen.host, "web1") == guest
    lifecycle.stop(xen.host, "web1")
    guest, later = lifecycle.resize(xen.host, "web1", disk=5 * SIZE)
    assert not later and records.read(xen.host, "web1").disk_bytes == 5 * SIZE == guest.disk_bytes


def test_resize_leaves_the_file_what_it_is(xen: Xen) -> None:
    """A secret that was added, a comment in another encoding, a file that lives elsewhere."""
    make(xen)
    path, target = records.cfg("web1"), "/srv/web1.cfg"
    text = xen.host.read(path) + "vncpasswd = 'x' # f\xfcr uns\n".encode("latin-1")
    xen.host.write(target, text, mode=0o600)
    xen.host.symlink(path, f"../..{target}")
    lifecycle.resize(xen.host, "web1", memory=1024)
    assert xen.host.read(target) == text.replace(b"memory = 512", b"memory = 1024")
    info = xen.host.stat(target)
    assert info is not None and info.st_mode & 0o777 == 0o600
    assert xen.host.link_target(path) == f"../..{target}"


def test_a_guest_that_was_renamed_runs(xen: Xen) -> None:
    make(xen)
    xen.running["other"] = xen.running.pop("web1")
    before = state(xen)
    with pytest.raises(XenableError, match="cannot remove web1: it runs"):
        lifecycle.remove(xen.host, "web1")
    assert state(xen) == before
    assert lifecycle.remove_all(xen.host, DIRECTORY, quiet) == ("web1",)
    assert xen.running == {}


def test_a_change_that_would_contradict(xen: Xen) -> None:
    for text, why in (
        ("memory = 512\nmaxmem = 600\n", "a maximum of 600 is set"),
        ("memory = 512; memory = 3\n", "only you can change"),
    ):
        with pytest.raises(XenableError, match=why):
            xlcfg.change(text, {"memory": 1024}, "/etc/xen/a.cfg")


PIECES = st.sampled_from(
    [
        'name = "a"',
        "memory = 1",
        "  memory =  0x10  # c",
        "vcpus=2;",
        "# memory = 3",
        "extra = 'memory = 4'",
        "",
    ]
)


@given(st.lists(PIECES, max_size=8), st.integers(1, 9999), st.integers(1, 128), st.booleans())
def test_a_changed_file_says_the_new_numbers_and_the_rest_stays(
    lines: list[str], memory: int, vcpus: int, end: bool
) -> None:
    text = "\n".join(lines) + ("\n" if end else "")
    changed = xlcfg.change(text, {"memory": memory, "vcpus": vcpus}, "a.cfg")
    found = xlcfg.summary(changed)
    assert (found.memory, found.vcpus) == (memory, vcpus)
    kept = [line for line in lines if not line.strip().startswith(("memory", "vcpus"))]
    assert [line for line in changed.split("\n") if line in kept and line] == [line for line in kept if line]
    assert changed == xlcfg.change(changed, {"memory": memory, "vcpus": vcpus}, "a.cfg")


# ------------------------------------------------------------------------------------------------ remove


@pytest.mark.parametrize("place", PLACES)
def test_remove_leaves_nothing(xen: Xen, place: Storage) -> None:
    before = state(xen)
    make(xen, place)
    with pytest.raises(XenableError, match="cannot remove web1: it runs"):
        lifecycle.remove(xen.host, "web1")
    assert "web1" in xen.running
    lifecycle.remove(xen.host, "web1", force=True)
    assert state(xen) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_removal_that_is_cut_off_is_finished_by_the_next(tmp_path: Path, place: Storage) -> None:
    class Killed(BaseException):
        pass

    for number in range(1, 60):
        with pytest.MonkeyPatch.context() as patch:
            xen = make_xen(tmp_path / str(number), patch)
            before = state(xen)
            make(xen, place)
            acts: list[str] = []

            def wrap(patch: pytest.MonkeyPatch, name: str, acts: list[str], last: int) -> None:
                whole = getattr(Host, name)

                def act(*args: Any, **options: Any) -> Any:
                    acts.append(name)
                    if len(acts) == last:
                        raise Killed
                    return whole(*args, **options)

                patch.setattr(Host, name, act)

            with pytest.MonkeyPatch.context() as inner:
                for name in ("write", "remove", "rename", "run"):
                    wrap(inner, name, acts, number)
                try:
                    lifecycle.remove(xen.host, "web1", force=True)
                except Killed:
                    done = False
                else:
                    done = True
            claims.sweep(xen.host)
            if "web1" in records.names(xen.host):
                lifecycle.remove(xen.host, "web1", force=True)
            assert state(xen) == before, number
            if done:
                break
    assert number > 6


def test_a_folder_that_is_half_removed_is_no_guest(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """rm was killed when the record was gone already, and other files were not."""
    before = state(xen)
    make(xen, start=False)

    class Killed(BaseException):
        pass

    def half(words: list[str]) -> Result:
        (xen.host.path(words[-1]) / "guest.json").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(xen, "do_rm", half)
        with pytest.raises(Killed):
            lifecycle.remove(xen.host, "web1")
    claims.sweep(xen.host)
    assert state(xen) == before


def test_remove_all_takes_images_and_folders_too(xen: Xen) -> None:
    for number, place in enumerate(PLACES, 1):
        make(xen, place, name=f"web{number}")
    assert lifecycle.guests_present(xen.host) == ("web1", "web2", "web3")
    assert lifecycle.remove_all(xen.host, THIN, quiet) == ("web1", "web2", "web3")
    assert lifecycle.guests_present(xen.host) == () and xen.running == {}
    assert set(xen.volumes) == {"vg/pool"}
    left = [name for name in tree(xen.host.root) if name.startswith(("var/lib/xenable/", "etc/xen/"))]
    assert left == []
    assert lifecycle.remove_all(xen.host, ELSEWHERE, quiet) == ()
    # The administrator's own, though nothing is in it.
    assert xen.host.names("/srv/disks") == () and xen.host.is_dir("/srv/disks")


def test_remove_all_leaves_what_others_put_there(xen: Xen) -> None:
    xen.host.write("/srv/disks/mine.raw", b"x")
    xen.host.write("/var/lib/xenable/guests/notes", b"x")
    lifecycle.remove_all(xen.host, ELSEWHERE, quiet)
    assert xen.host.exists("/srv/disks/mine.raw") and xen.host.exists("/var/lib/xenable/guests/notes")


def test_remove_all_waits_for_what_is_made(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    make(xen, start=False)
    claim = claims.Claim(
        name="web2", uuid="u" * 36, ipv4="", pid=os.getpid(), began=claims.began(xen.host, os.getpid()),
        folder="", volume="",
    )  # fmt: skip
    xen.host.write(claims.claim_path("web2"), json.dumps(asdict(claim)).encode())
    before = state(xen)
    with pytest.raises(XenableError, match="cannot remove the guests: web2 is being made"):
        lifecycle.remove_all(xen.host, DIRECTORY, quiet)
    assert state(xen) == before
    xen.host.remove(claims.claim_path("web2"))
    before = state(xen)
    with xen.host.lock_folder(records.IMAGES), pytest.raises(XenableError, match="another xenable does"):
        lifecycle.remove_all(xen.host, DIRECTORY, quiet)
    assert state(xen) == before
    held: list[bool] = []
    whole = xen.do_rm

    def rm(words: list[str]) -> Result:
        for folder in (records.IMAGES, records.GUESTS):
            with pytest.raises(XenableError), xen.host.lock_folder(folder, wait=False):
                held.append(False)
        return whole(words)

    monkeypatch.setattr(xen, "do_rm", rm)
    assert lifecycle.remove_all(xen.host, DIRECTORY, quiet) == ("web1",) and held == []


@pytest.mark.parametrize("place", PLACES)
def test_remove_all_goes_past_damaged_records(xen: Xen, place: Storage) -> None:
    make(xen, place)
    make(xen, place, name="web2")
    xen.host.write(records.record("web1"), b"damaged")
    xen.host.write(records.IMAGES / "trixie-amd64.json", b"damaged")
    assert lifecycle.remove_all(xen.host, place, quiet) == ("web1", "web2")
    assert xen.running == {} and set(xen.volumes) == {"vg/pool"}
    left = [n for n in tree(xen.host.root) if n.startswith(("var/lib/xenable/", "etc/xen/", "srv/"))]
    assert left == ["srv/disks"]


@pytest.mark.parametrize("place", [ELSEWHERE, THIN])
def test_a_damaged_record_is_no_reason_to_take_what_others_made(xen: Xen, place: Storage) -> None:
    """The place of disks was changed since, and there is something of that name in it."""
    make(xen)
    xen.host.write(records.record("web1"), b"damaged")
    xen.host.make_folder("/srv/disks/web1")
    xen.host.write("/srv/disks/web1/mine", b"x")
    xen.volumes["vg/xenable-web1"] = 7
    assert lifecycle.remove_all(xen.host, place, quiet) == ("web1",)
    assert xen.host.exists("/srv/disks/web1/mine") and "vg/xenable-web1" in xen.volumes
    assert not xen.host.exists(records.folder("web1"))


def test_a_disk_that_is_not_mounted_is_not_forgotten(xen: Xen) -> None:
    make(xen, ELSEWHERE, start=False)
    xen.host.rename("/srv/disks", "/srv/away")
    xen.host.make_folder("/srv/disks")
    before = state(xen)
    for act in (
        lambda: lifecycle.remove(xen.host, "web1"),
        lambda: lifecycle.remove_all(xen.host, ELSEWHERE, quiet),
    ):
        with pytest.raises(XenableError, match="cannot remove web1: /srv/disks/web1 is not there") as caught:
            act()
        assert "guest remove --force web1" in caught.value.hint and state(xen) == before
    lifecycle.remove(xen.host, "web1", force=True)
    assert records.names(xen.host) == () and xen.host.names("/srv/away/web1") == ("disk.qcow2",)


def test_a_removal_that_has_the_disk_behind_it_goes_on(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    make(xen, ELSEWHERE, start=False)

    def fail(*_: object) -> None:
        raise XenableError("cannot rename")

    with monkeypatch.context() as patch:
        patch.setattr(Host, "rename", fail)
        with pytest.raises(XenableError, match="cannot rename"):
            lifecycle.remove(xen.host, "web1")
    assert records.names(xen.host) == ("web1",) and xen.host.names("/srv/disks") == ()
    lifecycle.remove(xen.host, "web1")
    assert records.names(xen.host) == ()


def test_a_folder_elsewhere_goes_with_all_that_is_in_it(xen: Xen) -> None:
    make(xen, ELSEWHERE, start=False)
    xen.host.write("/srv/disks/web1/left", b"x")
    lifecycle.remove(xen.host, "web1")
    assert xen.host.names("/srv/disks") == () and lifecycle.guests_present(xen.host) == ()


def test_without_lvm_there_is_nothing_in_a_pool(xen: Xen) -> None:
    xen.answers["lvs"] = Result(127, "", "lvs: not found")
    assert lifecycle.remove_all(xen.host, THIN, quiet) == ()
    assert not xen.host.exists(records.IMAGES)


def test_half_made_guests_count_as_guests(xen: Xen) -> None:
    claim = claims.Claim(
        name="half", uuid="u" * 36, ipv4="", pid=1, began="1 boot", folder="/var/lib/xenable/guests/half",
        volume="",
    )  # fmt: skip
    xen.host.write(claims.claim_path("half"), json.dumps(asdict(claim)).encode())
    assert lifecycle.guests_present(xen.host) == ("half",)
    alive(xen.host, 1, 7)
    assert claims.sweep(xen.host) == claims.Swept(taken_back=("half",))
    assert lifecycle.guests_present(xen.host) == ()


def cut_off(xen: Xen, place: Storage = DIRECTORY) -> None:
    """A guest whose creation was killed after xl had started it: all of it is there, and the claim."""

    class Killed(BaseException):
        pass

    def kill(words: list[str]) -> Result:
        whole(words)
        raise Killed

    whole = xen.do_xl
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(create, "take_back", lambda host, claim: None)
        patch.setattr(xen, "do_xl", lambda words: (kill if words[1] == "create" else whole)(words))
        with pytest.raises(Killed):
            make(xen, place)
    assert xen.host.exists(claims.claim_path("web1")) and "web1" in xen.running


@pytest.mark.parametrize("place", PLACES)
def test_remove_all_of_a_guest_whose_creation_was_cut_off(xen: Xen, place: Storage) -> None:
    cut_off(xen, place)
    assert lifecycle.guests_present(xen.host) == ("web1",)
    with pytest.raises(XenableError, match="cannot remove the guests: web1 is being made"):
        lifecycle.remove_all(xen.host, place, quiet)
    assert "web1" in xen.running and xen.host.exists("/etc/xen/web1.cfg")
    alive(xen.host, os.getpid(), 101)
    assert lifecycle.remove_all(xen.host, place, quiet) == ("web1",)
    assert xen.running == {} and set(xen.volumes) == {"vg/pool"}
    left = [n for n in tree(xen.host.root) if n.startswith(("var/lib/xenable/", "etc/xen/", "srv/"))]
    assert left == ["srv/disks"]


def test_nobody_waits_for_a_creation_that_died(xen: Xen) -> None:
    cut_off(xen)
    with pytest.raises(XenableError, match="cannot remove web1: web1 is being made"):
        lifecycle.remove(xen.host, "web1", force=True)
    with pytest.raises(XenableError, match="cannot remove the image trixie-amd64: web1 is being made"):
        lifecycle.remove_image(xen.host, THIN, "trixie-amd64")
    assert "web1" in xen.running
    alive(xen.host, os.getpid(), 101)
    # It is a guest like any other.
    with pytest.raises(XenableError, match="the disks of web1 stand on it"):
        lifecycle.remove_image(xen.host, THIN, "trixie-amd64")
    assert records.names(xen.host) == ("web1",) and "web1" in xen.running
    lifecycle.remove(xen.host, "web1", force=True)
    assert records.names(xen.host) == () and xen.running == {}


def test_a_description(xen: Xen) -> None:
    make(xen, place=DIRECTORY, vcpus=2)
    guest = records.read(xen.host, "web1")
    assert lifecycle.describe(guest) == "pvh, 512M, 2 processors, 32M, trixie"
    assert storage.folder_of(DIRECTORY, "web1") == Path("/var/lib/xenable/guests/web1")
    assert BASE.ours
