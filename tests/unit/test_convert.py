# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole apply that fails: put back where it began, kept where it goes on, and each time said so."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from tests.factory import make_config
from tests.unit.boot.firmware import add_firmware
from xenable import convert, engine, journal, trial
from xenable.boot import efi
from xenable.boot.environment import Environment, write_environment
from xenable.errors import Exit, XenableError
from xenable.host import Host
from xenable.steps import loader, menu
from xenable.steps.files import WriteFile

TERMS = journal.Terms()
GOOD = WriteFile(path="/etc/one", content="one\n")
BAD = WriteFile(path="/etc/two/below-a-file", content="")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/two").write_text("theirs\n")
    return Host(tmp_path)


def test_a_step_that_fails_puts_back_those_before_it(host: Host) -> None:
    with pytest.raises(XenableError, match=r"cannot write .*; everything was put back$") as caught:
        convert.start(host, (GOOD, BAD), TERMS)
    assert caught.value.status is Exit.PUT_BACK
    assert host.names("/etc") == ("two",) and not convert.begun(host)


def test_what_cannot_be_put_back_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_undo(*_: object) -> None:
        raise XenableError("cannot undo everything: write /etc/one", status=Exit.NOT_PUT_BACK)

    monkeypatch.setattr(engine, "revert", no_undo)
    with pytest.raises(XenableError, match=r"cannot write .*; then: cannot undo everything") as caught:
        convert.start(host, (GOOD, BAD), TERMS)
    assert caught.value.status is Exit.NOT_PUT_BACK
    assert convert.begun(host)


def full_disk(*_: object) -> None:
    raise XenableError("cannot write the journal: No space left on device")


def mistake(*_: object) -> None:
    raise KeyError("before")


@pytest.mark.parametrize(
    ("place", "name", "fault", "said"),
    [
        (
            journal,
            "write_state",
            full_disk,
            "cannot undo everything: write /etc/one: cannot write the journal",
        ),
        (WriteFile, "undo", mistake, "cannot undo everything: write /etc/one: internal error: KeyError"),
        (journal, "put_away", full_disk, "cannot end the revert: cannot write the journal"),
    ],
)
def test_a_revert_that_stops_in_the_middle_says_so_whatever_the_reason(
    host: Host, monkeypatch: pytest.MonkeyPatch, place: object, name: str, fault: object, said: str
) -> None:
    convert.start(host, (GOOD,), TERMS)
    with monkeypatch.context() as broken:
        broken.setattr(place, name, fault)
        with pytest.raises(XenableError) as caught:
            convert.revert(host)
        assert caught.value.message.startswith(said) and "xenable revert" in caught.value.hint
        assert caught.value.status is Exit.NOT_PUT_BACK and convert.begun(host)
        if place is WriteFile:
            # Nor does an apply that fails say that all was put back.
            with pytest.raises(XenableError, match="then: cannot undo everything") as again:
                convert._put_back(host, XenableError("cannot write /etc/two"), engine.quiet)
            assert again.value.status is Exit.NOT_PUT_BACK
    assert convert.revert(host) == () and host.names("/etc") == ("two",)


def test_what_was_edited_while_the_question_stood_is_not_lost(host: Host) -> None:
    convert.start(host, (GOOD,), TERMS)
    host.write("/etc/one", b"edited\n")
    with pytest.raises(XenableError, match="others changed what Xenable would put back: /etc/one") as caught:
        convert.revert(host)
    assert caught.value.status is Exit.FAILED and host.text("/etc/one") == "edited\n"
    assert not trial.reverted(host)
    assert convert.revert(host, force=True) == () and host.names("/etc") == ("two",)


def test_a_mistake_of_ours_is_put_back_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object) -> None:
        host.write("/etc/one", b"half\n")
        raise ValueError("never thought of")

    monkeypatch.setattr(engine, "apply", mistaken)
    with pytest.raises(
        XenableError, match="ValueError: never thought of; everything was put back"
    ) as caught:
        convert.start(host, (GOOD,), TERMS)
    assert caught.value.status is Exit.PUT_BACK and "report" in caught.value.hint
    # --debug shows where it was.
    assert "never thought of" in "".join(traceback.format_exception(caught.value)).split("XenableError")[0]


NATIVE = "menuentry 'Debian' $menuentry_id_option 'gnulinux' {\n}\n"
OURS = (
    "### BEGIN /etc/grub.d/90_xenable ###\n"
    "menuentry 'slot' $menuentry_id_option 'xenable-a' { true }\n"
    "### END /etc/grub.d/90_xenable ###\n"
)


