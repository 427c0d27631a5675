# SPDX-License-Identifier: GPL-2.0-or-later
"""The noun of this folder: a guest, and its record, guest.json.

A Guest is made from values that `words` let through. The record is JSON with a `schema`; a field it lacks,
one it has too many, or one of another type is damage.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from xenable.errors import XenableError

SCHEMA = 1
"""Version of guest.json."""


class Kind(StrEnum):
    """How Xen runs the guest; xl.cfg's `type`."""

    PV = "pv"
    PVH = "pvh"


class Format(StrEnum):
    """What holds the disk; BLOCK is a block device, as a logical volume."""

    RAW = "raw"
    QCOW2 = "qcow2"
    BLOCK = "phy"


class Boot(StrEnum):
    GRUB = "grub"
    """GRUB of grub-xen-host reads the menu on the guest's disk."""
    DIRECT = "direct"
    """Kernel and initrd are files of dom0."""


class Seed(StrEnum):
    """What the first boot is told by."""

    TAR = "tar"
    """xenable-seed.service of our own images unpacks it over /."""
    NOCLOUD = "nocloud"
    """A file system labelled CIDATA, for cloud-init."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    name: str
    """Also its host name, and the domain's name for Xen."""
    uuid: str
    kind: Kind
    memory: int
    """MiB."""
    vcpus: int
    disk_bytes: int
    format: Format
    disk: str
    """Absolute path."""
    seed: str
    """Absolute path."""
    seed_kind: Seed
    mac: str
    """Six pairs of lower-case hexadecimal digits with colons between."""
    ipv4: str
    """Its address in the guest network; empty on a bridge."""
    ipv6: str
    """Empty where there is none."""
    release: str
    """Code name of the release, or the name of the image it was made from."""
    boot: Boot
    kernel: str = ""
    """Direct boot: absolute path, as is the initrd's."""
    initrd: str = ""
    arguments: str = ""
    """Direct boot: the kernel's command line."""
    bridge: str = ""
    """Bridge of dom0 that it is connected to, in place of the guest network; there it asks by DHCP."""
    isolate: bool
    """Whether other guests are kept from reaching it."""
    created: str
    """UTC, as 2026-01-31T12:00:00Z."""


def as_dict(guest: Guest) -> dict[str, Any]:
    """The guest as plain JSON values, without a schema."""
    return {
        key: value.value if isinstance(value, Enum) else value
        for key, value in dataclasses.asdict(guest).items()
    }


def to_json(guest: Guest) -> str:
    """The text of guest.json."""
    return json.dumps({"schema": SCHEMA} | as_dict(guest), ensure_ascii=False, indent=2) + "\n"


def from_json(text: str, where: str = "guest.json") -> Guest:
    """The guest of a record; `where` names the record in errors.

    Errors: XenableError when it is damaged, or of another schema.
    """
    import dacite

    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
        schema = data.pop("schema", None)
        if schema != SCHEMA or isinstance(schema, bool):
            raise XenableError(
                f"cannot read {where}: it is of schema {schema}, not {SCHEMA}",
                hint="a later xenable may have written it: install that version again, and use it",
            )
        guest = dacite.from_dict(Guest, data, dacite.Config(cast=[Enum], strict=True))
        for key in ("memory", "vcpus", "disk_bytes"):
            # To python, True is a number too.
            if type(data[key]) is not int or data[key] <= 0:
                raise ValueError(f"{key} is {data[key]}, not a number above 0")
        return guest
    except (dacite.DaciteError, ValueError, TypeError, RecursionError) as e:
        raise XenableError(
            f"cannot read {where}: it is damaged ({e})",
            hint="put it back from a backup; Xen itself needs only the guest's .cfg file in /etc/xen",
        ) from e
