#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run by mmdebstrap as a customize hook, with the new root as $1: what debian-installer would have asked.
# Reads LAB_PUBLIC_KEY, LAB_ROOT_UUID, LAB_ROOT_TYPE, LAB_ESP_UUID (empty on a BIOS machine) and LAB_INTERFACES from the
# environment.
set -eu
root=$1

echo xenable-lab >"$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\txenable-lab\n' >"$root/etc/hosts"
printf 'LANG=C.UTF-8\n' >"$root/etc/default/locale"

case $LAB_ROOT_TYPE in
ext4) printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$LAB_ROOT_UUID" >"$root/etc/fstab" ;;
*) printf 'UUID=%s / %s defaults 0 0\n' "$LAB_ROOT_UUID" "$LAB_ROOT_TYPE" >"$root/etc/fstab" ;;
esac
if [ -n "$LAB_ESP_UUID" ]; then
    mkdir -p "$root/boot/efi"
    printf 'UUID=%s /boot/efi vfat umask=0077 0 1\n' "$LAB_ESP_UUID" >>"$root/etc/fstab"
fi

# The seed boot keeps only the stanza of the interface that is really there.
{
    printf 'source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n'
    for name in $LAB_INTERFACES; do
        printf '\nallow-hotplug %s\niface %s inet dhcp\n' "$name" "$name"
    done
} >"$root/etc/network/interfaces"

# A remote server: the kernel speaks on the serial port, and the boot menu does not keep anyone waiting.
sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' \
    -e 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0,115200"/' "$root/etc/default/grub"
grep -q '^GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0,115200"$' "$root/etc/default/grub"

# What an emulated processor is slow at, and what does not matter here: code that is at another address in each process
# is translated for each anew, and defences against real processors cost more than all else. More than one processor makes
# a PV dom0 slower: each change of its page tables stops all of them. With these settings a dom0 boots in half the time.
sed -i 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="norandmaps mitigations=off"/' "$root/etc/default/grub"
grep -q '^GRUB_CMDLINE_LINUX="norandmaps' "$root/etc/default/grub"
mkdir -p "$root/etc/default/grub.d"
printf 'GRUB_CMDLINE_XEN="maxcpus=1 spec-ctrl=no bootscrub=0"\n' >"$root/etc/default/grub.d/lab.cfg"

# apt's daily job holds dpkg's lock for seconds, some random time after each boot: what a scenario does would then be a
# matter of luck. What apply says of a held lock is a step of the scenario mishaps.
printf 'APT::Periodic::Enable "0";\n' >"$root/etc/apt/apt.conf.d/90lab"

mkdir -p "$root/var/log/journal"
: >"$root/etc/machine-id"

chroot "$root" useradd --create-home --shell /bin/bash --groups sudo debian
printf 'debian ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/debian"
chmod 0440 "$root/etc/sudoers.d/debian"
for home in root home/debian; do
    install -d -m 0700 "$root/$home/.ssh"
    printf '%s\n' "$LAB_PUBLIC_KEY" >"$root/$home/.ssh/authorized_keys"
    chmod 0600 "$root/$home/.ssh/authorized_keys"
done
chroot "$root" chown -R debian:debian /home/debian/.ssh
