# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kinds of step read and say, without a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.errors import XenableError
from xenable.host import Host
from xenable.steps import menu
from xenable.steps.environment import BootEnvironment
from xenable.steps.files import WriteFile
from xenable.steps.menu import RefreshMenu, kernel_entries, native_part
from xenable.steps.statoverride import StatOverride
from xenable.steps.units import EnableUnit

NATIVE = (
    "set default=0\n\n### BEGIN /etc/grub.d/10_linux ###\n"
    "menuentry 'Debian' {\n}\n### END /etc/grub.d/10_linux ###\n"
)
OURS = "\n### BEGIN /etc/grub.d/90_xenable ###\n{}### END /etc/grub.d/90_xenable ###\n"
ENTRY = "menuentry 'Xen' $menuentry_id_option '{}' {{\n}}\n"

lines = st.text(st.characters(codec="utf-8", exclude_characters="#"), max_size=60)


@given(lines, lines)
def test_the_native_part_is_all_but_our_section(ours: str, after: str) -> None:
    whole = NATIVE + OURS.format(ours + "\n") + after
    assert native_part(whole.encode()) == (NATIVE + after).encode()
    assert native_part((NATIVE + after).encode()) == (NATIVE + after).encode()


@pytest.mark.parametrize(
    ("entry", "done"),
    [
        (ENTRY.format("xenable-a"), True),
        ("menuentry 'Xen' --id xenable-a {\n}\n", True),
        ("menuentry 'Xen' --id=xenable-a {\n}\n", True),
        (ENTRY.format("xenable-ab"), False),
        ("# menuentry 'Xen' --id xenable-a {\n", False),
        ("menuentry 'xenable-a' {\n}\n", False),
    ],
)
def test_an_entry_is_found_by_its_id_alone(tmp_path: Path, entry: str, done: bool) -> None:
    host = Host(tmp_path)
    host.make_folder("/boot/grub")
    host.write(menu.MENU, (NATIVE + OURS.format(entry)).encode())
    assert RefreshMenu(entry_ids=("xenable-a",)).is_done(host) is done


def test_a_menu_older_than_a_kernel_is_stale(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/boot/grub")
    text = (NATIVE + OURS.format(ENTRY.format("xenable-a"))).encode()
    step = RefreshMenu(entry_ids=("xenable-a",))
    host.write(menu.MENU, text, mtime_ns=10**18)
    assert step.is_done(host)
    # Built long ago, and installed now.
    host.write("/boot/vmlinuz-6.1", b"", mtime_ns=10**17)
    assert not step.is_done(host)


def test_a_diff_is_readable(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/etc")
    host.write("/etc/a", b"one\ntwo\n", mode=0o600)
    detail = WriteFile(path="/etc/a", content="one\nthree").preview(host).detail
    assert (
        "-two\n" in detail
        and "+three\n" in detail
        and "no newline" in detail
        and "mode 0600 → 0644" in detail
    )
    new = WriteFile(path="/etc/new", content="x\n").preview(host).detail
    assert new.startswith("--- /dev/null\n+++ /etc/new\n") and "+x\n" in new


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/etc/a")
    with pytest.raises(XenableError, match="cannot replace /etc/a") as caught:
        WriteFile(path="/etc/a", content="").save(host)
    assert caught.value.hint


def test_an_override_is_read_with_any_number_of_zeros(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make_folder("/var/lib/dpkg")
    step = StatOverride(path="/etc/a b", mode=0o644)
    for line, done in (("root root 644 /etc/a b", True), ("root root 0644 /etc/a b", True), ("x", False)):
        host.write("/var/lib/dpkg/statoverride", f"root mail 2755 /etc/a\n{line}\n".encode())
        assert step.is_done(host) is done


def test_a_unit_is_enabled_when_all_its_links_are_there(tmp_path: Path) -> None:
    host = Host(tmp_path)
    folder = "/etc/systemd/system"
    for name in ("a.target.wants", "b.target.requires"):
        host.make_folder(f"{folder}/{name}")
    host.make_folder("/usr/lib/systemd/system")
    text = b"[Service]\nWantedBy=no\n[Install]\nWantedBy=a.target\nRequiredBy = b.target\n"
    host.write("/usr/lib/systemd/system/u.service", text)
    step = EnableUnit(unit="u.service")
    assert step.preview(host).detail.count("new link") == 2
    host.symlink(f"{folder}/a.target.wants/u.service", "/usr/lib/systemd/system/u.service")
    assert not step.is_done(host)
    host.symlink(f"{folder}/b.target.requires/u.service", "/usr/lib/systemd/system/u.service")
    assert step.is_done(host)
    host.symlink(f"{folder}/u.service", "/dev/null")
    assert not step.is_done(host)
    with pytest.raises(XenableError, match="it is masked") as caught:
        step.do(host, {}, lambda fraction, text: None)
    assert "systemctl unmask u.service" in caught.value.hint


KERNEL = """submenu 'Advanced' $menuentry_id_option 'gnulinux-advanced-1' {{
\tmenuentry 'Linux {0}' --class gnu $menuentry_id_option 'gnulinux-{0}-advanced-1' {{
\t\tif [ x$grub_platform = xxen ]; then insmod xzio; fi
\t\tlinux\t/vmlinuz-{0} root=UUID=1 ro {1}
\t}}
}}
"""


def test_a_kernel_that_comes_leaves_the_entries_of_the_others_alone() -> None:
    before = KERNEL.format("6.12.9-cloud-amd64", "quiet").encode()
    both = KERNEL.format("6.12.9-amd64", "quiet").encode() + before
    changed = KERNEL.format("6.12.9-cloud-amd64", "verbose").encode()
    assert len(kernel_entries(before)) == 1
    assert kernel_entries(before) < kernel_entries(both)
    assert not kernel_entries(before) <= kernel_entries(changed)


def test_a_block_on_a_file_system_that_is_not_mounted_is_an_obstacle(tmp_path: Path) -> None:
    """Else a revert would take it for gone, and leave it there."""
    host, step = Host(tmp_path), BootEnvironment(folder="/boot/efi/EFI/xenable")
    host.make_folder("/boot/efi")
    (obstacle,) = step.obstacles(host, {})
    assert obstacle.what == "/boot/efi/EFI/xenable can't be seen: mount its file system"
    host.make_folder("/boot/efi/EFI")
    assert step.obstacles(host, {}) == ()