def test_an_apply_mends_a_menu_that_lost_its_entries(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot is confirmed, and every reset boots native: update-grub ran while our generator could not."""
    made: list[str] = []

    def generate(*_: object) -> bytes:
        made.append("menu")
        return (NATIVE + OURS).encode()

    monkeypatch.setattr(menu, "_generate", generate)
    monkeypatch.setattr(Host, "settle", lambda _host, _path=None: None)
    host.make_folder("/boot/grub")
    host.make_folder("/boot/xenable/a")
    host.write("/boot/xenable/a/boot.cfg", b"")
    host.write(menu.MENU, NATIVE.encode())
    write_environment(host, "/boot/grub", Environment())
    steps = (GOOD, menu.RefreshMenu(entry_ids=("xenable-a",)))
    engine.apply(host, engine.plan_into_journal(host, steps))
    write_environment(host, "/boot/grub", Environment(default="a"))
    assert (trial.status(host).next_boot, made.pop()) == ("xen", "menu")
    # The native entries are others than those of then, too.
    host.write(menu.MENU, NATIVE.replace("Debian", "Debian 14").encode())
    monkeypatch.setattr(
        menu, "_generate", lambda *_: (NATIVE.replace("Debian", "Debian 14") + OURS).encode()
    )
    assert trial.status(host).next_boot == "native"
    convert.resume(host, make_config())
    assert trial.status(host).next_boot == "xen"
    assert trial.environment(host) == Environment(default="a")
    # And only where it is lacking.
    monkeypatch.setattr(menu, "_generate", generate)
    convert.resume(host, make_config())
    assert made == []


def test_an_apply_that_goes_on_and_fails_says_what_stays(host: Host) -> None:
    engine.plan_into_journal(host, (GOOD, BAD), TERMS)
    with pytest.raises(XenableError, match=r"cannot write .*; the steps before it stay done") as caught:
        convert.resume(host, make_config())
    assert caught.value.status is Exit.FAILED
    assert "goes on from here" in caught.value.hint and "xenable revert" in caught.value.hint
    assert host.exists("/etc/one")
    # And it is so.
    convert.revert(host)
    assert host.names("/etc") == ("two",) and not convert.begun(host)


def test_a_file_of_ours_that_is_gone_comes_back(host: Host) -> None:
    """As /etc/xenable/network.env after a purge of the package; elsewhere an administrator removed it."""
    own = WriteFile(path="/etc/xenable/network.env", content="MODE=routed\n")
    convert.start(host, (GOOD, own), TERMS)
    host.remove("/etc/one")
    assert convert._lost_files(host, journal.read_journal(host)) == ()
    host.remove("/etc/xenable/network.env")
    records = convert._lost_files(host, journal.read_journal(host))
    told: list[engine.Event] = []
    engine.apply(host, records, told.append)
    assert host.text(own.path) == own.content and not host.exists("/etc/one")
    assert {(event.number, event.total) for event in told} == {(1, 1)}
    assert convert.revert(host) == () and host.names("/etc") == ("two",)


def test_a_grub_of_ours_that_is_gone_is_made_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, or its entry, nothing starts Xen where the firmware has the one-shot."""
    monkeypatch.setattr(loader, "build", lambda _host: b"GRUB")
    add_firmware(host)
    host.make_folder("/boot/efi/EFI")
    own = loader.OwnLoader(folder="/boot/efi/EFI/xenable")
    convert.start(host, (GOOD, own), TERMS)
    assert convert._lost_loader(host, journal.read_journal(host)) == ()
    for lost in ("file", "entry"):
        if lost == "file":
            host.remove("/boot/efi/EFI/xenable/grubx64.efi")
        else:
            efi.remove_entry(host)
        steps = convert._lost_loader(host, journal.read_journal(host))
        assert steps == (own,)
        engine.repeat(host, steps)
        assert own.is_done(host)
    # Under an EFI system partition that is not mounted it would start nothing, and stay there.
    host.remove("/boot/efi/EFI/xenable/grubx64.efi")
    for folder in ("/boot/efi/EFI/xenable", "/boot/efi/EFI"):
        host.remove(folder)
    with pytest.raises(XenableError, match=r"cannot make a GRUB for the trial: .* mount its file system"):
        engine.repeat(host, convert._lost_loader(host, journal.read_journal(host)))
    assert host.names("/boot/efi") == ()
    host.make_folder("/boot/efi/EFI")
    assert convert.revert(host) == ()
    assert host.names("/boot/efi/EFI") == () and efi.own_entries(host) == ()
