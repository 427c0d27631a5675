# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is told at its first boot: a tar archive for our own images, NoCloud files for cloud-init."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from xenable.datafiles import data_file
from xenable.guests.model import Guest
from xenable.network.effective import GuestNet
from xenable.network.names import DOMAIN

EPOCH = 1735689600
"""Time of every file in an archive, 2025-01-01: the same guest gives the same bytes."""


@dataclass(frozen=True, kw_only=True)
class SeedFile:
    """A file of the guest, owned by its root."""

    path: str
    """Without a slash before it."""
    content: str = ""
    mode: int = 0o644
    folder: bool = False
    link: str = ""
    """Target, where it is a symbolic link."""


def seed_files(guest: Guest, net: GuestNet, keys: Sequence[str]) -> tuple[SeedFile, ...]:
    """The files of our own images that make one this guest; keys are lines of authorized_keys."""
    files = [
        SeedFile(path="etc/hostname", content=f"{guest.name}\n"),
        SeedFile(path="etc/hosts", content=_hosts(guest)),
        SeedFile(path="etc/systemd/network/10-xenable.network", content=_networkd(guest, net)),
        SeedFile(path="root/.ssh", mode=0o700, folder=True),
        SeedFile(path="root/.ssh/authorized_keys", content="".join(f"{key}\n" for key in keys), mode=0o600),
    ]
    if guest.bridge:
        # Who answers there is known by DHCP only.
        files.append(SeedFile(path="etc/resolv.conf", link="../run/systemd/resolve/resolv.conf"))
    else:
        resolv = f"nameserver {net.address4}\nsearch {DOMAIN}\n"
        files.append(SeedFile(path="etc/resolv.conf", content=resolv))
    return tuple(files)


def _addresses(guest: Guest) -> tuple[str, ...]:
    return tuple(address for address in (guest.ipv4, guest.ipv6) if address)


def _hosts(guest: Guest) -> str:
    names = f"{guest.name}.{DOMAIN} {guest.name}"
    own = [f"{address} {names}" for address in _addresses(guest)] or [f"127.0.1.1 {guest.name}"]
    lines = ["127.0.0.1 localhost", *own, "::1 localhost ip6-localhost ip6-loopback"]
    return "\n".join([*lines, "ff02::1 ip6-allnodes", "ff02::2 ip6-allrouters"]) + "\n"


def _gateways(guest: Guest, net: GuestNet) -> tuple[IPv4Address | IPv6Address, ...]:
    """dom0's addresses, of the kinds that the guest has."""
    found: list[IPv4Address | IPv6Address] = [net.address4]
    if guest.ipv6 and net.address6 is not None:
        found.append(net.address6)
    return tuple(found)


def _networkd(guest: Guest, net: GuestNet) -> str:
    lines = ["[Match]", f"MACAddress={guest.mac}", "", "[Network]"]
    if guest.bridge:
        return "\n".join([*lines, "DHCP=yes"]) + "\n"
    # A prefix of one address: whatever else is in the network is reached by way of dom0.
    lines += [f"Address={address}/{_length(address)}" for address in _addresses(guest)]
    lines += [f"DNS={net.address4}", f"Domains={DOMAIN}", "DHCP=no", "IPv6AcceptRA=no"]
    for gateway in _gateways(guest, net):
        lines += ["", "[Route]", f"Gateway={gateway}", "GatewayOnLink=yes"]
    return "\n".join(lines) + "\n"


def _length(address: str) -> int:
    return 128 if ":" in address else 32


def tar_seed(files: Sequence[SeedFile]) -> bytes:
    """The archive as xvdb holds it: the same files give the same bytes, and whole sectors of 512 bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            data = file.content.encode()
            info = tarfile.TarInfo(file.path)
            info.mode, info.mtime = file.mode, EPOCH
            info.uname = info.gname = "root"
            if file.folder:
                info.type = tarfile.DIRTYPE
            elif file.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.link, 0o777
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def first_boot() -> tuple[SeedFile, ...]:
    """What our own images hold, so that they unpack the archive: unit, script, and the unit's link."""
    unit = "xenable-seed.service"
    return (
        SeedFile(path=f"etc/systemd/system/{unit}", content=_data(f"guest/{unit}")),
        SeedFile(path="usr/lib/xenable-seed/xenable-seed", content=_data("guest/xenable-seed"), mode=0o755),
        SeedFile(path=f"etc/systemd/system/sysinit.target.wants/{unit}", link=f"../{unit}"),
    )


def _data(name: str) -> str:
    return data_file(name).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------- NoCloud


def nocloud_files(guest: Guest, net: GuestNet, keys: Sequence[str]) -> dict[str, str]:
    """The files of a file system labelled CIDATA, by name: cloud-init's NoCloud.

    They are JSON, which is YAML too. Where cloud-init writes /etc/network/interfaces it finds the interface
    by its hardware address since 22.2; before that the name there is wrong.
    """
    user: dict[str, Any] = {
        "hostname": guest.name,
        "disable_root": False,
        "ssh_pwauth": False,
        # Without `default` in it there is no other user.
        "users": [{"name": "root", "lock_passwd": True, "ssh_authorized_keys": list(keys)}],
    }
    if not guest.bridge:
        user["fqdn"] = f"{guest.name}.{DOMAIN}"
        user["bootcmd"] = [["sh", "-c", _ROUTES, "sh", guest.mac, *map(str, _gateways(guest, net))]]
    return {
        "meta-data": _json({"instance-id": guest.uuid, "local-hostname": guest.name}),
        "user-data": "#cloud-config\n" + _json(user),
        "network-config": _json({"version": 2, "ethernets": {"guest": _ethernet(guest, net)}}),
    }


_ROUTES = """\
mac=$1; shift
for gateway; do
  case $gateway in *:*) family=-6;; *) family=-4;; esac
  [ -z "$(ip $family route show default)" ] || continue
  for link in /sys/class/net/*; do
    [ "$(cat "$link/address")" = "$mac" ] || continue
    ip $family route replace "$gateway" dev "${link##*/}"
    ip $family route replace default via "$gateway" dev "${link##*/}"
  done
done
"""
"""At every boot: ifupdown, where an image has that, knows no gateway outside of the address's own prefix."""


def _ethernet(guest: Guest, net: GuestNet) -> dict[str, Any]:
    match: dict[str, Any] = {"match": {"macaddress": guest.mac}}
    if guest.bridge:
        return match | {"dhcp4": True}
    gateways = _gateways(guest, net)
    return match | {
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "addresses": [f"{address}/{_length(address)}" for address in _addresses(guest)],
        "routes": [
            {"to": "::/0" if gateway.version == 6 else "0.0.0.0/0", "via": str(gateway), "on-link": True}
            for gateway in gateways
        ],
        "nameservers": {"addresses": [str(net.address4)], "search": [DOMAIN]},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
