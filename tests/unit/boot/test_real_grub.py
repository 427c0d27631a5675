# SPDX-License-Identifier: GPL-2.0-or-later
"""The trial boot in a real GRUB: every state of the environment block, and what the machine then starts.

Each test is a story of starts of one small machine (grub_machine.py); a start takes under a second.
"""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from tests.unit.boot.grub_machine import (
    LINUX_WORDS,
    NATIVE,
    STUB,
    UUID,
    Machine,
    build_disk,
    grub_header,
    missing_tools,
    new_machine,
)
from xenable.boot.environment import format_block
from xenable.boot.loader import WORK, make_image, script
from xenable.host import Host

pytestmark = [
    pytest.mark.realtool,
    pytest.mark.vm,
    pytest.mark.skipif(bool(missing_tools()), reason=f"needs {', '.join(missing_tools())}"),
]

ID = "xenable-4.20-amd64-6.12.1-amd64"
OVMF = Path("/usr/share/ovmf/OVMF.fd")
NO_NATIVE = "/EFI/none.efi"
ON_EFI = "no-real-mode edd=off"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_disk(tmp_path_factory.mktemp("grub"))


@pytest.fixture
def machine(base: Path, tmp_path: Path) -> Machine:
    """Both slots and a pair are there; the user's default is entry 0."""
    machine = new_machine(base, tmp_path)
    machine.menu(grub_header(GRUB_DEFAULT="0"))
    machine.slot("a")
    machine.slot("b")
    machine.pair()
    machine.environment()
    return machine


def test_nothing_armed(machine: Machine) -> None:
    assert machine.boot() == "native simple"
    assert set(machine.variables().values()) == {""}


def test_armed_once_then_native(machine: Machine) -> None:
    machine.environment(try_slot="a")
    assert machine.boot() == "xen slot=a"
    now = machine.variables()
    assert (now["try"], now["trying"], now["stage"]) == ("", "a", "started")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d?:\d\d?:\d\d?", now["started"])
    assert machine.boot() == "native simple"
    assert machine.boot() == "native simple"


def test_words_arrive_unchanged(machine: Machine) -> None:
    machine.environment(try_slot="b")
    out = machine.start()
    line = re.search(r"MODULE:placeholder ([^\r\n]*)", out)
    assert line
    words = ("root=UUID=0", "ro", *LINUX_WORDS)
    assert line[1] == " ".join(f'"{w}"' if " " in w else w for w in words)


def test_confirmed(machine: Machine) -> None:
    machine.environment(default="a")
    assert machine.boot() == "xen slot=a"
    # Nobody said that this start was good.
    assert machine.boot() == "native simple"
    assert machine.boot() == "native simple"
    machine.environment(default="a")
    assert machine.boot() == "xen slot=a"


def test_failed_trial_of_the_other_slot_ends_on_the_good_one(machine: Machine) -> None:
    machine.environment(default="a", try_slot="b")
    assert machine.boot() == "xen slot=b"
    assert machine.boot() == "xen slot=a"
    assert machine.boot() == "native simple"


def test_a_default_that_fell_back_stays_away(machine: Machine) -> None:
    """Another entry is chosen by hand, and fails too: what failed before it is no way out."""
    machine.menu(grub_header(GRUB_DEFAULT="0"))
    machine.environment(default="a")
    assert machine.boot() == "xen slot=a"
    machine.environment(default="a", trying="a", try_slot="b")
    assert machine.boot() == "xen slot=b"
    assert machine.boot() == "native simple"


def test_unwritable_block(machine: Machine) -> None:
    """A disk that takes no writes: Xen must not be started, and the machine must not go round in circles."""
    machine.environment(try_slot="a")
    assert machine.boot(read_only=True) == "native simple"
    machine.environment(default="a")
    assert machine.boot(read_only=True) == "native simple"


def test_unwritable_block_keeps_the_users_default(machine: Machine) -> None:
    machine.menu(grub_header(GRUB_DEFAULT="gnulinux-advanced>gnulinux-6.1"))
    machine.environment(try_slot="a")
    assert machine.boot(read_only=True) == "native 6.1"


@pytest.mark.parametrize(
    "xen",
    [b"", gzip.compress(STUB + os.urandom(9999))[:5000], b"no hypervisor " * 9999],
    ids=["empty", "truncated", "garbage"],
)
def test_hypervisor_that_can_not_be_loaded(machine: Machine, xen: bytes) -> None:
    machine.slot("a", xen)
    machine.environment(try_slot="a")
    assert machine.boot() == "reset"
    now = machine.variables()
    assert (now["try"], now["trying"], now["stage"]) == ("", "a", "load-failed")
    assert machine.boot() == "native simple"


