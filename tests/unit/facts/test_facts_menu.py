# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import make_tree
from xenable.checks.boot_loader import default_entries
from xenable.facts.menu import parse_grub_cfg, parse_grubenv, probe_menu, read_settings
from xenable.machine import Answer

CFG = r"""
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
else
   set default="Debian \"x\" entry"
fi
function savedefault {
  if [ -z "${boot_once}" ]; then saved_entry="${chosen}"; save_env saved_entry; fi
}
menuentry 'Debian GNU/Linux' --class debian --class gnu-linux $menuentry_id_option 'gnulinux-simple-U' {
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	echo	'Loading } it'\''s # no comment'
	linux	/boot/vmlinuz-6.1 root=UUID=U ro # } a comment with a brace
}
submenu 'Advanced > options' ${menuentry_id_option} 'adv' {
	menuentry 'Plain' --unrestricted --id 'plain' { linux /boot/vmlinuz }
	submenu "Xen hypervisor" --id=hyper {
		menuentry "Xen \"4.17\"" --class xen --id xen-4.17 {
			multiboot2 /boot/xen-4.17-amd64.gz placeholder ${xen_rm_opts}
			module2 /boot/vmlinuz-6.1 placeholder
		}
	}
}
if [ "$grub_platform" = "efi" ]; then
	menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' { fwsetup }
fi
menuentry "日本語 \
Xen" { source /boot/xenable/a/boot.cfg }
"""


def test_entries_with_paths_and_loaders() -> None:
    entries = parse_grub_cfg(CFG)
    assert [(e.path, e.numbers, e.loads_xen, e.kernel) for e in entries] == [
        ("gnulinux-simple-U", "0", False, "6.1"),
        ("adv>plain", "1>0", False, ""),
        ("adv>hyper>xen-4.17", "1>1>0", True, ""),
        ("uefi-firmware", "2", False, ""),
        ("日本語 Xen", "3", True, ""),
    ]
    assert entries[2].titles == 'Advanced >> options>Xen hypervisor>Xen "4.17"'
    assert entries[2].title == 'Xen "4.17"'


@pytest.mark.parametrize(
    ("name", "behind"), [("95_site", (4,)), ("90_xenable-own", (4,)), ("40_custom", ()), ("80_site", ())]
)
def test_entries_that_come_behind_the_place_for_xen(
    tmp_path: Path, name: str, behind: tuple[int, ...]
) -> None:
    """A default that is a number would mean another one of them."""
    sections = (("10_linux", CFG), (name, "menuentry 'Site' --id site {\n true\n}\n"), ("99_empty", ""))
    text = "".join(f"### BEGIN /etc/grub.d/{n} ###\n{t}### END /etc/grub.d/{n} ###\n" for n, t in sections)
    assert probe_menu(make_tree(tmp_path, {"/boot/grub/grub.cfg": text})).behind == behind


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("0", "gnulinux-simple-U"),
        ("1>0", "plain"),
        ("1", "plain"),
        ("2", "uefi-firmware"),
        ("1>1", "xen-4.17"),
        ("adv>plain", "plain"),
        ("Advanced >> options>Plain", "plain"),
        ("adv>hyper>xen-4.17", "xen-4.17"),
        ("Debian GNU/Linux", "gnulinux-simple-U"),
        ("adv>1>0", "xen-4.17"),
        ("saved", "uefi-firmware"),
    ],
)
def test_a_default_is_found_by_number_title_id_path_and_saved(
    tmp_path: Path, wanted: str, found: str
) -> None:
    host = make_tree(
        tmp_path,
        {
            "/boot/grub/grub.cfg": CFG,
            "/boot/grub/grubenv": "# GRUB Environment Block\nsaved_entry=uefi-firmware\n###",
            "/etc/default/grub": f"GRUB_DEFAULT='{wanted}'\n",
        },
    )
    menu = probe_menu(host)
    assert menu.readable and menu.grub_default == wanted
    found_there = default_entries(menu, menu.saved_entry if wanted == "saved" else menu.grub_default)
    assert found_there[0].id == found


