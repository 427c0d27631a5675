# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tree import make_tree
from tests.unit.boot.firmware import ATTRIBUTES, load_option
from xenable.boot.efi import EFIVARS, GLOBAL, parse_load_option
from xenable.boot.pairs import image_compression
from xenable.facts.boot_loader import probe_boot_loader
from xenable.facts.firmware import LOADER, probe_firmware
from xenable.facts.initrd import RATIO, unpacked_bytes
from xenable.facts.kernels import flavour, probe_kernels
from xenable.facts.storage import probe_storage
from xenable.host import Host
from xenable.machine import Answer, FirmwareKind, LoaderKind


def efi_machine(root: Path, **variables: bytes) -> Host:
    names = {name: LOADER if name.startswith("Loader") else GLOBAL for name in variables}
    return make_tree(
        root,
        {f"{EFIVARS}/{name}-{names[name]}": ATTRIBUTES + value for name, value in variables.items()}
        | {"/proc/self/mountinfo": f"40 1 0:30 / {EFIVARS} rw,nosuid - efivarfs efivarfs rw\n"},
    )


def loader(host: Host) -> tuple[LoaderKind, str]:
    found = probe_boot_loader(host, probe_firmware(host), probe_storage(host), {})
    return found.kind, found.name


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (r"\EFI\debian\shimx64.efi", LoaderKind.GRUB),
        (r"\EFI\ubuntu\grubx64.efi", LoaderKind.GRUB),
        (r"\EFI\systemd\systemd-bootx64.efi", LoaderKind.SYSTEMD_BOOT),
        (r"\EFI\refind\refind_x64.efi", LoaderKind.OTHER),
        (r"\EFI\BOOT\BOOTX64.EFI", LoaderKind.UNKNOWN),
    ],
)
def test_the_loader_that_the_firmware_started(tmp_path: Path, path: str, kind: LoaderKind) -> None:
    host = efi_machine(tmp_path, BootCurrent=b"\x0a\0", Boot000A=load_option("entry", path))
    assert loader(host)[0] is kind


def test_what_a_loader_says_of_itself_comes_first(tmp_path: Path) -> None:
    host = efi_machine(
        tmp_path,
        BootCurrent=b"\0\0",
        Boot0000=load_option("debian", r"\EFI\debian\shimx64.efi"),
        LoaderInfo="systemd-boot 257.9\0".encode("utf-16-le"),
    )
    assert loader(host) == (LoaderKind.SYSTEMD_BOOT, "systemd-boot 257.9")


def test_the_removable_path_is_looked_up_on_the_esp(tmp_path: Path) -> None:
    host = efi_machine(tmp_path, BootCurrent=b"\1\0", Boot0001=load_option("Disk", r"\EFI\BOOT\BOOTX64.EFI"))
    with (tmp_path / "proc/self/mountinfo").open("a") as f:
        f.write("41 1 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n")
    make_tree(tmp_path, {"/boot/efi/EFI/BOOT/BOOTX64.EFI": "", "/boot/efi/EFI/BOOT/grubx64.efi": ""})
    assert loader(host)[0] is LoaderKind.GRUB


@pytest.mark.parametrize(("options", "free"), [("rw\ndata=ordered\n", True), ("rw\ndata=journal\n", False)])
def test_a_journal_of_data_takes_back_what_grub_writes(tmp_path: Path, options: str, free: bool) -> None:
    host = make_tree(
        tmp_path,
        {
            "/boot/grub/": "",
            "/proc/self/mountinfo": "41 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
            "/proc/fs/ext4/sda1/options": options,
            "/sys/devices/sda/sda1/partition": "1",
        },
    )
    host.make_folder("/sys/dev/block")
    host.make_folder("/sys/class/block")
    host.symlink("/sys/dev/block/8:1", "../../devices/sda/sda1")
    host.symlink("/sys/class/block/sda1", "../../devices/sda/sda1")
    host.symlink("/sys/class/block/sda", "../../devices/sda")
    found = probe_boot_loader(host, probe_firmware(host), probe_storage(host), {})
    assert (found.environment, found.environment_obstacle == "") == ("/boot/grub" if free else "", free)
    assert free or "data=journal" in found.environment_obstacle


