# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a boot under Xen fell back: from what it left behind."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest

from tests.unit.boot.firmware import add_firmware
from tests.unit.trial.fixtures import GRUB, MANIFEST, TRYING, boots, record
from xenable import health, trial
from xenable.boot.environment import Environment, write_environment
from xenable.host import Host
from xenable.model import Status
from xenable.trialrecord import Trial, write_trial


@pytest.mark.parametrize(
    ("env", "written", "reason"),
    [
        (replace(TRYING, stage="load-failed"), None, "GRUB could not start Xen"),
        (replace(TRYING, stage="loading"), None, "GRUB could not start Xen"),
        (TRYING, None, "before dom0's user space ran"),
        (
            TRYING,
            record(verdict="gave-up", missing=("sshd: nothing listens on 0.0.0.0:22",)),
            "sshd: nothing",
        ),
        (TRYING, record(verdict="held", seconds=285), "nobody ran `xenable confirm` within 300 s"),
        (TRYING, record(missing=("xenstored: it does not answer",)), "ended without a word after 40 s"),
        (TRYING, record(seconds=290), "its time limit of 300 s ran out"),
        # What another slot's boot wrote is no evidence for this one.
        (TRYING, record(slot="b"), "before dom0's user space ran"),
        # Nor is what was written before this boot.
        (TRYING, record(verdict="armed", seconds=0), "before dom0's user space ran"),
        (TRYING, record(verdict="passed"), "before dom0's user space ran"),
        # The power went while it waited for a person.
        (TRYING, record(verdict="held"), "ended without a word after 40 s: hang, power cut, reset or panic"),
    ],
)
def test_the_reason_of_a_fall_back(host: Host, env: Environment, written: Trial | None, reason: str) -> None:
    write_environment(host, GRUB, env)
    if written:
        write_trial(host, written)
    assert reason in trial.status(host).reason


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (None, "or it never began: GRUB could not load it, BootNext was taken back, kexec"),
        (record(verdict="armed", seconds=0), "or it never began"),
        (record(verdict="gave-up", missing=("sshd: nothing",)), "it waited for sshd: nothing"),
        (record(verdict="fell-back", reason="xl: broken"), "xl: broken"),
    ],
)
def test_the_reason_where_grub_can_note_nothing(host: Host, written: Trial | None, reason: str) -> None:
    whole = {
        "id": "x",
        "xen": "4.20",
        "kernel": "6.12",
        "xen_arguments": "",
        "dom0_arguments": "",
        "sha256": {},
    }
    host.make_folder("/boot/xenable/a")
    host.write("/boot/xenable/a/manifest.json", json.dumps(whole).encode())
    add_firmware(host)
    write_environment(host, GRUB, Environment(try_slot="a"), firmware=True)
    assert trial.status(host).state is Status.ARMED
    boots(host, "another")
    if written:
        write_trial(host, written)
    now = trial.status(host)
    assert (now.state, now.next_boot) == (Status.FELL_BACK, "native")
    assert reason in now.reason


@pytest.mark.parametrize(
    "kept",
    [
        record(slot="b", verdict="fell-back", reason="xl: broken", started=TRYING.started),
        record(verdict="fell-back", reason="xl: broken", started="2026-11-21 10:00:00"),
        record(verdict="gave-up", missing=("xl: broken",), started="2026-11-21 10:00:00"),
    ],
)
def test_the_reason_of_another_fall_back_explains_nothing(host: Host, kept: Trial) -> None:
    write_environment(host, GRUB, TRYING)
    write_trial(host, kept)
    assert "before dom0's user space ran" in trial.status(host).reason
    # One of before the package kept GRUB's clock.
    write_trial(host, replace(kept, slot="a", started=""))
    assert "xl: broken" in trial.status(host).reason