@pytest.mark.parametrize("name", ["xen", "vmlinuz", "initrd"])
def test_file_that_has_changed_since_is_not_loaded(machine: Machine, name: str) -> None:
    """The stub would still start: GRUB loads a hypervisor that ends in the middle without a word."""
    machine.put(f"/xenable/a/{name}", machine.get(f"/xenable/a/{name}") + b"!")
    machine.environment(try_slot="a")
    assert machine.boot() == "reset"
    assert machine.variables()["stage"] == "load-failed"
    assert machine.boot() == "native simple"


@pytest.mark.parametrize("name", ["vmlinuz", "initrd"])
def test_file_of_the_slot_is_gone(machine: Machine, name: str) -> None:
    machine.remove(f"/xenable/a/{name}")
    machine.environment(default="a")
    assert machine.boot() == "reset"
    assert machine.variables()["stage"] == "load-failed"
    assert machine.boot() == "native simple"


def test_broken_script_of_the_slot(machine: Machine) -> None:
    machine.put("/xenable/a/boot.cfg", b"if multiboot2 'never closed\n")
    machine.environment(try_slot="a")
    assert machine.boot() == "reset"
    assert machine.variables()["stage"] == "load-failed"
    assert machine.boot() == "native simple"


def test_slot_vanished(machine: Machine) -> None:
    machine.remove("/xenable/a/boot.cfg")
    machine.menu(grub_header(GRUB_DEFAULT="other"))
    for name in ("try_slot", "default"):
        machine.environment(values={name: "a"})
        assert machine.boot() == "native other"


@pytest.mark.parametrize("value", ["c", "-o", "] a ü"])
def test_nonsense_in_the_block(machine: Machine, value: str) -> None:
    machine.environment(try_slot=value, default=value)
    assert machine.boot() == "native simple"


@pytest.mark.parametrize("block", [b"", b"\0" * 1024, b"# GRUB Environment Block\nxenable_try=a"])
def test_damaged_block(machine: Machine, block: bytes) -> None:
    machine.put("/grub/xenable.env", block)
    assert machine.boot() == "native simple"


def test_block_is_gone(machine: Machine) -> None:
    machine.remove("/grub/xenable.env")
    assert machine.boot() == "native simple"


def test_block_on_a_file_system_that_is_not_there(machine: Machine) -> None:
    machine.menu(grub_header(GRUB_DEFAULT="other"), environment_uuid="DEAD-BEEF")
    machine.environment(try_slot="a")
    assert machine.boot() == "native other"


def test_block_found_by_its_file_system(machine: Machine) -> None:
    machine.menu(grub_header(GRUB_DEFAULT="other"), environment_uuid="1234-ABCD")
    machine.environment(try_slot="a")
    assert machine.boot() == "xen slot=a"
    assert machine.boot() == "native other"


@pytest.mark.parametrize(
    ("default", "saved", "native"),
    [
        ("2", "", "other"),
        ("other", "", "other"),
        ('Das andere \\"System\\"', "", "other"),
        ("Erweiterte Optionen für Debian>Debian GNU/Linux, mit Linux 6.1", "", "6.1"),
        ("gnulinux-advanced>gnulinux-6.12", "", "6.12"),
        ("1>1", "", "6.1"),
        ("saved", "other", "other"),
    ],
)
def test_users_default_is_untouched(machine: Machine, default: str, saved: str, native: str) -> None:
    machine.menu(grub_header(GRUB_DEFAULT=default))
    if saved:
        block = b"# GRUB Environment Block\nsaved_entry=" + saved.encode() + b"\n"
        machine.put("/grub/grubenv", block.ljust(1024, b"#"))
    machine.environment(try_slot="b")
    assert machine.boot() == "xen slot=b"
    assert machine.boot() == f"native {native}"


def test_users_own_one_shot_wins(machine: Machine) -> None:
    block = b"# GRUB Environment Block\nnext_entry=other\n"
    machine.put("/grub/grubenv", block.ljust(1024, b"#"))
    machine.environment(default="a")
    assert machine.boot() == "native other"
    assert machine.boot() == "xen slot=a"


