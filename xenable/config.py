# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings: one table, from which the file's keys, the options, the defaults and the help come.

The file is /etc/xenable/xenable.conf: `key = value` lines; `#` begins a comment. An option `--key`, of those
that have one, wins.
`python3 -m xenable.config` prints the table of docs/reference/settings.md.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeVar

from xenable.errors import XenableError
from xenable.host import Host
from xenable.network.effective import Mode

PATH = Path("/etc/xenable/xenable.conf")

N = TypeVar("N", IPv4Network, IPv6Network)


class KernelChoice(StrEnum):
    """Which kernel dom0 gets."""

    DISTRO = "distro"
    """The distribution's."""
    XEN = "xen"
    """One that is for Xen alone, from the local repository."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings in use. A field is called like its key, with `_` for `-`."""

    trial_seconds: int
    dom0_memory: int | None
    """MiB; None: worked out from the machine's memory."""
    auto_confirm: bool
    kernel: KernelChoice
    guest_network: IPv4Network
    guest_network6: IPv6Network | Literal["auto"] | None
    """None: guests have no IPv6. auto: the machine's own prefix, Network.ula_prefix."""
    guest_interface: str
    guest_mode: Mode
    guest_bridge: str
    """Empty: none is set."""
    guest_bridge_port: str
    """Empty: no bridge is to be made."""
    guest_storage: str
    """An absolute directory, or `lvm:VG/POOL`."""

    @property
    def xen_kernel(self) -> bool:
        """Whether dom0 is to get a kernel that is for Xen alone."""
        return self.kernel is KernelChoice.XEN


@dataclass(frozen=True, kw_only=True)
class Setting:
    key: str
    """In the file; the option is `--` and this."""
    parse: Callable[[str], Any]
    """Text to value. Errors: ValueError, whose text says what is needed instead."""
    default: str
    help: str
    metavar: str
    option: bool = True
    """Whether the command line has it too; False for what no conversion has a use for."""

    @property
    def field(self) -> str:
        """Name of the field in Config."""
        return self.key.replace("-", "_")


# ------------------------------------------------------------------------------------------------ parsers


def number(text: str, low: int, high: int) -> int:
    """A whole number within bounds. Errors: ValueError that says what is needed."""
    # int() takes signs, underscores and foreign digits too; a person's word has no use for them.
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise ValueError(f"a whole number from {low} to {high} is needed")
    return int(text)


def _seconds(text: str) -> int:
    return number(text, 120, 3600)


def _memory(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return number(text, 512, 1048576)
    except ValueError as e:
        raise ValueError(f"{e} (MiB, without a unit), or the word auto") from e


def _yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("yes or no is needed")
    return text == "yes"


def _kernel(text: str) -> KernelChoice:
    try:
        return KernelChoice(text)
    except ValueError as e:
        raise ValueError("distro or xen is needed") from e


def _network(kind: type[N], text: str, family: str) -> N:
    """A network of that kind. Errors: ValueError that says what is wrong with it."""
    try:
        return kind(text)
    except ValueError as e:
        try:
            wanted = kind(text, strict=False)
        except ValueError:
            raise ValueError(f"{text.partition('/')[0]} is no {family} address") from e
        raise ValueError(f"an address of a host, not of a network; {wanted} may be meant") from e


def _prefix(text: str) -> IPv4Network:
    _, slash, length = text.partition("/")
    # IPv4Network reads a netmask there as well: one way to write it is enough.
    if not (slash and length.isascii() and length.isdigit() and 8 <= int(length[:3]) <= 29):
        raise ValueError(
            "an IPv4 network with a prefix length from /8 to /29 is needed, as in 172.20.216.0/24"
        )
    network = _network(IPv4Network, text, "IPv4")
    if network.is_loopback or network.is_multicast or network.is_link_local or network.is_reserved:
        raise ValueError("guests can't have loopback, link-local, multicast or reserved addresses")
    if network.network_address.packed[0] == 0:
        raise ValueError("guests can't have addresses that begin with 0")
    return network


def _prefix6(text: str) -> IPv6Network | Literal["auto"] | None:
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if not re.fullmatch(r"[0-9A-Fa-f:]{2,39}/64", text):
        raise ValueError(
            "an IPv6 network with the prefix length /64 is needed, as in fd12:3456:789a:d8::/64, "
            "or the word auto or none"
        )
    network = _network(IPv6Network, text, "IPv6")
    if network.is_multicast or network.is_link_local or network.is_reserved or network.is_site_local:
        raise ValueError("guests can't have multicast, link-local, site-local or reserved addresses")
    return network


def _interface(text: str) -> str:
    # `all` and `default` are no interfaces to the kernel's settings; vif and tap are names of guests' own.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,14}", text) or text in ("all", "default", "lo"):
        raise ValueError("a name of 15 letters, digits, _ and - at most is needed, a letter first")
    if text.startswith(("vif", "tap")):
        raise ValueError("names that begin with vif or tap are for the interfaces of guests")
    return text


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError as e:
        raise ValueError("routed, nat or bridge is needed") from e


def _bridge(text: str) -> str:
    if text == "none":
        return ""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}", text):
        raise ValueError(
            "the name of a bridge is needed, of 15 letters, digits, dots, _ and - at most, or the word none"
        )
    return text


