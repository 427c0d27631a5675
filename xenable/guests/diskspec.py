# SPDX-License-Identifier: GPL-2.0-or-later
"""The strings in xl.cfg's `disk`, as xl-disk-configuration(5) and libxlu_disk_l.l of Xen have them.

`key=value` parts, a `target=` that takes all the rest, and the older positional form: target, format (where
there is no prefix as `file:`), vdev, access.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xenable.errors import XenableError


@dataclass(frozen=True, kw_only=True)
class Disk:
    target: str
    """Path, or what its script takes; empty for a drive without a medium."""
    vdev: str
    """Name in the guest: xvda."""
    format: str
    """raw, qcow2, …; empty is a format too: no medium."""
    writable: bool
    cdrom: bool
    script: str = ""
    backendtype: str = ""


_FORMATS = ("raw", "qcow", "qcow2", "vhd", "empty", "qed")
_BACKENDS = ("phy", "tap", "qdisk", "standalone")
_ACCESS = {"r": False, "ro": False, "rw": True, "w": True, "": True}
_WORDS = ("cdrom", "direct-io-safe", "discard", "no-discard", "colo", "no-colo", "trusted", "untrusted")
_STRINGS = (
    "backend",
    "colo-host",
    "colo-port",
    "colo-export",
    "active-disk",
    "hidden-disk",
    "specification",
)
_PREFIX = re.compile(r"(raw|qcow2?|vhd|iscsi|e?nbd|drbd|tapdisk|tap2?|aio|ioemu|file|phy):")
_UNKNOWN_PREFIX = re.compile(r"[a-z][a-z0-9]*:(?=[^a-z0-9]|\Z)")
_PART = re.compile(r"([a-z][-a-z_0-9]*)=([^,]*)(?:,|\Z)")
_PLAIN = re.compile(r"([^=,]*)(?:,|\Z)")


def disk_spec(text: str) -> Disk:
    """The disk that a string means. Errors: XenableError for one that xl refuses."""
    seen: dict[str, str] = {}
    prefixed = access_seen = False
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
        elif text.startswith("target=", at):
            _set(seen, "target", text[at + 7 :].removesuffix(","), text)
            break
        elif found := _PREFIX.match(text, at):
            prefixed = True
            if found[1] in _FORMATS:
                _set(seen, "format", found[1], text)
            elif found[1] in ("iscsi", "nbd", "enbd", "drbd"):
                _set(seen, "script", f"block-{found[1]}", text)
            at = found.end()
        elif found := _PART.match(text, at):
            _named(seen, found[1], found[2], text)
            at = found.end()
        elif _UNKNOWN_PREFIX.match(text, at):
            raise _refused(text, f"nothing is known by the prefix {text[at:].partition(':')[0]}:")
        elif found := _PLAIN.match(text, at):
            if found[1] in _WORDS:
                seen.setdefault(found[1], "")
            else:
                access_seen = _positional(seen, found[1], prefixed, access_seen, text)
            at = found.end()
        else:
            raise _refused(text, f"{text[at:]!r} is no part of a disk")
    return _disk(seen, text)


def _named(seen: dict[str, str], key: str, value: str, text: str) -> None:
    if key == "devtype":
        if value not in ("cdrom", "disk"):
            raise _refused(text, f"there is no devtype {value!r}")
        seen.pop("cdrom", None)
        if value == "cdrom":
            seen["cdrom"] = ""
    elif key == "format":
        _format(seen, value, text)
    elif key == "access":
        _access(seen, value, text)
    elif key in ("vdev", "script"):
        _set(seen, key, value, text)
    elif key == "backendtype" and value in _BACKENDS and seen.get(key, value) == value:
        seen[key] = value
    elif key in _STRINGS or (key == "grant_usage" and value in ("0", "1")):
        return
    else:
        raise _refused(text, f"{key} can't be {value!r}")


def _positional(seen: dict[str, str], word: str, prefixed: bool, access_seen: bool, text: str) -> bool:
    """Take a part without a key; returns whether the access is known by now."""
    if "target" not in seen:
        seen["target"] = word
    elif not prefixed and "format" not in seen:
        if not seen["target"] and _vdev_and_type(seen, word, text):
            seen["format"] = "empty"
        else:
            _format(seen, word, text)
    elif "vdev" not in seen:
        if not _vdev_and_type(seen, word, text):
            seen["vdev"] = word
    elif not access_seen:
        _access(seen, word, text)
        return True
    else:
        raise _refused(text, f"there is one part too many, {word!r}")
    return access_seen


def _vdev_and_type(seen: dict[str, str], word: str, text: str) -> bool:
    """Take `hdc:cdrom`; returns whether it was that."""
    vdev, colon, kind = word.rpartition(":")
    if not colon:
        return False
    if kind not in ("cdrom", "disk"):
        raise _refused(text, f"there is no device type {kind!r}")
    _set(seen, "vdev", vdev, text)
    _named(seen, "devtype", kind, text)
    return True


def _format(seen: dict[str, str], value: str, text: str) -> None:
    if value and value not in _FORMATS:
        raise _refused(text, f"there is no format {value!r}")
    if seen.get("format", value or "raw") != (value or "raw"):
        raise _refused(text, "the format is there twice")
    seen["format"] = value or "raw"


def _access(seen: dict[str, str], value: str, text: str) -> None:
    if value not in _ACCESS:
        raise _refused(text, f"there is no access {value!r}")
    seen["access"] = value


def _set(seen: dict[str, str], key: str, value: str, text: str) -> None:
    """An empty value gives way to a later one."""
    if seen.get(key):
        raise _refused(text, f"the {key} is there twice")
    seen[key] = value


def _disk(seen: dict[str, str], text: str) -> Disk:
    cdrom = "cdrom" in seen
    if not seen.get("vdev"):
        raise _refused(text, "there is no vdev")
    if "target" not in seen and not cdrom:
        raise _refused(text, "there is no target")
    target = seen.get("target", "")
    return Disk(
        target=target,
        vdev=seen["vdev"],
        format="empty" if cdrom and not target else seen.get("format", "raw"),
        writable=not cdrom and _ACCESS[seen.get("access", "")],
        cdrom=cdrom,
        script=seen.get("script", ""),
        backendtype=seen.get("backendtype", ""),
    )


def _refused(text: str, reason: str) -> XenableError:
    return XenableError(f"cannot read the disk {text!r}: {reason}", hint="see xl-disk-configuration(5)")