@pytest.mark.parametrize("wanted", ["plain", "7", "nonsense", "adv>nonsense", "xen-4.17", "1>7", ""])
def test_a_default_that_is_nowhere(tmp_path: Path, wanted: str) -> None:
    menu = probe_menu(make_tree(tmp_path, {"/boot/grub/grub.cfg": CFG}))
    assert default_entries(menu, wanted) == ()


def test_a_default_that_only_a_shell_knows_is_read_from_the_generated_menu(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/boot/grub/grub.cfg": CFG,
            "/etc/default/grub": "GRUB_DEFAULT=0\n",
            "/etc/default/grub.d/xen.cfg": 'if [ x = x ]; then\n GRUB_DEFAULT=$(printf "%s" "a; b")\nfi\n',
        },
    )
    assert probe_menu(host).grub_default == 'Debian "x" entry'


def test_settings_with_words_for_xen_and_dom0(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/etc/default/grub": "GRUB_CMDLINE_LINUX=quiet\nGRUB_CMDLINE_XEN='noreboot'\nGRUB_TIMEOUT=1\n",
            "/etc/default/grub.d/a.cfg": 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX net=\\$card"\n'
            'GRUB_CMDLINE_LINUX_DEFAULT="$(cat /proc/cmdline)"\n',
        },
    )
    assert {setting.name: setting.value for setting in probe_menu(host).command_lines} == {
        "GRUB_CMDLINE_LINUX": "quiet net=$card",
        "GRUB_CMDLINE_LINUX_DEFAULT": None,
        "GRUB_CMDLINE_XEN": "noreboot",
    }


def test_a_machine_without_a_menu(tmp_path: Path) -> None:
    menu = probe_menu(make_tree(tmp_path, {}))
    assert (menu.readable, menu.entries, menu.grub_default) == (False, (), "0")


@pytest.mark.parametrize(
    ("script", "values"),
    [
        ("A=1\nA=2 # why", {"A": "2"}),
        ('A=\'a b\'\nB="x $A ${A}\\""', {"A": "a b", "B": 'x a b a b"'}),
        ("export A=x; B=y", {"A": "x", "B": "y"}),
        ("A=x\nA+=' y'", {"A": "x y"}),
        ("A=`lsb_release`", {"A": None}),
        ('A="$(printf x)"', {"A": None}),
        ("A=1\nif true; then A=2; fi\nB=3", {"A": None, "B": "3"}),
        ("A=a command", {"A": None}),
        ("A=one\\\ntwo", {"A": "onetwo"}),
        ("# A=1\nB='#'", {"B": "#"}),
        ("A=", {"A": ""}),
        ('GRUB_DEFAULT="${GRUB_DEFAULT:-saved}"', {"GRUB_DEFAULT": "saved"}),
        ("GRUB_DEFAULT=2\nGRUB_DEFAULT=${GRUB_DEFAULT:-a b}", {"GRUB_DEFAULT": "2"}),
        ('A=console=ttyS0\nA="${A:+$A }net.ifnames=0"', {"A": "console=ttyS0 net.ifnames=0"}),
        ('A="${A:+$A }net.ifnames=0"', {"A": "net.ifnames=0"}),
        ('A=\nB="${A:-x}${A-y}${A+z}${A:+w}${C-v}"', {"A": "", "B": "xzv"}),
        ("A=$(x)\nB=${A:-y}\nC=${A:+z}", {"A": None, "B": None, "C": None}),
        ("A=${B:-$(x)}", {"A": None}),
        ('A="${B:-${C}}"', {"A": None}),
        ('A="${B%x}"', {"A": None}),
        ('A="${#B}$1"', {"A": None}),
        ('A=x\nB="${A"', {"A": "x", "B": None}),
        ("[ -e /x ] || GRUB_DEFAULT=saved", {"GRUB_DEFAULT": None}),
        ("GRUB_DEFAULT=0\ntest -e /x && GRUB_DEFAULT='a b'", {"GRUB_DEFAULT": None}),
        ("A=1\ncase $(uname) in\na) A=2 ;;\n*) B=3 ;;\nesac\nC=4", {"A": None, "B": None, "C": "4"}),
        ("A=1 B=2", {"A": None, "B": None}),
        (': ${A:=x} "${B=y}"', {"A": None, "B": None}),
        ('A="B=1 C=2"\necho \'D=3\' "E=4" # F=5', {"A": "B=1 C=2"}),
        ("A=1\nif x; then A=2 && B=3; fi", {"A": None, "B": None}),
        ("A=1\nif x; then { A=2; }; fi", {"A": None}),
    ],
)
def test_settings(script: str, values: dict[str, str | None]) -> None:
    found: dict[str, str | None] = {}
    read_settings(script, found)
    assert found == values


