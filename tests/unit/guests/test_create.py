# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest is made as a whole, or refused before anything changes; no two get one address."""

from __future__ import annotations

import json
import os
import select
import tarfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guests.machine import (
    BASE,
    DIRECTORY,
    KEY,
    NET,
    PLACES,
    REQUEST,
    THIN,
    Xen,
    alive,
    quiet,
    state,
)
from xenable.errors import XenableError
from xenable.guests import claims, create, images, lifecycle, records, storage
from xenable.guests.claims import Swept
from xenable.guests.model import Boot, Format, Kind, Seed
from xenable.guests.storage import Storage, StorageKind
from xenable.host import Host, Result
from xenable.network.effective import GuestNet, Mode

# ------------------------------------------------------------------------------------------------- success


@pytest.mark.parametrize("place", PLACES)
def test_a_guest_is_there_as_a_whole(xen: Xen, place: Storage) -> None:
    guest = create.create(xen.host, REQUEST, place, NET, quiet)
    host = xen.host
    assert records.read(host, "web1") == guest
    assert xen.running == {"web1": guest.uuid}
    assert (guest.ipv4, guest.ipv6) == ("172.20.216.2", "fd12:3456:789a:d8::2")
    assert f'uuid = "{guest.uuid}"' in host.text("/etc/xen/web1.cfg")
    assert host.link_target("/etc/xen/auto/web1.cfg") == "../web1.cfg"
    assert "172.20.216.2 web1.xen.internal web1" in host.text("/etc/hosts")
    assert host.exists("/var/lib/xenable/guests/web1/open")
    assert not [name for name in host.names("/var/lib/xenable/guests") if name.startswith(".")]
    if place.kind is StorageKind.THIN:
        assert guest.disk == "/dev/vg/xenable-web1" and xen.volumes["vg/xenable-web1"] == 32 << 20
        assert guest.format is Format.BLOCK
    else:
        assert guest.disk == f"{place.folder}/web1/disk.qcow2"
        info = host.stat(guest.disk)
        assert info is not None and info.st_mode & 0o777 == 0o600
    with tarfile.open(host.path(guest.seed)) as seed:
        keys = seed.extractfile("root/.ssh/authorized_keys")
        assert keys is not None and keys.read().decode() == f"{KEY}\n"


def test_pv_with_a_kernel_that_grub_can_not_unpack_is_booted_directly(xen: Xen) -> None:
    guest = create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert guest.boot is Boot.DIRECT
    assert xen.host.read(guest.kernel) == b"kernel" and xen.host.read(guest.initrd) == b"initrd"
    pvh = create.create(xen.host, replace(REQUEST, name="web2", kind=Kind.PVH), DIRECTORY, NET, quiet)
    assert pvh.boot is Boot.GRUB and pvh.ipv4 == "172.20.216.3"
    images.write_base(xen.host, replace(BASE, compression="xz"))
    by_grub = create.create(xen.host, replace(REQUEST, name="web3"), DIRECTORY, NET, quiet)
    assert by_grub.boot is Boot.GRUB and by_grub.kernel == ""


def test_what_serves_a_guest_is_in_no_session_of_a_person(xen: Xen) -> None:
    """systemd ends sessions at the beginning of a shutdown, and units in the reverse of their order."""
    xen.host.make_folder("/run/systemd/system")
    create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert "web1" in xen.running
    (call,) = (call for call in xen.calls if "create" in call and "xl" in call)
    assert call[:2] == ["systemd-run", "--scope"] and "--property=Before=xendomains.service" in call
    assert call[-3:-1] == ["xl", "create"] and call[-1].endswith("/etc/xen/web1.cfg")


def test_without_a_start_it_works_natively(xen: Xen) -> None:
    xen.host.remove("/proc/xen/capabilities")
    guest = create.create(xen.host, replace(REQUEST, start=False), DIRECTORY, NET, quiet)
    assert records.names(xen.host) == ("web1",) and not xen.said("xl")
    with pytest.raises(XenableError, match=r"cannot create the guest web2: this machine does not run under"):
        create.create(xen.host, replace(REQUEST, name="web2"), DIRECTORY, NET, quiet)
    assert guest.release == "trixie"


