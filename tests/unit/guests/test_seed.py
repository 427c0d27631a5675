# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is told at its first boot, and the script that listens."""

from __future__ import annotations

import configparser
import io
import json
import os
import subprocess
import tarfile
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.guests.fixtures import BRIDGE, UUID, guests, key, make_guest
from xenable.datafiles import data_file
from xenable.guests.model import Guest
from xenable.guests.seed import EPOCH, SeedFile, first_boot, nocloud_files, seed_files, tar_seed
from xenable.network.effective import GuestNet, Mode

NET = GuestNet(
    mode=Mode.ROUTED,
    interface="xenable0",
    ipv4=IPv4Network("172.20.216.0/24"),
    ipv6=IPv6Network("fd12:3456:789a:d8::/64"),
    uplink="",
    bridge="",
)
KEYS = (key(), f"{key()} ann@home")


def contents(guest: Guest, net: GuestNet = NET) -> dict[str, str]:
    return {f.path: f.content for f in seed_files(guest, net, KEYS)}


def test_files() -> None:
    assert contents(make_guest()) == {
        "etc/hostname": "web1\n",
        "etc/hosts": (
            "127.0.0.1 localhost\n"
            "172.20.216.5 web1.xen.internal web1\n"
            "fd12:3456:789a:d8::5 web1.xen.internal web1\n"
            "::1 localhost ip6-localhost ip6-loopback\n"
            "ff02::1 ip6-allnodes\n"
            "ff02::2 ip6-allrouters\n"
        ),
        "etc/systemd/network/10-xenable.network": (
            "[Match]\nMACAddress=00:16:3e:12:34:56\n\n"
            "[Network]\nAddress=172.20.216.5/32\nAddress=fd12:3456:789a:d8::5/128\n"
            "DNS=172.20.216.1\nDomains=xen.internal\nDHCP=no\nIPv6AcceptRA=no\n\n"
            "[Route]\nGateway=172.20.216.1\nGatewayOnLink=yes\n\n"
            "[Route]\nGateway=fd12:3456:789a:d8::1\nGatewayOnLink=yes\n"
        ),
        "root/.ssh": "",
        "root/.ssh/authorized_keys": f"{KEYS[0]}\n{KEYS[1]}\n",
        "etc/resolv.conf": "nameserver 172.20.216.1\nsearch xen.internal\n",
    }


def test_without_ipv6() -> None:
    files = contents(make_guest(ipv6=""))
    assert not any("fd12" in content for content in files.values())
    assert files["etc/systemd/network/10-xenable.network"].count("Gateway=") == 1


def test_on_a_bridge() -> None:
    files = seed_files(make_guest(**BRIDGE), NET, KEYS)
    texts = {f.path: f.content for f in files}
    network = texts["etc/systemd/network/10-xenable.network"]
    assert network == "[Match]\nMACAddress=00:16:3e:12:34:56\n\n[Network]\nDHCP=yes\n"
    assert "127.0.1.1 web1\n" in texts["etc/hosts"]
    (resolv,) = (f for f in files if f.path == "etc/resolv.conf")
    assert resolv.link and not resolv.content
    assert not any("172.20" in content for content in texts.values())


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        return found.getmembers()


def test_archive() -> None:
    files = seed_files(make_guest(), NET, KEYS)
    archive = tar_seed(files)
    assert archive == tar_seed(files)
    assert len(archive) % 512 == 0
    # The end of an archive is two empty blocks; without them tar says that it is cut off.
    assert archive.endswith(bytes(1024))
    found = members(archive)
    assert [m.name for m in found] == [f.path for f in files]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in found} == {(0, 0, "root", "root", EPOCH)}
    modes = {m.name: m.mode for m in found}
    assert (modes["root/.ssh"], modes["root/.ssh/authorized_keys"]) == (0o700, 0o600)
    assert modes["etc/hostname"] == 0o644


PATHS = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,3}", fullmatch=True)


