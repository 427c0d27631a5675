# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder that is a dom0, with stand-ins for xl, qemu-img and the like that work on it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from tests.tree import make_tree
from xenable.guests import create, images, storage
from xenable.guests.create import Request
from xenable.guests.images import Base
from xenable.guests.model import Kind
from xenable.host import CommandError, Host, Result
from xenable.network.effective import GuestNet, Mode

NET = GuestNet(
    mode=Mode.ROUTED,
    interface="xenable0",
    ipv4=IPv4Network("172.20.216.0/24"),
    ipv6=IPv6Network("fd12:3456:789a:d8::/64"),
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl you@home"
INFO = "virt_caps              : pv hvm hap\ntotal_memory           : 8192\nfree_memory            : 4096\n"
SIZE = 8 << 20
REQUEST = Request(
    name="web1", kind=Kind.PV, memory=512, vcpus=1, disk_bytes=4 * SIZE, keys=(KEY,), release="trixie",
    isolate=False, autostart=True,
)  # fmt: skip


@dataclass
class Xen:
    """What the stand-ins know and did."""

    host: Host
    running: dict[str, str] = field(default_factory=dict)
    """Name to uuid."""
    volumes: dict[str, int] = field(default_factory=dict)
    """GROUP/NAME to bytes."""
    calls: list[list[str]] = field(default_factory=list)
    answers: dict[str, Result] = field(default_factory=dict)
    """What a command says, by the beginning of its words, in place of what the stand-in does."""
    info: str = INFO
    loops: dict[str, str] = field(default_factory=dict)
    """Device to its file."""
    details: str = "[]\n"
    """What `xl list -l` says."""
    ids: dict[str, int] = field(default_factory=dict)
    """Uuid to the number of its domain, which no other one gets."""
    last_id: int = 0
    states: dict[str, str] = field(default_factory=dict)
    """Uuid to xl's letters, where it does not just wait for work."""
    daemon: bool = True
    """Whether xl's daemon lives, which tears down what is shut down."""
    leaving: dict[str, int] = field(default_factory=dict)
    """Uuid to the number of lists that still show it."""

    def said(self, beginning: str) -> list[list[str]]:
        return [call for call in self.calls if " ".join(call).startswith(beginning)]

    def run(self, cmd: Sequence[str | Path], *, check: bool = True, **_: Any) -> Result:
        words = [os.fspath(word) for word in cmd]
        self.calls.append(words)
        if words[0] == "systemd-run":
            words = words[words.index("--") + 1 :]
        line = " ".join(words)
        result = next((r for start, r in self.answers.items() if line.startswith(start)), None)
        if result is None:
            act = getattr(self, "do_" + words[0].replace("-", "_"), None)
            assert act is not None, f"no stand-in for {line}"
            result = act(words)
        assert isinstance(result, Result)
        if check and result.code != 0:
            raise CommandError(words, result)
        return result

    def do_rm(self, words: list[str]) -> Result:
        path = self.host.path(words[-1])
        assert self.host.root in path.parents
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return Result(0, "", "")

    def do_cp(self, words: list[str]) -> Result:
        shutil.copyfile(self.host.path(words[-2]), self.host.path(words[-1]))
        return Result(0, "", "")

    def do_sync(self, words: list[str]) -> Result:
        assert all(self.host.exists(path) for path in words[1:])
        return Result(0, "", "")

    def do_systemctl(self, words: list[str]) -> Result:
        return Result(0, "", "")

    def do_sh(self, words: list[str]) -> Result:
        return Result(0, "", "")

    def do_nft(self, words: list[str]) -> Result:
        assert words[1:] == ["-j", "list", "counters"]
        return Result(0, '{"nftables": []}', "")

    def do_losetup(self, words: list[str]) -> Result:
        if words[1] == "--detach":
            del self.loops[words[2]]
        return Result(0, "".join(f"{device} {path}\n" for device, path in self.loops.items()), "")

    def do_apt_config(self, words: list[str]) -> Result:
        return Result(0, "Acquire::http::Proxy=http://proxy.example.org:3142\nAPT::Architecture=amd64\n", "")

    def do_qemu_img(self, words: list[str]) -> Result:
        if words[1] == "create":
            backing = words[words.index("-b") + 1].encode()
            head = b"QFI\xfb" + (3).to_bytes(4) + (104).to_bytes(8) + len(backing).to_bytes(4)
            self.host.path(words[-2]).write_bytes(head.ljust(104, b"\0") + backing)
        elif words[1] == "convert":
            self.host.path(words[-1]).write_bytes(b"converted")
        return Result(0, "", "")

    def do_xl(self, words: list[str]) -> Result:
        verb = words[1]
        if verb == "info":
            return Result(0, self.info, "")
        if verb == "list" and words[2] == "-v":
            return Result(0, self.domains(), "")
        if verb == "list":
            return Result(0, self.details, "")
        if verb == "uptime":
            return Result(0, "", "")
        if verb == "create":
            text = self.host.text(words[2])
            values = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
            name = json.loads(values["name"])
            if name in self.running:
                why = f'libxl: error: libxl.c:1:f: Domain 9:Domain with name "{name}" already exists.'
                return Result(3, "", why)
            self.running[name] = json.loads(values["uuid"])
            return Result(0, "", "")
        if verb in ("destroy", "shutdown"):
            found = [name for name, uuid in self.running.items() if self.id_of(uuid) == int(words[-1])]
            if not found:
                return Result(1, "", "libxl: error: libxl.c:1:f: Domain 9:Non-existent domain")
            if verb == "destroy":
                self.gone(found[0])
            else:
                self.shut_down(found[0])
        return Result(0, "", "")

    def id_of(self, uuid: str) -> int:
        if uuid not in self.ids:
            self.last_id += 1
            self.ids[uuid] = self.last_id
        return self.ids[uuid]

    def domains(self) -> str:
        """What `xl list -v` says."""
        rows = [("Domain-0", 0, "r-----", "00000000-0000-0000-0000-000000000000")]
        for name, uuid in self.running.items():
            rows.append((name, self.id_of(uuid), self.states.get(uuid, "-b----"), uuid))
        for name, uuid in tuple(self.running.items()):
            if uuid in self.leaving:
                self.leaving[uuid] -= 1
                if not self.leaving[uuid]:
                    self.gone(name)
        head = "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID"
        text = [
            f"{name:<40} {number:>5} {512:>5} {1:>5}     {state} {12.5:8.1f} {uuid} {'-':>8} {'-':>16}"
            for name, number, state, uuid in rows
        ]
        return "\n".join([head, *text]) + "\n"

    def shut_down(self, name: str) -> None:
        """As a guest does by itself, or by `xl shutdown -w`, which does not wait for what comes then."""
        uuid = self.running[name]
        self.states[uuid] = "---s--"
        if self.daemon:
            self.leaving[uuid] = 2

    def gone(self, name: str) -> None:
        uuid = self.running.pop(name)
        for known in (self.ids, self.states, self.leaving):
            known.pop(uuid, None)

    def do_lvs(self, words: list[str]) -> Result:
        what = words[-1]
        fields = {"lv_attr": "twi-aotz--", "data_percent": "10.00", "metadata_percent": "1.00"}
        rows = [
            {"lv_name": name.partition("/")[2], "lv_size": f"{size}B", **fields}
            for name, size in self.volumes.items()
            if what in (name, name.partition("/")[0])
        ]
        if "/" in what and not rows:
            return Result(5, "", f"Failed to find logical volume {what}")
        return Result(0, json.dumps({"report": [{"lv": rows}]}), "")

    def do_lvcreate(self, words: list[str]) -> Result:
        name = words[words.index("-n") + 1]
        if "-s" in words:
            group, _, origin = words[-1].partition("/")
            self.volumes[f"{group}/{name}"] = self.volumes[f"{group}/{origin}"]
        else:
            self.volumes[f"{words[-1]}/{name}"] = int(words[words.index("-V") + 1].rstrip("b"))
        return Result(0, "", "")

    def do_lvextend(self, words: list[str]) -> Result:
        self.volumes[words[-1]] = int(words[words.index("-L") + 1].rstrip("b"))
        return Result(0, "", "")

    def do_lvremove(self, words: list[str]) -> Result:
        del self.volumes[words[-1]]
        return Result(0, "", "")

    def do_lvrename(self, words: list[str]) -> Result:
        self.volumes[f"{words[-3]}/{words[-1]}"] = self.volumes.pop(f"{words[-3]}/{words[-2]}")
        return Result(0, "", "")

    def do_lvchange(self, words: list[str]) -> Result:
        return Result(0, "", "")

    def do_dd(self, words: list[str]) -> Result:
        return Result(0, "", "")


def make_xen(root: Path, monkeypatch: pytest.MonkeyPatch) -> Xen:
    """A converted dom0 with a base image of trixie, and no guest."""
    host = make_tree(
        root,
        {
            "/proc/xen/capabilities": "control_d\n",
            "/proc/cpuinfo": "flags : fpu vmx\n",
            "/proc/sys/kernel/random/boot_id": "boot-1\n",
            "/etc/hosts": "127.0.0.1 localhost\n",
            "/etc/xen/": "",
            "/srv/disks/": "",
            "/usr/bin/qemu-img": "",
            "/usr/lib/grub-xen/grub-i386-xen_pvh.bin": "",
            "/usr/lib/grub-xen/grub-x86_64-xen.bin": "",
            "/var/lib/xenable/guests/": "",
            "/var/lib/xenable/names/": "",
            "/var/lib/xenable/images/trixie-amd64.raw": b"base" * 1024,
            "/var/lib/xenable/images/trixie-amd64.vmlinuz": "kernel",
            "/var/lib/xenable/images/trixie-amd64.initrd": "initrd",
        },
    )
    alive(host, os.getpid(), 100)
    xen = Xen(host=host, volumes={"vg/pool": 100 << 30})
    monkeypatch.setattr(Host, "run", lambda _host, cmd, **options: xen.run(cmd, **options))
    # Between two looks at what the stand-ins do, no time need pass.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    images.write_base(host, BASE)
    return xen


BASE = Base(
    name="trixie-amd64",
    release="trixie",
    path="/var/lib/xenable/images/trixie-amd64.raw",
    bytes=SIZE,
    uuid="11111111-2222-4333-8444-555555555555",
    kernel="/var/lib/xenable/images/trixie-amd64.vmlinuz",
    initrd="/var/lib/xenable/images/trixie-amd64.initrd",
    kernel_version="6.12.1-cloud-amd64",
    compression="zstd",
    packages=("apt 3.0", "linux-image-cloud-amd64 6.12"),
    created="2026-01-31T12:00:00Z",
)

DIRECTORY = storage.storage_of("/var/lib/xenable/guests")
ELSEWHERE = storage.storage_of("/srv/disks")
THIN = storage.storage_of("lvm:vg/pool")
PLACES = (DIRECTORY, ELSEWHERE, THIN)


def alive(host: Host, pid: int, began: int) -> None:
    """A process, as /proc shows it."""
    path = host.path(f"/proc/{pid}/stat")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} (py (x) thon) S " + " ".join(["0"] * 18) + f" {began} 0 0\n")


def tree(root: Path) -> dict[str, str]:
    """Every name under a folder, with what it is and holds; not the processes."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith("proc/"):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = f"{path.stat().st_mode & 0o7777:o} {path.read_bytes()!r}"
    return found


def state(xen: Xen) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """All that a guest could leave behind."""
    volumes = {name: size for name, size in xen.volumes.items() if storage.BASE_PREFIX not in name}
    return tree(xen.host.root), dict(xen.running), volumes


def quiet(fraction: float, text: str) -> None:
    assert 0.0 <= fraction <= 1.0


def make(xen: Xen, place: storage.Storage = DIRECTORY, **changes: Any) -> None:
    """web1, or another one, and what was called for it forgotten."""
    request = replace(REQUEST, kind=Kind.PVH, isolate=True)
    create.create(xen.host, replace(request, **changes), place, NET, quiet)
    xen.calls.clear()
