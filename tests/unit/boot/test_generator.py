# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell in /etc/grub.d: whatever goes wrong, exit status 0, and only the native default on stdout."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from xenable.boot.environment import FOLDERS

pytestmark = pytest.mark.realtool

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "data/grub.d/90_xenable"
SHIM = ROOT / "data/grub.d/shim"
PYTHON = "/usr/bin/python3"
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
    script = SCRIPT.read_text()
    for ours, place in (
        ("/boot/grub /boot/efi", f"{tmp_path}/boot/grub /boot/efi"),
        ("/boot/vmlinuz-", f"{tmp_path}/boot/vmlinuz-"),
        ("stat -c %d /boot", f"stat -c %d {tmp_path}/boot"),
        (PYTHON, f"{tmp_path}/bin/python3"),
    ):
        assert ours in script
        script = script.replace(ours, place)
    (tmp_path / "90_xenable").write_text(script)
    python(tmp_path, GOOD)
    return tmp_path


def python(machine: Path, script: str) -> None:
    tool(machine, "python3", script)


def tool(machine: Path, name: str, script: str) -> None:
    path = machine / "bin" / name
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(
    machine: Path, path: str = "", script: str = "90_xenable", cwd: str = "", **variables: str
) -> tuple[str, str]:
    env = {
        **variables,
        "PATH": path or f"{machine}/bin:{os.environ['PATH']}",
        "pkgdatadir": str(machine),
        "GRUB_DEVICE_BOOT": "/dev/sda1",
    }
    command = ["/bin/sh", "-e", str(machine / script)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, cwd=cwd or None)
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
    out, err = run(machine)
    assert out == ""
    assert "there is no" in err and "/bin/python3" in err


def test_the_real_generator(machine: Path) -> None:
    # Isolated, Python does not look at PYTHONPATH, and the checkout is not installed.
    python(machine, f'#!/bin/sh\n[ "$1" = -I ] && shift\nPYTHONPATH={ROOT} exec {PYTHON} "$@"\n')
    out, err = run(machine)
    assert "function xenable_mark" in out
    assert "search --set=root /dev/sda1" in out
    assert err == ""


def test_no_other_python_and_no_other_module_is_run(machine: Path, tmp_path: Path) -> None:
    """update-grub is run as root in a folder, with a PATH and with variables that are somebody else's."""
    trap = tmp_path / "trap"
    (trap / "xenable").mkdir(parents=True)
    for name in ("xenable/__init__.py", "xenable/boot.py", "runpy.py"):
        (trap / name).write_text(f"open({str(trap / 'sprung')!r}, 'w')\nprint('menuentry trap')\n")
    tool(machine, "python3", f"#!/bin/sh\ntouch {trap}/sprung\necho 'menuentry trap'\n")
    script = (machine / "90_xenable").read_text().replace(f"{machine}/bin/python3", PYTHON)
    (machine / "90_xenable").write_text(script)
    out, err = run(machine, cwd=str(trap), PYTHONPATH=str(trap), PYTHONSTARTUP=str(trap / "runpy.py"))
    assert not (trap / "sprung").exists()
    assert out == "" and "generator failed" in err


def test_the_same_folders_in_shell_and_python() -> None:
    (folders,) = re.findall(r"for candidate in (.*); do", SCRIPT.read_text())
    assert tuple(folders.split()) == FOLDERS


# -------------------------------------------------------------------------------------- the native default

