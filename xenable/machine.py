# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a machine: Facts, and all that it is made of.

Everything here is frozen data. UNKNOWN is a value: Answer.UNKNOWN for a yes/no question, None for a number
or a text. Sizes are whole MiB unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, value: bool | None) -> Answer:
        if value is None:
            return cls.UNKNOWN
        return cls.YES if value else cls.NO


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """From os-release(5)."""

    id: str
    version_id: str
    codename: str
    name: str
    like: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cpu:
    architecture: str
    """As dpkg says it: amd64."""
    vendor: str
    count: int | None
    hvm: Answer
    """VT-x or SVM: PVH and HVM guests are possible."""
    iommu: Answer


@dataclass(frozen=True, kw_only=True)
class Virtualization:
    container: str
    """Kind of container as systemd names it (lxc, docker, …); empty outside of one."""
    hypervisor: str
    """Kind of hypervisor under this system (kvm, microsoft, xen, …); empty on bare metal."""
    xen_role: str
    """dom0, domU, or empty when not running under Xen."""
    xen_version: str
    """Version of the running Xen; empty when not running under it."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    total: int | None
    used: int | None
    """Total less what the kernel calls available."""
    zfs_arc: int | None


class FirmwareKind(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, kw_only=True)
class Firmware:
    kind: FirmwareKind
    secure_boot: Answer
    efi_variables: Answer
    """Whether EFI variables can be written."""


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """A mounted file system that the conversion depends on."""

    mount_point: str
    source: str
    uuid: str
    kind: str
    """File system type: ext4, vfat, …"""
    stack: tuple[str, ...]
    """Kinds of block device under it, from the top: lvm, raid, crypt, part, disk, …"""
    free: int | None
    total: int | None
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Storage:
    root: FileSystem | None
    boot: FileSystem | None
    """The file system that holds /boot; the same as root where /boot is no mount point."""
    esp: FileSystem | None
    others: tuple[FileSystem, ...] = ()
    """Those that packages, apt and Xenable write to, where these are not root: of /usr, of /var, …"""


class LoaderKind(StrEnum):
    GRUB = "grub"
    SYSTEMD_BOOT = "systemd-boot"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class BootLoader:
    kind: LoaderKind
    """The one that really boots this machine."""
    name: str
    """What it calls itself, for people."""
    version: str
    platforms: tuple[str, ...]
    """GRUB platforms installed under /boot/grub: i386-pc, x86_64-efi."""
    missing_modules: tuple[str, ...]
    """GRUB modules that booting Xen needs and that the platform in use does not have."""
    environment: str
    """Folder where GRUB can both read and clear our environment block (/boot/grub, /boot/efi/EFI/xenable),
    or only read it, with own_loader; empty where there is none: a one-shot is then impossible."""
    environment_obstacle: str
    """Why /boot/grub itself is no such folder; empty where it is."""
    own_loader: str
    """Where GRUB can only read that folder: the one on the ESP for a GRUB of Xenable's, which the firmware's
    one-shot starts (boot/efi.py)."""
    own_loader_obstacle: str
    """Why there is no such folder where one would help; empty under BIOS."""


@dataclass(frozen=True, kw_only=True)
class MenuEntry:
    id: str
    title: str
    """As GRUB shows it."""
    path: str
    """Ids from the top, joined with `>`: what GRUB_DEFAULT may name. A `>` within one is doubled."""
    loads_xen: bool
    titles: str = ""
    """The same path in titles, which GRUB_DEFAULT may name as well."""
    numbers: str = ""
    """The same path in numbers from 0: `1>0`."""
    kernel: str = ""
    """Version of the Linux that it loads; empty where it loads none, or only GRUB could tell which."""


@dataclass(frozen=True, kw_only=True)
class GrubSetting:
    """A variable of /etc/default/grub and grub.d."""

    name: str
    value: str | None
    """None where only a shell could tell."""


@dataclass(frozen=True, kw_only=True)
class Menu:
    """The generated /boot/grub/grub.cfg, as GRUB would show it."""

    readable: bool
    entries: tuple[MenuEntry, ...]
    grub_default: str
    """GRUB_DEFAULT as set in /etc/default/grub and grub.d."""
    saved_entry: str
    next_entry: str
    stale: Answer = Answer.UNKNOWN
    """Whether a setting or a generator was changed after grub.cfg was made."""
    command_lines: tuple[GrubSetting, ...] = ()
    """The settings, those that are made, of which the words for Xen and for dom0's kernel are taken."""
    behind: tuple[int, ...] = ()
    """Numbers of the top-level entries behind the place for Xen's."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A Linux image under /boot."""

    version: str
    image: str
    package: str
    compression: str
    """gzip, xz, zstd, lz4, lzo, lzma, bzip2, none, or empty when unknown."""
    dom0: Answer
    """Whether its configuration has CONFIG_XEN_DOM0."""
    missing_options: tuple[str, ...]
    """Options that a useful dom0 needs and this kernel has not."""
    initrd: str
    """Path of its initrd; empty when there is none."""
    initrd_unpacked: int | None
    running: bool
    initrd_size: int | None = None
    """Size of the initrd as it lies on disk."""
    flavour: str = ""
    """The end of the version: amd64, cloud-amd64, generic, azure."""
    xen_only: bool = False
    """Whether it is for Xen alone: no boot loader offers it natively."""
    watchdog: Answer = Answer.UNKNOWN
    """Whether the driver of Xen's watchdog is here for it, as a module or built in, and shows in /sys."""
    forbidden: bool = False
    """Whether rights are lacking to read it: its compression is unknown for that."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A package that apt could install."""

    name: str
    version: str

    @property
    def headers(self) -> str:
        """Of a kernel's package, the one with what modules are built with: linux-headers-6.12.107-amd64."""
        return self.name.replace("-image-", "-headers-")