def _port(text: str) -> str:
    if text == "none":
        return ""
    try:
        return _interface(text)
    except ValueError as e:
        raise ValueError(f"{e}; or the word none") from e


def _storage(text: str) -> str:
    # Xen's configuration files can't quote a path: what may be in one is what they read as it is.
    if re.fullmatch(r"lvm:[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}/[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}", text):
        if {".", ".."} & set(text.removeprefix("lvm:").split("/")):
            raise ValueError("a volume group or pool can't have that name")
        return text
    parts = text.split("/")
    if not re.fullmatch(r"/[A-Za-z0-9/._+@-]{1,200}", text) or {".", ".."} & set(parts) or "" in parts[1:]:
        raise ValueError(
            "an absolute path of letters, digits and . _ + @ - is needed, without a / at its end, "
            "or lvm:VG/POOL"
        )
    return text


# -------------------------------------------------------------------------------------------------- table


SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="trial-seconds",
        parse=_seconds,
        default="600",
        help="Time that dom0 has to prove itself in a trial boot, from 120 to 3600 seconds. "
        "After that the machine resets itself and is native again.",
        metavar="SECONDS",
    ),
    Setting(
        key="dom0-memory",
        parse=_memory,
        default="auto",
        help="Memory of dom0 in MiB, at least 512; the rest is for guests. "
        "auto: 1024 MiB and 5 % of the machine's memory, at most 8192 MiB; "
        "or a quarter more than what is in use, within seven eighths of the machine.",
        metavar="MIB|auto",
    ),
    Setting(
        key="auto-confirm",
        parse=_yes_no,
        default="yes",
        help="Whether a trial that passes becomes the default by itself. "
        "With no, `xenable confirm` has to be run before the time is up.",
        metavar="yes|no",
    ),
    Setting(
        key="kernel",
        parse=_kernel,
        default="distro",
        help="Kernel of dom0. distro: the distribution's; one that can be dom0 is installed where none is "
        "here. xen: one that `xenable kernel build` has made; the native system keeps its own.",
        metavar="distro|xen",
    ),
    Setting(
        key="guest-network",
        parse=_prefix,
        default="172.20.216.0/24",
        help="IPv4 network reserved for guests: the range must not be in use here.",
        metavar="PREFIX",
    ),
    Setting(
        key="guest-network6",
        parse=_prefix6,
        default="auto",
        help="IPv6 network reserved for guests, a /64. auto: a private one that is this machine's own. "
        "none: guests have no IPv6.",
        metavar="PREFIX",
    ),
    Setting(
        key="guest-interface",
        parse=_interface,
        default="xenable0",
        help="Name of the interface that dom0 gets for its address in the guests' network.",
        metavar="NAME",
    ),
    Setting(
        key="guest-mode",
        parse=_mode,
        default="routed",
        help="How guests are connected. routed: with dom0, and no way is opened to the outside. "
        "nat: with the outside too, under dom0's IPv4 address; forwarding is lent to the guests' interfaces "
        "and the one of the default route, and to no other. "
        "bridge: to a bridge, each guest with a MAC address of its own.",
        metavar="MODE",
    ),
    Setting(
        key="guest-bridge",
        parse=_bridge,
        default="none",
        help="Name of the bridge for the mode of that name. It has to be there, "
        "unless guest-bridge-port is set.",
        metavar="NAME",
    ),
    Setting(
        key="guest-bridge-port",
        parse=_port,
        default="none",
        help="Name of an Ethernet interface. The bridge is then made, of this interface, in boots "
        "under Xen from Xenable's slots; natively nothing changes.",
        metavar="NAME",
    ),
    Setting(
        key="guest-storage",
        parse=_storage,
        default="/var/lib/xenable/guests",
        help="Where the disks of guests are: a directory, or a thin pool of LVM as lvm:VG/POOL.",
        metavar="PLACE",
        option=False,
    ),
)

