# SPDX-License-Identifier: GPL-2.0-or-later
"""For each kind of step: a machine to do it on, an example of it, and an edit of somebody else's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.unit.boot.firmware import add_firmware
from xenable.boot.efi import make_entry
from xenable.boot.environment import Environment, write_environment
from xenable.boot.loader import WORK
from xenable.host import Host
from xenable.steps import KINDS
from xenable.steps.base import Step
from xenable.steps.environment import BootEnvironment
from xenable.steps.fetch import FetchPackages
from xenable.steps.files import WriteFile
from xenable.steps.leftovers import Leftovers
from xenable.steps.loader import OwnLoader
from xenable.steps.menu import Menu, RefreshMenu
from xenable.steps.options import SetOptions
from xenable.steps.packages import InstallPackages
from xenable.steps.slot import Arm, FillSlot
from xenable.steps.statoverride import StatOverride
from xenable.steps.units import EnableUnit

from .sandbox import boot_menu, build, command, configure_apt, publish

ENTRY = """menuentry 'Debian, with Xen' $menuentry_id_option 'xenable-a' {
	true
}
"""
SLOT_ENTRIES = """menuentry 'Slot A' $menuentry_id_option 'xenable-a' { true }
menuentry 'Slot B' $menuentry_id_option 'xenable-b' { true }
"""
PAIR = f"""{SLOT_ENTRIES}menuentry 'Debian' $menuentry_id_option 'xenable-4.20-amd64-6.12.9-test' {{
	multiboot2 "($xenable_boot)"/boot/xen-4.20-amd64.gz placeholder ucode=scan $xenable_efi
	module2 "($xenable_boot)"/boot/vmlinuz-6.12.9-test placeholder root=UUID=1 ro
	module2 --nounzip "($xenable_boot)"/boot/initrd.img-6.12.9-test
}}
"""
XENDOMAINS = (
    "# saved at shutdown\nXENDOMAINS_SAVE=/var/lib/xen/save # here\n#XENDOMAINS_RESTORE=true\n\nX=\xfc"
).encode("latin-1")
"""With no newline at its end, and a byte that is no UTF-8."""
NO_SAVING = (("XENDOMAINS_SAVE", '""'), ("XENDOMAINS_RESTORE", "false"))
ESP = "/boot/efi"
GENERATOR = Path("/etc/grub.d/90_xenable")
CONFIGURATION = Path("/etc/default/grub.d/50-site.cfg")


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str
    step: Step
    prepare: Callable[[], None]
    """Furnishes the sandbox."""
    foreign: Callable[[], None] | None
    """Somebody edits what the step made; None where there is nothing of anybody's to destroy."""
    settles: str = ""
    """A file that this undo makes anew, and that the undo of an earlier step of every plan puts back."""
    begin: tuple[Callable[[], None], ...] = ()
    """States in which a kill in the middle of `do` leaves the machine, each made from the state before."""


def _site_file() -> None:
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text("GRUB_TIMEOUT=3\n")
    CONFIGURATION.chmod(0o640)
    os.chown(CONFIGURATION, 1, 2)
    os.setxattr(CONFIGURATION, "trusted.site", b"kept\0bytes")
    os.utime(CONFIGURATION, ns=(10**18, 10**18 + 123_456_789))


def _site_link() -> None:
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.symlink_to("../elsewhere")


def furnish_firmware() -> None:
    """An EFI system partition. What /boot is on here has no UUID, so that is made up."""
    add_firmware(Host())
    Path(f"{ESP}/EFI").mkdir(parents=True)
    probe = Path("/usr/sbin/grub-probe")
    probe.unlink()
    probe.write_text("#!/bin/sh\necho 1234-ABCD\n")
    probe.chmod(0o755)


def _half_written() -> None:
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    (CONFIGURATION.parent / f".{CONFIGURATION.name}.xenable-new").write_bytes(b"hal")


def _options_file() -> None:
    _site_file()
    CONFIGURATION.write_bytes(XENDOMAINS)
    os.utime(CONFIGURATION, ns=(10**18, 10**18 + 123_456_789))


