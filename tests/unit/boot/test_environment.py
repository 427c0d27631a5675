# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.boot.environment import (
    SIZE,
    Environment,
    environment_folder,
    format_block,
    parse_block,
    read_environment,
    write_environment,
)
from xenable.errors import XenableError
from xenable.host import Host
from xenable.steps.environment import BootEnvironment

FOLDER = "/boot/grub"
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
BLOCKS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True), VALUES, max_size=5)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "boot/grub").mkdir(parents=True)
    return Host(tmp_path)


@given(BLOCKS)
def test_round_trip(values: dict[str, str]) -> None:
    block = format_block(values)
    assert len(block) == SIZE
    assert parse_block(block) == values


@given(st.binary(max_size=1100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for block in (data, b"# GRUB Environment Block\n" + data, (b"# GRUB Environment Block\n" + data)[:1024]):
        try:
            values = parse_block(block.ljust(SIZE, b"#"))
        except XenableError:
            continue
        assert all(isinstance(v, str) for v in values.values())


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"#" * SIZE,
        format_block({"a": "b"})[:-1],
        b"# GRUB Environment Block\na=b".ljust(SIZE, b" "),
        b"# GRUB Environment Block\nnameless\n".ljust(SIZE, b"#"),
        b"# GRUB Environment Block\na=\xff\n".ljust(SIZE, b"#"),
    ],
)
def test_damaged(block: bytes) -> None:
    with pytest.raises(XenableError, match="environment block"):
        parse_block(block)


def test_does_not_fit() -> None:
    with pytest.raises(XenableError, match="1024"):
        format_block({"a": "x" * 999})
    with pytest.raises(XenableError, match="name"):
        format_block({"a b": "x"})


@pytest.mark.realtool
def test_grub_editenv_reads_and_writes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "block"
    values = {"xenable_try": "a", "xenable_started": "2026-11-22 23:57:09", "odd": "back\\slash ü"}
    path.write_bytes(format_block(values))
    listed = subprocess.run(
        ["grub-editenv", path, "list"], capture_output=True, text=True, check=True
    ).stdout
    assert listed.splitlines() == [f"{name}={value}" for name, value in values.items()]
    subprocess.run(["grub-editenv", path, "set", "xenable_try=", "new=x y\\z"], check=True)
    assert parse_block(path.read_bytes()) == {**values, "xenable_try": "", "new": "x y\\z"}


def test_written_in_place(host: Host) -> None:
    assert environment_folder(host) == ""
    assert read_environment(host, FOLDER) is None
    write_environment(host, FOLDER, Environment(try_slot="a"))
    assert environment_folder(host) == FOLDER
    path = host.path("/boot/grub/xenable.env")
    before = path.stat()
    assert before.st_blocks > 0
    env = Environment(trying="a", default="b", stage="started", started="2026-01-02 03:04:05")
    write_environment(host, FOLDER, env)
    assert read_environment(host, FOLDER) == env
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, SIZE)


def test_foreign_variables_stay_and_damage_is_repaired(host: Host) -> None:
    path = host.path("/boot/grub/xenable.env")
    path.write_bytes(format_block({"other": "1", "xenable_try": "a"}))
    write_environment(host, FOLDER, Environment(default="b"))
    assert parse_block(path.read_bytes())["other"] == "1"
    for damage in (b"", b"x" * SIZE):
        path.write_bytes(damage)
        with pytest.raises(XenableError):
            read_environment(host, FOLDER)
        write_environment(host, FOLDER, Environment(default="b"))
        assert read_environment(host, FOLDER) == Environment(default="b")


def test_grubs_clock_is_padded(host: Host) -> None:
    block = format_block({"xenable_started": "2026-1-2 3:04:9"})
    host.path("/boot/grub/xenable.env").write_bytes(block)
    env = read_environment(host, FOLDER)
    assert env and env.started == "2026-01-02 03:04:09"


def test_overwrite_refuses_another_length(host: Host) -> None:
    path = host.path("/boot/x")
    path.write_bytes(b"1234")
    with pytest.raises(XenableError, match="5 bytes"):
        host.overwrite("/boot/x", b"12345")
    assert path.read_bytes() == b"1234"
    host.path("/boot/link").symlink_to("x")
    with pytest.raises(XenableError):
        host.overwrite("/boot/link", b"1234")
    with pytest.raises(XenableError):
        host.overwrite("/boot/none", b"")


def test_a_block_that_can_not_be_seen_is_named_after_a_revert(host: Host) -> None:
    step = BootEnvironment(folder="/boot/efi/EFI/xenable")
    assert "mount its file system" in step.remains(host, {})[0]
    host.make_folder("/boot/efi/EFI")
    assert step.remains(host, {}) == ()
