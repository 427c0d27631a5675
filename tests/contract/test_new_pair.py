# SPDX-License-Identifier: GPL-2.0-or-later
"""A newer kernel comes by apt: the real apt runs the hook, which arms one trial."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.boot.firmware import add_firmware, variable, variables
from xenable import convert, engine, journal, trial
from xenable.boot.environment import Environment, write_environment
from xenable.boot.slots import free_slot, read_manifest, verify_slot
from xenable.errors import XenableError
from xenable.health import read_before, write_before
from xenable.host import Host
from xenable.model import Status
from xenable.plan import PACKAGES_HOOK
from xenable.plan.texts import packages_hook
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.files import WriteFile
from xenable.steps.slot import KEEP, Arm, FillSlot, filled_by

from ..crash.dying import die
from ..factory import make_config
from .kinds import PAIR, SLOT_ENTRIES, furnish_slot
from .sandbox import REPOSITORY, build, command, inside, needs_sandbox, publish

pytestmark = [pytest.mark.realtool, needs_sandbox]

HOST = Host()
OLD, NEW = "6.12.9-test", "6.12.10-test"
STEPS: tuple[Step, ...] = (
    BootEnvironment(folder="/boot/grub"),
    WriteFile(path=PACKAGES_HOOK, content=packages_hook()),
    FillSlot(deadline=240, hold=False),
    Arm(),
)


def passed(*, hold: bool = False) -> None:
    """A machine whose slot a passed its trial with the old kernel, and an archive with a newer one."""
    furnish_slot(Path("/"))
    install_xenable()
    command(f"cp -r /lib/modules/{OLD} /srv/modules")
    build(f"linux-image-{OLD}", scripts={"postrm": take(OLD)})
    build(f"linux-image-{NEW}", scripts={"postinst": bring(NEW), "postrm": take(NEW)})
    build("linux-image-test", Depends=f"linux-image-{OLD}")
    build("linux-image-test", "2.0", Depends=f"linux-image-{NEW}")
    build("other")
    publish()
    command("apt-get -qq -y install linux-image-test=1.0 2>&1")
    steps = (*STEPS[:2], FillSlot(deadline=240, hold=hold), STEPS[3])
    engine.apply(HOST, engine.plan_into_journal(HOST, steps))
    passes("a")


def passes(slot: str) -> None:
    """What GRUB and the gate write at a boot that goes well."""
    assert trial.environment(HOST) == Environment(try_slot=slot, default="a" if slot == "b" else "")
    write_environment(HOST, "/boot/grub", Environment(default=slot))


def bring(version: str) -> str:
    """What the scripts of a kernel's package do: initrd, then menu."""
    return (
        f"[ -e /lib/modules/{version} ] || cp -r /srv/modules /lib/modules/{version}\n"
        f"for file in vmlinuz initrd.img; do echo $file {version} >/boot/$file-{version}; done\n"
        f"cat >/boot/grub/grub.cfg <<'END'\n{PAIR.replace(OLD, version)}END\n"
    )


def take(version: str) -> str:
    """What its removal does. depmod's files may stay, until a purge or for ever."""
    return (
        "[ $1 = remove ] || exit 0\n"
        f"rm -f /lib/modules/{version}/modules.order /lib/modules/{version}/*.ko /boot/*-{version}\n"
        f"grep -q {version} /boot/grub/grub.cfg || exit 0\n"
        f"cat >/boot/grub/grub.cfg <<'END'\n{SLOT_ENTRIES}END\n"
    )


SYSTEMCTL = """#!/bin/sh
case $1 in
    is-system-running) echo running ;;
    list-units) echo '[]' ;;
esac
"""
"""There is no systemd to ask in a sandbox."""


def install_xenable() -> None:
    """The checkout's, where the package has it."""
    Path("/usr/bin/systemctl").write_text(SYSTEMCTL)
    program = Path("/usr/bin/xenable")
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m xenable "$@"\n')
    program.chmod(0o755)
    folder = Path("/usr/share/xenable/apt")
    folder.mkdir(parents=True)
    (folder / "after-packages").symlink_to(REPOSITORY / "data/apt/after-packages")