def _options_link() -> None:
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    (CONFIGURATION.parent / "elsewhere").write_bytes(XENDOMAINS)
    CONFIGURATION.symlink_to("elsewhere")


def _append(path: Path) -> Callable[[], None]:
    def edit() -> None:
        path.write_bytes(path.read_bytes() + b"# by hand\n")

    return edit


def _half_new_folders() -> None:
    Path("/srv/site/deep").mkdir(parents=True)
    Path("/srv/site/deep/.settings.xenable-new").write_bytes(b"")


def furnish_units() -> None:
    Path("/etc/systemd/system/probe.service").write_text(
        "[Service]\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target rescue.target\nAlias=other.service\n"
    )
    folder = Path("/etc/systemd/system/multi-user.target.wants")
    folder.mkdir(exist_ok=True)


MOUNT = "etc-network-interfaces.d-50\\x2dcloud\\x2dinit.mount"


def _mount_unit() -> None:
    Path(f"/etc/systemd/system/{MOUNT}").write_text(
        "[Mount]\nWhat=/etc/xenable/bridge/50-cloud-init\nWhere=/etc/network/interfaces.d/50-cloud-init\n"
        "Options=bind\n[Install]\nWantedBy=sysinit.target\n"
    )


def _half_enabled() -> None:
    Path("/etc/systemd/system/multi-user.target.wants/probe.service").symlink_to(
        "/etc/systemd/system/probe.service"
    )


def furnish_statoverride() -> None:
    Path("/etc/site-script").write_text("#!/bin/sh\n")
    Path("/etc/site-script").chmod(0o755)


def _statoverride_there() -> None:
    furnish_statoverride()
    command("dpkg-statoverride --update --add root root 0700 /etc/site-script")


def furnish_packages() -> None:
    """tool needs a library and recommends a helper; the helper and the library have configuration."""
    build("tool", files={"/srv/tool/run": "1\n"}, Depends="libtool-x", Recommends="helper, chatter")
    build(
        "libtool-x",
        files={"/srv/libtool/lib": "1\n", "/etc/libtool-x.conf": "a=1\n"},
        conffiles=("/etc/libtool-x.conf",),
        scripts={
            "postinst": "echo made >/etc/libtool-x.state",
            "postrm": 'if [ "$1" = purge ]; then rm -f /etc/libtool-x.state; fi',
        },
    )
    build("helper", files={"/srv/helper/run": "1\n"})
    build("chatter", files={"/srv/chatter/run": "1\n"})
    build("site", files={"/srv/site/run": "1\n"}, Depends="site-lib")
    build("site-lib", files={"/srv/site-lib/lib": "1\n"})
    build("later", files={"/srv/later/run": "1\n"}, Depends="libtool-x")
    publish()
    # apt's own default. What the step leaves out then is left out by the step, not by the machine.
    configure_apt('APT::Install-Recommends "true";\n')
    command("apt-get -qq -y install site >/dev/null 2>&1")


def _unpacked_only() -> None:
    command("dpkg --unpack /archive/libtool-x_1.0_all.deb /archive/tool_1.0_all.deb >/dev/null 2>&1")


def _some_installed() -> None:
    command("dpkg --install /archive/libtool-x_1.0_all.deb >/dev/null 2>&1")


def _later() -> None:
    command("apt-get -qq -y install later >/dev/null 2>&1")


def _menu_changes() -> None:
    """Xenable's generator came and went, and a package ran update-grub in between."""
    boot_menu()
    os.utime("/boot/grub/grub.cfg", ns=(10**18, 10**18))


def _refresh() -> None:
    boot_menu()
    GENERATOR.write_text(f"#!/bin/sh\ncat <<'E'\n{ENTRY}E\n")
    GENERATOR.chmod(0o755)


def _xen_ran() -> None:
    """One of the folders was there before; its contents are not looked at."""
    Path("/srv/site/save").mkdir(parents=True)
    Path("/srv/site/save/guest").write_text("memory")