def test_a_guest_on_a_bridge_has_no_address_of_ours(xen: Xen) -> None:
    net = replace(NET, mode=Mode.BRIDGE, bridge="br0")
    guest = create.create(xen.host, REQUEST, DIRECTORY, net, quiet)
    assert (guest.ipv4, guest.ipv6, guest.bridge) == ("", "", "br0")
    assert xen.host.text("/etc/hosts") == "127.0.0.1 localhost\n"
    assert "bridge=br0" in xen.host.text("/etc/xen/web1.cfg")


def test_a_cloud_image_gets_a_nocloud_seed(xen: Xen) -> None:
    image = xen.host.path("/root/debian.qcow2")
    image.parent.mkdir()
    image.write_bytes(b"QFI")
    xen.answers["qemu-img info"] = Result(0, '{"format": "qcow2", "virtual-size": 4096}', "")
    request = replace(REQUEST, release="", image=Path("/root/debian.qcow2"), kind=Kind.PVH)
    guest = create.create(xen.host, request, DIRECTORY, NET, quiet)
    assert guest.seed_kind is Seed.NOCLOUD and guest.release == "debian.qcow2"
    (made,) = [call for call in xen.said("qemu-img convert") if call[-2].startswith("json:")]
    assert '"label": "CIDATA"' in made[-2] and '"floppy": true' in made[-2]
    # What is published has to be on disk: qemu-img leaves it to the page cache.
    assert xen.calls.index(["sync", made[-1]]) > xen.calls.index(made)
    assert xen.host.names(records.folder("web1")) == ("disk.qcow2", "guest.json", "open", "seed.img")


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("compression", "fits"), [("zstd", False), ("lz4", False), ("xz", True), ("", True)]
)
def test_a_pv_guest_of_an_image_needs_a_kernel_that_grub_unpacks(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, compression: str, fits: bool
) -> None:
    request = replace(REQUEST, release="", image=Path("/root/debian.qcow2"))
    base = replace(BASE, kernel="", release="debian.qcow2", compression=compression)
    monkeypatch.setattr(images, "import_image", lambda *_: base)
    before = state(xen)
    if fits:
        assert create.create(xen.host, request, DIRECTORY, NET, quiet).kind is Kind.PV
    else:
        with pytest.raises(XenableError, match=f"debian.qcow2 is packed with {compression}") as caught:
            create.create(xen.host, request, DIRECTORY, NET, quiet)
        assert "--type pvh" in caught.value.hint and state(xen) == before
    create.check_kernel(replace(request, kind=Kind.PVH), base)


def test_refusals_change_nothing(xen: Xen) -> None:
    create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    xen.host.write("/etc/xen/byhand.cfg", b'name = "byhand"\nvif = ["ip=172.20.216.3"]\n')
    xen.running["stranger"] = "1" * 36
    before = state(xen)
    for name, why in (("web1", "a guest of that name"), ("byhand", "did not write"), ("stranger", "runs")):
        with pytest.raises(XenableError, match=f"cannot create the guest {name}: .*{why}"):
            create.create(xen.host, replace(REQUEST, name=name), DIRECTORY, NET, quiet)
    with pytest.raises(XenableError, match=r"needs \d+ MiB, 4096 MiB for itself .* 4096 MiB are free"):
        create.create(xen.host, replace(REQUEST, name="big", memory=4096), DIRECTORY, NET, quiet)
    with pytest.raises(XenableError, match="make a disk of 4M: the image of trixie needs 8M"):
        create.create(xen.host, replace(REQUEST, name="small", disk_bytes=4 << 20), DIRECTORY, NET, quiet)
    assert state(xen) == before


def test_a_volume_that_is_there_is_not_ours(xen: Xen) -> None:
    xen.volumes["vg/xenable-web1"] = 7
    xen.answers["lvcreate"] = Result(5, "", "already exists in volume group")
    before = state(xen)
    with pytest.raises(XenableError, match="guest web1: /dev/vg/xenable-web1 is there"):
        create.create(xen.host, REQUEST, THIN, NET, quiet)
    assert state(xen) == before and not xen.said("lvremove")


def test_without_an_answer_about_volumes_nothing_is_claimed(xen: Xen) -> None:
    before = state(xen)
    xen.answers["lvs"] = Result(5, "", "Cannot process volume group vg")
    with pytest.raises(XenableError, match="cannot see the volumes of vg: Cannot process volume group vg"):
        create.create(xen.host, REQUEST, THIN, NET, quiet)
    assert state(xen) == before and not xen.said("lvcreate")


