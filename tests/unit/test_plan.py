# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden plans of recorded machines. `XENABLE_UPDATE_GOLDEN=1 pytest` writes them anew: read the diff."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from tests.factory import KERNEL, UPLINK, configured, make_config, make_facts
from tests.recorded import GOLDEN, facts_of, machine_names
from xenable.checks import ready, run_checks
from xenable.config import KernelChoice
from xenable.datafiles import data_file
from xenable.errors import XenableError
from xenable.machine import Candidate, Facts
from xenable.model import Severity
from xenable.network.effective import PATH, Mode, parse
from xenable.plan import GENERATOR, make_plan, menu_pairs, package_names
from xenable.plan.network import NETWORKD, NETWORKMANAGER, VIF_SCRIPT, XENDOMAINS, XL_CONF
from xenable.steps import KINDS
from xenable.steps.base import Step
from xenable.steps.files import WriteFile
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages

SHIMS = {GENERATOR: "grub.d/shim", VIF_SCRIPT: "network/vif-shim"}


def described(facts: Facts) -> list[dict[str, Any]]:
    """The steps as JSON; shims, which are files of ours, by their names only."""
    steps = []
    for step in make_plan(facts, make_config()):
        fields = step.fields()
        if isinstance(step, WriteFile) and step.path in SHIMS:
            assert step.content == data_file(SHIMS[step.path]).read_text(encoding="utf-8")
            fields["content"] = f"data/{SHIMS[step.path]}"
        steps.append({"kind": step.kind, **json.loads(json.dumps(fields))})
    return steps


def convertible(name: str) -> bool:
    findings = run_checks(facts_of(name), make_config())
    return ready(findings, frozenset(f.id for f in findings if f.severity is Severity.OVERRIDABLE))


CONVERTIBLE = tuple(name for name in machine_names() if convertible(name))
"""At least when a person says so."""


def test_every_golden_plan_is_of_such_a_machine() -> None:
    golden = {path.name.removesuffix(".plan.json") for path in GOLDEN.glob("*.plan.json")}
    assert golden == set(CONVERTIBLE) and len(CONVERTIBLE) < len(machine_names())


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_the_plan_of_a_recorded_machine(name: str) -> None:
    golden = GOLDEN / f"{name}.plan.json"
    found = described(facts_of(name))
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_a_plan_has_every_kind_of_step() -> None:
    mirrored = make_facts(boot_loader={"own_loader": "/boot/efi/EFI/xenable"})
    assert {step.kind for step in make_plan(mirrored, make_config())} == {kind.kind for kind in KINDS}


def test_the_setting_against_xen_as_default_comes_before_the_packages_and_the_arming_last() -> None:
    steps = make_plan(make_facts(), make_config())
    kinds = [step.kind for step in steps]
    early = next(n for n, s in enumerate(steps) if isinstance(s, WriteFile) and "OVERRIDE_GRUB" in s.content)
    assert early < kinds.index("install-packages")
    assert kinds[0] == "menu" and kinds[-1] == "arm"
    assert kinds.index("install-packages") < kinds.index("refresh-menu") < kinds.index("fill-slot")


def test_a_cloud_machine_gets_a_kernel_and_keeps_its_native_default() -> None:
    steps = described(facts_of("debian13-cloud-kernel"))
    packages = next(step for step in steps if step["kind"] == "install-packages")
    assert packages["names"] == ["xen-system-amd64", "linux-image-amd64"]
    assert any("XENABLE_NATIVE_FLAVOUR=cloud-amd64" in step.get("content", "") for step in steps)
    refresh = next(step for step in steps if step["kind"] == "refresh-menu")
    assert refresh["adds_kernel"] is True


def test_a_kernel_for_xen_alone_is_dom0_s_and_leaves_the_native_menu_as_it_is() -> None:
    facts = facts_of("debian13-cloud-kernel")
    lean = Candidate(name="xen-image-lean", version="6.12.107-1")
    without = tuple(c for c in facts.packages.new if not c.name.startswith("linux-"))
    facts = replace(facts, packages=replace(facts.packages, xen_kernel=lean, new=(*without, lean)))
    steps = make_plan(facts, make_config(kernel=KernelChoice.XEN))
    packages = next(step for step in steps if isinstance(step, InstallPackages))
    assert packages.names == ("xen-system-amd64", "xen-image-lean")
    late = next(s.content for s in steps if isinstance(s, WriteFile) and "zz-xenable" in s.path)
    assert "export XENABLE_KERNEL=xen\n" in late and "NATIVE_FLAVOUR" not in late
    refresh = next(step for step in steps if step.kind == "refresh-menu")
    assert refresh.fields()["adds_kernel"] is False
    # It is there, and nobody asked for it.
    assert "xen-image-lean" not in str([step.fields() for step in make_plan(facts, make_config())])


