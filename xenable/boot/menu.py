# SPDX-License-Identifier: GPL-2.0-or-later
"""The text that 90_xenable prints, but for the native default, which its shell part sees to. Pure.

GRUB runs it at every start, after 00_header has chosen the user's default. The three rules that everything
rests on: the default changes only to a slot that is there; Xen is loaded only after the environment block
has noted the attempt and reads back so; what fails after that resets, which ends on native.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xenable.boot.pairs import Pair
from xenable.boot.script import load_text, quote

SLOTS = ("a", "b")


@dataclass(frozen=True, kw_only=True)
class MenuInputs:
    """Everything the menu depends on."""

    distributor: str
    """As GRUB_DISTRIBUTOR has it: Debian."""
    prepare: str
    """Script text that makes $root the device of /boot (prepare_grub_to_access_device of grub-mkconfig)."""
    boot_path: str
    """Path of /boot on that device: /boot, or empty where /boot is a file system of its own."""
    environment_uuid: str
    """UUID of the file system with the environment block; empty when it is the one of /boot."""
    environment_path: str
    """Path of the block on that file system."""
    pairs: tuple[Pair, ...]
    xen_words: tuple[str, ...]
    linux_words: tuple[str, ...]
    """Without root=."""
    recovery_linux_words: tuple[str, ...]
    root: str
    """Value of root= for a kernel with an initrd."""
    root_without_initrd: str
    recovery: bool
    submenu: bool


def render(inputs: MenuInputs) -> str:
    """The whole text. Errors: XenableError for a word or a path that has a control character."""
    return "\n".join((*_head(inputs), *_FUNCTIONS, *_CHOICE, *_slots(inputs), *_pairs(inputs), ""))


# --------------------------------------------------------------------------- finding the block and the slots


def _head(inputs: MenuInputs) -> Iterator[str]:
    yield 'set xenable_saved_root="$root"'
    yield from inputs.prepare.rstrip("\n").splitlines()
    yield 'set xenable_boot="$root"'
    yield 'set root="$xenable_saved_root"'
    yield 'set xenable_device="$xenable_boot"'
    if inputs.environment_uuid:
        yield "set xenable_device="
        yield f"search --no-floppy --fs-uuid --set=xenable_device {quote(inputs.environment_uuid)}"
    yield f'set xenable_block="($xenable_device)"{quote(inputs.environment_path)}'
    yield f'set xenable_slots="($xenable_boot)"{quote(inputs.boot_path + "/xenable")}'
    yield "set xenable_efi="
    yield 'if [ "$grub_platform" = efi ]; then set xenable_efi="no-real-mode edd=off"; fi'
    yield "export xenable_block xenable_boot xenable_slots xenable_efi"


_FUNCTIONS = """\

function xenable_mark {
	set xenable_trying=
	set xenable_default=
	load_env --file "$xenable_block" xenable_trying xenable_default
	if [ "$xenable_trying" = "$xenable_default" ]; then set xenable_default=; fi
	set xenable_try=
	set xenable_trying="$1"
	set xenable_stage=loading
	set xenable_started=
	if save_env --file "$xenable_block" xenable_try xenable_trying xenable_default \
xenable_stage xenable_started; then
		set xenable_try=unread
		set xenable_trying=
		set xenable_stage=
		load_env --file "$xenable_block" xenable_try xenable_trying xenable_stage
		if [ "$xenable_try" = "" -a "$xenable_trying" = "$1" -a "$xenable_stage" = loading ]; then
			return 0
		fi
	fi
	return 1
}

function xenable_again {
	set xenable_trying=
	set xenable_stage=
	load_env --file "$xenable_block" xenable_trying xenable_stage
	if [ "$xenable_trying" = "$1" -a "$xenable_stage" != refused ]; then
		echo 'Xenable: the last start of this entry did not succeed. Choose it once more to try again.'
		set xenable_stage=refused
		save_env --file "$xenable_block" xenable_stage
		return 0
	fi
	return 1
}

function xenable_unasked {
	if [ "$xenable_choice" = "$1" ]; then return 1; fi
	xenable_again "$1"
}

function xenable_started {
	set xenable_stage=started
	if insmod datehook; then set xenable_started="$YEAR-$MONTH-$DAY $HOUR:$MINUTE:$SECOND"; fi
	save_env --file "$xenable_block" xenable_stage xenable_started
}

function xenable_failed {
	set xenable_stage=load-failed
	save_env --file "$xenable_block" xenable_stage
	echo 'Xenable: Xen could not be loaded; the machine starts again, without it.'
	sleep 1
	reboot
}

function xenable_native {
	echo 'Xenable: this boot of Xen could not be noted, so it does not take place.'
	set xenable_off=yes
	export xenable_off
	configfile "$prefix/grub.cfg"
}

