#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: kill.sh COWLAB [TIMES]
# Kills `cowlab host` at TIMES moments, with the guardian left alone, and proves that nothing stays:
# no process, swap, huge page, control group or changed setting.
set -eu
cowlab=$1 times=${2:-20}
here=$(dirname "$0")
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root" && exit 77; }

state() {
	cat /proc/swaps | cut -f1 | sed 's/ .*//'
	for file in /proc/sys/vm/nr_hugepages /proc/sys/vm/page-cluster /proc/sys/fs/pipe-max-size \
		/sys/kernel/mm/ksm/run /sys/kernel/mm/ksm/pages_to_scan \
		/sys/kernel/mm/ksm/sleep_millisecs /sys/kernel/mm/ksm/smart_scan \
		/sys/kernel/mm/transparent_hugepage/enabled \
		/sys/kernel/mm/transparent_hugepage/hugepages-*/enabled; do
		[ ! -r "$file" ] || echo "$file $(cat "$file")"
	done
	find /sys/fs/cgroup /sys/fs/cgroup/memory -maxdepth 1 -name 'cowlab-*' 2>/dev/null || true
	find "${TMPDIR:-/var/tmp}" /var/tmp /tmp -maxdepth 1 -name 'cowlab-swap-*' 2>/dev/null || true
}

# Zombies are whoever's to reap that they fell to.
mine() {
	for pid in $pids; do
		[ ! -r "/proc/$pid/stat" ] || grep -qs ') Z ' "/proc/$pid/stat" 2>/dev/null || echo "$pid"
	done
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
state >"$scratch/before"
i=0
while [ "$i" -lt "$times" ]; do
	i=$((i + 1))
	"$cowlab" host --compare "$here"/kill-*.cow >/dev/null 2>&1 &
	victim=$!
	# from before the guardian is there to well within a run
	sleep "$(awk -v i="$i" -v n="$times" 'BEGIN { printf "%.3f", 0.002 + 0.4 * i / n }')"
	pids=$(cat /proc/"$victim"/task/*/children 2>/dev/null || true)
	kill -KILL "$victim" 2>/dev/null || true
	wait "$victim" 2>/dev/null || true
	tries=0
	while [ -n "$(mine)" ] && [ "$tries" -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	[ -z "$(mine)" ] || { echo "processes are left after kill $i: $(mine)" && exit 1; }
	state >"$scratch/after"
	if ! diff "$scratch/before" "$scratch/after"; then
		echo "kill $i left something behind"
		exit 1
	fi
done
echo "$times kills, nothing left behind"
