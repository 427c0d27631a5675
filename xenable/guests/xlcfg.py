# SPDX-License-Identifier: GPL-2.0-or-later
"""xl.cfg: written from a Guest, read for guests that others made, changed where numbers do.

The grammar is that of xl itself, libxlu_cfg_l.l and libxlu_cfg_y.y of Xen's tools/libs/util: `name = value`
lines, where a value is a string in ' or ", a number, or a list of values. A newline or ; ends it, # begins a
comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xenable.errors import XenableError
from xenable.guests import words
from xenable.guests.diskspec import Disk, disk_spec
from xenable.guests.model import Boot, Format, Guest, Kind

LOADERS = {
    Kind.PV: "/usr/lib/grub-xen/grub-x86_64-xen.bin",
    Kind.PVH: "/usr/lib/grub-xen/grub-i386-xen_pvh.bin",
}
"""GRUB as a guest's kernel, of Debian's grub-xen-host: it reads the menu on the guest's disk."""

# ---------------------------------------------------------------------------------------------- writing


def render(guest: Guest) -> str:
    """The text of /etc/xen/NAME.cfg.

    Errors: XenableError when a field holds what xl.cfg can't; there is no escaping in this file.
    """
    lines = [
        "# Written by `xenable guest create`; xl and xendomains read it, and edits are kept.",
        f'name = "{_fit(guest, "name", words.NAME)}"',
        f'uuid = "{_fit(guest, "uuid", words.UUID)}"',
        f'type = "{guest.kind.value}"',
        f"memory = {int(guest.memory)}",
        f"vcpus = {int(guest.vcpus)}",
        "",
    ]
    if guest.boot is Boot.GRUB:
        lines += [
            "# GRUB, which reads the menu on the guest's own disk.",
            f'kernel = "{LOADERS[guest.kind]}"',
        ]
    else:
        lines += [
            "# Files of dom0: a kernel that is upgraded in the guest does not get here.",
            f'kernel = "{_fit(guest, "kernel", words.PATH)}"',
        ]
        if guest.initrd:
            lines.append(f'ramdisk = "{_fit(guest, "initrd", words.PATH)}"')
        if guest.arguments:
            lines.append(f'cmdline = "{_fit(guest, "arguments", words.KERNEL_ARGUMENTS)}"')
    kind = "raw,backendtype=phy" if guest.format is Format.BLOCK else guest.format.value
    lines += [
        "",
        "# The second disk tells the first boot who the guest is.",
        "disk = [",
        f'    "format={kind},vdev=xvda,access=rw,target={_fit(guest, "disk", words.PATH)}",',
        f'    "format=raw,vdev=xvdb,access=ro,target={_fit(guest, "seed", words.PATH)}",',
        "]",
        f'vif = ["{_vif(guest)}"]',
        "",
        'on_poweroff = "destroy"',
        'on_reboot = "restart"',
        'on_crash = "restart"',
    ]
    return "\n".join(lines) + "\n"


