# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the consumers' scripts share; sourced. Each script is one test program:
# it says how many cases it has, runs an unmodified program of Debian's, and
# judges from the outside what came of it. The figures it prints ("# figure
# name value") are for the table; numbers in cases are bounds, never rates.

PCI=/sys/bus/pci/devices
PATH=/usr/bin:$PATH
name=${0##*/}
case_number=0
failed=0
before=0	# pages that were pinned before the consumer ran
pid=
log=/dev/null
# A pipe to a program that died is a failed case, not the end of the script.
trap '' PIPE
# An initramfs is a tmpfs, and may be written by all; DPDK takes no plugins from there.
chmod 755 /

plan() {
	echo "TAP version 13"
	echo "1..$1"
}

figure() { echo "# figure $1 $2"; }

# However the script ends: what the program itself said last.
end() {
	tail -n 60 $log | sed 's/^/# /'
	exit $failed
}
trap end EXIT

# One case: what it says, and a command that must succeed.
check() {
	text=$1
	shift
	case_number=$((case_number + 1))
	if "$@"; then
		echo "ok $case_number $text"
	else
		echo "not ok $case_number $text"
		failed=1
	fi
}

fails() { ! "$@"; }

equal() {
	[ "$1" = "$2" ] || { echo "# is '$1', not '$2'"; false; }
}

above() {
	[ "$1" -gt "$2" ] || { echo "# is '$1', not more than $2"; false; }
}

alive() { kill -0 "$1" 2>/dev/null; }

# until_true SECONDS COMMAND...: does it succeed before then, and while $pid runs?
until_true() {
	end=$(($(cut -d. -f1 /proc/uptime) + $1))
	shift
	until "$@"; do
		[ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || return 1
		[ -z "$pid" ] || alive "$pid" || return 1
		usleep 100000
	done
}

# DMA pins of pages, held by anybody in the machine.
pinned_pages() {
	echo 1 > /proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { pins += $2 }
	     $1 == "nr_foll_pin_released" { pins -= $2 }
	     END { print pins }' /proc/vmstat
}

nothing_pinned() { [ "$(pinned_pages)" -eq 0 ]; }

# What a process is charged for (type1), or its user (an iommufd), in KiB.
accounted_kib() {
	awk '$1 == "VmLck:" { kib = $2 }
	     $1 == "ioas:" { for (i = 2; i < NF; i++) if ($i == "pinned") kib += $(i + 1) / 1024 }
	     END { print int(kib) }' "/proc/$1/status" "/proc/$1/fdinfo"/*
}

# Addresses of the functions with this vendor and device id, in order.
pci_find() {
	for found in "$PCI"/*; do
		[ "$(cat "$found/vendor") $(cat "$found/device")" = "0x$1 0x$2" ] && echo "${found##*/}"
	done
}

driver_of() { basename "$(readlink "$PCI/$1/driver")"; }

bind_vfio() {
	echo vfio-pci > "$PCI/$1/driver_override"
	echo "$1" > /sys/bus/pci/drivers_probe
	[ "$(driver_of "$1")" = vfio-pci ]
}

# QEMU with the device passed through to its guest, and RAM_MIB of memory. How,
# says the script's name: see qemu.
RAM_MIB=256

qemu_start() {
	device=vfio-pci,host=$1
	shift
	case $name in
	*-iommufd*)	set -- -object iommufd,id=iommufd0 "$@"
			device=$device,iommufd=iommufd0 ;;
	esac
	case $name in
	*-memfd*)	memory="memory-backend-memfd,share=on" ;;
	*)		memory="memory-backend-ram" ;;
	esac
	traced=
	case $name in
	ioctls-*)	traced="strace -D -ff -y -e trace=ioctl -o /tmp/strace.out" ;;
	esac
	# shellcheck disable=SC2086
	$traced qemu-system-x86_64 -nodefaults -no-user-config -display none -nic none -no-reboot \
		-accel tcg -cpu max,la57=off -m ${RAM_MIB}M -machine q35,memory-backend=ram \
		-object $memory,id=ram,size=${RAM_MIB}M "$@" -device "$device" > $log 2>&1 &
	pid=$!
}

# Is its guest's memory mapped? The firmware's, and holes, are more and less.
qemu_pinned() { [ $(($(pinned_pages) - before)) -ge $((RAM_MIB * 255)) ]; }

qemu_version() { qemu-system-x86_64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p'; }
