# SPDX-License-Identifier: GPL-2.0-or-later
"""A tiny PC whose disk holds a real GRUB, our generated menu and stubs instead of systems.

One FAT partition is /boot. A native entry says its name on the serial port and resets; the hypervisor is a
Multiboot2 program of 225 bytes that prints the command lines it was given and resets. A start of the machine
is a start of QEMU that ends with the reset.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xenable.boot.environment import Environment, format_block, parse_block
from xenable.boot.menu import MenuInputs, render
from xenable.boot.pairs import Dom0Kernel, Hypervisor, Pair
from xenable.boot.slots import SUMS, boot_cfg, sums

TOOLS = ("qemu-system-x86_64", "grub-mkimage", "mformat", "mcopy", "mmd", "mdel")
MODULES = Path("/usr/lib/grub/i386-pc")
HEADER = Path("/etc/grub.d/00_header")
START = 2048
"""First sector of the partition."""
SECTORS = 4 << 11
UUID = "1234-ABCD"

STUB = bytes.fromhex(
    "d65052e80000000040000000eaaead1702000000180000000000200000002000e100200000000000030000000c000000"
    "40002000000000000000000008000000fabc00003000bebb002000e84f0000008d7b088b0785c0743f8d6f08becb0020"
    "0083f801741a8d6f10bed600200083f803740d8b470483c00783e0f801c7ebd3e81a00000089eee813000000bede0020"
    "00e809000000ebdbb0fee664f4ebfd8a064684c0741488c466bafd03eca82074fb88e066baf803eeebe5c30d0a58454e"
    "2d535441525445440d0a0058454e2d574f5244533a004d4f44554c453a000d0a00"
)
"""32-bit code loaded at 2 MiB: prints XEN-STARTED, then XEN-WORDS: and MODULE: lines from the Multiboot2
information (tags 1 and 3), then resets through the keyboard controller."""

_END = "multiboot2 /grub/stub x; boot"
"""Resets faster than GRUB's own reboot, which goes through the whole BIOS."""

NATIVE = f"""
menuentry 'Debian GNU/Linux' --id gnulinux-simple {{ echo 'NATIVE simple'; {_END}; }}
submenu 'Erweiterte Optionen für Debian' --id gnulinux-advanced {{
	menuentry 'Debian GNU/Linux, mit Linux 6.12' --id gnulinux-6.12 {{ echo 'NATIVE 6.12'; {_END}; }}
	menuentry 'Debian GNU/Linux, mit Linux 6.1' --id gnulinux-6.1 {{ echo 'NATIVE 6.1'; {_END}; }}
}}
menuentry 'Das andere "System"' --id other {{ echo 'NATIVE other'; {_END}; }}
"""

PAIR = Pair(
    xen=Hypervisor(path="/boot/xen-4.20-amd64.gz", version="4.20-amd64"),
    kernel=Dom0Kernel(
        path="/boot/vmlinuz-6.12.1-amd64",
        version="6.12.1-amd64",
        compression="xz",
        initrd="/boot/initrd.img-6.12.1-amd64",
    ),
)

LINUX_WORDS = ("quiet", "müll=a b;c$d{e}|&<>#~`!*?[x]", "日本語=テスト", "--", "init-word")


def inputs(**changes: Any) -> MenuInputs:
    fields: dict[str, Any] = {
        "distributor": "Debian",
        "prepare": f"insmod part_msdos\ninsmod fat\nsearch --no-floppy --fs-uuid --set=root {UUID}\n",
        "boot_path": "",
        "environment_uuid": "",
        "environment_path": "/grub/xenable.env",
        "pairs": (PAIR,),
        "xen_words": ("dom0_mem=512M,max:512M", "watchdog"),
        "linux_words": LINUX_WORDS,
        "recovery_linux_words": ("single",),
        "root": "UUID=0",
        "root_without_initrd": "/dev/sda1",
        "recovery": True,
        "submenu": True,
    }
    return MenuInputs(**{**fields, **changes})


def build_disk(folder: Path) -> Path:
    """An image with GRUB in front of an empty FAT partition."""
    early = folder / "early.cfg"
    early.write_text("set root=(hd0,msdos1)\nset prefix=(hd0,msdos1)/grub\n")
    core = folder / "core.img"
    modules = (
        "biosdisk part_msdos fat normal configfile search search_fs_uuid loadenv echo test true sleep "
        "reboot serial terminal multiboot2 boot datehook gzio hashsum gcry_sha256"
    )
    _run("grub-mkimage", "-O", "i386-pc", "-o", core, "-c", early, "-p", "/grub", *modules.split())
    image = folder / "disk.img"
    boot = bytearray((MODULES / "boot.img").read_bytes())
    # The rest of the sector is code for floppies, where a disk has its partition table.
    boot[440:510] = bytes(70)
    boot[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x0C, b"\xff\xff\xff", START, SECTORS)
    boot[510:512] = b"\x55\xaa"
    code = core.read_bytes()
    assert len(code) < (START - 1) * 512
    with image.open("wb") as f:
        f.truncate((START + SECTORS) * 512)
        f.write(bytes(boot) + code)
    _run("mformat", "-i", f"{image}@@{START * 512}", "-T", str(SECTORS), "-N", UUID.replace("-", ""), "::")
    _run("mmd", "-i", f"{image}@@{START * 512}", "::/grub", "::/xenable", "::/xenable/a", "::/xenable/b")
    stub = folder / "stub"
    stub.write_bytes(STUB)
    _run("mcopy", "-i", f"{image}@@{START * 512}", stub, "::/grub/stub")
    return image


