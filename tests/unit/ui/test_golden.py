# SPDX-License-Identifier: GPL-2.0-or-later
"""What people see on 80 columns, compared with golden texts.

After a change that is meant: XENABLE_UPDATE_GOLDEN=1, run the tests, and read the difference.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factory import make_facts
from xenable.machine import Candidate
from xenable.model import Finding, Obstacle, Preview, Severity, Status
from xenable.ui.document import facts_document
from xenable.ui.facts import render_facts
from xenable.ui.findings import render_findings, verdict
from xenable.ui.layout import Line, plain
from xenable.ui.plan import render_obstacles, render_packages, render_steps, render_titles
from xenable.ui.status import render_status

GOLDEN = Path(__file__).parent / "golden"
WIDTH = 80

FINDINGS = (
    Finding(
        id="firmware/secure-boot",
        severity=Severity.BLOCKER,
        title="Secure Boot is on",
        diagnosis="The firmware loads signed programs only, and GRUB then refuses Xen: the hypervisor of "
        "the distribution is not signed. The trial would fall back at once.",
        remedy="Switch Secure Boot off in the firmware's setup.",
    ),
    Finding(
        id="packages/held",
        severity=Severity.OVERRIDABLE,
        title="Packages are held",
        diagnosis="grub-efi-amd64 is held.",
        remedy="apt-mark unhold grub-efi-amd64",
    ),
    Finding(
        id="memory/in-use",
        severity=Severity.OVERRIDABLE,
        title="More memory is in use than dom0 would get",
        diagnosis="3200 MiB are in use; dom0 would get 1229 MiB.",
        remedy="Set `dom0-memory` to more.",
    ),
    Finding(
        id="machine/nested",
        severity=Severity.WARNING,
        title="This is a virtual machine",
        diagnosis="",
        remedy="Fine for a test.",
    ),
    Finding(
        id="console/none", severity=Severity.NOTE, title="No serial console", diagnosis="Nothing.", remedy=""
    ),
)

PACKAGES = dataclasses.replace(
    make_facts().packages,
    new=(
        Candidate(name="xen-system-amd64", version="4.20.2+7-g1badcf5035-0+deb13u1"),
        Candidate(name="xen-utils-common", version="4.20.2+7-g1badcf5035-0+deb13u1"),
        Candidate(name="seabios", version="1.16.3-2"),
    ),
    upgraded=(Candidate(name="libc6", version="2.41-12+deb13u1"),),
    removed=("lightdm",),
    download_bytes=12_345_678,
    installed_kib=51_200,
)

UPGRADED = tuple(Candidate(name=f"libpkg{n:02}", version="1.2-3+deb13u1") for n in range(20))
STEPS = (
    Preview(
        title="write /etc/default/grub.d/00-xenable.cfg",
        detail="--- /dev/null\n+++ /etc/default/grub.d/00-xenable.cfg\n"
        "@@ -0,0 +1,2 @@\n+# Xen\n+A=0\nmode 0644\n",
    ),
    Preview(
        title="install packages",
        detail="The packages of the list above, with what they recommend, without a question being asked "
        "and without a service being started.",
    ),
    *(Preview(title=f"step number {n}") for n in range(3, 11)),
    Preview(title="arm the trial boot", detail="slot a\n  xen     4.20\n  kernel  6.12"),
)

TEXTS: dict[str, Callable[[], list[Line]]] = {
    "findings": lambda: render_findings(FINDINGS, {"packages/held"}, WIDTH),
    "findings-overridden": lambda: render_findings(FINDINGS[1:3], {"packages/held", "memory/in-use"}, WIDTH),
    "findings-none": lambda: render_findings((), (), WIDTH),
    "packages": lambda: render_packages(PACKAGES, WIDTH),
    "packages-upgraded": lambda: render_packages(
        dataclasses.replace(PACKAGES, new=(), removed=(), upgraded=UPGRADED), WIDTH
    ),
    "plan": lambda: render_steps(STEPS, WIDTH),
    "plan-summary": lambda: render_titles([step.title for step in STEPS], WIDTH),
    "obstacles": lambda: render_obstacles(
        (
            Obstacle(what="/etc/default/grub.d/zz-xenable.cfg was edited", diff="--- was\n+++ is\n-a\n+b"),
            Obstacle(what="package qemu-system needs xen-utils-4.20, which would be removed"),
        ),
        WIDTH,
    ),
    "status-native": lambda: render_status(
        Status.NATIVE, "Xenable has changed nothing here", "native", "native", {}, WIDTH
    ),
    "status-fell-back": lambda: render_status(
        Status.FELL_BACK,
        "dom0 was not healthy within 600 s: it waited for the address 192.0.2.7; the default route; sshd on "
        "port 22",
        "native",
        "native",
        {"running kernel": "6.12.107+deb13-amd64", "xen in slot a": "4.20"},
        WIDTH,
    ),
    "facts": lambda: render_facts(facts_document(make_facts()), WIDTH),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_golden_one(name: str) -> None:
    text = plain(TEXTS[name]())
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEXTS)
def test_text_fits_in_80_columns(name: str) -> None:
    for row in plain(TEXTS[name]()).splitlines():
        assert len(row) <= WIDTH or " " not in row.strip(), row


@pytest.mark.parametrize("width", [40, 60])
def test_the_verdict_is_wrapped(width: int) -> None:
    rows = plain(verdict(FINDINGS, (), width)).splitlines()
    assert max(map(len, rows)) <= width
    assert " ".join(rows).startswith("This machine is not ready: ")


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(TEXTS)
