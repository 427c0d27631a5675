# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate where the firmware has the one-shot."""

from __future__ import annotations

import struct

import pytest

from tests.unit.boot.firmware import ATTRIBUTES, add_firmware, variable
from tests.unit.gate.fixtures import BOOT_ID, GRUB, Clock, commands, looks
from xenable import gate, health, trial
from xenable.boot.efi import is_next, own_entries
from xenable.boot.environment import UNKNOWN, Environment, read_environment, write_environment
from xenable.errors import XenableError
from xenable.host import Host, StrPath
from xenable.trialrecord import read_trial


def by_firmware(host: Host, env: Environment) -> None:
    """The block of a machine whose firmware has the one-shot, and has taken it for this boot."""
    add_firmware(host)
    host.write("/proc/sys/kernel/random/boot_id", b"of-before\n")
    write_environment(host, GRUB, env, firmware=True)
    host.set_variable(variable("BootNext"), None)
    host.write("/proc/sys/kernel/random/boot_id", f"{BOOT_ID}\n".encode())


def test_a_dom0_that_the_firmware_started_is_accepted_and_is_next(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_firmware(host, Environment(try_slot="a"))
    asked = looks(monkeypatch, ("sshd: nothing listens",), ())
    gate.run_gate(host)
    assert asked == [False, False]
    assert read_environment(host, GRUB) == Environment(default="a")
    assert is_next(host)
    # systemd starts the gate once more with later jobs: there is nothing to judge then, whatever is set.
    host.set_variable(variable("BootNext"), None)
    gate.run_gate(host)
    assert asked == [False, False] and not is_next(host)


def test_firmware_that_takes_no_word_leaves_dom0_on_trial(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_firmware(host, Environment(try_slot="a"))
    looks(monkeypatch, ())
    ran = commands(monkeypatch)
    real = Host.set_variable

    def refuse(self: Host, path: StrPath, data: bytes | None) -> None:
        if data is not None and "BootNext" in str(path):
            raise XenableError(f"cannot write {path}: No space left on device")
        real(self, path, data)

    monkeypatch.setattr(Host, "set_variable", refuse)
    tried: list[int] = []
    accept = trial.accept

    def note(host: Host) -> bool:
        tried.append(clock.seconds)
        return accept(host)

    monkeypatch.setattr(trial, "accept", note)
    gate.run_gate(host)
    record = read_trial(host)
    assert record is not None and record.verdict == "gave-up"
    assert "No space left on device" in record.missing[0]
    # Not at each look: the memory of firmware wears out.
    assert tried == [20, 40, 60, 80]
    assert ["systemctl", "reboot", "--force"] in ran
    env = read_environment(host, GRUB)
    assert env is not None and (env.trying, env.default) == ("a", "")


@pytest.mark.parametrize("default", ["", "a", "b"])
def test_firmware_that_does_not_delete_bootnext_is_no_place_for_a_dom0(
    host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, default: str
) -> None:
    """A later dom0 that hangs would be started for ever: the trial does not pass, and no other is armed."""
    monkeypatch.setattr(health, "PROBES", ((health.one_shot, health.About.REACH),))
    by_firmware(host, Environment(try_slot="" if default == "a" else "a", default=default))
    host.set_variable(variable("BootNext"), ATTRIBUTES + struct.pack("<H", own_entries(host)[0]))
    ran = commands(monkeypatch)
    gate.run_gate(host)
    record = read_trial(host)
    assert record is not None and record.verdict == "gave-up"
    assert "did not delete BootNext" in record.missing[0]
    assert ["systemctl", "reboot", "--force"] in ran
    left = "a" if default == "a" else ""
    assert read_environment(host, GRUB) == Environment(trying="a", default=left, stage="started")
    assert not is_next(host)
    # Natively, after it.
    host.write("/sys/hypervisor/type", b"")
    host.write("/proc/sys/kernel/random/boot_id", b"another\n")
    gate.run_gate(host)
    assert "did not delete BootNext" in trial.status(host).reason
    before = read_trial(host)
    with pytest.raises(XenableError, match="did not delete BootNext"):
        trial.arm(host, "a")
    assert not is_next(host) and read_trial(host) == before
    # Another conversion may find other firmware.
    write_environment(host, GRUB, Environment(), firmware=True)
    write_environment(host, GRUB, Environment(try_slot="a"))
    assert is_next(host)


@pytest.mark.parametrize(
    ("env", "noted", "armed"),
    [
        (Environment(try_slot="a"), Environment(trying="a", stage=UNKNOWN), False),
        (Environment(default="a"), Environment(trying="a", default="a", stage=UNKNOWN), False),
        # The one that passed is next, beside a newer one that failed.
        (
            Environment(try_slot="b", default="a"),
            Environment(trying="b", default="a", stage=UNKNOWN),
            True,
        ),
    ],
)
def test_natively_what_the_firmware_started_is_noted(
    native: Host, env: Environment, noted: Environment, armed: bool
) -> None:
    by_firmware(native, env)
    gate.run_gate(native)
    assert read_environment(native, GRUB) == noted
    assert is_next(native) is armed
    record = read_trial(native)
    assert record is not None and (record.slot, record.verdict) == (noted.trying, "fell-back")
    before = native.read(f"{GRUB}/xenable.env")
    gate.run_gate(native)
    assert native.read(f"{GRUB}/xenable.env") == before
