#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: struck.sh COWLAB STRIKER
# A search beside the running kernel, of which somebody stops or kills a process: who did not come back
# in time is asked once more with much more time, and agrees; what died once and not again is told as
# not deterministic, and saved as it is; a time bound is kept; and what wants the machine for itself, or
# other sizes of huge pages, waits for its turn.
set -eu
cowlab=$1 striker=$2
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
"$cowlab" fuzz --help | grep -q -- --host || { echo "skipped: built without host" && exit 77; }
[ -e /proc/$$/task/$$/children ] ||
	{ echo "skipped: /proc does not tell children" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: docs/fidelity.md is about 6.18, and this is $(uname -r)" && exit 77 ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
	echo "struck: $*"
	cat "$scratch/out"
	exit 1
}

# search CODE OPTION...: exit code, and seconds in $took.
search() {
	want=$1 got=0 began=$(date +%s)
	shift
	"$cowlab" fuzz --host "$@" >"$scratch/out" 2>&1 || got=$?
	took=$(($(date +%s) - began))
	if [ "$got" -eq 3 ] && grep -q 'in use' "$scratch/out"; then
		echo "skipped: another session is open" && exit 77
	fi
	[ "$got" -eq "$want" ] || fail "$*: exit $got, not $want"
}

# strike SIGNAL: a search, and the signal to one process of a scenario in the middle.
strike() {
	rm -rf "$scratch/found"
	got=0
	"$striker" "$1" "$cowlab" fuzz --host --jobs 1 --profile base --seed 7000 --count 2500 --shrink-to \
		"$scratch/found" >"$scratch/out" 2>&1 || got=$?
	if [ "$got" -eq 3 ] && grep -q 'in use' "$scratch/out"; then
		echo "skipped: another session is open" && exit 77
	fi
	[ "$got" -ne 125 ] || fail "nobody could be struck"
}

strike 19
[ "$got" -eq 0 ] || fail "one was stopped: exit $got"
grep -q ' 2500 comparisons: 0 differ$' "$scratch/out" || fail "one was stopped"

# Who is killed between two scenarios is missed by nobody.
for attempt in 1 2 3 4 5; do
	strike 9
	[ "$got" -eq 0 ] || fail "one was killed: exit $got"
	! grep -q ' 2500 comparisons: 0 differ, 1 not deterministic$' "$scratch/out" || break
done
grep -q ' 2500 comparisons: 0 differ, 1 not deterministic$' "$scratch/out" || fail "one was killed"
grep -q ': not deterministic: died: signal 9$' "$scratch/out" || fail "of what it died"
[ "$(ls "$scratch/found"/base-*-unstable.cow | wc -l)" -eq 1 ] || fail "not saved"

search 5 --profile ksm --seed 7000 --seconds 2 --jobs 2
[ "$took" -le 12 ] || fail "$took seconds, and not 2"

search 0 --profile thp --seed 7000 --count 100 --jobs 2
if [ -w /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages ]; then
	search 0 --profile base,hugetlb --seed 7000 --count 40 --jobs 2
fi
tail -n 1 "$scratch/out"
