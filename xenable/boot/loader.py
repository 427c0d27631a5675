# SPDX-License-Identifier: GPL-2.0-or-later
"""A GRUB of Xenable's own, which the firmware's one-shot starts: it boots the slot that is armed, or else
the native boot loader.

It is one file with all of its modules inside, so an upgrade of GRUB can't come between them; the native boot
loader, its menu and its files are as they were. It writes nothing, and asks nobody.
"""

from __future__ import annotations

import io
import tarfile

from xenable.boot import efi
from xenable.boot.environment import FILE
from xenable.boot.script import quote
from xenable.errors import XenableError
from xenable.host import STATE, Host

WORK = STATE / "loader"
PLATFORM = "x86_64-efi"
TOOL, FILES = "/usr/bin/grub-mkimage", f"/usr/lib/grub/{PLATFORM}"
MODULES = (
    *("part_gpt", "part_msdos", "diskfilter", "mdraid09", "mdraid1x", "lvm", "raid5rec", "raid6rec"),
    *("fat", "ext2", "xfs", "btrfs", "zfs", "search", "search_fs_uuid", "loadenv"),
    *("memdisk", "tar", "normal", "configfile", "test", "echo", "sleep", "reboot", "boot"),
    *("multiboot2", "gzio", "xzio", "hashsum", "gcry_sha256", "chain", "regexp"),
)
"""All that reading a slot and starting it takes."""

READABLE = ("ext2", "ext3", "ext4", "vfat", "xfs", "btrfs", "zfs")
"""File systems of /boot for which there is a module among these."""


def script(uuid: str, boot: str, native: str) -> str:
    """What it does: the rule is that of the menu (boot/menu.py), and where that is the native system, or
    loading fails, the native boot loader.

    uuid: of the file system with /boot; boot: the path of /boot on that; native: of the native loader on the
    EFI system partition, as /EFI/debian/shimx64.efi. From where GRUB was started it says in $cmdpath, or, as
    Debian patches 2.12, in $fw_path.
    """
    return f"""\
set xenable_try=
set xenable_trying=
set xenable_default=
set xenable_firmware=
set xenable_choice=
set xenable_efi="no-real-mode edd=off"

function xenable_started {{
	return 0
}}

search --no-floppy --fs-uuid --set=xenable_boot {quote(uuid)}
load_env --file "($xenable_boot)"{quote(f"{boot}/grub/{FILE}")} \
xenable_try xenable_trying xenable_default xenable_firmware
if [ "$xenable_try" != "" ]; then
	set xenable_choice="$xenable_try"
elif [ "$xenable_trying" != "$xenable_default" ]; then
	set xenable_choice="$xenable_default"
fi
if [ "$xenable_firmware" != "" ]; then
	if [ "$xenable_choice" = a -o "$xenable_choice" = b ]; then
		set xenable_slot="($xenable_boot)"{quote(f"{boot}/xenable")}/"$xenable_choice"
		source "$xenable_slot/boot.cfg"
	fi
fi
echo 'Xenable: Xen is not to be started, or could not be loaded.'
sleep 1
regexp --set=1:root '^[(]([^)]*)[)]' "$cmdpath$fw_path"
if chainloader {quote(native)}; then boot; fi
reboot
"""


def files() -> tuple[str, ...]:
    """What has to be there to make it, beside the tool."""
    return tuple(f"{FILES}/{name}.mod" for name in MODULES)


def build(host: Host) -> bytes:
    """Make it for this machine. Errors: XenableError when GRUB's tools can't."""
    uuid = host.run(["grub-probe", "--target=fs_uuid", "/boot"]).stdout.strip()
    boot = host.run(["grub-mkrelpath", "/boot"]).stdout.strip().rstrip("/")
    if not uuid:
        raise XenableError("cannot make a boot loader for the trial: the file system of /boot has no UUID")
    return make_image(host, script(uuid, boot, efi.native_loader(host)))


def make_image(host: Host, config: str) -> bytes:
    """A GRUB with that configuration, and all that it takes. Errors: XenableError when GRUB's tool can't."""
    disk, image = WORK / "memdisk.tar", WORK / "grubx64.efi"
    host.make_folder(WORK)
    try:
        host.write(disk, _memory_disk(config.encode()))
        host.run(
            [
                *(TOOL, "--format", PLATFORM, "--output", host.path(image)),
                *("--prefix", "(memdisk)/boot/grub", "--memdisk", host.path(disk), *MODULES),
            ]
        )
        return host.read(image)
    finally:
        remove_work(host)


def _memory_disk(config: bytes) -> bytes:
    """The archive that GRUB finds its configuration in; of the same one always the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo("boot/grub/grub.cfg")
        member.size = len(config)
        tar.addfile(member, io.BytesIO(config))
    return archive.getvalue()


def remove_work(host: Host) -> None:
    """Remove what making it has left, as where it was killed."""
    for name in host.names(WORK):
        host.remove(WORK / name)
    host.remove(WORK)
