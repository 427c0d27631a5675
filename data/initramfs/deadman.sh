# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Arms Xen's watchdog for this domain before anything else of dom0 runs; only Xenable's health gate stops it.
# The initrd's init sources this file, so nothing here may end the shell or leave anything behind in it.

xenable_say() {
	( echo "<4>xenable: $1" >/dev/kmsg ) 2>/dev/null || echo "xenable: $1"
}

xenable_arm() (
	deadline=
	# A command line is words.
	# shellcheck disable=SC2013
	for word in $(cat /proc/cmdline); do
		case $word in
		xenable.deadline=*) deadline=${word#xenable.deadline=} ;;
		esac
	done
	[ -n "$deadline" ] || exit 0
	kind=
	[ -r /sys/hypervisor/type ] && read -r kind </sys/hypervisor/type
	[ "$kind" = xen ] || [ -d /proc/xen ] || exit 0
	case $deadline in
	*[!0-9]*)
		xenable_say "dead-man not armed: xenable.deadline=$deadline is no number of seconds"
		exit 0
		;;
	esac

	insert=insmod
	if ! command -v insmod >/dev/null 2>&1; then
		# Both kmod and busybox go by the name they are called with.
		ln -s "$(command -v modprobe)" /insmod 2>/dev/null
		insert=/insmod
	fi
	for module in /xenable-needed-*.ko; do
		# The initrd may have loaded it already. Other modules pass over what only the watchdogs' core knows:
		# a kernel that hangs on its way to a reset must not have stopped the dead-man before.
		[ ! -f "$module" ] || $insert "$module" stop_on_reboot=0 2>/dev/null
	done
	error="no driver"
	[ ! -f /xenable-xen_wdt.ko ] || error=$($insert /xenable-xen_wdt.ko "timeout=$deadline" nowayout=0 2>&1)

	for watchdog in /sys/class/watchdog/watchdog*; do
		identity=
		[ -r "$watchdog/identity" ] && read -r identity <"$watchdog/identity"
		driver=$(readlink "$watchdog/device/driver" 2>/dev/null)
		case "$identity ${driver##*/}" in
		xen_wdt\ * | *\ xen_wdt | wdt\ wdt) ;;
		*) continue ;;
		esac
		# Opened and closed without the letter that stops it: it counts from here.
		if ( : >"/dev/${watchdog##*/}" ) 2>/dev/null; then
			timeout=
			[ -r "$watchdog/timeout" ] && read -r timeout <"$watchdog/timeout"
			xenable_say "dead-man armed: Xen resets this machine in ${timeout:-$deadline} s if nobody says that all is well"
		else
			xenable_say "dead-man not armed: /dev/${watchdog##*/} can't be opened"
		fi
		exit 0
	done
	xenable_say "dead-man not armed: no watchdog of Xen's is here ($error)"
	exit 0
)

xenable_arm || true
unset -f xenable_arm xenable_say