@given(st.binary(max_size=120))
def test_a_strange_load_option_never_fails(data: bytes) -> None:
    parse_load_option(data)


def test_a_load_option() -> None:
    assert parse_load_option(load_option("débian", r"\a\b.efi")) == ("débian", r"\a\b.efi")


@pytest.mark.parametrize(
    ("value", "answer"), [(b"\1", Answer.YES), (b"\0", Answer.NO), (b"", Answer.UNKNOWN)]
)
def test_secure_boot(tmp_path: Path, value: bytes, answer: Answer) -> None:
    firmware = probe_firmware(efi_machine(tmp_path, SecureBoot=value))
    assert (firmware.kind, firmware.secure_boot, firmware.efi_variables) == (
        FirmwareKind.UEFI,
        answer,
        Answer.YES,
    )


def test_no_variables_means_secure_boot_is_unknown(tmp_path: Path) -> None:
    firmware = probe_firmware(make_tree(tmp_path, {f"{EFIVARS}/": "", "/proc/self/mountinfo": "x"}))
    assert firmware.secure_boot is Answer.UNKNOWN


def bzimage(payload: bytes) -> bytes:
    image = bytearray(512 * 5 + 64)
    image[0x1F1] = 4
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x20F)
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image) + payload


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (gzip.compress(b"x"), "gzip"),
        (lzma.compress(b"x"), "xz"),
        (b"\x28\xb5\x2f\xfd..", "zstd"),
        (b"\x02\x21\x4c\x18..", "lz4"),
        (b"nonsense", ""),
    ],
    ids=["gzip", "xz", "zstd", "lz4", "none"],
)
def test_compression_of_a_kernel(tmp_path: Path, payload: bytes, name: str) -> None:
    assert (
        image_compression(make_tree(tmp_path, {"/boot/vmlinuz": bzimage(payload)}), "/boot/vmlinuz") == name
    )


@given(st.binary(max_size=700))
def test_a_strange_image_never_fails(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        host = make_tree(Path(folder), {"/k": data, "/h": bzimage(data)})
        assert image_compression(host, "/h") is not None
        assert image_compression(host, "/k") is not None
        unpacked_bytes(host, "/k")


def test_kernels(tmp_path: Path) -> None:
    host = make_tree(
        tmp_path,
        {
            "/boot/vmlinuz-6.1.0-9-amd64": bzimage(gzip.compress(b"x")),
            "/boot/vmlinuz-6.1.0-9-amd64.dpkg-tmp": "",
            "/boot/config-6.1.0-9-amd64": "CONFIG_XEN_DOM0=y\nCONFIG_XEN_PV=y\n# CONFIG_XENFS is not set",
            "/boot/initrd.img-6.1.0-9-amd64": gzip.compress(bytes(3 * 2**20 + 1)),
            "/boot/vmlinuz-6.12-cloud-amd64": "",
            "/boot/config-6.12-cloud-amd64": "# CONFIG_XEN_DOM0 is not set\nCONFIG_X=m\n",
            "/boot/vmlinuz-own": "",
            "/proc/sys/kernel/osrelease": "6.1.0-9-amd64\n",
            "/var/lib/dpkg/info/linux-image-6.1.0-9-amd64.list": "/.\n/boot\n/boot/vmlinuz-6.1.0-9-amd64\n",
        },
    )
    generic, cloud, own = probe_kernels(host)
    assert generic.package == "linux-image-6.1.0-9-amd64"
    assert (generic.dom0, generic.running, generic.initrd_unpacked) == (Answer.YES, True, 4)
    assert "CONFIG_XENFS" in generic.missing_options and "CONFIG_XEN_PV" not in generic.missing_options
    assert (cloud.dom0, cloud.flavour, cloud.initrd, cloud.running) == (Answer.NO, "cloud-amd64", "", False)
    assert (own.dom0, own.missing_options, own.package) == (Answer.UNKNOWN, (), "")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Answer.NO),
        ({"modules.dep": "kernel/xen_wdt.ko.zst:\n", "kernel/xen_wdt.ko.zst": ""}, Answer.YES),
        ({"modules.dep": "kernel/xen_wdt.ko: kernel/a.ko\n", "kernel/xen_wdt.ko": ""}, Answer.NO),
        ({"modules.dep": "kernel/a.ko:\n", "modules.builtin": "kernel/b.ko\n"}, Answer.NO),
        ({"modules.builtin": "kernel/drivers/watchdog/xen_wdt.ko\n"}, Answer.YES),
        # Not a file that can be read.
        ({"modules.dep/folder": ""}, Answer.UNKNOWN),
    ],
)
def test_watchdog_of_a_kernel(tmp_path: Path, files: dict[str, str], expected: Answer) -> None:
    there = {f"/lib/modules/6.1-own/{name}": text for name, text in files.items()}
    host = make_tree(tmp_path, {"/boot/vmlinuz-6.1-own": "", **there})
    (kernel,) = probe_kernels(host)
    assert kernel.watchdog is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("CONFIG_WATCHDOG_SYSFS=y\n", Answer.YES),
        ("# CONFIG_WATCHDOG_SYSFS is not set\nCONFIG_X=y\n", Answer.NO),
    ],
)
def test_a_watchdog_that_the_kernel_does_not_show_is_none(
    tmp_path: Path, options: str, expected: Answer
) -> None:
    """Nothing could tell which one is Xen's: initrd and gate would not start it."""
    files = {"modules.builtin": "kernel/drivers/watchdog/xen_wdt.ko\n"}
    there = {f"/lib/modules/6.1-own/{name}": text for name, text in files.items()}
    host = make_tree(tmp_path, {"/boot/vmlinuz-6.1-own": "", "/boot/config-6.1-own": options, **there})
    (kernel,) = probe_kernels(host)
    assert kernel.watchdog is expected