@given(st.dictionaries(PATHS, st.text()))
def test_any_archive_is_read_as_it_was_written(texts: dict[str, str]) -> None:
    archive = tar_seed([SeedFile(path=path, content=text) for path, text in texts.items()])
    assert len(archive) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        read = {m.name: found.extractfile(m) for m in found.getmembers()}
        assert {name: f.read().decode() for name, f in read.items() if f is not None} == texts


# ---------------------------------------------------------------------------------------------- NoCloud


def test_nocloud() -> None:
    files = nocloud_files(make_guest(), NET, KEYS)
    assert json.loads(files["meta-data"]) == {"instance-id": UUID, "local-hostname": "web1"}
    first, rest = files["user-data"].split("\n", 1)
    assert first == "#cloud-config"
    user = json.loads(rest)
    assert user["users"] == [{"name": "root", "lock_passwd": True, "ssh_authorized_keys": list(KEYS)}]
    assert (user["disable_root"], user["ssh_pwauth"], user["hostname"]) == (False, False, "web1")
    assert json.loads(files["network-config"]) == {
        "version": 2,
        "ethernets": {
            "guest": {
                "match": {"macaddress": "00:16:3e:12:34:56"},
                "dhcp4": False,
                "dhcp6": False,
                "accept-ra": False,
                "addresses": ["172.20.216.5/32", "fd12:3456:789a:d8::5/128"],
                "routes": [
                    {"to": "0.0.0.0/0", "via": "172.20.216.1", "on-link": True},
                    {"to": "::/0", "via": "fd12:3456:789a:d8::1", "on-link": True},
                ],
                "nameservers": {"addresses": ["172.20.216.1"], "search": ["xen.internal"]},
            }
        },
    }


def test_nocloud_on_a_bridge() -> None:
    files = nocloud_files(make_guest(**BRIDGE), NET, KEYS)
    assert json.loads(files["network-config"])["ethernets"]["guest"] == {
        "match": {"macaddress": "00:16:3e:12:34:56"},
        "dhcp4": True,
    }
    assert "bootcmd" not in files["user-data"]


@given(guests())
def test_nocloud_is_json_whoever_the_guest_is(guest: Guest) -> None:
    files = nocloud_files(guest, NET, KEYS)
    assert set(files) == {"meta-data", "user-data", "network-config"}
    assert json.loads(files["meta-data"])["local-hostname"] == guest.name
    assert json.loads(files["network-config"])["ethernets"]["guest"]["match"] == {"macaddress": guest.mac}


# ------------------------------------------------------------------------------------------- first boot


def test_first_boot() -> None:
    files = {f.path: f for f in first_boot()}
    script = files["usr/lib/xenable-seed/xenable-seed"]
    assert script.mode == 0o755 and script.content.startswith("#!/bin/sh\n")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(files["etc/systemd/system/xenable-seed.service"].content)
    assert unit["Service"]["ExecStart"] == "/usr/lib/xenable-seed/xenable-seed"
    # The stamp that the script leaves is what keeps the unit from a second run.
    stamp = unit["Unit"]["ConditionPathExists"].removeprefix("!")
    assert f"stamp={stamp}\n" in script.content
    link = files["etc/systemd/system/sysinit.target.wants/xenable-seed.service"]
    assert link.link == "../xenable-seed.service"