def test_headers_are_asked_for_where_apt_would_bring_them() -> None:
    facts = facts_of("debian13-cloud-kernel")
    assert package_names(facts, make_config()) == ("xen-system-amd64", "linux-image-amd64")
    (image,) = (c for c in facts.packages.new if c.name.startswith("linux-image-6"))
    come = (Candidate(name=image.headers, version="1"), Candidate(name="linux-headers-common", version="1"))
    facts = replace(facts, packages=replace(facts.packages, new=(*facts.packages.new, *come)))
    names = ("xen-system-amd64", "linux-image-amd64", image.headers)
    assert package_names(facts, make_config()) == names


def test_a_plan_promises_no_kernel_that_the_menu_refuses() -> None:
    kernels = (KERNEL, replace(KERNEL, version="6.99-cut-short", compression=""))
    pairs = menu_pairs(make_facts(kernels=kernels), make_config())
    assert pairs == (f"Xen 4.20 with Linux {KERNEL.version}",)
    assert menu_pairs(make_facts(packages={"xen_series": ""}), make_config()) == ()


def test_settings_reach_the_steps() -> None:
    config = replace(make_config(), trial_seconds=240, auto_confirm=False, dom0_memory=2048)
    steps = make_plan(make_facts(), config)
    slot = next(step for step in steps if step.kind == "fill-slot")
    assert slot.fields() == {"deadline": 240, "hold": True}
    assert any(isinstance(s, WriteFile) and "dom0_mem=2048M,max:2048M" in s.content for s in steps)


def test_a_memory_that_nobody_knows_is_refused() -> None:
    facts = make_facts(memory={"total": None, "used": None})
    with pytest.raises(XenableError, match="memory is not known"):
        make_plan(facts, replace(make_config(), dom0_memory=None))


# ------------------------------------------------------------------------------------------------- guests


def written(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.path: step.content for step in steps if isinstance(step, WriteFile)}


def options(steps: tuple[Step, ...], path: str) -> dict[str, str]:
    (found,) = (step.options for step in steps if isinstance(step, SetOptions) and step.path == path)
    return dict(found)


def test_files_of_the_packages_are_changed_after_they_came_and_put_back_before_they_go() -> None:
    steps = make_plan(make_facts(), make_config())
    packages = next(n for n, step in enumerate(steps) if step.kind == "install-packages")
    paths = [str(step.fields().get("path", "")) for step in steps]
    others = [n for n, path in enumerate(paths) if path.startswith("/etc/xen/") or path == XENDOMAINS]
    assert len(others) == 3 and packages < min(others)
    # In a revert the menu is native again before anything that Xen needs goes.
    assert max(others) < next(n for n, step in enumerate(steps) if step.kind == "refresh-menu")


def test_a_routed_network() -> None:
    steps = make_plan(make_facts(network={"ula_prefix": "fd12:3456:789a:d8::/64"}), make_config())
    text = written(steps)[str(PATH)]
    assert "MODE=routed\nINTERFACE=xenable0\n" in text
    assert "NETWORK4=172.20.216.0/24\n" in text and "NETWORK6=fd12:3456:789a:d8::/64\n" in text
    assert "UPLINK=\n" in text and "No way is opened" in text
    assert options(steps, XL_CONF) == {"vif.default.script": '"vif-xenable"', "autoballoon": '"off"'}
    assert options(steps, XENDOMAINS) == {"XENDOMAINS_SAVE": '""', "XENDOMAINS_RESTORE": "false"}
    units = [step.fields()["unit"] for step in steps if step.kind == "enable-unit"]
    assert units == ["xenable-network.service", "xenable-names.service", "xenable-gate.service"]


def test_nat_names_its_uplink_and_sets_no_forwarding_for_the_native_system() -> None:
    steps = make_plan(make_facts(), make_config(guest_mode=Mode.NAT, guest_network6=None))
    text = written(steps)[str(PATH)]
    assert "MODE=nat\n" in text and "UPLINK=enp0s3\n" in text and "NETWORK6=\n" in text
    assert "under dom0's own IPv4 address" in text and "# enp0s3, while Xen runs" in text
    assert not any("sysctl" in path for path in written(steps))
    assert options(steps, XL_CONF)["vif.default.script"] == '"vif-xenable"'


NET_BRIDGED = {"guest_mode": Mode.BRIDGE, "guest_bridge": "br0"}
MADE = {**NET_BRIDGED, "guest_bridge_port": "enp0s3"}