@pytest.mark.parametrize("path", [f"xenable>{ID}", ID])
def test_ordinary_entry_is_a_try_too(machine: Machine, path: str) -> None:
    machine.menu(grub_header(GRUB_DEFAULT="other"), submenu=">" in path)
    grubenv = b"# GRUB Environment Block\nnext_entry=" + path.encode() + b"\n"
    machine.put("/grub/grubenv", grubenv.ljust(1024, b"#"))
    assert machine.boot() == "xen dom0_mem=512M,max:512M watchdog"
    assert machine.variables()["trying"] == ID
    assert machine.variables()["stage"] == "started"
    assert machine.boot() == "native other"


def test_entry_of_a_pair_that_is_gone(machine: Machine) -> None:
    machine.remove("/vmlinuz-6.12.1-amd64")
    grubenv = b"# GRUB Environment Block\nnext_entry=xenable>" + ID.encode() + b"\n"
    machine.put("/grub/grubenv", grubenv.ljust(1024, b"#"))
    assert machine.boot() == "reset"
    assert machine.variables()["stage"] == "load-failed"
    assert machine.boot() == "native simple"


def test_a_pair_that_is_the_default_alternates_with_native(machine: Machine) -> None:
    """Nobody passes what is started from the submenu and hangs: the next reset has to end natively."""
    machine.menu(grub_header(GRUB_DEFAULT=f"xenable>{ID}"))
    assert machine.boot() == "xen dom0_mem=512M,max:512M watchdog"
    assert machine.boot() == "native simple"
    assert machine.variables()["stage"] == "refused" and machine.variables()["trying"] == ID
    # Whoever wants it again gets it again.
    assert machine.boot() == "xen dom0_mem=512M,max:512M watchdog"
    assert machine.boot() == "native simple"


def test_a_pair_that_is_the_default_and_can_not_be_noted(machine: Machine) -> None:
    """It must not start its own menu over for ever."""
    machine.menu(grub_header(GRUB_DEFAULT=f"xenable>{ID}"))
    assert machine.boot(read_only=True) == "native simple"


def test_a_one_shot_that_grub_can_not_clear(machine: Machine) -> None:
    """As where GRUB's own block is on a file system that it only reads."""
    block = b"# GRUB Environment Block\nnext_entry=xenable>" + ID.encode() + b"\n"
    machine.put("/grub/grubenv", block.ljust(1024, b"#"))
    assert machine.boot() == "xen dom0_mem=512M,max:512M watchdog"
    machine.put("/grub/grubenv", block.ljust(1024, b"#"))
    assert machine.boot() == "native simple"


def test_a_slot_that_is_grubs_own_default_alternates_with_native(machine: Machine) -> None:
    """Somebody made what had passed the default by hand, too; one day it hangs."""
    machine.menu(grub_header(GRUB_DEFAULT="xenable-a"))
    machine.environment(default="a")
    assert machine.boot() == "xen slot=a"
    assert machine.boot() == "native simple"
    assert machine.variables()["stage"] == "refused" and machine.variables()["trying"] == "a"
    assert machine.boot() == "xen slot=a"
    assert machine.boot() == "native simple"


def test_a_slot_that_is_grubs_own_default_and_can_not_be_noted(machine: Machine) -> None:
    machine.menu(grub_header(GRUB_DEFAULT="xenable-a"))
    assert machine.boot(read_only=True) == "native simple"
    machine.environment(try_slot="a")
    assert machine.boot(read_only=True) == "native simple"


def test_a_one_shot_of_a_slot_that_grub_can_not_clear(machine: Machine) -> None:
    block = (b"# GRUB Environment Block\nnext_entry=xenable-b\n").ljust(1024, b"#")
    machine.put("/grub/grubenv", block)
    assert machine.boot() == "xen slot=b"
    machine.put("/grub/grubenv", block)
    assert machine.boot() == "native simple"


def test_superusers_do_not_stop_an_unattended_start(machine: Machine) -> None:
    lock = 'set superusers="root"\nexport superusers\n'
    native = NATIVE.replace("--id gnulinux-simple", "--unrestricted --id gnulinux-simple")
    machine.menu(grub_header(GRUB_DEFAULT="0") + lock, native)
    machine.environment(try_slot="a")
    assert machine.boot() == "xen slot=a"
    assert machine.boot() == "native simple"


# ----------------------------------------------------------------------- where the firmware has the one-shot


