# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot menu with the real grub-mkconfig: never half of one, in its own language, and as it was."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from tests.factory import HEALTHY, make_config
from xenable.checks.boot_loader import check_menu, default_entries
from xenable.errors import XenableError
from xenable.facts.menu import probe_menu
from xenable.host import STATE, Host
from xenable.model import Severity
from xenable.steps.menu import MADE, MENU, Menu, RefreshMenu, native_part

from .kinds import ENTRY, GENERATOR
from .progress import tell
from .sandbox import boot_menu, command, inside, needs_sandbox

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
STEP = RefreshMenu(entry_ids=("xenable-a",))


def generator(text: str = ENTRY) -> None:
    GENERATOR.write_text(f"#!/bin/sh\ncat <<'E'\n{text}E\n")
    GENERATOR.chmod(0o755)


def test_the_menu_in_use_is_replaced_and_never_written_to() -> None:
    def work() -> None:
        boot_menu()
        MENU.chmod(0o440)
        os.chown(MENU, 0, 7)
        before = MENU.read_bytes()
        generator()
        saved = STEP.save(HOST)
        with MENU.open("rb") as kept:
            STEP.do(HOST, saved, tell)
            # Whoever has the old file open, a power cut among them, still has all of it.
            assert kept.read() == before
        assert b"xenable-a" in MENU.read_bytes()
        info = MENU.stat()
        assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o440, 0, 7)
        # The same as from update-grub, to the byte.
        made = MENU.read_bytes()
        command("update-grub")
        assert MENU.read_bytes() == made
        assert not [name for name in HOST.names(STATE) if name.startswith(MADE.name)]

    inside(work)


@pytest.mark.parametrize(
    ("text", "words"),
    [("menuentry {{{\n", "grub-mkconfig"), ("true\n", "left it out"), (ENTRY, "native entries")],
    ids=["syntax", "missing", "native"],
)
def test_a_menu_that_is_not_right_is_not_put_in_place(text: str, words: str) -> None:
    def work() -> None:
        boot_menu()
        generator(text)
        saved = STEP.save(HOST)
        if words == "native entries":
            command("rm /boot/vmlinuz-6.1.0-1-amd64")
        before = MENU.read_bytes()
        with pytest.raises(XenableError) as caught:
            STEP.do(HOST, saved, tell)
        assert words in caught.value.message
        assert MENU.read_bytes() == before
        assert not [name for name in HOST.names(STATE) if name.startswith(MADE.name)]

    inside(work)


def test_a_menu_that_the_step_would_refuse_is_found_beforehand() -> None:
    def stops() -> list[str]:
        facts = dataclasses.replace(HEALTHY, menu=probe_menu(HOST))
        found = check_menu(facts, make_config())
        return [finding.id for finding in found if finding.severity is Severity.BLOCKER]

    def work() -> None:
        boot_menu()
        assert stops() == []
        Path("/etc/default/grub").write_text('GRUB_CMDLINE_LINUX="quiet"\n')
        assert stops() == ["boot/menu-stale"]
        generator()
        with pytest.raises(XenableError, match="native entries"):
            STEP.do(HOST, STEP.save(HOST), tell)
        GENERATOR.unlink()
        # The remedy.
        command("update-grub")
        assert stops() == []
        generator()
        STEP.do(HOST, STEP.save(HOST), tell)

    inside(work)


def test_a_menu_in_the_language_of_the_machine_keeps_it() -> None:
    """update-grub ran in German before; now root's shell is English."""

    def work() -> None:
        script = Path("/etc/grub.d/15_site")
        script.write_text("#!/bin/sh\necho \"menuentry 'Titel ${LC_ALL:-$LANG}' { true }\"\n")
        script.chmod(0o755)
        os.environ.update(LANG="de_DE.UTF-8", LC_ALL="")
        boot_menu()
        assert b"Titel de_DE.UTF-8" in MENU.read_bytes()
        os.environ["LANG"] = "en_US.UTF-8"
        Path("/etc/default/locale").write_text('# of the machine\nLANG="de_DE.UTF-8"\n')
        generator()
        STEP.do(HOST, STEP.save(HOST), tell)
        assert b"Titel de_DE.UTF-8" in MENU.read_bytes() and b"xenable-a" in MENU.read_bytes()

    inside(work)


@pytest.mark.parametrize(("locale", "word"), [("de_DE", "Büro"), ("ja_JP", "業務サーバ")])
def test_a_default_by_titles_in_other_languages(locale: str, word: str) -> None:
    """GRUB_DEFAULT names an entry of a submenu by both titles, as the real 10_linux has them there.

    Debian's own catalogues of GRUB have no translation of them: what is not English is the system's name.
    """

    def work() -> None:
        command(f"localedef -i {locale} -f UTF-8 {locale}.UTF-8")
        os.environ.update(LANG=f"{locale}.UTF-8", LC_ALL="", LANGUAGE="")
        Path("/etc/default/locale").write_text(f"LANG={locale}.UTF-8\n")
        settings = Path("/etc/default/grub")
        settings.write_text(f"GRUB_DISTRIBUTOR='{word}'\n")
        boot_menu()
        found = titles()
        assert all(word in title for title in found) and len(found) == 6
        submenu, older = found[1], next(t for t in found if "6.1.0-1-amd64" in t)
        settings.write_text(f"GRUB_DISTRIBUTOR='{word}'\nGRUB_DEFAULT='{submenu}>{older}'\n")
        command("update-grub")
        before = native_part(MENU.read_bytes())
        facts = dataclasses.replace(HEALTHY, menu=probe_menu(HOST))
        entries = default_entries(facts.menu, facts.menu.grub_default)
        assert [entry.title for entry in entries] == [older], entries
        assert not [f for f in check_menu(facts, make_config()) if f.severity is not Severity.NOTE]
        # Root's shell is in another language.
        os.environ["LANG"] = "C.UTF-8"
        generator()
        STEP.do(HOST, STEP.save(HOST), tell)
        assert native_part(MENU.read_bytes()) == before and b"xenable-a" in MENU.read_bytes()

    inside(work)