@pytest.mark.parametrize(
    ("manager", "file", "text", "modes"),
    [
        (
            "ifupdown",
            "/etc/network/interfaces",
            "auto enp0s3\niface enp0s3 inet dhcp\n",
            {
                "/etc/xenable/bridge/interfaces": 0o644,
                "/etc/systemd/system/etc-network-interfaces.mount": 0o644,
            },
        ),
        (
            "netplan",
            "/run/systemd/network/10-netplan-enp0s3.network",
            "[Network]\nDHCP=yes\n",
            {
                "/etc/systemd/network/05-xenable-bridge.netdev": 0o644,
                "/etc/systemd/network/05-xenable-bridge.network": 0o644,
                "/etc/systemd/network/05-xenable-port.network": 0o644,
            },
        ),
        (
            "networkmanager",
            "/etc/NetworkManager/system-connections/a.nmconnection",
            "[connection]\ntype=ethernet\n",
            {
                "/etc/NetworkManager/system-connections/xenable-bridge.nmconnection": 0o600,
                "/etc/NetworkManager/system-connections/xenable-port.nmconnection": 0o600,
            },
        ),
    ],
)
def test_a_bridge_that_is_made(manager: str, file: str, text: str, modes: dict[str, int]) -> None:
    facts = make_facts(network=configured(manager, (file, text)))
    steps = make_plan(facts, make_config(**MADE))
    files = {s.path: s for s in steps if isinstance(s, WriteFile)}
    others = {s.path for s in make_plan(facts, make_config()) if isinstance(s, WriteFile)}
    assert {path: files[path].mode for path in files.keys() - others} == modes
    # Nothing of it has an effect without the word that only the boots of slots have; nothing else is new.
    assert all(
        path in modes or s.path == str(PATH) or "bridge" not in s.content for path, s in files.items()
    )
    assert sum("xenable.deadline" in files[path].content for path in modes) == len(modes) - (
        manager == "ifupdown"
    )
    assert all(files[path].content.startswith("# Written by Xenable;") for path in modes)
    units = [step.fields()["unit"] for step in steps if step.kind == "enable-unit"]
    mounts = [unit for unit in units if unit.endswith(".mount")]
    assert mounts == (["etc-network-interfaces.mount"] if manager == "ifupdown" else [])
    told = files[str(PATH)].content
    assert "# br0 is made of enp0s3" in told and "resets itself within the time limit" in told
    assert options(steps, XL_CONF)["vif.default.bridge"] == '"br0"'


def test_a_bridge_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(XenableError, match="cannot make the bridge br0 of enp0s3"):
        make_plan(make_facts(), make_config(**MADE))


def test_a_bridge() -> None:
    config = make_config(**NET_BRIDGED)
    steps = make_plan(make_facts(), config)
    text = written(steps)[str(PATH)]
    assert "MODE=bridge\n" in text and "BRIDGE=br0\n" in text and "MAC address" in text
    assert "is made of" not in text
    assert options(steps, XL_CONF) == {
        "vif.default.script": '"vif-bridge"',
        "vif.default.bridge": '"br0"',
        "autoballoon": '"off"',
    }


def test_the_explanations_are_comments() -> None:
    for mode in Mode:
        config = make_config(guest_mode=mode, guest_bridge="br0" if mode is Mode.BRIDGE else "")
        lines = written(make_plan(make_facts(), config))[str(PATH)].splitlines()
        assert all(line.startswith("#") or "=" in line for line in lines)
        assert not any("{" in line for line in lines) and f"# {mode}: " in "\n".join(lines)
        assert parse("\n".join(lines) + "\n").mode is mode


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        (
            "networkmanager",
            {NETWORKMANAGER: "match-device=interface-name:vif*;interface-name:xe7\nmanaged=0\n"},
        ),
        ("networkd", {NETWORKD: "[Match]\nName=vif* xe7\n\n[Link]\nUnmanaged=yes\n"}),
        ("netplan", {NETWORKD: "Unmanaged=yes\n"}),
        ("ifupdown", {}),
        ("", {}),
    ],
)
def test_the_manager_of_the_network_leaves_guests_alone(manager: str, expected: dict[str, str]) -> None:
    facts = make_facts(network={"interfaces": (replace(UPLINK, manager=manager),)})
    files = written(make_plan(facts, make_config(guest_interface="xe7")))
    assert {path for path in (NETWORKMANAGER, NETWORKD) if path in files} == set(expected)
    for path, end in expected.items():
        assert files[path].endswith(end)


@pytest.mark.parametrize(("program", "path"), [("networkmanager", NETWORKMANAGER), ("networkd", NETWORKD)])
def test_a_program_that_manages_nothing_yet_is_told_too(program: str, path: str) -> None:
    """It runs beside ifupdown, which has the card."""
    network = {"interfaces": (replace(UPLINK, manager="ifupdown"),), "watchers": (program,)}
    files = written(make_plan(make_facts(network=network), make_config()))
    assert {NETWORKMANAGER, NETWORKD} & set(files) == {path}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"guest_mode": Mode.NAT}, "no default route for IPv4"),
        ({"guest_mode": Mode.BRIDGE}, "none is named"),
    ],
)
def test_a_mode_that_lacks_what_it_needs_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(XenableError, match=message) as caught:
        make_plan(make_facts(network={"routes": ()}), make_config(**config))
    assert caught.value.hint
