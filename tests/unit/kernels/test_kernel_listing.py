# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kernel of a machine: who made it, and what it can be used as."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenable.__main__ import run
from xenable.cli import kernel
from xenable.errors import Exit
from xenable.host import Host
from xenable.kernels.listing import GUEST_OPTIONS, kernel_rows
from xenable.machine import Answer
from xenable.ui.kernels import kernels_document, render_kernels
from xenable.ui.layout import plain

GUEST = "".join(f"{option}=y\n" for option in sorted(GUEST_OPTIONS)) + "CONFIG_XEN_PVH=y\n"
DOM0 = GUEST + "CONFIG_XEN_DOM0=y\nCONFIG_WATCHDOG_SYSFS=y\n"
BUILTIN = "kernel/drivers/watchdog/xen_wdt.ko\n"
STATUS = """\
Package: linux-image-6.12.9-cloud-amd64
Status: install ok installed
Maintainer: Debian Kernel Team <kernel@example.org>

Package: xen-image-6.12.9-1-xen-lean
Status: install ok installed
Maintainer: The Xenable developers <xenable@example.org>
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    files = {
        "/boot/vmlinuz-6.12.9-cloud-amd64": "",
        "/boot/config-6.12.9-cloud-amd64": GUEST,
        "/boot/linux-6.12.9-1-xen-lean": "\x7fELF",
        "/boot/initrd.img-6.12.9-1-xen-lean": "",
        "/boot/config-6.12.9-1-xen-lean": DOM0,
        "/boot/vmlinuz-6.1.0-own": "",
        "/boot/vmlinuz-6.1.0-own.old": "",
        "/boot/initrd.img-6.1.0-own": "",
        "/lib/modules/6.12.9-1-xen-lean/modules.dep": "",
        "/lib/modules/6.12.9-1-xen-lean/modules.builtin": BUILTIN,
        "/lib/modules/5.10.0-gone/modules.dep": "",
        "/proc/sys/kernel/osrelease": "6.12.9-cloud-amd64\n",
        "/var/lib/dpkg/status": STATUS,
        "/var/lib/dpkg/info/linux-image-6.12.9-cloud-amd64.list": "/boot/vmlinuz-6.12.9-cloud-amd64\n",
        "/var/lib/dpkg/info/xen-image-6.12.9-1-xen-lean.list": "/boot/linux-6.12.9-1-xen-lean\n",
    }
    for path, text in files.items():
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return Host(tmp_path)


def test_rows(host: Host) -> None:
    rows = {row.version: row for row in kernel_rows(host)}
    assert list(rows) == ["6.12.9-cloud-amd64", "6.12.9-1-xen-lean", "6.1.0-own", "5.10.0-gone"]
    cloud, lean = rows["6.12.9-cloud-amd64"], rows["6.12.9-1-xen-lean"]
    own, gone = rows["6.1.0-own"], rows["5.10.0-gone"]
    assert (cloud.dom0, cloud.guest, cloud.native) == (Answer.NO, Answer.YES, Answer.YES)
    assert cloud.running and cloud.maker == "Debian Kernel Team" and not cloud.modules
    assert (lean.dom0, lean.guest, lean.native) == (Answer.YES, Answer.YES, Answer.NO)
    assert lean.package == "xen-image-6.12.9-1-xen-lean" and lean.modules and not lean.running
    # Nothing says how it was built.
    assert (own.dom0, own.guest, own.native) == (Answer.UNKNOWN, Answer.UNKNOWN, Answer.YES)
    assert own.package == own.maker == ""
    assert (gone.dom0, gone.guest, gone.native) == (Answer.NO, Answer.NO, Answer.NO) and gone.image == ""


@pytest.mark.parametrize(
    ("lost", "dom0"),
    [
        ("/boot/initrd.img-6.12.9-1-xen-lean", Answer.NO),
        ("/lib/modules/6.12.9-1-xen-lean/modules.builtin", Answer.NO),
        ("/boot/linux-6.12.9-1-xen-lean", Answer.NO),
    ],
)
def test_what_no_trial_takes_is_no_dom0(host: Host, lost: str, dom0: Answer) -> None:
    host.write(lost, b"")
    if "initrd" in lost:
        host.remove(lost)
    rows = {row.version: row for row in kernel_rows(host)}
    assert rows["6.12.9-1-xen-lean"].dom0 is dom0


def test_an_image_that_only_root_may_read_is_not_known(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/boot/linux-6.12.9-1-xen-lean", b"")
    monkeypatch.setattr(Host, "forbidden", lambda _host, path: str(path).endswith("-xen-lean"))
    rows = {row.version: row for row in kernel_rows(host)}
    assert rows["6.12.9-1-xen-lean"].dom0 is Answer.UNKNOWN


@pytest.mark.parametrize("folder", ["/lib/modules", "/usr/lib/modules"])
def test_who_has_brought_modules_without_an_image(host: Host, folder: str) -> None:
    host.write("/var/lib/dpkg/info/linux-base.list", f"{folder}/5.10.0-gone\n".encode())
    rows = {row.version: row for row in kernel_rows(host)}
    assert rows["5.10.0-gone"].package == "linux-base"


def test_table(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernel, "Host", lambda: host)
    assert run(["kernel", "list"]) == Exit.DONE
    text = capsys.readouterr().out
    assert all(len(row) <= 80 for row in text.splitlines())
    head, cloud, *others = text.splitlines()
    assert head.split() == ["Kernel", "dom0", "guest", "native", "Made", "by"]
    assert cloud.split()[:5] == ["*", "6.12.9-cloud-amd64", "-", "yes", "yes"]
    assert any(row.endswith("only its modules are here") for row in others)
    assert any("?" in row and "no package" in row for row in others)
    assert run(["kernel", "list", "--json"]) == Exit.DONE
    assert '"dom0": "unknown"' in capsys.readouterr().out


def test_a_machine_without_kernels(tmp_path: Path) -> None:
    rows = kernel_rows(Host(tmp_path))
    assert plain(render_kernels(rows, 80)) == "There is no kernel in /boot.\n"
    assert kernels_document(rows)["kernels"] == []


def test_a_long_version_has_a_line_of_its_own(host: Host) -> None:
    host.write("/boot/vmlinuz-6.12.107+deb13-some-very-long-flavour-amd64", b"")
    text = plain(render_kernels(kernel_rows(host), 80))
    assert "  6.12.107+deb13-some-very-long-flavour-amd64\n" in text
