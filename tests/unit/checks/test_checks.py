# SPDX-License-Identifier: GPL-2.0-or-later
"""Each finding from a machine that deserves it, and from no healthy one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factory import (
    BOOT,
    CLOUD_KERNEL,
    ENTRIES,
    ESP,
    GENERIC,
    HEALTHY,
    KERNEL,
    ROOT,
    SUBMENU,
    UPLINK,
    XEN,
    configured,
    make_config,
    make_facts,
)
from xenable.checks import CHECK_FAILED, RULES, run_checks
from xenable.checks.boot_loader import default_entries
from xenable.checks.kernels import dom0_kernels, readable
from xenable.checks.memory import dom0_memory
from xenable.checks.network import ipv4_uplink
from xenable.config import Config, KernelChoice
from xenable.machine import (
    Answer,
    Candidate,
    Facts,
    FirmwareKind,
    LoaderKind,
    MenuEntry,
    OtherHypervisor,
    Route,
    SerialConsole,
)
from xenable.model import Finding, Severity
from xenable.network.effective import Mode

WITH_KERNEL = {"new": (*HEALTHY.packages.new, GENERIC)}
NO_GENERIC = {"kernel": None}
ADDS_KERNEL = {"kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL}
XEN_ENTRY = MenuEntry(
    id="xen-1",
    title="Debian, with Xen",
    path="xen-1",
    titles="Debian, with Xen",
    numbers="2",
    loads_xen=True,
)
VPN = Route(destination="172.16.0.0/12", interface="wg0", gateway="")
VPN6 = Route(destination="fd12:3456:789a::/48", interface="wg0", gateway="")
DROPS = {"forward_policy": "drop", "firewalls": ("docker", "ufw")}
BRIDGE = replace(UPLINK, name="br0", kind="bridge")
WIFI = replace(UPLINK, name="wlp2s0", kind="wireless")

# id, what is different from the healthy machine, what the diagnosis says, what the remedy says.
LEAN = Candidate(name="xen-image-lean", version="6.12.107-1")
WITH_LEAN = {"xen_kernel": LEAN, "new": (XEN, LEAN)}
XEN_KERNEL = replace(
    KERNEL,
    version="6.12.107-1-xen-lean",
    image="/boot/vmlinux-6.12.107-1-xen-lean",
    package="xen-image-6.12.107-1-xen-lean",
    flavour="xen-lean",
    compression="gzip",
    xen_only=True,
    running=False,
)

CASES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("conversion/applied", {"conversion": {"state": "applied"}}, "applied", "xenable status"),
    ("conversion/half-applied", {"conversion": {"state": "half-applied"}}, "half-applied", "xenable apply"),
    (
        "conversion/half-reverted",
        {"conversion": {"state": "half-reverted"}},
        "half-reverted",
        "revert` again",
    ),
    ("conversion/unknown", {"conversion": {"state": "unreadable"}}, "unreadable", "xenable status"),
    (
        "conversion/xen-by-hand",
        {"conversion": {"legacy_xen": ("/usr/local/sbin/xl",)}},
        "/usr/local/sbin/xl",
        "make uninstall",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"id": "linuxmint", "name": "Linux Mint 22", "like": ("ubuntu", "debian")}},
        "This is Linux Mint 22. It says that it is like ubuntu, debian.",
        "Debian 12 or 13",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"version_id": "11", "name": "Debian GNU/Linux 11 (bullseye)"}},
        "Debian GNU/Linux 11 (bullseye)",
        "",
    ),
    (
        "distribution/unsupported",
        {"distribution": {"id": "ubuntu", "version_id": "22.04", "name": "Ubuntu 22.04.5 LTS"}},
        "Ubuntu 22.04.5 LTS",
        "",
    ),
    ("distribution/unsupported", {"distribution": {"id": "", "name": ""}}, "an unknown system", ""),
    (
        "distribution/unreleased",
        {"distribution": {"version_id": "", "name": "Debian GNU/Linux forky/sid"}},
        "forky/sid",
        "Debian 12 or 13",
    ),
    (
        "distribution/unreleased",
        {"distribution": {"version_id": "14", "name": "Debian 14"}},
        "Debian 14",
        "",
    ),
    (
        "distribution/not-boot-tested",
        {"distribution": {"id": "ubuntu", "version_id": "24.04", "name": "Ubuntu 24.04.3 LTS"}},
        "Ubuntu 24.04.3 LTS",
        "falls back",
    ),
    ("machine/architecture", {"cpu": {"architecture": "arm64"}}, "is arm64", "amd64"),
    ("machine/architecture", {"cpu": {"architecture": ""}}, "is unknown", "amd64"),
    ("machine/container", {"virtualization": {"container": "lxc"}}, "(lxc)", "the machine that"),
    ("machine/xen-guest", {"virtualization": {"hypervisor": "xen", "xen_role": "domU"}}, "as a guest", ""),
    ("machine/xen-guest", {"virtualization": {"hypervisor": "xen"}}, "runs under Xen, as a guest", ""),
    (
        "machine/already-dom0",
        {"virtualization": {"hypervisor": "xen", "xen_role": "dom0", "xen_version": "4.17.5"}},
        "Xen 4.17.5 runs",
        "boot without Xen",
    ),
    ("machine/hyper-v", {"virtualization": {"hypervisor": "microsoft"}}, "Microsoft", "KVM or QEMU"),
    ("machine/nested", {"virtualization": {"hypervisor": "kvm"}}, "under kvm", "physical machine"),
    ("machine/nested-untested", {"virtualization": {"hypervisor": "amazon"}}, "under amazon", "KVM"),
    ("machine/no-hvm", {"cpu": {"hvm": Answer.NO}}, "neither VT-x nor SVM", "firmware"),
    ("machine/no-iommu", {"cpu": {"iommu": Answer.NO}}, "no IOMMU", "firmware"),
    (
        "machine/abilities-unknown",
        {"cpu": {"hvm": Answer.UNKNOWN, "iommu": Answer.UNKNOWN}},
        "VT-x or SVM and an IOMMU",
        "xl info",
    ),
    (
        "machine/guests-running",
        {"other_hypervisors": (OtherHypervisor(kind="kvm", guests=("web", "db")),)},
        "Guests of kvm run: web and db.",
        "Move",
    ),
    (
        "machine/other-hypervisor",
        {"other_hypervisors": (OtherHypervisor(kind="virtualbox", guests=()),)},
        "no guest running: virtualbox",
        "xenable revert",
    ),
    ("firmware/secure-boot", {"firmware": {"secure_boot": Answer.YES}}, "is on", "three choices"),
    (
        "firmware/secure-boot-unknown",
        {"firmware": {"secure_boot": Answer.UNKNOWN}},
        "could not be read",
        "mokutil --sb-state",
    ),
    (
        "boot/not-grub",
        {"boot_loader": {"kind": LoaderKind.SYSTEMD_BOOT, "name": "systemd-boot 257"}},
        "systemd-boot 257 boots",
        "grub-efi-amd64",
    ),
    ("boot/not-grub", {"boot_loader": {"kind": LoaderKind.OTHER, "name": "rEFInd"}}, "rEFInd", "GRUB"),
    (
        "boot/loader-unknown",
        {"boot_loader": {"kind": LoaderKind.UNKNOWN}},
        "what the firmware",
        "efibootmgr",
    ),
    (
        "boot/modules-missing",
        {"boot_loader": {"missing_modules": ("multiboot2",)}},
        "x86_64-efi lacks multiboot2",
        "grub-install",
    ),
    (
        "boot/modules-missing",
        {"boot_loader": {"platforms": ("i386-pc",)}},
        "/boot/grub/x86_64-efi is not there; there is i386-pc",
        "grub-install",
    ),
    (
        "boot/no-one-shot",
        {
            "boot_loader": {"environment": "", "environment_obstacle": "it is on LVM"},
            "storage": {"esp": None},
        },
        "can't write to /boot/grub: it is on LVM. There is no EFI system partition",
        "/boot/efi",
    ),
    (
        "boot/no-one-shot",
        {"boot_loader": {"environment": ""}},
        "the reason is unknown. The EFI system partition at /boot/efi can't be used",
        "ext4",
    ),
    (
        "boot/no-one-shot",
        {
            "boot_loader": {"environment": "", "platforms": ("i386-pc",)},
            "firmware": {"kind": FirmwareKind.BIOS},
        },
        "the reason is unknown",
        "without LVM or RAID",
    ),
    ("boot/menu-unreadable", {"menu": {"readable": False, "entries": ()}}, "grub.cfg", "update-grub"),
    (
        "boot/default-names-nothing",
        {"menu": {"grub_default": "Arch"}},
        "GRUB_DEFAULT is 'Arch'",
        "DEFAULT=0",
    ),
    ("boot/default-names-nothing", {"menu": {"grub_default": "7"}}, "3 entries", ""),
    (
        "boot/default-names-nothing",
        {"menu": {"grub_default": "saved", "saved_entry": "gone"}},
        "saved_entry is 'gone'",
        "",
    ),
    (
        "boot/default-is-xen",
        {"menu": {"entries": (*ENTRIES, XEN_ENTRY), "grub_default": "Debian, with Xen"}},
        "'Debian, with Xen'",
        "XEN_OVERRIDE_GRUB_DEFAULT=0",
    ),
    (
        "boot/default-moves",
        {"menu": {"grub_default": "1>0"}, **ADDS_KERNEL},
        "GRUB_DEFAULT is '1>0', and linux-image-amd64 comes for dom0.",
        f"Set GRUB_DEFAULT='{SUBMENU}>gnulinux-6.12-advanced-6e0b' in /etc/default/grub",
    ),
    (
        "boot/default-moves",
        {"menu": {"grub_default": "saved", "saved_entry": f"{SUBMENU}>0"}, **ADDS_KERNEL},
        "saved_entry is",
        f"grub-set-default '{SUBMENU}>gnulinux-6.12-advanced-6e0b'",
    ),
    (
        "boot/default-moves",
        {**ADDS_KERNEL, "kernels": (replace(CLOUD_KERNEL, flavour=""),)},
        "GRUB_DEFAULT is '0'",
        "to the id of an entry",
    ),
    ("boot/menu-stale", {"menu": {"stale": Answer.YES}}, "after grub.cfg was made", "update-grub"),
    (
        "watchdog/in-use",
        {"services": {"watchdog_daemons": ("watchdog.service", "wd_keepalive.service")}},
        "watchdog.service and wd_keepalive.service are enabled or running.",
        "systemctl disable --now watchdog.service wd_keepalive.service",
    ),
    (
        "watchdog/systemd",
        {"services": {"runtime_watchdog": "RuntimeWatchdogSec=30 in /etc/systemd/system.conf"}},
        "RuntimeWatchdogSec=30",
        "Nothing to do",
    ),
    ("boot/one-shot-pending", {"menu": {"next_entry": "1"}}, "next_entry is '1'", "unset next_entry"),
    (
        "kernel/no-dom0-support",
        {"kernels": (CLOUD_KERNEL,), "packages": NO_GENERIC},
        "The kernel 6.12.107+deb13-cloud-amd64 can't be dom0.",
        "apt-get update",
    ),
    (
        "kernel/no-dom0-support",
        {"kernels": (), "packages": NO_GENERIC},
        "no kernel in /boot. The package lists have none",
        "",
    ),
    (
        "kernel/compression",
        {"kernels": (replace(KERNEL, compression="zstd"),), "packages": {"xen_series": "4.14"}},
        "compressed with zstd; Xen 4.14 can't read that",
        "gzip",
    ),
    (
        "kernel/no-initrd",
        {"kernels": (replace(KERNEL, initrd=""),)},
        "no initrd for it",
        "update-initramfs -c",
    ),
    (
        "kernel/compression-unknown",
        {"kernels": (replace(KERNEL, compression=""),)},
        "/boot/vmlinuz-6.12.107+deb13-amd64 is compressed in a way",
        "own kernel",
    ),
    (
        "kernel/other-than-running",
        {"kernels": (CLOUD_KERNEL, replace(KERNEL, running=False))},
        "6.12.107+deb13-cloud-amd64; dom0 can be 6.12.107+deb13-amd64.",
        "",
    ),
    (
        "kernel/generic-added",
        {"kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL},
        "linux-image-amd64 6.12.107-1 comes",
        "xenable revert",
    ),
    (
        "kernel/options-missing",
        {"kernels": (replace(KERNEL, missing_options=("XEN_BLKDEV_BACKEND", "XEN_GNTDEV")),)},
        "lacks XEN_BLKDEV_BACKEND and XEN_GNTDEV",
        "generic kernel",
    ),
    (
        "kernel/dom0-unknown",
        {"kernels": (KERNEL, replace(KERNEL, version="6.1-own", dom0=Answer.UNKNOWN, running=False))},
        "6.1-own",
        "/boot/config-",
    ),
    (
        "memory/too-little",
        {"memory": {"total": 700}},
        "The machine has 700 MiB; 768 MiB are needed: 512 for dom0 + 256 for Xen",
        "Add memory.",
    ),
    (
        "memory/initrd-too-large",
        {"memory": {"total": 1100}, "kernels": (replace(KERNEL, initrd_unpacked=500, initrd_size=120),)},
        "dom0 gets 832 MiB; 876 MiB are needed: /boot/initrd.img-6.12.107+deb13-amd64 is 120 packed",
        "MODULES=dep",
    ),
    (
        "memory/in-use",
        {"memory": {"used": 7300}},
        "7300 MiB are in use now; dom0 will have 6912 MiB.",
        "Stop what is not needed, or add memory.",
    ),
    (
        "memory/dom0",
        {"memory": {"total": 2976}},
        "dom0 gets 1168 MiB of 2976 MiB. Everything that runs here goes on in dom0",
        "set `dom0-memory`",
    ),
    (
        "memory/unknown",
        {"memory": {"total": None, "used": None}},
        "how much there is and how much is",
        "meminfo",
    ),
    ("storage/not-found", {"storage": {"root": None}}, "no known file system for /.", "mountinfo"),
    (
        "storage/read-only",
        {"storage": {"root": replace(ROOT, read_only=True), "boot": replace(ROOT, read_only=True)}},
        "/ (/dev/vda2, ext4) is mounted read-only",
        "mount -o remount,rw /",
    ),
    (
        "storage/encrypted",
        {"storage": {"root": replace(ROOT, stack=("crypt", "part", "disk"))}},
        "/ (/dev/vda2) is on an encrypted device.",
        "be there for the trial",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=31)}},
        "/boot has 31 MiB free; 194 MiB are needed: 2 × the initrd's 48 + 34 for Xen + "
        "64 in reserve for the next initrd.",
        "apt-get autoremove --purge",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=150, kind="vfat")}},
        "242 MiB are needed",
        "",
    ),
    (
        "storage/boot-space",
        {"storage": {"boot": replace(BOOT, free=200)}, "kernels": (CLOUD_KERNEL,), "packages": WITH_KERNEL},
        "434 MiB are needed: 2 × the initrd's 90 + 114 for the new kernel",
        "",
    ),
    (
        "storage/root-space",
        {"storage": {"root": replace(ROOT, free=200), "boot": replace(ROOT, free=200)}},
        "/ has 200 MiB free; 454 MiB are needed: 39 for the download + 157 for the packages",
        "apt-get clean",
    ),
    (
        "storage/esp-space",
        {"storage": {"esp": replace(ESP, free=0)}, "boot_loader": {"environment": "/boot/efi/EFI/xenable"}},
        "/boot/efi has less than 1 MiB free",
        "",
    ),
    (
        "storage/space-unknown",
        {"storage": {"boot": replace(BOOT, free=None)}},
        "free space of /boot",
        "df -h",
    ),
    ("storage/space-unknown", {"packages": {"installed_kib": None}}, "how large the packages are", "df -h"),
    (
        "packages/apt-broken",
        {"packages": {"usable": Answer.NO, "problem": "The list of sources could not be read."}},
        "apt says: The list of sources",
        "apt-get check",
    ),
    ("packages/apt-broken", {"packages": {"usable": Answer.UNKNOWN}}, "can't be read", "apt-get check"),
    (
        "packages/locked",
        {"packages": {"locked_by": "unattended-upgr (712)"}},
        "unattended-upgr (712)",
        "Wait",
    ),
    (
        "packages/half-installed",
        {"packages": {"half_installed": ("mdadm",)}},
        "mdadm",
        "dpkg --configure -a",
    ),
    ("packages/no-xen", {"packages": {"xen": None, "xen_series": ""}}, "No repository", "apt-get update"),
    (
        "packages/removals",
        {"packages": {"removed": ("qemu-system-x86",)}},
        "remove qemu-system-x86",
        "apt-get -s",
    ),
    (
        "packages/upgrades",
        {"packages": {"upgraded": (Candidate(name="libc6", version="2.41-13"),)}},
        "upgrade libc6",
        "apt-get upgrade",
    ),
    (
        "packages/held",
        {"packages": {"held": ("linux-image-amd64", "bash")}},
        "linux-image-amd64 is on hold",
        "apt-mark unhold linux-image-amd64`",
    ),
    ("packages/lists-stale", {"packages": {"lists_age_days": 95}}, "95 days", "apt-get update"),
    ("packages/lists-stale", {"packages": {"lists_age_days": None}}, "not known", "apt-get update"),
    ("packages/xen-series-unknown", {"packages": {"xen_series": ""}}, "xen-system-amd64 4.20.3", "policy"),
    ("packages/xen-installed", {"packages": {"installed_xen": (XEN,)}}, "xen-system-amd64 4.20.3", "purge"),
    (
        "packages/recommends-off",
        {"packages": {"install_recommends": False}},
        "Install-Recommends",
        "Nothing",
    ),
    (
        "modules/nvidia",
        {"modules": {"graphics": ("nvidia",), "tainting": ("nvidia", "nvidia_drm")}},
        "Loaded: nvidia and nvidia_drm.",
        "nouveau",
    ),
    ("modules/dkms", {"modules": {"dkms": ("zfs/2.3.2",)}}, "zfs/2.3.2", "dkms status"),
    ("modules/out-of-tree", {"modules": {"tainting": ("zfs", "spl")}}, "zfs and spl", "disks"),
    ("network/unknown", {"network": {"known": False}}, "could not be read", "ip route"),
    (
        "network/range-in-use",
        {
            "network": {
                "routes": (
                    *HEALTHY.network.routes,
                    VPN,
                )
            }
        },
        "172.20.216.0/24 overlaps with route 172.16.0.0/12 through wg0.",
        "guest-network = 10.216.216.0/24",
    ),
    (
        "network/range-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="br0", addresses=("172.20.216.9/32",)))}},
        "address 172.20.216.9/32 of br0",
        "guest-network = 172.20.217.0/24",
    ),
    (
        "network/range-in-use",
        {"network": {"routes": (*HEALTHY.network.routes, VPN6), "ula_prefix": "fd12:3456:789a:d8::/64"}},
        "fd12:3456:789a:d8::/64 overlaps with route fd12:3456:789a::/48 through wg0.",
        "Set `guest-network6` in /etc/xenable/xenable.conf to another prefix, or to none.",
    ),
    (
        "network/interface-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="xenable0", kind="dummy", addresses=()))}},
        "There is an interface xenable0 (kind: dummy). dom0 would",
        "`guest-interface`",
    ),
    (
        "network/interface-in-use",
        {"network": {"interfaces": (UPLINK, replace(UPLINK, name="xenable0", addresses=("10.1.1.1/24",)))}},
        "It has the address 10.1.1.1/24.",
        "`guest-interface`",
    ),
    (
        "network/no-default-route",
        {"network": {"routes": HEALTHY.network.routes[1:]}},
        "Of 1 known routes",
        "",
    ),
    (
        "network/wireless-uplink",
        {
            "network": {
                "interfaces": (WIFI,),
                "routes": (Route(destination="default", interface="wlp2s0", gateway="10.0.2.2"),),
            }
        },
        "through wlp2s0",
        "cable",
    ),
    (
        "network/firewall",
        {"network": DROPS},
        "is drop; active are docker and ufw. Guests that are not kept apart",
        "port 53",
    ),
    (
        "network/firewall",
        {"network": {"firewalls": ("nftables",)}},
        "Active: nftables. The policy for forwarded packets is accept. dom0 reaches its guests all the same",
        "guests",
    ),
    ("network/forwards", {"network": {"ip_forward": Answer.YES}}, "ip_forward is 1. So guests", "firewall"),
    (
        "network/manager-unknown",
        {"network": {"interfaces": (replace(UPLINK, manager=""),)}},
        "enp0s3",
        "vif",
    ),
    ("services/no-ssh", {"services": {"ssh_listen": ()}}, "No sshd listens", "openssh-server"),
    ("services/no-ssh", {"services": {"ssh_listen": ("127.0.0.1:22", "[::1]:22")}}, "127.0.0.1:22", ""),
    (
        "services/unknown",
        {"services": {"known": False, "ssh_listen": ()}},
        "could not be asked",
        "systemctl",
    ),
    (
        "services/failed",
        {"services": {"failed": ("smartd.service",)}},
        "smartd.service is",
        "systemctl status",
    ),
    ("services/os-prober", {"services": {"os_prober": Answer.YES}}, "switched on", "GRUB_DISABLE_OS_PROBER"),
    ("services/os-prober", {"services": {"os_prober": Answer.UNKNOWN}}, "could not be found out", ""),
    (
        "console/serial-port",
        {"console": {"serial": (SerialConsole(port=4, speed=115200, mode="8n1"),)}},
        "ttyS4 is",
        "ttyS0",
    ),
)


NAT = {"guest_mode": Mode.NAT}
BRIDGED = {"guest_mode": Mode.BRIDGE, "guest_bridge": "br0"}
MADE = {**BRIDGED, "guest_bridge_port": "enp0s3"}
INTERFACES = "/etc/network/interfaces"
PLAIN = configured("ifupdown", (INTERFACES, "auto enp0s3\niface enp0s3 inet dhcp\n"))

# The same with settings that are not the defaults: they come after what is different of the machine.
CASES_OF_SETTINGS: tuple[tuple[str, dict[str, Any], dict[str, Any], str, str], ...] = (
    (
        "kernel/no-xen-kernel",
        {"kernels": (KERNEL,)},
        {"kernel": KernelChoice.XEN},
        "none in /boot, and apt knows none",
        "xenable kernel build",
    ),
    (
        "kernel/no-xen-kernel",
        {"kernels": (replace(XEN_KERNEL, initrd=""),), "packages": {"xen_kernel": LEAN}},
        {"kernel": KernelChoice.XEN},
        "would not install xen-image-lean 6.12.107-1, and there is no usable one",
        "--kernel xen",
    ),
    (
        "kernel/xen-kernel-added",
        {"kernels": (CLOUD_KERNEL,), "packages": WITH_LEAN},
        {"kernel": KernelChoice.XEN},
        "xen-image-lean 6.12.107-1 comes from the local repository",
        "xenable revert",
    ),
    (
        "network/range-in-use",
        {"network": {"routes": (*HEALTHY.network.routes, VPN6)}},
        {"guest_network6": IPv6Network("fd12:3456:789a:7::/64")},
        "fd12:3456:789a:7::/64 overlaps with route fd12:3456:789a::/48 through wg0.",
        "or to none",
    ),
    (
        "network/interface-in-use",
        {},
        {"guest_interface": "enp0s3"},
        "There is an interface enp0s3 (kind: physical). It has the address 10.0.2.15/24 and fe80::",
        "",
    ),
    (
        "network/no-uplink",
        {"network": {"routes": (Route(destination="::/0", interface="enp0s3", gateway="fe80::2"),)}},
        NAT,
        "no default route for IPv4",
        "guest-mode = routed",
    ),
    (
        "network/no-bridge",
        {},
        {"guest_mode": Mode.BRIDGE},
        "`guest-bridge` is not set.",
        "Or make a bridge first",
    ),
    ("network/no-bridge", {}, BRIDGED, "There is no interface br0.", "Set `guest-bridge-port` to the"),
    (
        "network/no-bridge",
        {},
        {"guest_mode": Mode.BRIDGE, "guest_bridge_port": "enp0s3"},
        "`guest-bridge` is not set.",
        "",
    ),
    (
        "network/bridge-port",
        {},
        {**MADE, "guest_bridge_port": "eth7"},
        "Cannot make the bridge br0 of eth7: there is no interface eth7. The bridge takes over",
        "name another interface",
    ),
    (
        "network/bridge-port",
        {"network": configured("ifupdown", (INTERFACES, "auto enp0s3\niface enp0s3 inet ppp\n"))},
        MADE,
        "a line that can't be carried over to a bridge: `iface enp0s3 inet ppp`.",
        "Change what is in the way",
    ),
    (
        "network/bridge-port",
        {"network": configured("ifupdown", (INTERFACES, ""))},
        MADE,
        f"{INTERFACES} can't be read, or not by everybody",
        "Run the command as root",
    ),
    (
        "network/bridge-port",
        {"network": {"interfaces": (UPLINK, replace(BRIDGE, kind="bond"))}},
        MADE,
        "there is an interface br0 already (kind: bond).",
        "",
    ),
    (
        "network/bridge-port",
        {"network": PLAIN},
        {**MADE, "guest_bridge": "xenable0"},
        "dom0's interface for guests is called xenable0.",
        "Choose another name for `guest-bridge`.",
    ),
    (
        "network/bridged",
        {"network": PLAIN},
        MADE,
        "on br0, which is made of enp0s3 under Xen. Each has a MAC address of its own",
        "On a rented machine",
    ),
    (
        "network/bridge-port-not-used",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        MADE,
        "There is a bridge br0 already.",
        "can be taken out",
    ),
    (
        "network/bridge-port-not-used",
        {},
        {"guest_bridge_port": "enp0s3"},
        "`guest-bridge-port` is enp0s3, and `guest-mode` is routed.",
        "",
    ),
    (
        "network/no-bridge",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        {"guest_mode": Mode.BRIDGE, "guest_bridge": "enp0s3"},
        "enp0s3 is no bridge (kind: physical).",
        "Set `guest-bridge` to one that is there, as br0, or",
    ),
    (
        "network/bridged",
        {"network": {"interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "on br0. Each has a MAC address of its own",
        "On a rented machine",
    ),
    (
        "network/bridge-not-used",
        {},
        {"guest_bridge": "br0"},
        "`guest-bridge` is br0, and `guest-mode` is routed.",
        "",
    ),
    (
        "network/forward-drop",
        {"network": DROPS},
        NAT,
        "is drop; active are docker and ufw. With `guest-mode = nat`",
        "`ufw route allow from 172.20.216.0/24`",
    ),
    (
        "network/forward-drop",
        {"network": {"forward_policy": "drop", "firewalls": ("docker",)}},
        NAT,
        "active is docker",
        "`iptables -I DOCKER-USER -s 172.20.216.0/24 -j ACCEPT`",
    ),
    ("network/forward-drop", {"network": {"forward_policy": "drop"}}, NAT, "is drop. With", "Allow the"),
    (
        "network/forward-drop",
        {"network": {**DROPS, "interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "With Docker it holds for what passes a bridge",
        "-i br0 -o br0",
    ),
    (
        "network/firewall",
        {"network": {"forward_policy": "drop", "firewalls": ("ufw",), "interfaces": (UPLINK, BRIDGE)}},
        BRIDGED,
        "active is ufw",
        "",
    ),
)


@pytest.mark.parametrize(("id", "changes", "diagnosis", "remedy"), CASES, ids=[case[0] for case in CASES])
def test_finding(id: str, changes: dict[str, Any], diagnosis: str, remedy: str) -> None:
    judge(id, changes, {}, diagnosis, remedy)


@pytest.mark.parametrize(
    ("id", "changes", "config", "diagnosis", "remedy"),
    CASES_OF_SETTINGS,
    ids=[case[0] for case in CASES_OF_SETTINGS],
)
def test_finding_with_settings(
    id: str, changes: dict[str, Any], config: dict[str, Any], diagnosis: str, remedy: str
) -> None:
    judge(id, changes, config, diagnosis, remedy)


def judge(id: str, changes: dict[str, Any], config: dict[str, Any], diagnosis: str, remedy: str) -> None:
    found = {f.id: f for f in run_checks(make_facts(**changes), make_config(**config))}
    assert id in found
    rule = next(r for r in RULES if r.id == id)
    assert (found[id].severity, found[id].title) == (rule.severity, rule.title)
    assert diagnosis in found[id].diagnosis
    assert remedy in found[id].remedy
    stopping = {i for i, f in found.items() if f.severity in (Severity.BLOCKER, Severity.OVERRIDABLE)}
    # One thing that is wrong is one thing that stops: else people look for a second fault that is not there.
    assert stopping <= {id}


def test_every_rule_has_a_case() -> None:
    cases = {case[0] for case in CASES} | {case[0] for case in CASES_OF_SETTINGS}
    assert cases | {CHECK_FAILED.id} == {rule.id for rule in RULES}


def others(facts: Facts, config: Config) -> tuple[Finding, ...]:
    """The findings but for the one that every machine has: how much memory dom0 gets."""
    return tuple(f for f in run_checks(facts, config) if f.id != "memory/dom0")


def test_a_healthy_machine_has_no_finding_but_dom0_s_memory() -> None:
    assert [f.id for f in run_checks(HEALTHY, make_config())] == ["memory/dom0"]


def test_libraries_of_xen_are_no_xen() -> None:
    libraries = (Candidate(name="libxenstore4", version="4.20"),)
    assert others(make_facts(packages={"installed_xen": libraries}), make_config()) == ()


def test_a_bios_machine_has_no_finding() -> None:
    facts = make_facts(
        firmware={"kind": FirmwareKind.BIOS, "secure_boot": Answer.UNKNOWN},
        boot_loader={"platforms": ("i386-pc",)},
        storage={"boot": BOOT, "esp": None},
    )
    assert others(facts, make_config()) == ()


def test_texts_are_whole_sentences() -> None:
    for rule in RULES:
        assert not rule.title.endswith("."), rule.id
        for text in (rule.why, rule.remedy):
            assert (
                text.endswith(".")
                and "  " not in text
                and (text[0].isupper() or text.startswith(("`", "dom0", "apt ")))
            ), rule.id
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [(changes, {}) for _, changes, *_ in CASES]
    cases += [(changes, config) for _, changes, config, *_ in CASES_OF_SETTINGS]
    for changes, config in cases:
        for f in run_checks(make_facts(**changes), make_config(**config)):
            assert f.diagnosis.endswith(".") and f.remedy.endswith("."), f
            assert ".." not in f.diagnosis and "  " not in f.diagnosis, f


def ids_of(facts: Facts, **config: Any) -> set[str]:
    return {f.id for f in run_checks(facts, make_config(**config))}


def test_forwarding_that_is_wanted_or_goes_nowhere_is_not_told() -> None:
    assert "network/forwards" not in ids_of(make_facts(network={"ip_forward": Answer.YES}), **NAT)
    network = {"ip_forward": Answer.YES, "forward_policy": "drop"}
    assert "network/forwards" not in ids_of(make_facts(network=network))


def test_routes_that_leave_guests_alone() -> None:
    """All of IPv6, all that is routed of it, and a neighbour of the prefix."""
    wide = [Route(destination=d, interface="wg0", gateway="") for d in ("::/1", "8000::/1", "2000::/3")]
    next_door = Route(destination="fd12:3456:789a:d9::/64", interface="wg0", gateway="")
    routes = (*HEALTHY.network.routes, *wide, next_door)
    facts = make_facts(network={"routes": routes, "ula_prefix": "fd12:3456:789a:d8::/64"})
    assert "network/range-in-use" not in ids_of(facts)
    assert "network/range-in-use" not in ids_of(facts, guest_network6=IPv6Network("2001:db8:0:1::/64"))


def test_without_ipv6_no_prefix_of_it_is_in_use() -> None:
    facts = make_facts(
        network={"routes": (*HEALTHY.network.routes, VPN6), "ula_prefix": "fd12:3456:789a:d8::/64"}
    )
    assert "network/range-in-use" in ids_of(facts)
    assert "network/range-in-use" not in ids_of(facts, guest_network6=None)


def test_both_networks_can_be_in_use() -> None:
    routes = (*HEALTHY.network.routes, VPN, VPN6)
    facts = make_facts(network={"routes": routes, "ula_prefix": "fd12:3456:789a:d8::/64"})
    found = [f for f in run_checks(facts, make_config()) if f.id == "network/range-in-use"]
    assert [f.diagnosis.partition(" ")[0] for f in found] == ["172.20.216.0/24", "fd12:3456:789a:d8::/64"]


def test_once_converted_the_network_is_in_use_by_our_own_guests() -> None:
    ours = replace(UPLINK, name="xenable0", kind="dummy", addresses=("172.20.216.1/24",))
    network = {"interfaces": (UPLINK, ours)}
    assert {"network/range-in-use", "network/interface-in-use"} <= ids_of(make_facts(network=network))
    converted = make_facts(network=network, conversion={"state": "applied"})
    assert not {"network/range-in-use", "network/interface-in-use"} & ids_of(converted)


def test_once_converted_the_bridge_is_ours_whether_it_is_there_or_not() -> None:
    for interfaces in ((UPLINK,), (replace(UPLINK, addresses=()), BRIDGE)):
        facts = make_facts(network={"interfaces": interfaces}, conversion={"state": "applied"})
        assert {id for id in ids_of(facts, **MADE) if "bridge" in id} == {"network/bridged"}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((Route(destination="default", interface="a", gateway="10.0.0.1"),), "a"),
        ((Route(destination="::/0", interface="a", gateway="fe80::1"),), ""),
        # A route without a gateway: over a line with two ends.
        ((Route(destination="default", interface="enp0s3", gateway=""),), "enp0s3"),
        ((Route(destination="::/0", interface="six", gateway=""),), ""),
        ((Route(destination="10.0.0.0/8", interface="a", gateway="10.0.0.1"),), ""),
        (
            (
                Route(destination="::/0", interface="six", gateway="fe80::1"),
                Route(destination="default", interface="b", gateway="10.0.0.1"),
                Route(destination="default", interface="c", gateway="10.0.0.1"),
            ),
            "b",
        ),
        ((), ""),
    ],
)
def test_ipv4_uplink(routes: tuple[Route, ...], expected: str) -> None:
    six = replace(UPLINK, name="six", addresses=("fe80::1/64",))
    assert ipv4_uplink(make_facts(network={"routes": routes, "interfaces": (UPLINK, six)})) == expected


# -------------------------------------------------------------------------------------- helpers of the plan


@pytest.mark.parametrize(
    ("total", "setting", "expected"),
    [(2960, None, 1168), (7900, None, 1408), (262144, None, 8192), (None, None, None), (7900, 2000, 2000)],
)
def test_dom0_memory(total: int | None, setting: int | None, expected: int | None) -> None:
    assert dom0_memory(make_facts(memory={"total": total}), make_config(dom0_memory=setting)) == expected


@pytest.mark.parametrize(
    ("used", "expected"),
    [(None, 1408), (1000, 1408), (2049, 2880), (2200, 2880), (2304, 2880), (2305, 3200), (7300, 6912)],
)
def test_a_few_mib_more_in_use_do_not_change_dom0(used: int | None, expected: int) -> None:
    facts = make_facts(memory={"total": 7900, "used": used})
    assert dom0_memory(facts, make_config()) == expected


def test_how_much_dom0_gets_is_said() -> None:
    def said(config: Config, **memory: Any) -> list[str]:
        findings = run_checks(make_facts(memory=memory), config)
        return [f.diagnosis.partition(". ")[0] for f in findings if f.id == "memory/dom0"]

    assert said(make_config(), total=2976, used=262) == ["dom0 gets 1168 MiB of 2976 MiB"]
    assert said(make_config(dom0_memory=2000), total=2976) == ["dom0 gets 2000 MiB of 2976 MiB"]
    assert said(make_config(dom0_memory=2000), total=None) == ["dom0 gets 2000 MiB"]
    assert said(make_config(), total=None) == []
    assert said(make_config(), total=700) == []


def test_memory_as_set() -> None:
    facts = make_facts(memory={"total": 4000, "used": 2500, "zfs_arc": 500})
    (finding,) = others(facts, make_config(dom0_memory=1024))
    assert finding.diagnosis.startswith(
        "2000 MiB are in use now (without ZFS's cache of 500 MiB); dom0 will have 1024 MiB."
    )
    assert "dom0-memory = 2512`" in finding.remedy
    # dom0 gets nothing of a memory that is too small for what was asked: no word about it.
    (finding,) = run_checks(facts, make_config(dom0_memory=3900))
    assert finding.id == "memory/too-little"
    assert "4156 MiB are needed: 3900 for dom0" in finding.diagnosis
    assert finding.remedy == "Add memory, or set `dom0-memory = auto`."


@pytest.mark.parametrize(
    ("compression", "series", "expected"),
    [
        ("zstd", "4.14", Answer.NO),
        ("zstd", "4.15", Answer.YES),
        ("zstd", "4.9", Answer.NO),
        ("lz4", "4.11", Answer.NO),
        ("gzip", "4.11", Answer.YES),
        ("zstd", "", Answer.UNKNOWN),
        ("xz", "", Answer.YES),
        ("", "4.20", Answer.UNKNOWN),
    ],
)
def test_readable(compression: str, series: str, expected: Answer) -> None:
    assert readable(replace(KERNEL, compression=compression), series) is expected


def test_dom0_kernels_leave_out_what_can_not_boot() -> None:
    bare = replace(KERNEL, version="bare", initrd="")
    assert dom0_kernels(make_facts(kernels=(CLOUD_KERNEL, bare, KERNEL))) == (KERNEL,)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("0", "0"),
        ("gnulinux-simple-6e0b", "0"),
        ("Debian GNU/Linux", "0"),
        ("1>1", "1>1"),
        ("1", "1>0 1>1"),
        (SUBMENU, "1>0 1>1"),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12", "1>0"),
        (f"{SUBMENU}>gnulinux-6.12-recovery-6e0b", "1>1"),
        (f"{SUBMENU}>0", "1>0"),
        (f"{SUBMENU}>2", ""),
        ("2>0", ""),
        ("0>0", ""),
        ("0 and more", "0"),
        ("", ""),
    ],
)
def test_default_entries(wanted: str, numbers: str) -> None:
    assert " ".join(e.numbers for e in default_entries(HEALTHY.menu, wanted)) == numbers


@pytest.mark.parametrize(
    ("wanted", "moves"),
    [
        ("0", False),
        ("gnulinux-simple-6e0b", False),
        ("Debian GNU/Linux", False),
        ("0 and more", True),
        ("1", True),
        ("1>1", True),
        (SUBMENU, True),
        (f"{SUBMENU}>0", True),
        (f"{SUBMENU}>gnulinux-6.12-advanced-6e0b", False),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12", False),
    ],
)
def test_defaults_that_a_new_kernel_moves(wanted: str, moves: bool) -> None:
    def ids(**changes: Any) -> set[str]:
        facts = make_facts(menu={"grub_default": wanted}, **changes)
        return {f.id for f in run_checks(facts, make_config())}

    assert ("boot/default-moves" in ids(**ADDS_KERNEL)) == moves
    assert "boot/default-moves" not in ids()


def test_an_entry_before_those_of_linux_is_not_taken_for_one() -> None:
    """`0` would be moved to the newest kernel, and it means something else here."""
    own = replace(ENTRIES[0], id="own", path="own", title="Own", titles="Own")
    facts = make_facts(menu={"entries": (own, *ENTRIES[1:])}, **ADDS_KERNEL)
    (found,) = (f for f in run_checks(facts, make_config()) if f.id == "boot/default-moves")
    assert "GRUB_DEFAULT='own'" in found.remedy


def test_default_entry_with_a_greater_sign() -> None:
    entry = replace(ENTRIES[0], titles="a >> b")
    assert default_entries(replace(HEALTHY.menu, entries=(entry,)), "a >> b") == (entry,)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.from_type(Facts))
def test_any_facts_are_judged(facts: Facts) -> None:
    findings = run_checks(facts, make_config())
    assert CHECK_FAILED.id not in {f.id for f in findings}
    assert {(f.id, f.severity) for f in findings} <= {(r.id, r.severity) for r in RULES}


def test_facts_that_no_check_understands_are_a_blocker() -> None:
    def broken(facts: Facts, config: Config) -> list[Any]:
        raise KeyError("nothing")

    (finding,) = run_checks(HEALTHY, make_config(), (broken,))
    assert (finding.id, finding.severity) == (CHECK_FAILED.id, Severity.BLOCKER)
    assert "broken ended with KeyError: 'nothing'" in finding.diagnosis