function xenable_first {
	set xenable_avoid=yes
	export xenable_avoid
	xenable_native
}
""".splitlines()
"""What the entries share. xenable_mark gives up a default that fell back: `trying` alone kept it off, and is
about to be another's. xenable_native starts the menu over with our choice switched off: a reset would come
back here for ever when the block can't be written. Where somebody else chose an entry with Xen, as GRUB's
default or as a one-shot that GRUB can't clear, the first entry takes its place then (xenable_first): else it
would start over for ever, or after each failure anew. Where the firmware has the one-shot, another
GRUB starts the slots (boot/loader.py): here none could be noted, so there are no entries for them."""


# --------------------------------------------------------------------------------- the choice of the default


_CHOICE = """\

set xenable_try=
set xenable_trying=
set xenable_default=
set xenable_choice=
if [ "$xenable_avoid" != "" ]; then set default=0; fi
set xenable_firmware=
if [ -s "$xenable_block" ]; then load_env --file "$xenable_block" xenable_firmware; fi
if [ "$xenable_off$xenable_firmware" = "" -a "$boot_once" = "" -a -s "$xenable_block" ]; then
	load_env --file "$xenable_block" xenable_try xenable_trying xenable_default
	if [ "$xenable_try" != "" ]; then
		set xenable_choice="$xenable_try"
	elif [ "$xenable_trying" != "$xenable_default" ]; then
		set xenable_choice="$xenable_default"
	fi
	if [ "$xenable_choice" = a -o "$xenable_choice" = b ]; then
		if [ -f "$xenable_slots/$xenable_choice/boot.cfg" ]; then set default="xenable-$xenable_choice"; fi
	fi
fi
""".splitlines()


# -------------------------------------------------------------------------------------------------- entries


def _slots(inputs: MenuInputs) -> Iterator[str]:
    for slot in SLOTS:
        title = f"{_system(inputs)}, with Xen (Xenable, slot {slot.upper()})"
        yield f'if [ "$xenable_firmware" = "" -a -f "$xenable_slots/{slot}/boot.cfg" ]; then'
        # A slot may be the default, and the default must not ask for a password nobody is there to type.
        yield _entry(title, f"xenable-{slot}", "--unrestricted ")
        yield f'\tset xenable_slot="$xenable_slots/{slot}"'
        yield f"\tif xenable_unasked {slot}; then"
        yield "\t\txenable_first"
        yield f"\telif xenable_mark {slot}; then"
        yield '\t\tsource "$xenable_slot/boot.cfg"'
        yield "\t\txenable_failed"
        yield f'\telif [ "$xenable_choice" = {slot} ]; then'
        yield "\t\txenable_native"
        yield "\telse"
        yield "\t\txenable_first"
        yield "\tfi"
        yield "}"
        yield "fi"


def _pairs(inputs: MenuInputs) -> Iterator[str]:
    if not inputs.pairs:
        return
    yield 'if [ "$xenable_firmware" = "" ]; then'
    if inputs.submenu:
        yield f"submenu {quote(f'{_system(inputs)}, with Xen (Xenable)')} $menuentry_id_option 'xenable' {{"
    for pair in inputs.pairs:
        yield from _pair(inputs, pair, pair.id, "", inputs.linux_words)
        if inputs.recovery:
            note = " (recovery mode)"
            yield from _pair(inputs, pair, f"{pair.id}-recovery", note, inputs.recovery_linux_words)
    if inputs.submenu:
        yield "}"
    yield "fi"


def _pair(inputs: MenuInputs, pair: Pair, id: str, note: str, words: Sequence[str]) -> Iterator[str]:
    root = inputs.root if pair.kernel.initrd else inputs.root_without_initrd
    title = f"{_system(inputs)}, with Xen {pair.xen.title} and Linux {pair.kernel.version}{note}"
    yield _entry(title, id)
    yield f"\tif xenable_again {quote(id)}; then"
    yield "\t\txenable_first"
    yield f"\telif xenable_mark {quote(id)}; then"
    for line in load_text(
        xen=_device_path(inputs, pair.xen.path),
        linux=_device_path(inputs, pair.kernel.path),
        initrd=_device_path(inputs, pair.kernel.initrd) if pair.kernel.initrd else "",
        xen_words=inputs.xen_words,
        linux_words=(f"root={root}", "ro", *words),
    ):
        yield "\t\t" + line
    yield "\t\txenable_failed"
    yield "\telse"
    yield "\t\txenable_first"
    yield "\tfi"
    yield "}"


def _entry(title: str, id: str, option: str = "") -> str:
    return f"menuentry {quote(title)} --class xen --class os {option}$menuentry_id_option '{id}' {{"


def _system(inputs: MenuInputs) -> str:
    # Debian 13 has "Debian GNU/Linux" in GRUB_DISTRIBUTOR, Debian 12 and Ubuntu the first word only.
    return f"{inputs.distributor.removesuffix('GNU/Linux').strip()} GNU/Linux".strip()


def _device_path(inputs: MenuInputs, path: str) -> str:
    """Script text for a file in /boot."""
    return f'"($xenable_boot)"{quote(inputs.boot_path + path.removeprefix("/boot"))}'
