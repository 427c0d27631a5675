# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell in /etc/grub.d: whatever goes wrong, nothing on stdout and exit status 0."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtool

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "data/grub.d/90_xenable"
LIBRARY = """
prepare_grub_to_access_device() { echo "search --set=root $1"; }
make_system_path_relative_to_its_root() { echo "/rel$1"; }
grub_probe=probe
"""
GOOD = '#!/bin/sh\ncat; echo "path=$XENABLE_ENVIRONMENT_PATH boot=$XENABLE_BOOT_PATH"\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a library of GRUB's, a python3 of our own and the script that looks for /boot there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "boot/grub").mkdir(parents=True)
    (tmp_path / "boot/grub/xenable.env").touch()
    (tmp_path / "grub-mkconfig_lib").write_text(LIBRARY)
    script = SCRIPT.read_text().replace("/boot/grub /boot/efi", f"{tmp_path}/boot/grub /boot/efi")
    (tmp_path / "90_xenable").write_text(script)
    python(tmp_path, GOOD)
    return tmp_path


def python(machine: Path, script: str) -> None:
    tool(machine, "python3", script)


def tool(machine: Path, name: str, script: str) -> None:
    path = machine / "bin" / name
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(machine: Path, path: str = "") -> tuple[str, str]:
    env = {
        "PATH": path or f"{machine}/bin:{os.environ['PATH']}",
        "pkgdatadir": str(machine),
        "GRUB_DEVICE_BOOT": "/dev/sda1",
    }
    command = ["/bin/sh", "-e", str(machine / "90_xenable")]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0
    return done.stdout, done.stderr


def test_good(machine: Path) -> None:
    tool(machine, "grub-script-check", "#!/bin/sh\nexit 0\n")
    out, err = run(machine)
    assert out == f"search --set=root /dev/sda1\npath=/rel{machine}/boot/grub/xenable.env boot=/rel/boot\n"
    assert err == ""


def test_not_converted(machine: Path) -> None:
    (machine / "boot/grub/xenable.env").unlink()
    assert run(machine) == ("", "")


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\necho half; exit 1\n",
        "#!/bin/sh\necho half; kill -9 $$\n",
        "#!/bin/sh\necho 'menuentry {{{ broken'\n",
        "#!/bin/sh\necho 'Traceback' >&2; exit 1\n",
    ],
)
def test_generator_fails(machine: Path, script: str) -> None:
    python(machine, script)
    out, err = run(machine)
    assert out == ""
    assert "native ones are as they were" in err


def test_tools_fail(machine: Path) -> None:
    for broken in (
        LIBRARY + "prepare_grub_to_access_device() { return 1; }\n",
        LIBRARY + "prepare_grub_to_access_device() { :; }\n",
        LIBRARY + "make_system_path_relative_to_its_root() { return 1; }\n",
    ):
        (machine / "grub-mkconfig_lib").write_text(broken)
        out, err = run(machine)
        assert out == ""
        assert "native ones are as they were" in err
    (machine / "grub-mkconfig_lib").unlink()
    assert run(machine)[0] == ""


def test_no_python(machine: Path) -> None:
    (machine / "bin/python3").unlink()
    out, err = run(machine, path=f"{machine}/bin")
    assert out == ""
    assert "there is no python3" in err


def test_the_real_generator(machine: Path) -> None:
    python(machine, f'#!/bin/sh\nPYTHONPATH={ROOT} exec /usr/bin/python3 "$@"\n')
    out, err = run(machine)
    assert "function xenable_mark" in out
    assert "search --set=root /dev/sda1" in out
    assert err == ""


@pytest.mark.parametrize("path", ["grub.d/90_xenable", "initramfs/deadman.sh"])
def test_shellcheck(path: str) -> None:
    subprocess.run(["shellcheck", ROOT / "data" / path], check=True)