def test_a_kernel_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu's are of mode 0600."""
    host = make_tree(tmp_path, {"/boot/vmlinuz-6.1-own": ""})
    assert not probe_kernels(host)[0].forbidden
    monkeypatch.setattr(Host, "forbidden", lambda host, path: path == "/boot/vmlinuz-6.1-own")
    assert probe_kernels(host)[0].forbidden


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("6.12.107+deb13-amd64", "amd64"),
        ("6.8.0-90-generic", "generic"),
        ("6.1.0-56-cloud-amd64", "cloud-amd64"),
        ("6.1", ""),
    ],
)
def test_flavour(version: str, name: str) -> None:
    assert flavour(version) == name


def cpio(name: bytes, data: bytes) -> bytes:
    fields = [0] * 13
    fields[6], fields[11] = len(data), len(name) + 1
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


EARLY = cpio(b"kernel/x86/microcode/AuthenticAMD.bin", bytes(5001)) + cpio(b"TRAILER!!!", b"") + bytes(512)


def test_unpacked_size_of_an_initrd(tmp_path: Path) -> None:
    inner = b"module " * 100_000
    zstd = b"\x28\xb5\x2f\xfd\xa4" + struct.pack("<I", len(inner)) + bytes(40)
    files: dict[str, str | bytes] = {
        "/gzip": gzip.compress(inner),
        "/early": EARLY + gzip.compress(inner),
        "/xz": lzma.compress(inner, check=lzma.CHECK_CRC32),
        "/zstd": zstd,
        "/stream": b"\x28\xb5\x2f\xfd\x04\x58" + bytes(994),
        "/plain": cpio(b"init", inner) + cpio(b"TRAILER!!!", b""),
        "/empty": b"",
    }
    host = make_tree(tmp_path, files)
    sizes = {name: unpacked_bytes(host, name) for name in files}
    assert sizes == {
        "/gzip": len(inner),
        "/early": len(EARLY) + len(inner),
        "/xz": len(inner),
        "/zstd": len(inner),
        "/stream": 1000 * RATIO,
        "/plain": len(files["/plain"]),
        "/empty": 0,
    }
    assert unpacked_bytes(host, "/missing") is None