@pytest.mark.parametrize(
    ("hostname", "line", "means"),
    [
        (b"web1\n", b"", "this machine itself"),
        (b"web1.example.org\n", b"", "this machine itself"),
        (b"dom0\n", b"192.0.2.9 db.example.org Web1 # of old\n", "192.0.2.9, in /etc/hosts"),
    ],
)
def test_a_name_that_means_another_machine(xen: Xen, hostname: bytes, line: bytes, means: str) -> None:
    """`ssh root@web1` would end up there."""
    xen.host.write("/etc/hostname", hostname)
    xen.host.write("/etc/hosts", b"127.0.0.1 localhost\n# web1 is no name here\n" + line)
    before = state(xen)
    with pytest.raises(XenableError, match=f"the guest web1: that name means {means}"):
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert state(xen) == before


def test_pvh_needs_hardware(xen: Xen) -> None:
    assert create.default_kind(xen.host) is Kind.PVH
    xen.info = xen.info.replace(" hvm hap", "")
    assert create.default_kind(xen.host) is Kind.PV
    with pytest.raises(XenableError, match="VT-x or SVM") as caught:
        create.create(xen.host, replace(REQUEST, kind=Kind.PVH), DIRECTORY, NET, quiet)
    assert "--type pv" in caught.value.hint


