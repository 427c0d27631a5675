# SPDX-License-Identifier: GPL-2.0-or-later
"""xl.cfg, written and read. `XENABLE_UPDATE_GOLDEN=1 pytest` writes the golden files anew."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.guests.fixtures import CASES, guests, make_guest
from xenable.errors import XenableError
from xenable.guests.diskspec import Disk, disk_spec
from xenable.guests.model import Boot, Format, Guest
from xenable.guests.xlcfg import LOADERS, parse, render, summary, vif_spec

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text = render(make_guest(**CASES[name]))
    golden = GOLDEN / f"{name}.cfg"
    if os.environ.get("XENABLE_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@given(guests())
def test_every_guest_is_read_as_it_was_written(guest: Guest) -> None:
    """Every setting, and no other: no field adds a key or ends a string."""
    settings = parse(render(guest))
    expected = {
        "name": guest.name,
        "uuid": guest.uuid,
        "type": guest.kind.value,
        "memory": str(guest.memory),
        "vcpus": str(guest.vcpus),
        "kernel": guest.kernel if guest.boot is Boot.DIRECT else LOADERS[guest.kind],
        "on_poweroff": "destroy",
        "on_reboot": "restart",
        "on_crash": "restart",
    }
    expected |= {"ramdisk": guest.initrd} if guest.initrd else {}
    expected |= {"cmdline": guest.arguments} if guest.arguments else {}
    assert {key: value for key, value in settings.items() if isinstance(value, str)} == expected
    assert set(settings) == {*expected, "disk", "vif"}

    read = summary(render(guest))
    block = guest.format is Format.BLOCK
    assert read.disks == (
        Disk(
            target=guest.disk,
            vdev="xvda",
            format="raw" if block else guest.format.value,
            writable=True,
            cdrom=False,
            backendtype="phy" if block else "",
        ),
        Disk(target=guest.seed, vdev="xvdb", format="raw", writable=False, cdrom=False),
    )
    (vif,) = read.vifs
    if guest.bridge:
        assert vif == {"mac": guest.mac, "bridge": guest.bridge, "script": "vif-bridge"}
    else:
        addresses = f"{guest.ipv4} {guest.ipv6}".strip()
        assert vif == {"mac": guest.mac, "ip": addresses, "script": "vif-xenable"}
    assert (read.name, read.kind, read.memory, read.vcpus) == (
        guest.name,
        guest.kind.value,
        guest.memory,
        guest.vcpus,
    )


TEXTS = [f.name for f in dataclasses.fields(Guest) if f.name in make_guest().__dict__ and f.type == "str"]


@pytest.mark.parametrize("field", TEXTS)
@given(text=st.text(min_size=1))
@example(text='x"\nextra = "1')
@example(text="x,target=/etc/shadow")
@example(text="x' y")
@example(text="x\\")
def test_no_text_adds_a_setting(field: str, text: str) -> None:
    """A record that was tampered with is refused, or harmless."""
    changes: dict[str, Any] = CASES["direct"] | {field: text}
    guest = make_guest(**changes)
    try:
        written = render(guest)
    except XenableError as e:
        assert e.message.startswith("cannot write the configuration of ")
        return
    plain = parse(render(make_guest(**CASES["direct"])))
    assert list(parse(written)) == list(plain)
    assert len(summary(written).disks) == 2 and len(summary(written).vifs) == 1


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("\n;;\n# nothing", {}),
        ("a=1", {"a": "1"}),
        ("a = 1; b = 'x' ;c=\"y\"", {"a": "1", "b": "x", "c": "y"}),
        ("a = 0x1f # hex\n", {"a": "0x1f"}),
        ("a.b_c9 = '#no comment'", {"a.b_c9": "#no comment"}),
        ("a = 1\na = 2", {"a": "2"}),
        ("a = []", {"a": ()}),
        ("a = [ 'x', 1, ]", {"a": ("x", "1")}),
        ("a = [ # one\n 'x' # two\n , # three\n 'y'\n]\n", {"a": ("x", "y")}),
        ("a = [['x'], [], ['y', ['z']]]", {"a": (("x",), (), ("y", ("z",)))}),
        ("a = 'x'\na += 'y'", {"a": "xy"}),
        ("a = ['x']\na += ['y']", {"a": ("x", "y")}),
        ("a += ['y']", {"a": ("y",)}),
        (r"""a = 'it\'s' ; b = "a\\b\tc\"" """, {"a": "it's", "b": 'a\\b\tc"'}),
        ("\ta\t=\t'ü'", {"a": "ü"}),
    ],
)
def test_grammar(text: str, settings: dict[str, Any]) -> None:
    assert parse(text) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\nfoo", "cannot read web1.cfg: line 3: = is needed after foo"),
        ("a = ", "line 1: a value is needed"),
        ("a =\n1", "line 1: a value is needed"),
        ("a = b", "line 1: a value is needed"),
        ("A = 1", "line 1: 'A = 1' is no word"),
        ("= 1", "the name of a setting is needed where '=' is"),
        ("1 = 1", "the name of a setting is needed where '1' is"),
        ("a = 1 b = 2", "line 1: a goes on after its value, with 'b'"),
        ("a = -1", "'-1' is no word"),
        ("a = 'x", '"\'x" is no word'),
        ("a = 'x\ny'", 'line 1: "\'x" is no word'),
        ("a = 'x\\\ny'", "is no word"),
        ("a = ['x'\n", "line 2: a comma or ] is needed in the list"),
        ("a = ['x' 'y']", "a comma or ] is needed"),
        ("a = [,]", "a value is needed"),
        ("a = ['x';]", "a comma or ] is needed"),
        ("a = (1)", "'(1)' is no word"),
        ("a = 1\r\n", "is no word"),
        (r"a = '\x41'", r"the escape \x does not work in xl"),
        (r"a = '\101'", r"the escape \1 does not work in xl"),
        (r"a = '\q'", r"there is no escape \q"),
        ("a = 'x\0'", "zero byte"),
        ("a = 'x'\na += ['y']", "line 2: a is a list at one place"),
        ("a = ['x']\na += 'y'", "line 2: a is a list at one place"),
        ("a = " + "[" * 9999, "too many lists"),
        ("import os\nname = 'x'", "= is needed after import"),
    ],
)
def test_what_xl_refuses(text: str, message: str) -> None:
    with pytest.raises(XenableError) as e:
        parse(text, "web1.cfg")
    assert message in e.value.message


WORDS = st.sampled_from(
    [
        "name",
        "disk",
        "=",
        "+=",
        "[",
        "]",
        ",",
        ";",
        "\n",
        " ",
        "'x'",
        '"',
        "'",
        "\\",
        "12",
        "#",
        "ü",
        "\0",
        ".",
    ]
)


@given(st.one_of(st.text(), st.lists(WORDS).map("".join)))
@example("\\")
@example("name")
@example("name =")
@example("a = [")
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        settings = parse(text)
    except XenableError as e:
        assert e.message.startswith("cannot read the configuration: line ")
    else:
        assert all(key[0].isalpha() for key in settings)
    try:
        summary(text)
    except XenableError as e:
        assert e.message.startswith("cannot read the configuration: ")


BY_HAND = r"""
#  Configuration file for the Xen instance db1, created by xen-tools 4.9
kernel      = '/boot/vmlinuz-6.1.0-18-amd64'
extra       = 'elevator=noop'
ramdisk     = '/boot/initrd.img-6.1.0-18-amd64'
vcpus       = '2'
memory      = '1024'
maxmem      = 0x800
root        = '/dev/xvda2 ro'
disk        = [
                  'phy:/dev/vg0/db1-disk,xvda2,w',
                  'file:/srv/db1-swap,xvda1,w',
              ]
