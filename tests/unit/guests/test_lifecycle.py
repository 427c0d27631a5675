# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting, stopping and changing guests, and what is said of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.machine import (
    BASE,
    DIRECTORY,
    SIZE,
    Xen,
    make,
    quiet,
    state,
)
from xenable.errors import XenableError
from xenable.guests import lifecycle, listing, records, storage, xlcfg
from xenable.guests.model import Kind
from xenable.host import Host, Result

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


def test_a_description(xen: Xen) -> None:
    make(xen, place=DIRECTORY, vcpus=2)
    guest = records.read(xen.host, "web1")
    assert lifecycle.describe(guest) == "pvh, 512M, 2 processors, 32M, trixie"
    assert storage.folder_of(DIRECTORY, "web1") == Path("/var/lib/xenable/guests/web1")
    assert BASE.ours