@dataclass(frozen=True, kw_only=True)
class Packages:
    usable: Answer
    """Whether apt's lists and status could be read."""
    problem: str
    """What is broken, in apt's words; empty when nothing is."""
    locked_by: str
    """The program that holds dpkg's or apt's lock; empty when nobody does."""
    half_installed: tuple[str, ...]
    held: tuple[str, ...]
    lists_age_days: int | None
    install_recommends: bool
    xen: Candidate | None
    """The system package that brings hypervisor and tools; None when the archive has none."""
    xen_series: str
    """Series of the hypervisor that would come: 4.20; empty when unknown."""
    kernel: Candidate | None
    """The distribution's generic kernel."""
    recommended: tuple[Candidate, ...]
    """Recommended packages that Xen needs to be useful and that the archive has."""
    installed_xen: tuple[Candidate, ...]
    """Xen packages that are here already."""
    new: tuple[Candidate, ...]
    """Every package that installing the above would bring; of the kernels only one that is asked for."""
    removed: tuple[str, ...]
    """Packages that installing the above would remove."""
    download_bytes: int | None
    installed_kib: int | None
    upgraded: tuple[Candidate, ...] = ()
    """Packages that installing the above would upgrade, with their new versions."""
    xen_kernel: Candidate | None = None
    """The kernel for Xen alone that the local repository has: lean, or generic where there is only that."""


@dataclass(frozen=True, kw_only=True)
class Modules:
    dkms: tuple[str, ...]
    """Names of DKMS modules with their versions."""
    tainting: tuple[str, ...]
    """Loaded modules that are out of tree or proprietary."""
    graphics: tuple[str, ...]
    """Loaded graphics drivers."""


@dataclass(frozen=True, kw_only=True)
class OtherHypervisor:
    """Something here that uses the processor's virtualisation and will not under Xen."""

    kind: str
    """kvm, virtualbox, lxd, vmware."""
    guests: tuple[str, ...]
    """Names or process ids of guests that run now; empty when it is only installed and idle."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    name: str
    mac: str
    kind: str
    """physical, bridge, bond, vlan, dummy, veth, wireless, loopback, other."""
    up: bool
    addresses: tuple[str, ...]
    """With prefix length."""
    manager: str
    """networkmanager, networkd, netplan, ifupdown, or empty when unknown."""
    carrier: Answer = Answer.UNKNOWN
    inward: bool = False
    """Whether it is a bridge on which nothing leads out of the machine: guests' or containers'."""


@dataclass(frozen=True, kw_only=True)
class InterfaceConfig:
    """A file by which an Ethernet card is configured; with ifupdown there may be several of one card."""

    interface: str
    file: str
    text: str
    """Without secrets. ifupdown: the whole file; empty when not everybody may read it. networkd and netplan:
    the file that systemd-networkd uses, and its drop-ins. networkmanager: [connection], [ethernet], [ipv4]
    and [ipv6], and the names of other sections. Empty when it can't be read."""
    iaid: int | None = None
    """The number by which systemd-networkd makes itself known to a DHCP server; None when unknown."""