@pytest.mark.parametrize(
    ("default", "once"),
    [("0", ""), ("xenable-a", ""), (f"xenable>{ID}", ""), ("0", "xenable-a"), ("0", f"xenable>{ID}")],
)
@pytest.mark.parametrize("fields", [{"try_slot": "a"}, {"default": "a"}, {}])
def test_grubs_own_start_is_native(
    machine: Machine, fields: dict[str, str], default: str, once: str
) -> None:
    """Also where somebody made a slot or a pair GRUB's own default, or one-shot: nobody could note that."""
    machine.menu(grub_header(GRUB_DEFAULT=default))
    machine.environment(values=fields, firmware=True)
    if once:
        machine.put("/grub/grubenv", format_block({"next_entry": once}))
    # A one-shot of GRUB's own is cleared where it can be; a slot that it names does not start either way.
    for read_only in (True, False):
        assert machine.boot(read_only=read_only) == "native simple"
    assert machine.variables()["firmware"] == "yes"


@pytest.mark.parametrize(
    ("fields", "boots"),
    [
        ({"try_slot": "b", "default": "a"}, f"xen slot=b {ON_EFI}"),
        ({"default": "a"}, f"xen slot=a {ON_EFI}"),
        ({"default": "a", "trying": "b"}, f"xen slot=a {ON_EFI}"),
        ({"default": "a", "trying": "a"}, "reset"),
        ({}, "reset"),
        ({"try_slot": "c"}, "reset"),
    ],
)
def test_what_the_firmware_starts_boots_the_slot_or_resets(
    machine: Machine, fields: dict[str, str], boots: str
) -> None:
    """It writes nothing: the disk can only be read here."""
    machine.put("/grub/grub.cfg", ("terminal_output serial\n" + script(UUID, "", NO_NATIVE)).encode())
    machine.environment(values=fields, firmware=True)
    assert machine.boot(read_only=True) == boots


def test_what_the_firmware_starts_resets_whatever_is_wrong(machine: Machine) -> None:
    def boots(text: str) -> str:
        machine.put("/grub/grub.cfg", ("terminal_output serial\n" + text).encode())
        return machine.boot(read_only=True)

    machine.environment(firmware=True, try_slot="a")
    assert boots(script("0000-0000", "", NO_NATIVE)) == "reset"
    assert boots(script(UUID, "/elsewhere", NO_NATIVE)) == "reset"
    machine.slot("a", xen=b"no program")
    assert boots(script(UUID, "", NO_NATIVE)) == "reset"
    machine.slot("a")
    assert boots(script(UUID, "", NO_NATIVE)) == f"xen slot=a {ON_EFI}"
    # Not armed with this loader, as after a revert that could not take the firmware's entry away.
    machine.environment(try_slot="a")
    assert boots(script(UUID, "", NO_NATIVE)) == "reset"
    machine.remove("/grub/xenable.env")
    assert boots(script(UUID, "", NO_NATIVE)) == "reset"


@pytest.mark.skipif(not OVMF.exists(), reason=f"needs {OVMF}")
def test_the_image_works_in_real_firmware(machine: Machine, tmp_path: Path) -> None:
    """Without a file of GRUB's beside it, and with nothing to write to."""

    class Live(Host):
        @property
        def live(self) -> bool:
            return True

    host = Live(tmp_path / "root")
    machine.mkdir("/EFI")
    machine.mkdir("/EFI/BOOT")
    machine.put("/EFI/BOOT/BOOTX64.EFI", make_image(host, script(UUID, "", NO_NATIVE)))
    assert not host.exists(WORK)
    machine.remove("/grub/grub.cfg")
    firmware = ("-m", "256", "-bios", str(OVMF))
    machine.environment(firmware=True, try_slot="b", default="a")
    assert machine.boot(*firmware, read_only=True) == f"xen slot=b {ON_EFI}"
    machine.environment(firmware=True)
    assert machine.boot(*firmware, read_only=True) == "reset"
    # The native loader here is another such GRUB, with a script of its own.
    native = f"search --no-floppy --fs-uuid --set=root {UUID}\nmultiboot2 /grub/stub native-here\nboot\n"
    machine.put("/EFI/native.efi", make_image(host, native))
    machine.put("/EFI/BOOT/BOOTX64.EFI", make_image(host, script(UUID, "", "/EFI/native.efi")))
    assert "XEN-WORDS:native-here" in machine.start(*firmware, read_only=True)
    machine.environment(firmware=True, try_slot="a")
    machine.slot("a", xen=b"no program")
    assert "XEN-WORDS:native-here" in machine.start(*firmware, read_only=True)