def _vif(guest: Guest) -> str:
    mac = _fit(guest, "mac", re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"))
    if guest.bridge:
        return f"mac={mac},bridge={_fit(guest, 'bridge', words.INTERFACE)},script=vif-bridge"
    addresses = _fit(guest, "ipv4", re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"))
    if guest.ipv6:
        addresses += f" {_fit(guest, 'ipv6', re.compile(r'[0-9a-f:]{2,39}'))}"
    return f"mac={mac},ip={addresses},script=vif-xenable"


def _fit(guest: Guest, field: str, allowed: re.Pattern[str]) -> str:
    value: str = getattr(guest, field)
    if not allowed.fullmatch(value):
        raise XenableError(
            f"cannot write the configuration of {guest.name!r}: its {field} can't be {value!r}",
            hint="choose one of letters and digits",
        )
    return value


# ---------------------------------------------------------------------------------------------- reading

Value = str | tuple["Value", ...]
"""A string or a number as it is written, or a list."""

_DEEPEST = 50
"""Lists in lists: xl's own parser ends too, and nobody needs more than one."""

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
      | (?P<newline>\n|\#[^\n]*(?:\n|\Z))
      | (?P<ident>[a-z][._0-9a-z]*)
      | (?P<number>[0-9][0-9a-fx]*)
      | (?P<string>'(?:[^'\\\n]|\\[^\n])*'|"(?:[^"\\\n]|\\[^\n])*")
      | (?P<sign>\+=|[][,=;])
    """,
    re.VERBOSE,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {
    c: c for c in "\"'\\"
}


@dataclass(frozen=True)
class _Token:
    kind: str
    """ident, string, number, newline, end, or the sign itself."""
    text: str
    line: int


class _Bad(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def parse(text: str, where: str = "the configuration") -> dict[str, Value]:
    """The settings of an xl.cfg; the last of several by one name counts, as for xl.

    `where` names the file in errors. Errors: XenableError that names the line, for all that xl refuses.
    A comment that ends the file needs no newline here; all else is as in xl.
    """
    try:
        return _settings(_tokens(text))
    except _Bad as e:
        raise XenableError(
            f"cannot read {where}: line {e.line}: {e}", hint="xl refuses that file too: see xl.cfg(5)"
        ) from e


def _tokens(text: str) -> list[_Token]:
    tokens = []
    line, at = 1, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Bad(line, f"{text[at : at + 20].splitlines()[0]!r} is no word of an xl.cfg")
        kind, word = str(found.lastgroup), found[0]
        at = found.end()
        if kind == "string":
            word = _unquote(word[1:-1], line)
        if kind != "blank":
            tokens.append(_Token(word if kind == "sign" else kind, word, line))
        line += kind == "newline"
    return [*tokens, _Token("end", "", line)]


def _unquote(text: str, line: int) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] in _ESCAPES:
            return _ESCAPES[found[1]]
        if found[1] in "x01234567":
            # xlu__cfgl_dequote refuses \x, and drops the characters of the others.
            raise _Bad(line, f"the escape \\{found[1]} does not work in xl")
        raise _Bad(line, f"there is no escape \\{found[1]}")

    if "\0" in text:
        raise _Bad(line, "there is a zero byte in a string")
    return re.sub(r"\\(.)", one, text)


def _settings(tokens: list[_Token]) -> dict[str, Value]:
    settings: dict[str, Value] = {}
    at = 0
    while tokens[at].kind != "end":
        if tokens[at].kind in ("newline", ";"):
            at += 1
            continue
        name, sign = tokens[at], tokens[at + 1]
        if name.kind != "ident":
            raise _Bad(name.line, f"the name of a setting is needed where {name.text!r} is")
        if sign.kind not in ("=", "+="):
            raise _Bad(sign.line, f"= is needed after {name.text}")
        value, at = _value(tokens, at + 2, 0)
        if tokens[at].kind not in ("newline", ";", "end"):
            raise _Bad(tokens[at].line, f"{name.text} goes on after its value, with {tokens[at].text!r}")
        before = settings.get(name.text)
        if sign.kind == "+=" and before is not None:
            joined = _join(before, value)
            if joined is None:
                raise _Bad(sign.line, f"{name.text} is a list at one place and a single value at another")
            value = joined
        settings[name.text] = value
    return settings


def _join(one: Value, other: Value) -> Value | None:
    if isinstance(one, str):
        return one + other if isinstance(other, str) else None
    return one + other if isinstance(other, tuple) else None


def _value(tokens: list[_Token], at: int, depth: int) -> tuple[Value, int]:
    """A value, and the place after it."""
    token = tokens[at]
    if token.kind in ("string", "number"):
        return token.text, at + 1
    if token.kind != "[":
        raise _Bad(token.line, "a value is needed: a number, a string in quotes, or a list in [ ]")
    if depth >= _DEEPEST:
        raise _Bad(token.line, "there are too many lists in lists")
    items: list[Value] = []
    at = _skip(tokens, at + 1)
    while tokens[at].kind != "]":
        item, at = _value(tokens, at, depth + 1)
        items.append(item)
        at = _skip(tokens, at)
        if tokens[at].kind == ",":
            at = _skip(tokens, at + 1)
        elif tokens[at].kind != "]":
            raise _Bad(tokens[at].line, "a comma or ] is needed in the list")
    return tuple(items), at + 1


def _skip(tokens: list[_Token], at: int) -> int:
    while tokens[at].kind == "newline":
        at += 1
    return at


# ---------------------------------------------------------------------------------------------- meaning


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a list of guests shows of a configuration."""

    name: str
    kind: str
    """pv, pvh or hvm."""
    memory: int | None
    """MiB; None when it is not set, or not a number."""
    maxmem: int | None
    vcpus: int | None
    disks: tuple[Disk, ...]
    vifs: tuple[Mapping[str, str], ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """What its interfaces have at `ip=`, as it stands there."""
        return tuple(word for vif in self.vifs for word in vif.get("ip", "").split())


def summary(text: str, where: str = "the configuration") -> Summary:
    """What an xl.cfg says, by whomever it was written. Errors: XenableError, as of parse."""
    settings = parse(text, where)
    kind = settings.get("type", "")
    if not isinstance(kind, str) or not kind:
        kind = "hvm" if settings.get("builder") == "hvm" else "pv"
    name = settings.get("name", "")
    try:
        disks = tuple(disk_spec(spec) for spec in _strings(settings, "disk"))
        vifs = tuple(vif_spec(spec) for spec in _strings(settings, "vif"))
    except XenableError as e:
        reason = e.message.removeprefix("cannot read ")
        raise XenableError(f"cannot read {where}: {reason}", hint=e.hint) from e
    return Summary(
        name=name if isinstance(name, str) else "",
        kind=kind,
        memory=_number(settings, "memory"),
        maxmem=_number(settings, "maxmem"),
        vcpus=_number(settings, "vcpus"),
        disks=disks,
        vifs=vifs,
    )


def _number(settings: Mapping[str, Value], key: str) -> int | None:
    """As strtol takes it with base 0: decimal, 0x…, or 0 and octal digits."""
    text = settings.get(key, "")
    if not isinstance(text, str) or not re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}|[0-9]{1,18}", text):
        return None
    try:
        return int(text, 8 if text[0] == "0" and text.isdigit() else 0)
    except ValueError:
        return None


def _strings(settings: Mapping[str, Value], key: str) -> tuple[str, ...]:
    value = settings.get(key, ())
    # xl passes over a `vif` that is no list, and over items that are no strings.
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, tuple) else ()


def vif_spec(text: str) -> dict[str, str]:
    """The parts of a vif, `mac=…,bridge=…` (xl-network-configuration(5)); a mere word has no value.

    xl takes no part of it for a quote or an escape. Errors: XenableError for a part that can't be one.
    """
    parts: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip(" ").partition("=")
        if not key and not equals:
            continue
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", key):
            raise XenableError(
                f"cannot read the vif {text!r}: {part!r} is not `key=value`",
                hint="see xl-network-configuration(5)",
            )
        parts[key] = value
    return parts


# --------------------------------------------------------------------------------------------- changing


def change(text: str, changes: Mapping[str, int], where: str) -> str:
    """An xl.cfg with numbers set to other values; all else stays as it is, comments and blanks too.

    Errors: XenableError where that is not possible, or would contradict another setting.
    """
    for key, value in changes.items():
        number = r"""["']?[0-9][0-9a-fxA-FX]*["']?"""
        line = re.compile(rf"^([ \t]*{key}[ \t]*=[ \t]*){number}(?=[ \t]*(?:[#;]|$))", re.MULTILINE)
        text, count = line.subn(rf"\g<1>{value}", text)
        if not count:
            text = text + ("" if text.endswith("\n") or not text else "\n") + f"{key} = {value}\n"
    found = summary(text, where)
    settings = parse(text, where)
    for key, value in changes.items():
        now = found.memory if key == "memory" else found.vcpus
        most = settings.get(f"max{'mem' if key == 'memory' else 'vcpus'}")
        if now != value:
            raise XenableError(
                f"cannot set {key} in {where}: it is written there in a way that only you can change",
                hint=f"edit the file: {key} = {value}",
            )
        if isinstance(most, str) and most.isdigit() and int(most) < value:
            raise XenableError(
                f"cannot set {key} = {value} in {where}: a maximum of {most} is set there",
                hint="edit that line first",
            )
    return text