def test_no_room(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(xen)
    monkeypatch.setattr(Host, "free_bytes", lambda host, path: 10 << 20)
    with pytest.raises(XenableError, match="/var/lib/xenable/guests has 10 MiB free, and 64 MiB are needed"):
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    pool = {"lv_name": "pool", "lv_attr": "twi-aotz--", "data_percent": "99.9", "metadata_percent": "1"}
    xen.answers["lvs"] = Result(0, json.dumps({"report": [{"lv": [{**pool, "lv_attr": "twi-aot---"}]}]}), "")
    with pytest.raises(XenableError, match=r"its new blocks hold what other guests left"):
        create.create(xen.host, REQUEST, THIN, NET, quiet)
    xen.answers["lvs"] = Result(0, json.dumps({"report": [{"lv": [pool]}]}), "")
    with pytest.raises(XenableError, match=r"the data of the pool vg/pool is 100 % full"):
        create.create(xen.host, REQUEST, THIN, NET, quiet)
    assert state(xen) == before


def test_the_loader_is_needed(xen: Xen) -> None:
    xen.host.remove("/usr/lib/grub-xen/grub-i386-xen_pvh.bin")
    before = state(xen)
    with pytest.raises(XenableError, match=r"xen_pvh.bin is missing; everything was taken back") as caught:
        create.create(xen.host, replace(REQUEST, kind=Kind.PVH), DIRECTORY, NET, quiet)
    assert "grub-xen-host" in caught.value.hint and state(xen) == before


@pytest.mark.parametrize("shares", [False, True])
def test_dom0_needs_memory_for_the_qemu_of_a_disk(
    xen: Xen, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    """It serves a qcow2 file; where the file system shares blocks there is none."""

    def clone(host: Host, source: Any, path: Any) -> bool:
        if shares:
            host.write(path, host.read(source))
        return shares

    monkeypatch.setattr(Host, "clone", clone)
    xen.host.path("/proc/meminfo").write_text("MemTotal: 1048576 kB\nMemAvailable: 61440 kB\n")
    if shares:
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
        return
    before = state(xen)
    reason = "dom0 runs a QEMU of some 64 MiB, and dom0 has 60 MiB left; everything was taken back"
    with pytest.raises(XenableError, match=reason) as caught:
        create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert "dom0-memory" in caught.value.hint and state(xen) == before
    create.create(xen.host, replace(REQUEST, start=False), DIRECTORY, NET, quiet)
    with pytest.raises(XenableError, match="cannot start web1: the disk of web1 is a qcow2 file"):
        lifecycle.start(xen.host, "web1")
    assert not xen.said("xl create")


def test_all_addresses_are_known(xen: Xen) -> None:
    host = xen.host
    create.create(host, REQUEST, DIRECTORY, NET, quiet)
    host.write("/etc/xen/byhand.cfg", b'name = "a"\nvif = ["ip=172.20.216.3 fd12::3", "bridge=b"]\n')
    host.write("/etc/xen/broken.cfg", b"name = = x\n")
    both = {IPv4Address("172.20.216.2"), IPv4Address("172.20.216.3")}
    assert claims.taken_addresses(host, NET) == both
    # Its xl.cfg still says the address.
    host.write(records.record("web1"), b"damaged")
    assert claims.taken_addresses(host, NET) == both
    # A domain that no file here is about, as one of libvirt.
    nics = [{"ip": "172.20.216.4 fd12::4"}, {}]
    xen.details = json.dumps([{"domid": 7, "config": {"c_info": {"type": "pv"}, "nics": nics}}])
    assert claims.taken_addresses(host, NET) == both | {IPv4Address("172.20.216.4")}


def test_the_address_of_a_file_that_only_xendomains_reads_is_known(xen: Xen) -> None:
    xen.host.make_folder("/etc/xen/auto")
    xen.host.write("/etc/xen/auto/10-hand", b'name = "hand"\nvif = ["ip=172.20.216.2"]\n')
    xen.host.write("/srv/far.cfg", b'name = "far"\nvif = ["ip=172.20.216.3"]\n')
    xen.host.symlink("/etc/xen/auto/far.cfg", str(xen.host.path("/srv/far.cfg")))
    xen.host.symlink("/etc/xen/auto/nowhere.cfg", "../nowhere.cfg")
    xen.host.symlink("/etc/xen/auto/loop", "loop")
    assert create.create(xen.host, REQUEST, DIRECTORY, NET, quiet).ipv4 == "172.20.216.4"


def test_an_ipv6_address_that_a_guest_has_alone_is_not_given_again(xen: Xen) -> None:
    text = 'name = "hand"\nvif = ["ip=fd12:3456:789a:d8::2", "ip=fd12::3", "ip=fd12:3456:789a:d8:1::2"]\n'
    xen.host.write("/etc/xen/hand.cfg", text.encode())
    xen.host.write("/etc/xen/far.cfg", b'name = "far"\nvif = ["ip=fd12:3456:789a:d8::1:2"]\n')
    assert claims.taken_addresses(xen.host, NET) == {IPv4Address("172.20.216.2")}
    assert claims.taken_addresses(xen.host, replace(NET, ipv6=None)) == set()
    guest = create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert (guest.ipv4, guest.ipv6) == ("172.20.216.3", "fd12:3456:789a:d8::3")


def test_a_second_one_meanwhile_gets_another_address(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is made while the first one is between its claim and its record."""
    whole = storage.create_disk
    others: list[str] = []

    def meanwhile(*args: Any) -> Any:
        if not others:
            others.append("begun")
            others.append(create.create(xen.host, replace(REQUEST, name="web2"), DIRECTORY, NET, quiet).ipv4)
            with pytest.raises(XenableError, match="another xenable is making it"):
                create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
        return whole(*args)

    monkeypatch.setattr(storage, "create_disk", meanwhile)
    first = create.create(xen.host, REQUEST, DIRECTORY, NET, quiet)
    assert (first.ipv4, others[1]) == ("172.20.216.2", "172.20.216.3")
    assert claims.sweep(xen.host) == Swept()


def test_two_processes_at_once_get_two_addresses(xen: Xen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are let go at the same time, and one that has read which addresses are taken waits for the other
    to have done so too: where nothing keeps it out, both take the same."""
    (go, let_go), read_by = os.pipe(), {"web1": os.pipe(), "web2": os.pipe()}
    whole = claims.taken_addresses

    def make(name: str, other: str) -> None:
        def read_and_wait(host: Host, net: GuestNet) -> set[IPv4Address]:
            found = whole(host, net)
            os.write(read_by[name][1], b"x")
            # With the lock the other one can't be here before this one has claimed its address.
            select.select([read_by[other][0]], [], [], 1.0)
            return found

        monkeypatch.setattr(create, "taken_addresses", read_and_wait)
        alive(xen.host, os.getpid(), 100)
        os.read(go, 1)
        create.create(xen.host, replace(REQUEST, name=name), DIRECTORY, NET, quiet)

    children = {forked(make, "web1", "web2"), forked(make, "web2", "web1")}
    os.write(let_go, b"xx")
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    found = {records.read(xen.host, name).ipv4 for name in ("web1", "web2")}
    assert found == {"172.20.216.2", "172.20.216.3"}
    for end in (go, let_go, *read_by["web1"], *read_by["web2"]):
        os.close(end)


def forked(work: Callable[..., None], *words: str) -> int:
    """The number of a child that does the work, and ends with 0 where nothing was wrong."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work(*words)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def test_macs_are_xens_and_differ() -> None:
    found = {create.new_mac() for _ in range(50)}
    assert len(found) > 40 and all(mac.startswith("00:16:3e:") and len(mac) == 17 for mac in found)