class Box:
    """A folder in place of a guest's root, with a script whose paths lead into it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.disk = folder / "xvdb"
        (self.root / "etc").mkdir(parents=True)
        self.kernel_name = folder / "kernel-name"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.tool("ssh-keygen", f'echo "$*" >>{folder}/ssh-keygen.log')
        self.tool("sleep", ":")
        self.tool("sync", ":")
        text = data_file("guest/xenable-seed").read_text()
        for old, new in (
            ("disk=/dev/xvdb", f"disk={self.disk}"),
            ('[ ! -b "$disk" ]', '[ ! -f "$disk" ]'),
            ("-C /\n", f"-C {self.root} --no-same-owner\n"),
            ("/proc/sys/kernel/hostname", str(self.kernel_name)),
            ("/etc/hostname", f"{self.root}/etc/hostname"),
            ("/var/lib/xenable-seed", f"{self.root}/var/lib/xenable-seed"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        self.script = folder / "script"
        self.script.write_text(text)
        self.log = folder / "ssh-keygen.log"

    def tool(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "LC_ALL": "C"}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["sh", self.script], check=False, capture_output=True, text=True, env=env, timeout=20
        )
        return done

    @property
    def done(self) -> bool:
        return (self.root / "var/lib/xenable-seed/done").exists()


@pytest.mark.realtool
def test_script(tmp_path: Path) -> None:
    box = Box(tmp_path)
    (box.root / "etc/resolv.conf").symlink_to("/nonexistent/stub-resolv.conf")
    (box.root / "etc/hostname").write_text("image\n")
    # A disk is bigger than what is on it.
    box.disk.write_bytes(tar_seed(seed_files(make_guest(), NET, KEYS)) + bytes(4096))
    done = box.run()
    assert done.returncode == 0, done.stderr
    assert done.stderr == "xenable-seed: this guest is web1\n"
    assert (box.root / "etc/hostname").read_text() == "web1\n"
    assert box.kernel_name.read_text() == "web1\n"
    resolv = box.root / "etc/resolv.conf"
    assert not resolv.is_symlink() and resolv.read_text().startswith("nameserver ")
    keys = box.root / "root/.ssh/authorized_keys"
    assert keys.read_text().splitlines() == list(KEYS)
    assert (keys.stat().st_mode & 0o777, keys.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert box.log.read_text() == "-A\n"
    assert box.done


@pytest.mark.realtool
@pytest.mark.parametrize(
    ("disk", "message"),
    [(None, "there is no "), (b"\xff" * 10240, "holds no tar archive"), ("cut", "holds no tar archive")],
)
def test_script_without_a_seed(tmp_path: Path, disk: Any, message: str) -> None:
    box = Box(tmp_path)
    if disk == "cut":
        box.disk.write_bytes(tar_seed(seed_files(make_guest(), NET, KEYS))[:1600])
    elif disk is not None:
        box.disk.write_bytes(disk)
    done = box.run()
    assert done.returncode == 1
    assert message in done.stderr
    assert not box.done and not (box.root / "etc/hostname").exists()


@pytest.mark.realtool
def test_script_that_fails_is_run_again(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.disk.write_bytes(tar_seed(seed_files(make_guest(), NET, KEYS)))
    box.tool("ssh-keygen", "exit 1")
    assert box.run().returncode == 1
    assert not box.done
    box.tool("ssh-keygen", ":")
    assert box.run().returncode == 0
    assert box.done


@pytest.mark.realtool
@pytest.mark.parametrize("have", ["", "default via 192.0.2.1 dev eth0"])
def test_routes_for_ifupdown(tmp_path: Path, have: str) -> None:
    """The command of user-data adds routes where there are none, on the interface of the guest."""
    links = tmp_path / "net"
    for name, mac in (("lo", "00:00:00:00:00:00"), ("enX0", "00:16:3e:12:34:56")):
        (links / name).mkdir(parents=True)
        (links / name / "address").write_text(f"{mac}\n")
    (tmp_path / "bin").mkdir()
    ip = tmp_path / "bin/ip"
    ip.write_text(f'#!/bin/sh\ncase $* in *show*) echo "{have}";; *) echo "$*" >>{tmp_path}/log;; esac\n')
    ip.chmod(0o755)
    user = json.loads(nocloud_files(make_guest(), NET, KEYS)["user-data"].split("\n", 1)[1])
    (command,) = user["bootcmd"]
    command[2] = command[2].replace("/sys/class/net", str(links))
    subprocess.run(command, check=True, env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    log = tmp_path / "log"
    assert (log.read_text() if log.exists() else "") == (
        ""
        if have
        else "-4 route replace 172.20.216.1 dev enX0\n"
        "-4 route replace default via 172.20.216.1 dev enX0\n"
        "-6 route replace fd12:3456:789a:d8::1 dev enX0\n"
        "-6 route replace default via fd12:3456:789a:d8::1 dev enX0\n"
    )