OPTIONS = tuple(setting for setting in SETTINGS if setting.option)
"""Those that the command line has too."""

FILE_ONLY = tuple(setting.key for setting in SETTINGS if not setting.option)

TRIAL_SETTINGS = ("trial-seconds", "auto-confirm")
"""Those that may be others in each trial."""

LASTING = tuple(setting for setting in OPTIONS if setting.key not in TRIAL_SETTINGS)
"""Those that a conversion keeps for as long as it lasts."""


MOST_SHOWN = 80
"""Letters of a line that a message repeats."""


def load_config(host: Host, overrides: Mapping[str, str] | None = None) -> Config:
    """Defaults, then the file, then overrides (key to text, from the command line).

    Errors: XenableError that names the file and the line, or the option, with a hint.
    """
    texts = _read_file(host)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        values[setting.field] = texts.get(setting.key, setting.parse(setting.default))
    for key, text in (overrides or {}).items():
        option = _find(key, f"cannot use the option --{key}")
        try:
            values[option.field] = option.parse(text)
        except ValueError as e:
            raise XenableError(f"cannot use --{key} {text!r}: {e}", hint=option.help) from e
    return Config(**values)


def lasting(host: Host) -> dict[str, str]:
    """What the file says, key to text, of the settings of LASTING."""
    values = _read_file(host)
    return {s.key: str(values[s.key]) for s in LASTING if s.key in values}


def _read_file(host: Host) -> dict[str, Any]:
    """Key to value for what the file sets."""
    if not host.exists(PATH):
        return {}
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    try:
        data = host.read(PATH)
    except XenableError as e:
        # With --root it is not this machine's.
        raise XenableError(e.message.replace(str(PATH), str(host.path(PATH))), hint=e.hint) from e
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        where = f"cannot read {host.path(PATH)}: line {number}"
        try:
            line = raw.decode().partition("#")[0].strip()
        except UnicodeDecodeError as e:
            raise XenableError(f"{where}: it is not UTF-8 text", hint="correct that line") from e
        if not line:
            continue
        key, equals, text = (part.strip() for part in line.partition("="))
        if not equals:
            raise XenableError(f"{where}: {_shown(line)} is not `key = value`", hint=_known())
        setting = _find(key, where)
        if key in lines:
            raise XenableError(
                f"{where}: {key} is set in line {lines[key]} already", hint="remove one of the two lines"
            )
        lines[key] = number
        try:
            values[key] = setting.parse(text)
        except ValueError as e:
            raise XenableError(f"{where}: {key} can't be {_shown(text)}: {e}", hint=setting.help) from e
    return values


def _find(key: str, where: str) -> Setting:
    for setting in SETTINGS:
        if setting.key == key:
            return setting
    import difflib

    near = difflib.get_close_matches(key[:MOST_SHOWN], [s.key for s in SETTINGS], 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else _known()
    raise XenableError(f"{where}: unknown setting {_shown(key)}", hint=hint)


def _shown(text: str) -> str:
    """A text of the file in quotes, or its beginning: it may be anything."""
    return repr(text) if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]!r}…"


def _known() -> str:
    return "the settings are: " + ", ".join(s.key for s in SETTINGS)


def reference(settings: Iterable[Setting] = SETTINGS) -> str:
    """The table of docs/reference/settings.md, as Markdown."""
    rows = ["| in the file | option | default | what it does |", "| --- | --- | --- | --- |"]
    for s in settings:
        metavar = s.metavar.replace("|", "\\|")
        option = f"`--{s.key} {metavar}`" if s.option else ""
        rows.append(f"| `{s.key}` | {option} | `{s.default}` | {s.help} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