def _xen_runs() -> None:
    Path("/srv/xen/deep/er").mkdir(parents=True)
    Path("/srv/xen/deep/er/file").write_text("1")
    Path("/srv/xen/deep/link").symlink_to("/srv/site")


def _saved_guest() -> None:
    Path("/srv/xen/save").mkdir(parents=True)
    Path("/srv/xen/save/guest").write_text("memory")


def _nothing() -> None:
    pass


def _wanted_by_another() -> None:
    Path("/etc/systemd/system/graphical.target.wants").mkdir(exist_ok=True)
    Path("/etc/systemd/system/graphical.target.wants/probe.service").symlink_to(
        "/etc/systemd/system/probe.service"
    )


def _half_environment() -> None:
    Path("/boot/grub/sub").mkdir(parents=True)
    Path("/boot/grub/sub/.xenable.env.xenable-new").write_bytes(b"x" * 300)


def _half_loader() -> None:
    Path(f"{ESP}/EFI/xenable").mkdir()
    Path(f"{ESP}/EFI/xenable/.grubx64.efi.xenable-new").write_bytes(b"MZ")
    Host().make_folder(WORK)
    Host().write(WORK / "memdisk.tar", b"#")


def _slot_machine() -> None:
    furnish_slot(Path("/"))
    write_environment(Host(), "/boot/grub", Environment())


def furnish_slot(root: Path) -> None:
    """What a machine needs to fill a slot: a pair in /boot, and its entry in the menu."""
    version = "6.12.9-test"
    (root / "etc/apt/apt.conf.d").mkdir(parents=True, exist_ok=True)
    modules = root / f"lib/modules/{version}"
    modules.mkdir(parents=True)
    (modules / "xen_wdt.ko").write_bytes(b"\x7fELF module")
    (modules / "modules.dep").write_text("xen_wdt.ko:\n")
    (modules / "modules.order").write_text("xen_wdt.ko\n")
    for name in ("xen-4.20-amd64.gz", f"vmlinuz-{version}", f"initrd.img-{version}"):
        (root / "boot").mkdir(exist_ok=True)
        (root / "boot" / name).write_bytes(name.encode() * 100)
    (root / "boot/grub").mkdir()
    (root / "boot/grub/grub.cfg").write_text(PAIR)


def _half_slot() -> None:
    Path("/boot/xenable/.new-a").mkdir(parents=True)
    Path("/boot/xenable/.new-a/xen").write_bytes(b"half")


def _packages_elsewhere() -> None:
    """apt has to bring them here, as from a mirror."""
    furnish_packages()
    publish("copy:/archive")
    Path("/var/cache/apt/archives/site_1.0_all.deb").write_bytes(b"was there")


def _one_archive() -> None:
    command("cp /archive/tool_1.0_all.deb /var/cache/apt/archives/")


PACKAGES = InstallPackages(names=("tool",), recommended=("helper",))