def test_the_reason_names_a_lost_root(host: Host) -> None:
    write_environment(host, GRUB, TRYING)
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "root=UUID=12-34 ro"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert "there is no UUID=12-34 on this machine" in trial.status(host).reason
    host.make_folder("/dev/disk/by-uuid")
    host.write("/dev/disk/by-uuid/12-34", b"")
    assert "UUID" not in trial.status(host).reason
    # No path of this machine.
    manifest = {**MANIFEST, "dom0_arguments": "root=ZFS=rpool/ROOT/debian ro"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert "ZFS" not in trial.status(host).reason


def test_the_reason_quotes_the_panic_that_pstore_kept(host: Host) -> None:
    env = replace(TRYING, started="2026-01-02 03:04:05")
    write_environment(host, GRUB, env)
    dump = "/var/lib/systemd/pstore/1767323100/dmesg.txt"
    host.make_folder(dump.rpartition("/")[0])
    text = b"<0>[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    host.write(dump, text)
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in trial.status(host).reason
    # Of a crash before the trial, or of nobody knows which.
    os.utime(host.path(dump), (1767323045 - 86400,) * 2)
    assert "VFS" not in trial.status(host).reason
    os.utime(host.path(dump), (1767323045 - 100,) * 2)
    assert "VFS" in trial.status(host).reason
    # Of the trial before it: this one was armed after that dump was moved.
    health.write_before(host, health.Before(known=True))
    os.utime(host.path(health.BEFORE), (1767323045 - 50,) * 2)
    assert "VFS" not in trial.status(host).reason
    os.utime(host.path(dump))
    write_environment(host, GRUB, replace(env, started=""))
    assert "VFS" not in trial.status(host).reason


@pytest.mark.parametrize(
    ("booted", "reason"),
    [
        (94, "panicked, or the machine was reset or lost its power, early in its start: within 34 s"),
        (400, "dom0 hung early in its start, and its time limit of 300 s ran out; or it panicked"),
        # The power was off for hours: nobody knows which.
        (10860, "or it panicked, and the machine was off or slow to start: this system began 10800 s after"),
    ],
)
def test_the_reason_goes_by_how_long_it_took(host: Host, booted: int, reason: str) -> None:
    write_environment(host, GRUB, replace(TRYING, started="1970-01-01 00:01:00"))
    host.write("/proc/stat", f"cpu 1\nbtime {booted}\n".encode())
    assert "(a panic, a hang in the initrd" in trial.status(host).reason
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "ro xenable.deadline=300"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert reason in trial.status(host).reason


@pytest.mark.parametrize(
    ("booted", "written", "reason"),
    [
        (150, record(seconds=40), "ended without a word after 40 s, before its time limit: power cut"),
        (400, record(seconds=40), "dom0 hung after 40 s, and its time limit of 300 s ran out; or it ended"),
        (400, record(verdict="held"), "this system began 340 s after GRUB's hand-over"),
        # One that was started by hand has no limit.
        (400, record(seconds=40, deadline=0), "ended without a word after 40 s: power cut, reset or panic"),
    ],
)
def test_the_reason_tells_a_hang_from_a_power_cut(
    host: Host, booted: int, written: Trial, reason: str
) -> None:
    began = "1970-01-01 00:01:00"
    write_environment(host, GRUB, replace(TRYING, started=began))
    host.write("/proc/stat", f"cpu 1\nbtime {booted}\n".encode())
    write_trial(host, replace(written, started=began))
    assert reason in trial.status(host).reason


@pytest.mark.parametrize(("adjtime", "took"), [("0.0 0 0.0\n0\nLOCAL\n", 34), ("0.0 0 0.0\n0\nUTC\n", 7234)])
def test_a_clock_in_local_time(host: Host, monkeypatch: pytest.MonkeyPatch, adjtime: str, took: int) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    host.make_folder("/etc")
    host.write("/etc/adjtime", adjtime.encode())
    write_environment(host, GRUB, replace(TRYING, started="1970-01-02 02:01:00"))
    host.write("/proc/stat", b"cpu 1\nbtime 86494\n" if took == 34 else b"cpu 1\nbtime 100894\n")
    host.make_folder("/boot/xenable/a")
    manifest = {**MANIFEST, "dom0_arguments": "ro xenable.deadline=300"}
    host.write("/boot/xenable/a/manifest.json", json.dumps(manifest).encode())
    assert f"{took} s" in trial.status(host).reason
    monkeypatch.undo()
    time.tzset()