DEFAULT, DEFAULT6 = "default", "::/0"
"""Destinations of default routes: one without a gateway has nothing else that tells its family."""


@dataclass(frozen=True, kw_only=True)
class Route:
    destination: str
    """DEFAULT, DEFAULT6, or a prefix."""
    interface: str
    gateway: str

    @property
    def is_default(self) -> bool:
        return self.destination in (DEFAULT, DEFAULT6)


@dataclass(frozen=True, kw_only=True)
class Network:
    known: bool
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    firewalls: tuple[str, ...]
    """ufw, firewalld, docker, nftables, iptables: those that are active."""
    forward_policy: str
    """accept, drop, or empty when unknown."""
    ip_forward: Answer
    ip6_forward: Answer = Answer.UNKNOWN
    """On all interfaces."""
    ula_prefix: str = ""
    """The IPv6 /64 that is this machine's own, from its machine-id; empty when unknown."""
    configs: tuple[InterfaceConfig, ...] = ()
    """How the Ethernet cards are configured."""
    watchers: tuple[str, ...] = ()
    """networkmanager, networkd: those that run, for they may take any interface that appears."""


@dataclass(frozen=True, kw_only=True)
class SerialConsole:
    """A serial console that Linux was told to use: console=ttyS0,115200n8."""

    port: int
    """0 for ttyS0, which Xen calls com1."""
    speed: int
    mode: str
    """8n1"""


@dataclass(frozen=True, kw_only=True)
class Console:
    command_line: str
    """Of the running kernel."""
    serial: tuple[SerialConsole, ...]
    """From the running command line, then those only in the configured one."""
    configured: str = ""
    """GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT."""


@dataclass(frozen=True, kw_only=True)
class Services:
    known: bool
    failed: tuple[str, ...]
    """Units that have failed."""
    ssh_listen: tuple[str, ...]
    """address:port on which sshd (or its socket) listens."""
    os_prober: Answer
    """Whether os-prober adds entries to the menu."""
    watchdog_daemons: tuple[str, ...] = ()
    """Units that run or are enabled and that open a watchdog."""
    runtime_watchdog: str = ""
    """The setting that makes PID 1 feed a watchdog, and where it is; empty when none does."""
    system: str = ""
    """What `systemctl is-system-running` says: running, starting, …; empty when it is not known."""
    jobs: tuple[str, ...] = ()
    """Units whose jobs keep systemd from having finished; empty where it has."""
    ssh_hidden: tuple[str, ...] = ()
    """address:port of sshd's where something listens of which rights are lacking to see the program."""

    @property
    def is_starting(self) -> bool:
        return self.system in ("initializing", "starting")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What Xenable itself did here before."""

    state: str
    """none, half-applied, applied, half-reverted; unreadable when the journal is damaged."""
    legacy_xen: tuple[str, ...]
    """Signs of a Xen installed by hand: /usr/local/sbin/xl, /etc/grub.d/08_linux_xen, …"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything known about a machine. A probe fills it in and judges nothing."""

    distribution: Distribution
    cpu: Cpu
    virtualization: Virtualization
    memory: Memory
    firmware: Firmware
    storage: Storage
    boot_loader: BootLoader
    menu: Menu
    kernels: tuple[Kernel, ...]
    packages: Packages
    modules: Modules
    other_hypervisors: tuple[OtherHypervisor, ...]
    network: Network
    console: Console
    services: Services
    conversion: Conversion
    running_kernel: str = ""
    """Its version, whether or not it is in /boot: 6.12.107+deb13-amd64. Its end is its flavour."""