EXAMPLES: tuple[Example, ...] = (
    Example(
        name="write-file over a file",
        step=WriteFile(path=str(CONFIGURATION), content="GRUB_TIMEOUT=5\nüber=1", mode=0o600),
        prepare=_site_file,
        foreign=_append(CONFIGURATION),
        begin=(_half_written,),
    ),
    Example(
        name="write-file over a link",
        step=WriteFile(path=str(CONFIGURATION), content="GRUB_TIMEOUT=5\n"),
        prepare=_site_link,
        foreign=_append(CONFIGURATION),
        begin=(_half_written,),
    ),
    Example(
        name="write-file in new folders",
        step=WriteFile(path="/srv/site/deep/settings", content="#!/bin/sh\n", mode=0o755),
        prepare=_nothing,
        foreign=lambda: Path("/srv/site/deep/settings").chmod(0o700),
        begin=(_half_new_folders,),
    ),
    Example(
        name="set-options in a file",
        step=SetOptions(path=str(CONFIGURATION), options=NO_SAVING, why="nothing is saved"),
        prepare=_options_file,
        foreign=_append(CONFIGURATION),
        begin=(_half_written,),
    ),
    Example(
        name="set-options through a link",
        step=SetOptions(path=str(CONFIGURATION), options=NO_SAVING, why="nothing is saved"),
        prepare=_options_link,
        foreign=_append(CONFIGURATION),
        begin=(_half_written,),
    ),
    Example(
        name="set-options in new folders",
        step=SetOptions(path="/srv/site/deep/settings", options=NO_SAVING, why="nothing is saved"),
        prepare=_nothing,
        foreign=lambda: Path("/srv/site/deep/settings").chmod(0o600),
        begin=(_half_new_folders,),
    ),
    Example(
        name="stat-override",
        step=StatOverride(path="/etc/site-script", mode=0o644),
        prepare=furnish_statoverride,
        foreign=lambda: Path("/etc/site-script").chmod(0o711),
        begin=(lambda: Path("/etc/site-script").chmod(0o644),),
    ),
    Example(
        name="stat-override over another",
        step=StatOverride(path="/etc/site-script", mode=0o644),
        prepare=_statoverride_there,
        foreign=lambda: command_quietly(
            "dpkg-statoverride --force-statoverride-add --add root mail 0600 /etc/site-script"
        ),
    ),
    Example(
        name="stat-override of nothing",
        step=StatOverride(path="/etc/not-there", mode=0o644),
        prepare=furnish_statoverride,
        foreign=lambda: command_quietly(
            "dpkg-statoverride --force-statoverride-add --add root mail 0600 /etc/not-there"
        ),
    ),
    Example(
        name="boot-environment",
        step=BootEnvironment(folder="/boot/grub/sub"),
        prepare=_nothing,
        foreign=None,
        begin=(
            lambda: Path("/boot/grub/sub").mkdir(parents=True),
            _half_environment,
        ),
    ),
    Example(
        name="boot-environment that GRUB can only read",
        step=BootEnvironment(folder="/boot/grub/sub", by_firmware=True),
        prepare=lambda: add_firmware(Host()),
        foreign=None,
        begin=(_half_environment,),
    ),
    Example(
        name="own-loader",
        step=OwnLoader(folder=f"{ESP}/EFI/xenable"),
        prepare=furnish_firmware,
        foreign=None,
        begin=(
            _half_loader,
            lambda: make_entry(Host()),
        ),
    ),
    Example(
        name="leftovers",
        step=Leftovers(folders=("/srv/xen", "/srv/site"), own=("/srv/xen/deep/*",)),
        prepare=_xen_ran,
        foreign=_saved_guest,
        begin=(_xen_runs,),
    ),
    Example(name="menu", step=Menu(), prepare=_menu_changes, foreign=None),
    Example(
        name="refresh-menu",
        step=RefreshMenu(entry_ids=("xenable-a",)),
        prepare=_refresh,
        foreign=None,
        settles="boot/grub/grub.cfg",
    ),
    Example(
        name="enable-unit",
        step=EnableUnit(unit="probe.service"),
        prepare=furnish_units,
        foreign=_wanted_by_another,
        begin=(_half_enabled,),
    ),
    Example(
        name="enable-unit of a name with escapes",
        step=EnableUnit(unit=MOUNT),
        prepare=_mount_unit,
        foreign=None,
    ),
    Example(
        name="fill-slot",
        step=FillSlot(deadline=300, hold=False),
        prepare=_slot_machine,
        foreign=None,
        begin=(_half_slot,),
    ),
    Example(name="arm", step=Arm(), prepare=_slot_machine, foreign=None, settles="boot/grub/xenable.env"),
    Example(
        name="fetch-packages",
        step=FetchPackages(names=("tool",), recommended=("helper",)),
        prepare=_packages_elsewhere,
        foreign=None,
        begin=(_one_archive,),
    ),
    Example(
        name="install-packages",
        step=PACKAGES,
        prepare=furnish_packages,
        foreign=_later,
        begin=(_unpacked_only, _some_installed),
    ),
)

MISSING = {kind.kind for kind in KINDS} - {example.step.kind for example in EXAMPLES}


def command_quietly(line: str) -> None:
    command(line)
