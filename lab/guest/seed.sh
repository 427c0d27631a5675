#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run as root in the first boot of a new image, which came up without a boot loader: $1 is "uefi" or "bios".
# The machine's own tools install the boot loader, so that it is the stock one to the last byte.
set -eu

# The interface by which we came in stays; the other candidates go.
name=$(ip -o route get 10.0.2.2 | sed -n 's/.* dev \([^ ]*\).*/\1/p')
test -n "$name"
{
    printf '# The loopback network interface\nauto lo\niface lo inet loopback\n\n'
    printf '# The primary network interface\nallow-hotplug %s\niface %s inet dhcp\n' "$name" "$name"
} >/etc/network/interfaces.new
sed -i '1i # This file describes the network interfaces available on your system.\nsource /etc/network/interfaces.d/*\n' \
    /etc/network/interfaces.new
mv /etc/network/interfaces.new /etc/network/interfaces

case $1 in
    uefi) grub-install --target=x86_64-efi --force-extra-removable ;;
    bios)
        echo 'grub-pc grub-pc/install_devices multiselect /dev/vda' | debconf-set-selections
        grub-install --target=i386-pc /dev/vda
        ;;
esac
test -e /boot/grub/grubenv || grub-editenv /boot/grub/grubenv create
update-grub
apt-get -q update