def titles() -> list[str]:
    """Of the menu's entries and submenus."""
    return re.findall(r"^\s*(?:menuentry|submenu) '([^']*)'", MENU.read_text(), re.MULTILINE)


def test_a_menu_that_was_old_already_comes_back_as_it_was() -> None:
    def work() -> None:
        boot_menu()
        # A kernel and a setting came, and nobody ran update-grub.
        Path("/boot/vmlinuz-6.12.10-amd64").write_bytes(b"a kernel")
        Path("/etc/default/grub").write_text("GRUB_TIMEOUT=9\n")
        before, when = MENU.read_bytes(), MENU.stat().st_mtime_ns
        saved = Menu().save(HOST)
        command("update-grub")
        assert MENU.read_bytes() != before
        Menu().undo(HOST, saved, tell)
        assert MENU.read_bytes() == before and MENU.stat().st_mtime_ns == when
        assert Menu().remains(HOST, saved) == ()

    inside(work)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("touch /boot/vmlinuz-6.12.10-amd64", b"6.12.10"),
        ("rm /boot/vmlinuz-6.1.0-1-amd64", b"### END"),
        ("echo GRUB_TIMEOUT=9 >>/etc/default/grub", b"timeout=9"),
        ("chmod -x /etc/grub.d/40_custom", b"### END"),
    ],
    ids=["kernel came", "kernel went", "setting", "script"],
)
def test_a_menu_of_a_machine_that_changed_is_made_anew(change: str, words: bytes) -> None:
    def work() -> None:
        boot_menu()
        before = MENU.read_bytes()
        saved = Menu().save(HOST)
        generator()
        command("update-grub")
        GENERATOR.unlink()
        command(change)
        Menu().undo(HOST, saved, tell)
        after = MENU.read_bytes()
        assert after != before and words in after and b"xenable-a" not in after
        (sentence,) = Menu().remains(HOST, saved)
        assert sentence.startswith("the boot menu was made anew")

    inside(work)


def test_a_menu_of_disks_that_moved_is_not_put_back() -> None:
    """/boot went to another partition, or a volume group got another name, and update-grub was run."""

    def work() -> None:
        boot_menu()
        when = MENU.stat().st_mtime_ns
        saved = Menu().save(HOST)
        generator()
        command("update-grub")
        GENERATOR.unlink()
        text = MENU.read_text()
        assert " root=" in text
        MENU.write_text(text.replace(" root=", " root=UUID=moved-"))
        Menu().undo(HOST, saved, tell)
        # Made anew: here it is the same again, for this machine's disks have not moved.
        assert MENU.stat().st_mtime_ns != when and b"xenable-a" not in MENU.read_bytes()

    inside(work)


def test_at_no_moment_does_grub_find_half_a_menu() -> None:
    """GRUB reads a file system without its journal."""

    def work() -> None:
        boot_menu()
        before, kept = MENU.read_bytes(), MENU.with_name(".grub.cfg.xenable-old")
        new = MENU.with_name(".grub.cfg.xenable-new")
        seen: list[tuple[bytes, bool | None, bool]] = []

        def xen(path: Path) -> bool | None:
            return b"xenable-a" in path.read_bytes() if path.exists() else None

        os.sync = lambda: seen.append((kept.read_bytes(), xen(new), xen(MENU) is True))
        generator()
        saved = Menu().save(HOST)
        STEP.do(HOST, STEP.save(HOST), tell)
        # All of the new file is where it belongs before its name leads to it.
        assert seen == [(before, True, False), (before, None, True)]
        made = MENU.read_bytes()
        assert not kept.exists() and not new.exists()
        GENERATOR.unlink()
        Menu().undo(HOST, saved, tell)
        assert seen[2:] == [(made, False, True), (made, None, False)] and MENU.read_bytes() == before
        # What a kill in between left goes with the next.
        for path in (kept, new):
            path.write_bytes(b"older")
        Menu().undo(HOST, saved, tell)
        assert not kept.exists() and not new.exists() and MENU.read_bytes() == before

    inside(work)


def test_a_menu_behind_a_link() -> None:
    def work() -> None:
        boot_menu()
        command("mv /boot/grub/grub.cfg /boot/real.cfg && ln -s ../real.cfg /boot/grub/grub.cfg")
        before = Path("/boot/real.cfg").read_bytes()
        saved, refresh = Menu().save(HOST), STEP.save(HOST)
        generator()
        STEP.do(HOST, refresh, tell)
        assert b"xenable-a" in Path("/boot/real.cfg").read_bytes()
        GENERATOR.unlink()
        Menu().undo(HOST, saved, tell)
        assert MENU.is_symlink() and Path("/boot/real.cfg").read_bytes() == before

    inside(work)


def test_a_boot_folder_that_is_not_mounted_stops_a_revert() -> None:
    """All that is in it would pass for gone, and boot Xen when it is mounted again."""

    def work() -> None:
        boot_menu()
        step = Menu()
        saved = step.save(HOST)
        assert saved["boot_mounted"] and step.obstacles(HOST, saved) == ()
        command("umount /boot")
        (obstacle,) = step.obstacles(HOST, saved)
        assert obstacle.final and obstacle.what == "/boot is not mounted: mount it"

    inside(work)