name        = 'db1'
vif         = [ 'ip=10.0.0.7 ,mac=00:16:3E:AA:BB:CC, bridge=xenbr0' , '' ]
on_poweroff = 'destroy'
"""


def test_a_guest_made_by_others() -> None:
    read = summary(BY_HAND)
    assert (read.name, read.kind, read.memory, read.maxmem, read.vcpus) == ("db1", "pv", 1024, 2048, 2)
    assert [(d.target, d.vdev, d.format, d.writable) for d in read.disks] == [
        ("/dev/vg0/db1-disk", "xvda2", "raw", True),
        ("/srv/db1-swap", "xvda1", "raw", True),
    ]
    assert read.vifs == ({"ip": "10.0.0.7", "mac": "00:16:3E:AA:BB:CC", "bridge": "xenbr0"}, {})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "pv"),
        ("builder = 'generic'", "pv"),
        ("builder = 'hvm'", "hvm"),
        ("type = 'pvh'", "pvh"),
        ("type = 'pvh'; builder = 'hvm'", "pvh"),
    ],
)
def test_kind(text: str, kind: str) -> None:
    assert summary(text).kind == kind


@pytest.mark.parametrize(
    ("text", "memory"),
    [("512", 512), ("0x200", 512), ("01000", 512), ("08", None), ("''", None), ("[1]", None)],
)
def test_memory(text: str, memory: int | None) -> None:
    assert summary(f"memory = {text}").memory == memory


def test_a_disk_or_a_vif_that_is_none_names_the_file() -> None:
    with pytest.raises(XenableError, match=r"cannot read x\.cfg: the disk 'foo': there is no vdev"):
        summary("disk = ['foo']", "x.cfg")
    with pytest.raises(XenableError, match=r"cannot read x\.cfg: the vif 'MAC=1': 'MAC=1' is not"):
        summary("vif = ['MAC=1']", "x.cfg")
    assert summary("disk = 'xvda'; vif = [['x']]").disks == ()


def test_vif_words() -> None:
    assert vif_spec("trusted,mac=a=b,") == {"trusted": "", "mac": "a=b"}


VOLUME = Disk(target="/dev/vg/guest-volume", vdev="hda", format="raw", writable=True, cdrom=False)
ISO = Disk(target="/root/image.iso", vdev="hdc", format="raw", writable=False, cdrom=True)
EMPTY = Disk(target="", vdev="hdc", format="empty", writable=False, cdrom=True)
IQN = "iqn.2001-05.com.example:0-8a0906-23fe93404"


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        # The forms of xl-disk-configuration(5), as Xen's own check-xl-disk-parse has them.
        ("/dev/vg/guest-volume,,hda", VOLUME),
        ("/dev/vg/guest-volume,raw,hda,rw", VOLUME),
        ("format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume", VOLUME),
        ("raw:/dev/vg/guest-volume,hda,w", VOLUME),
        ("/root/image.iso,,hdc,cdrom", ISO),
        ("/root/image.iso,,hdc,,cdrom", ISO),
        ("/root/image.iso,raw,hdc,devtype=cdrom", ISO),
        ("format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso", ISO),
        ("raw:/root/image.iso,hdc:cdrom,ro", ISO),
        ("devtype=cdrom,,,hdc", EMPTY),
        (",,hdc:cdrom,r", EMPTY),
        (",hdc:cdrom,r", EMPTY),
        ("vdev=hdc,access=r,devtype=cdrom,target=", EMPTY),
        (",empty,hdc:cdrom,r", EMPTY),
        ("vdev=hdc,access=r,devtype=cdrom,format=empty", EMPTY),
        ("vdev=hdc,access=r,devtype=cdrom", EMPTY),
        (
            "backendtype=phy,vdev=xvdb,access=w,target=/dev/vg/guest-volume",
            dataclasses.replace(VOLUME, vdev="xvdb", backendtype="phy"),
        ),
        (
            f"iscsi:{IQN},xvda,w",
            Disk(target=IQN, vdev="xvda", format="raw", writable=True, cdrom=False, script="block-iscsi"),
        ),
        (
            f"vdev=xvda,access=w,script=block-iscsi,target={IQN}",
            Disk(target=IQN, vdev="xvda", format="raw", writable=True, cdrom=False, script="block-iscsi"),
        ),
        # And a few more.
        ("file:/srv/a.img,hda,w", dataclasses.replace(VOLUME, target="/srv/a.img")),
        ("tap:aio:/srv/a.img,hda,w", dataclasses.replace(VOLUME, target="/srv/a.img")),
        ("tap2:qcow2:/srv/a.img,hda", dataclasses.replace(VOLUME, target="/srv/a.img", format="qcow2")),
        (
            "/srv/a.img,qcow2,hda,r",
            Disk(target="/srv/a.img", vdev="hda", format="qcow2", writable=False, cdrom=False),
        ),
        ("vdev=hda,discard,target=/a,b=c ,d,", dataclasses.replace(VOLUME, target="/a,b=c ,d")),
        ("devtype=cdrom,devtype=disk,vdev=hda,target=/a", dataclasses.replace(VOLUME, target="/a")),
    ],
)  # fmt: skip
def test_disks(text: str, disk: Disk) -> None:
    assert disk_spec(text) == disk


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no vdev"),
        ("foo", "there is no vdev"),
        ("vdev=xvda", "there is no target"),
        ("/a,raw,xvda,w,x", "one part too many, 'x'"),
        ("/a,odd,xvda,w", "no format 'odd'"),
        ("/a,raw,xvda,x", "no access 'x'"),
        ("/a,raw,hdc:tape,r", "no device type 'tape'"),
        ("nfs:/a,xvda,w", "nothing is known by the prefix nfs:"),
        ("odd=1,vdev=xvda,target=/a", "odd can't be '1'"),
        ("backendtype=odd,vdev=xvda,target=/a", "backendtype can't be 'odd'"),
        ("devtype=tape,vdev=xvda,target=/a", "no devtype 'tape'"),
        ("format=raw,format=qcow2,vdev=xvda,target=/a", "the format is there twice"),
        ("qcow2:/a,format=raw,xvda,w", "the format is there twice"),
        ("vdev=xvda,vdev=xvdb,target=/a", "the vdev is there twice"),
        ("/a,raw,xvda,w,target=/b", "the target is there twice"),
        ("=,xvda", "is no part of a disk"),
    ],
)
def test_disks_that_xl_refuses(text: str, message: str) -> None:
    with pytest.raises(XenableError) as e:
        disk_spec(text)
    assert message in e.value.message


PARTS = st.sampled_from(
    ["/a", "raw", "xvda", "w", ",", "=", ":", "vdev=", "target=", "format=", "cdrom", "phy:", " ", "x", "\n"]
)


@given(st.one_of(st.text(), st.lists(PARTS).map("".join)))
@example("format")
@example("a=")
def test_no_disk_or_vif_raises_anything_else(text: str) -> None:
    try:
        disk = disk_spec(text)
    except XenableError as e:
        assert e.message.startswith("cannot read the disk ")
    else:
        assert disk.vdev
    try:
        vif_spec(text)
    except XenableError as e:
        assert e.message.startswith("cannot read the vif ")
