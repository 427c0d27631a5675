# SPDX-License-Identifier: GPL-2.0-or-later
"""xen-support, built, and resolved by apt, with a state of its own, against the archives of Debian."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .archive import RETRIES, mirror

TOP = Path(__file__).resolve().parents[2]
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

pytestmark = [pytest.mark.realtool, pytest.mark.package]


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([TOP / "debian/build.sh", folder], check=True, capture_output=True)
    subprocess.run("apt-ftparchive packages . >Packages", shell=True, cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(("suite", "series"), [("bookworm", "4.17"), ("trixie", "4.20")])
@pytest.mark.parametrize("recommends", [True, False])
def test_it_resolves(debs: Path, tmp_path: Path, suite: str, series: str, recommends: bool) -> None:
    for name in ("lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "status").touch()
    (tmp_path / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] {mirror()} {suite} main\ndeb [trusted=yes] file:{debs} ./\n"
    )
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::Etc::preferencesparts "/dev/null";\nDir::State "{tmp_path}";\n'
        f'Dir::State::status "{tmp_path}/status";\nDir::State::lists "{tmp_path}/lists";\n'
        f'Dir::Cache "{tmp_path}/cache";\nAPT::Architecture "amd64";\nAPT::Architectures "amd64";\n'
        f'Acquire::Languages "none";\nAPT::Install-Recommends "{str(recommends).lower()}";\n'
        f'{RETRIES};\nAPT::Update::Error-Mode "any";\n'
    )
    env = {
        "APT_CONFIG": f"{tmp_path}/apt.conf",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    subprocess.run(["apt-get", "-qq", "update"], env=env, check=True)
    done = subprocess.run(
        ["apt-get", "--simulate", "install", "xen-support"],
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = set(re.findall(r"(?m)^Inst (\S+)", done.stdout))
    assert {
        "xen-support",
        f"xen-hypervisor-{series}-amd64",
        f"xen-utils-{series}",
        "linux-image-amd64",
    } <= names
    assert ("xenable" in names) is recommends and ("grub-xen-host" in names) is recommends
    assert "libc6-xen" not in names
