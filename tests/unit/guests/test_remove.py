# SPDX-License-Identifier: GPL-2.0-or-later
"""Removing guests, whole and half made ones."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guests.machine import (
    DIRECTORY,
    ELSEWHERE,
    PLACES,
    THIN,
    Xen,
    alive,
    make,
    make_xen,
    quiet,
    state,
    tree,
)
from xenable.errors import XenableError
from xenable.guests import claims, create, lifecycle, records
from xenable.guests.storage import Storage
from xenable.host import Host, Result


@pytest.mark.parametrize("place", PLACES)
def test_remove_leaves_nothing(xen: Xen, place: Storage) -> None:
    before = state(xen)
    make(xen, place)
    with pytest.raises(XenableError, match="cannot remove web1: it runs"):
        lifecycle.remove(xen.host, "web1")
    assert "web1" in xen.running
    lifecycle.remove(xen.host, "web1", force=True)
    assert state(xen) == before


@pytest.mark.parametrize("what", ["started", "made anew"])
def test_what_somebody_does_with_the_name_meanwhile(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Its power is taken in between, which takes a while."""
    make(xen)
    sweep = claims.sweep_network

    def meanwhile(host: Host) -> None:
        sweep(host)
        if what == "started":
            lifecycle.start(host, "web1")
        else:
            monkeypatch.setattr(claims, "sweep_network", sweep)
            lifecycle.remove(host, "web1", force=True)
            make(xen)

    monkeypatch.setattr(claims, "sweep_network", meanwhile)
    with pytest.raises(XenableError, match="somebody has started it, or made it anew"):
        lifecycle.remove(xen.host, "web1", force=True)
    assert "web1" in xen.running and records.names(xen.host) == ("web1",)


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
