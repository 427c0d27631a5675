# SPDX-License-Identifier: GPL-2.0-or-later
"""How QEMU is started."""

from dataclasses import replace
from pathlib import Path

from lab import qemu
from lab.qemu import DirectBoot, Spec

SPEC = Spec(folder=Path("/runs/one"), disk=Path("/runs/one/disk.qcow2"), ssh_port=4022)


def value(argv: list[str], option: str) -> str:
    """What follows an option that is there once."""
    assert argv.count(option) == 1
    return argv[argv.index(option) + 1]


def test_the_cpu_is_one_that_xen_survives_on() -> None:
    argv = qemu.argv(SPEC)
    assert value(argv, "-cpu") == qemu.CPU
    model, *abilities = qemu.CPU.split(",")
    # The model has none of these, and nobody gives them back.
    assert model == "qemu64"
    assert not {"+smap", "+rdtscp", "+xsave", "+avx"} & set(abilities) and "+svm" in abilities
    assert value(argv, "-accel") == "tcg,thread=multi"
    assert value(argv, "-machine") == "q35"
    assert value(argv, "-m") == "3072M"
    assert value(argv, "-smp") == "2"


def test_a_bios_machine_has_one_drive_and_no_flash() -> None:
    argv = qemu.argv(SPEC)
    assert value(argv, "-drive") == "if=virtio,format=qcow2,cache=unsafe,file=/runs/one/disk.qcow2"


def test_a_uefi_machine_writes_only_to_its_own_variables() -> None:
    argv = qemu.argv(replace(SPEC, firmware_vars=Path("/runs/one/firmware.vars")))
    flash = [argument for argument in argv if "if=pflash" in argument]
    assert "readonly=on" in flash[0]
    assert flash[1] == "if=pflash,unit=1,format=raw,file=/runs/one/firmware.vars"


def test_ssh_is_offered_to_this_host_only() -> None:
    assert value(qemu.argv(SPEC), "-netdev") == "user,id=net0,hostfwd=tcp:127.0.0.1:4022-:22"


def test_the_serial_log_grows_over_boots() -> None:
    chardev = value(qemu.argv(SPEC), "-chardev")
    assert chardev == "file,id=serial0,append=on,path=/runs/one/serial.log"


def test_a_machine_comes_back_by_itself_unless_told_otherwise() -> None:
    assert "-no-reboot" not in qemu.argv(SPEC)
    assert "-no-reboot" in qemu.argv(replace(SPEC, reboot=False))


def test_direct_boot_hands_over_kernel_initrd_and_command_line() -> None:
    argv = qemu.argv(replace(SPEC, direct=DirectBoot(Path("/k"), Path("/i"), "root=/dev/vda1 ro")))
    assert value(argv, "-kernel") == "/k"
    assert value(argv, "-initrd") == "/i"
    assert value(argv, "-append") == "root=/dev/vda1 ro"


def test_a_comma_in_a_path_is_doubled() -> None:
    drive = value(qemu.argv(replace(SPEC, disk=Path("/a,b/disk.raw"))), "-drive")
    assert drive == "if=virtio,format=raw,cache=unsafe,file=/a,,b/disk.raw"


def test_the_monitors_path_stays_short_however_deep_the_folder_is() -> None:
    argv = qemu.argv(replace(SPEC, folder=Path("/") / ("x" * 200)))
    assert value(argv, "-qmp") == "unix:qmp,server=on,wait=off"


def test_a_file_is_a_disk_whose_name_is_known() -> None:
    options = qemu.file_drive(Path("/kept/a,b.tar"), "debs", "0x1e")
    assert options[::2] == ("-drive", "-device")
    assert options[1] == "if=none,id=debs,format=raw,readonly=on,file=/kept/a,,b.tar"
    assert options[3] == "virtio-blk-pci,drive=debs,serial=debs,addr=0x1e"