FLAVOURS = ("6.12.9-amd64", "6.12.9-cloud-amd64", "6.12.30-amd64", "6.12.10-cloud-amd64", "6.2-rt-amd64")
CLOUD = {
    "XENABLE_NATIVE_FLAVOUR": "cloud-amd64",
    "GRUB_DEVICE_UUID": "1-2",
    "GRUB_DISTRIBUTOR": "Jo's Debian",
}
NEWEST = "gnulinux-6.12.10-cloud-amd64-advanced-1-2"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"gnulinux-advanced-1-2>{NEWEST}"),
        ({"GRUB_DISABLE_SUBMENU": "y"}, NEWEST),
        (
            {"XENABLE_NATIVE_FLAVOUR": "amd64"},
            "gnulinux-advanced-1-2>gnulinux-6.12.30-amd64-advanced-1-2",
        ),
        (
            {"GRUB_DEVICE_UUID": "", "GRUB_DEVICE": "/dev/a b", "GRUB_DISABLE_SUBMENU": "true"},
            "gnulinux-6.12.10-cloud-amd64-advanced-/dev/a_b",
        ),
        ({"XENABLE_NATIVE_FLAVOUR": ""}, ""),
        ({"XENABLE_NATIVE_FLAVOUR": "azure"}, ""),
        ({"GRUB_TOP_LEVEL": "/boot/vmlinuz-own"}, ""),
    ],
)
@pytest.mark.parametrize("broken", [False, True])
def test_a_kernel_for_dom0_is_not_the_native_default(
    machine: Path, changes: dict[str, str], expected: str, broken: bool
) -> None:
    for version in FLAVOURS:
        (machine / f"boot/vmlinuz-{version}").touch()
    if broken:
        python(machine, "#!/bin/sh\nexit 1\n")
    out, err = run(machine, **{**CLOUD, **changes})
    lines = [line for line in out.splitlines() if "set default=" in line]
    assert out.startswith("\n".join(lines)) and (len(out.splitlines()) > len(lines)) != broken
    assert {line.partition("set default=")[2] for line in lines} == (
        {f"'{expected}'; fi"} if expected else set()
    )
    assert not expected or len(lines) == 6
    assert ("native ones are as they were" in err) == broken


def test_the_native_default_is_kept_without_a_block(machine: Path) -> None:
    """The ESP with it may not be mounted just now."""
    (machine / "boot/grub/xenable.env").unlink()
    (machine / "boot/vmlinuz-6.1-cloud-amd64").touch()
    out, err = run(machine, **CLOUD)
    assert out.count("set default=") == len(out.splitlines()) == 6 and err == ""


@pytest.mark.skipif(shutil.which("grub-script-check") is None, reason="GRUB's tools are not installed")
def test_the_native_default_is_a_grub_script_with_the_first_titles(machine: Path) -> None:
    (machine / "boot/vmlinuz-6.1-cloud-amd64").touch()
    out, _ = run(machine, **CLOUD)
    lines = "".join(line + "\n" for line in out.splitlines() if "set default=" in line)
    subprocess.run(["grub-script-check"], input=lines, check=True, text=True)
    quoted = "'Jo'\\''s Debian GNU/Linux'"
    for first in ("''", "'0'", "'gnulinux-simple-1-2'", quoted):
        assert f'if [ "$default" = {first} ]; then' in lines


# ------------------------------------------------------------------------------------------------ the shim


def shim(machine: Path) -> Path:
    """The file of /etc/grub.d, looking for the generator here."""
    text = SHIM.read_text()
    assert text.count("/usr/share/xenable/grub.d/90_xenable") == 1
    path = machine / "shim"
    path.write_text(text.replace("/usr/share/xenable/grub.d/90_xenable", f"{machine}/90_xenable"))
    return path


def test_the_shim_runs_the_generator_of_the_package(machine: Path) -> None:
    shim(machine)
    (machine / "90_xenable").chmod(0o644)
    assert run(machine, script="shim") == run(machine)
    (machine / "90_xenable").write_text("echo newer\n")
    assert run(machine, script="shim") == ("newer\n", "")


def test_the_shim_without_the_package(machine: Path) -> None:
    shim(machine)
    (machine / "90_xenable").unlink()
    out, err = run(machine, script="shim")
    assert out == "" and "90_xenable is gone" in err


@pytest.mark.parametrize("path", ["grub.d/90_xenable", "grub.d/shim", "initramfs/deadman.sh"])
def test_shellcheck(path: str) -> None:
    subprocess.run(["shellcheck", ROOT / "data" / path], check=True)