def grub_header(**variables: str) -> str:
    """What grub-mkconfig's own 00_header writes with these settings."""
    settings = {"GRUB_TIMEOUT": "0", "GRUB_TERMINAL_INPUT": "serial", "GRUB_TERMINAL_OUTPUT": "serial"}
    env = {**os.environ, "pkgdatadir": "/usr/share/grub", **settings, **variables}
    return subprocess.run(["sh", HEADER], env=env, check=True, capture_output=True, text=True).stdout


@dataclass
class Machine:
    """One disk in use."""

    image: Path
    scratch: Path

    def put(self, path: str, data: bytes) -> None:
        source = self.scratch / "put"
        source.write_bytes(data)
        _run("mcopy", "-o", "-i", self._partition, source, f"::{path}")

    def get(self, path: str) -> bytes:
        target = self.scratch / "get"
        _run("mcopy", "-n", "-o", "-i", self._partition, f"::{path}", target)
        return target.read_bytes()

    def mkdir(self, path: str) -> None:
        _run("mmd", "-i", self._partition, f"::{path}")

    def remove(self, path: str) -> None:
        _run("mdel", "-i", self._partition, f"::{path}")

    def menu(self, header: str, native: str = NATIVE, **changes: object) -> None:
        text = header + native + render(inputs(**changes))
        config = self.scratch / "grub.cfg"
        config.write_text(text)
        _run("grub-script-check", config)
        self.put("/grub/grub.cfg", text.encode())

    def slot(self, slot: str, xen: bytes = STUB) -> None:
        cfg = boot_cfg((f"slot={slot}",), ("root=UUID=0", "ro", *LINUX_WORDS))
        files = {"xen": xen, "vmlinuz": b"kernel", "initrd": b"initrd"}
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        others = {"boot.cfg": cfg.encode(), SUMS: sums(digests).encode()}
        for name, data in (files | others).items():
            self.put(f"/xenable/{slot}/{name}", data)

    def pair(self) -> None:
        for path in (PAIR.xen.path, PAIR.kernel.path, PAIR.kernel.initrd):
            self.put(path.removeprefix("/boot"), STUB)

    def environment(
        self, *, values: Mapping[str, str] | None = None, firmware: bool = False, **fields: str
    ) -> None:
        names = {"try_slot": "try"}
        more = {"xenable_firmware": "yes"} if firmware else {}
        env = Environment(**fields, **(values or {}))
        written = {f"xenable_{names.get(name, name)}": value for name, value in vars(env).items()}
        self.put("/grub/xenable.env", format_block(written | more))

    def variables(self) -> dict[str, str]:
        return {k.removeprefix("xenable_"): v for k, v in parse_block(self.get("/grub/xenable.env")).items()}

    def start(self, *options: str, read_only: bool = False) -> str:
        """One start, up to the reset: what came over the serial port."""
        drive = (
            f"file={self.image},format=raw,if=virtio,cache=unsafe,readonly={'on' if read_only else 'off'}"
        )
        machine = (
            "-machine",
            "pc",
            "-accel",
            "tcg,tb-size=16",
            "-m",
            "32",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        )
        done = subprocess.run(
            ["qemu-system-x86_64", *machine, "-serial", "stdio", "-drive", drive, *options],
            check=True,
            capture_output=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.decode("utf-8", "replace")

    def boot(self, *options: str, read_only: bool = False) -> str:
        """One start: `native NAME`, `xen WORDS`, or `reset` when nothing was started."""
        out = self.start(*options, read_only=read_only)
        if match := re.search(r"NATIVE (\S+)", out):
            return f"native {match[1]}"
        if match := re.search(r"XEN-WORDS:placeholder ([^\r\n]*)", out):
            return f"xen {match[1]}"
        return "reset"

    @property
    def _partition(self) -> str:
        return f"{self.image}@@{START * 512}"


def new_machine(base: Path, folder: Path) -> Machine:
    image = folder / "disk.img"
    shutil.copyfile(base, image)
    return Machine(image=image, scratch=folder)


def missing_tools() -> list[str]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return missing + [str(path) for path in (MODULES, HEADER) if not path.exists()]


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