def apt(words: str) -> str:
    return command(f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y {words} 2>&1")


def test_a_newer_kernel_is_armed_by_apt_alone_and_only_once() -> None:
    def work() -> None:
        passed()
        assert "tries it once" in apt("install linux-image-test")
        assert trial.environment(HOST) == Environment(try_slot="b", default="a")
        manifest = read_manifest(HOST, "b")
        assert manifest is not None and manifest.kernel == NEW
        assert "xenable.deadline=240" in manifest.dom0_arguments
        frozen = read_manifest(HOST, "a")
        assert frozen is not None and frozen.kernel == OLD
        # It fails, and the machine is back on the last good pair: nobody but a person tries it again.
        write_environment(HOST, "/boot/grub", Environment(default="a"))
        os.utime("/boot")
        assert "tries it" not in apt("install other")
        assert trial.environment(HOST) == Environment(default="a")
        engine.revert(HOST, journal.read_journal(HOST))
        assert HOST.names("/etc/apt/apt.conf.d") == ()

    inside(work)


def test_a_newer_kernel_takes_the_place_of_one_that_waits_for_its_trial() -> None:
    def work() -> None:
        passed()
        apt("install linux-image-test")
        # As dpkg does it: the file that the slot has by another name stays what it is.
        command(f"echo mended again >/boot/new && mv /boot/new /boot/vmlinuz-{NEW}")
        assert "tries it once" in apt("install other")
        assert trial.environment(HOST) == Environment(try_slot="b", default="a")
        assert HOST.text("/boot/xenable/b/vmlinuz") == "mended again\n"

    inside(work)


def test_what_is_missing_now_is_not_forgotten() -> None:
    def work() -> None:
        passed()
        seen = read_before(HOST)
        write_before(HOST, replace(seen, addresses=(*seen.addresses, "192.0.2.9")))
        said = " ".join(apt("install linux-image-test").split())
        assert "the address 192.0.2.9 is not back" in said and "run `sudo xenable apply`" in said
        assert trial.environment(HOST) == Environment(default="a")
        assert "192.0.2.9" in read_before(HOST).addresses
        # It comes back, and the next run of apt looks again.
        write_before(HOST, seen)
        assert "tries it once" in apt("install other")

    inside(work)


def test_apply_arms_anew_what_waits_for_its_trial() -> None:
    def work() -> None:
        passed()
        apt("install linux-image-test")
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(trial, "running_xen", lambda host: True)
        assert trial.status(HOST).state is Status.CONFIRMED
        command(f"echo mended again >/boot/new && mv /boot/new /boot/vmlinuz-{NEW}")
        convert.resume(HOST, make_config())
        assert trial.environment(HOST) == Environment(try_slot="b", default="a")
        assert HOST.text("/boot/xenable/b/vmlinuz") == "mended again\n"

    inside(work)


def test_no_moment_is_without_a_good_slot(tmp_path: Path) -> None:
    """kill -9 at every write while the pair that waits is replaced: what is armed is there, and whole."""

    def work() -> None:
        passed()
        apt("install linux-image-test")
        command(f"echo mended again >/boot/new && mv /boot/new /boot/vmlinuz-{NEW}")
        shutil.copytree("/boot", "/srv/boot", symlinks=True)
        moments = Path("/srv/moments")
        assert die(HOST, convert.try_new, 0, moments) == 0
        assert HOST.text("/boot/xenable/b/vmlinuz") == "mended again\n"
        total = int(moments.read_text())
        assert total > 25
        armed = set()
        for number in range(1, total + 1):
            command("rm -rf /boot/* && cp -a /srv/boot/. /boot")
            assert die(HOST, convert.try_new, number, moments) == signal.SIGKILL
            env = trial.environment(HOST)
            slot = trial.next_boot(HOST, env)
            assert slot and not verify_slot(HOST, slot), (number, env)
            armed.add(slot)
        assert armed == {"a", "b"}

    inside(work)


def test_autoremove_leaves_what_a_slot_needs() -> None:
    def work() -> None:
        passed()
        apt("install linux-image-test")
        command(f"mv {KEEP} /srv/keep")
        assert f"Remv linux-image-{OLD}" in command("apt-get --simulate autoremove")
        command(f"mv /srv/keep {KEEP}")
        apt("autoremove")
        assert f"linux-image-{OLD}" in command("dpkg-query -W")
        passes("b")
        HOST.remove("/boot/xenable/a/manifest.json")
        engine.repeat(HOST, (FillSlot(deadline=300, hold=False),))
        assert OLD not in HOST.text(KEEP)
        apt("autoremove --purge")
        assert f"linux-image-{OLD}" not in command("dpkg-query -W")

    inside(work)


GONE = f"dom0's kernel {OLD} was removed: it is the default no longer"


def test_a_kernel_that_is_removed_is_the_default_no_longer() -> None:
    """The slot with it would boot, without any of its drivers, and only the dead-man would lead back."""

    def work() -> None:
        passed()
        said = " ".join(apt(f"purge linux-image-{OLD} linux-image-test").split())
        assert GONE in said and "the next reset boots the native system" in said
        assert trial.environment(HOST) == Environment()
        now = trial.status(HOST)
        assert now.next_boot == "native" and f"{OLD} was removed" in now.reason
        # Another one that comes later is a person's to try.
        assert "tries it" not in apt(f"install linux-image-{NEW}")
        convert.resume(HOST, make_config())
        assert trial.environment(HOST) == Environment(try_slot="a")

    inside(work)


def test_a_kernel_that_comes_for_the_one_that_is_removed_is_tried() -> None:
    def work() -> None:
        passed()
        said = " ".join(apt(f"install linux-image-{OLD}- linux-image-{NEW}").split())
        assert GONE in said and "tries it once" in said and "boots the native system" not in said
        assert trial.environment(HOST) == Environment(try_slot="a")
        manifest = read_manifest(HOST, "a")
        assert manifest is not None and manifest.kernel == NEW
        assert "xenable.deadline=240" in manifest.dom0_arguments

    inside(work)


def test_what_is_armed_already_stays_so_when_the_default_is_removed() -> None:
    def work() -> None:
        passed()
        apt(f"install linux-image-{NEW}")
        said = " ".join(apt(f"purge linux-image-{OLD} linux-image-test").split())
        assert GONE in said and "boots the native system" not in said
        assert trial.environment(HOST) == Environment(try_slot="b")

    inside(work)


def test_what_failed_is_not_tried_again_for_one_that_is_removed() -> None:
    def work() -> None:
        passed()
        apt(f"install linux-image-{NEW}")
        write_environment(HOST, "/boot/grub", Environment(default="a"))
        said = " ".join(apt(f"purge linux-image-{OLD} linux-image-test").split())
        assert GONE in said and "the next reset boots the native system" in said
        assert trial.environment(HOST) == Environment()

    inside(work)


def test_a_kernel_that_is_removed_before_its_trial_has_none() -> None:
    def work() -> None:
        passed()
        apt(f"install linux-image-{NEW}")
        said = " ".join(apt(f"purge linux-image-{NEW}").split())
        assert f"dom0's kernel {NEW} was removed: its trial is called off" in said
        assert trial.environment(HOST) == Environment(default="a")

    inside(work)


def test_a_kernel_that_is_removed_while_it_is_on_trial_is_not_accepted() -> None:
    def work() -> None:
        passed()
        apt(f"install linux-image-{NEW}")
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(trial, "running_xen", lambda host: True)
        write_environment(HOST, "/boot/grub", Environment(default="a", trying="b", stage="started"))
        command(f"rm -r /lib/modules/{NEW}")
        # The gate still has to say whether this boot is well: until then the dead-man goes on.
        assert convert.drop_removed(HOST) == ()
        assert not trial.accept(HOST)
        assert trial.environment(HOST) == Environment(default="a")

    inside(work)


def test_removed_by_dpkg_alone_it_is_told_by_status_and_mended_by_apply() -> None:
    def work() -> None:
        passed()
        command(f"dpkg --purge linux-image-test linux-image-{OLD}")
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(trial, "running_xen", lambda host: True)
        assert f"dom0's kernel {OLD} was removed: run `xenable apply`" in trial.status(HOST).reason
        command(bring(NEW))
        convert.resume(HOST, make_config())
        assert trial.environment(HOST) == Environment(try_slot="a")

    inside(work)


def test_a_clock_that_was_ahead_hides_no_change() -> None:
    """It was set right after the last look, which is dated in the future."""

    def work() -> None:
        passed()
        apt("install other")
        looked = Path("/run/xenable-looked")
        os.utime(looked, (4102444800, 4102444800))
        assert GONE in " ".join(apt(f"purge linux-image-{OLD} linux-image-test").split())

    inside(work)


def test_nothing_is_looked_at_where_nothing_has_changed() -> None:
    def work() -> None:
        passed()
        apt("install other")
        program = Path("/usr/bin/xenable")
        program.write_text("#!/bin/sh\necho >>/srv/looks\n")
        assert Path("/run/xenable-looked").read_text().count("/") == 6
        apt("install --reinstall other")
        assert not Path("/srv/looks").exists()
        # The menu alone; then one that can't be looked at, which is looked at again.
        Path("/boot/grub/grub.cfg").touch()
        program.write_text("#!/bin/sh\necho >>/srv/looks\nexit 1\n")
        apt("install --reinstall other")
        apt("install --reinstall other")
        assert Path("/srv/looks").read_text() == "\n\n"

    inside(work)


def test_a_menu_that_lost_its_entries_is_said_by_apt() -> None:
    """update-grub ran while 90_xenable could not work."""

    def work() -> None:
        passed()
        command("echo >/boot/grub/grub.cfg")
        said = " ".join(apt("install other").split())
        assert "the boot menu has no entry for slot a" in said and "sudo xenable apply" in said

    inside(work)


def test_a_boot_that_is_on_trial_itself_comes_first() -> None:
    def work() -> None:
        passed()
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(trial, "running_xen", lambda host: True)
        write_environment(HOST, "/boot/grub", Environment(default="a", trying="a", stage="started"))
        command(bring(NEW))
        with pytest.raises(XenableError, match="this boot is on trial itself"):
            convert.try_new(HOST)
        write_environment(HOST, "/boot/grub", Environment(default="a"))
        assert convert.try_new(HOST)

    inside(work)


def test_no_slot_is_filled_while_nobody_knows_which_one_is_in_use() -> None:
    """As where the block is on an EFI system partition that is not mounted: it may name slot a."""

    def work() -> None:
        passed()
        command(bring(NEW))
        before = HOST.read("/boot/xenable/a/manifest.json")
        HOST.rename("/boot/grub/xenable.env", "/boot/grub/aside.env")
        with pytest.raises(XenableError, match="says which one is used"):
            convert.resume(HOST, make_config())
        assert HOST.read("/boot/xenable/a/manifest.json") == before
        HOST.rename("/boot/grub/aside.env", "/boot/grub/xenable.env")
        convert.resume(HOST, make_config())
        assert trial.environment(HOST) == Environment(try_slot="b", default="a")

    inside(work)


def test_an_apply_that_goes_on_tries_it_as_it_is_told_now() -> None:
    """The first one was cut off before it had filled a slot."""

    def work() -> None:
        passed()
        convert.revert(HOST)
        engine.plan_into_journal(HOST, STEPS)
        convert.resume(HOST, make_config(trial_seconds=900, auto_confirm=False))
        assert trial.armed_slot(HOST) == "a"
        assert filled_by(HOST, "a") == FillSlot(deadline=900, hold=True)

    inside(work)


def test_a_bootnext_of_somebody_else_comes_first() -> None:
    """Its slot would be full, and never tried: what is in one was, or is at the next reset."""

    def work() -> None:
        passed()
        add_firmware(HOST)
        write_environment(HOST, "/boot/grub", Environment(default="a"), firmware=True)
        theirs = variables(HOST)["BootOrder"][:6]
        HOST.set_variable(variable("BootNext"), theirs)
        command(bring(NEW))
        with pytest.raises(XenableError, match="BootNext is set to entry 0007 already"):
            convert.try_new(HOST)
        assert not HOST.exists("/boot/xenable/b") and variables(HOST)["BootNext"] == theirs
        HOST.set_variable(variable("BootNext"), None)
        assert convert.try_new(HOST)
        assert trial.environment(HOST) == Environment(try_slot="b", default="a")

    inside(work)


def test_where_a_person_confirms_nothing_is_armed() -> None:
    def work() -> None:
        passed(hold=True)
        assert "tries it" not in apt("install linux-image-test")
        assert trial.environment(HOST) == Environment(default="a")
        assert free_slot(trial.environment(HOST)) == "b" and not HOST.exists("/boot/xenable/b")

    inside(work)


def test_apt_goes_on_without_xenable_and_in_the_middle_of_its_work() -> None:
    def work() -> None:
        passed()
        with HOST.lock():
            said = apt("install linux-image-test")
        assert "another xenable works on this machine" in said
        assert "installed" in command(f"dpkg-query -W -f '${{db:Status-Status}}' linux-image-{NEW}")
        # The next run of apt looks again, though nothing has changed since.
        assert "tries it once" in apt("install other")
        Path("/usr/share/xenable/apt/after-packages").unlink()
        apt("install --reinstall other")

    inside(work)