def test_environment_block() -> None:
    text = "# GRUB Environment Block\nsaved_entry=a\\\\b=c\nnext_entry=\n" + "#" * 900
    assert parse_grubenv(text) == {"saved_entry": "a\\b=c", "next_entry": ""}
    assert parse_grubenv("next_entry=x\n") == {}


QUOTED = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


# A title that begins with -- would be an option, to GRUB as well.
@given(
    titles=st.lists(st.tuples(QUOTED.filter(lambda t: t[:2] != "--"), QUOTED.filter(bool)), max_size=5),
    nested=st.booleans(),
)
def test_any_quoted_title_and_id_survive(titles: list[tuple[str, str]], nested: bool) -> None:
    def quote(text: str) -> str:
        return "'" + text.replace("'", "'\\''") + "'"

    text = "".join(f"menuentry {quote(t)} --id {quote(i)} {{\n linux /x '}}'\n}}\n" for t, i in titles)
    if nested:
        text = f"submenu 'up' --id up {{\n{text}}}\n"
    assert [(e.title, e.id) for e in parse_grub_cfg(text)] == titles


@given(st.text("menutry submenu{}'\"\\$#\n;|&>--id =(if)fi", max_size=300))
def test_garbage_never_fails(text: str) -> None:
    parse_grub_cfg(text)
    parse_grubenv("# GRUB Environment Block\n" + text)
    read_settings(text, {})


def test_deep_nesting_does_not_end_in_a_recursion_error() -> None:
    parse_grub_cfg("{" * 20_000)
    parse_grub_cfg("submenu a {" * 20_000)


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("", Answer.NO),
        ("/etc/default/grub", Answer.YES),
        ("/etc/default/grub.d/a.cfg", Answer.YES),
        ("/etc/default/grub.d/a.cfg.dpkg-old", Answer.NO),
        ("/etc/grub.d/40_custom", Answer.YES),
    ],
)
def test_a_menu_older_than_its_settings(tmp_path: Path, changed: str, stale: Answer) -> None:
    inputs = (
        *("/etc/default/grub", "/etc/default/grub.d/a.cfg", "/etc/default/grub.d/a.cfg.dpkg-old"),
        "/etc/grub.d/40_custom",
    )
    host = make_tree(tmp_path, {path: "" for path in (*inputs, "/boot/grub/grub.cfg")})
    for path in inputs:
        os.utime(host.path(path), (50, 150 if path == changed else 50))
    os.utime(host.path("/boot/grub/grub.cfg"), (100, 100))
    assert probe_menu(host).stale is stale
    for path in inputs:
        os.utime(host.path(path), (2**33, 2**33))
    assert probe_menu(host).stale is Answer.NO
    host.path("/boot/grub/grub.cfg").unlink()
    assert probe_menu(host).stale is Answer.UNKNOWN
