#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: bad.sh COWLAB
# Text that is none, or damaged, or cut off, or of other events: told with its place, and by the exit
# code; never a crash.
set -eu
cowlab=$1
here=$(cd "$(dirname "$0")" && pwd)
known=$here/known.perf.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

expect() { # CODE TEXT ARGUMENT... <INPUT
	code=$1 text=$2 got=0
	shift 2
	"$cowlab" referee "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
	[ "$got" -eq "$code" ] || { cat "$scratch/err" && echo "exit $got, not $code" && exit 1; }
	grep -Fq -e "$text" "$scratch/out" "$scratch/err" ||
		{ cat "$scratch/err" && echo "not '$text'" && exit 1; }
}

expect 0 'of anon 38' --totals "$known"
expect 0 'of anon 38' --totals - <"$known"
expect 0 'line,time,process' --format csv "$known"
[ "$(wc -l <"$scratch/out")" -eq $(($(grep -c 'page_fault_[a-z]*:' "$known") + 1)) ]
expect 0 '"schema": "cowlab-referee-1"' --format json "$known"
if command -v python3 >/dev/null; then
	python3 - "$scratch/out" <<-'END'
		import json, sys
		whole = json.load(open(sys.argv[1]))
		faults, totals = whole["faults"], whole["totals"]
		assert len(faults) == totals["faults"] > 100
		for word in ("copy", "reuse", "alloc", "zero", "unknown"):
		    assert sum(fault["outcome"] == word for fault in faults) == totals[word] > 0
		assert sum(totals["copies"].values()) == totals["copy"]
		assert sum(thread["faults"] for thread in whole["threads"]) == totals["faults"]
		assert not whole["notes"]
	END
fi
expect 0 '"threads"' --format json --totals "$known"
! grep -q '"faults": \[' "$scratch/out"

expect 3 'no such file' "$scratch/none"
expect 3 'directory' "$scratch"
expect 1 'is missing'
expect 1 'one more' "$known" "$known"
expect 1 'unknown option' --total "$known"
expect 1 'unknown format' --format xml "$known"

# damaged in the middle: the rest is read all the same
sed '100s/.*/x/; 200s/\[0/0/' "$known" >"$scratch/damaged"
expect 2 'damaged:100: not a line' "$scratch/damaged"
expect 2 'damaged:200: not a line' "$scratch/damaged"
expect 2 'damaged 2;' --totals "$scratch/damaged"
# cut off within a line
head -c 20010 "$known" >"$scratch/cut"
expect 2 'the last line is cut off' "$scratch/cut"
# events that were lost
sed '150s/.*/x 1 [000] 9999.1: PERF_RECORD_LOST lost 76/' "$known" >"$scratch/lost"
expect 0 'lost:150: events were lost' "$scratch/lost"
expect 0 'lost events 76 (told 1 times)' "$scratch/lost"
# other events alone, no events, perf.data
printf 'x 1 [000] 1.0: sched:sched_switch: a\n' | expect 2 'no event in it' -
expect 2 'no event in it' /dev/null
printf 'PERFILE2\0\0\0\1\n' | expect 2 'this is perf.data' -
# fields that are not there are told
grep -v -e rss_stat -e sys_enter "$known" >"$scratch/less"
expect 0 'system calls are not recorded' "$scratch/less"
expect 0 'rss_stat is not recorded' "$scratch/less"

# garbage, with and without ends of lines, and a fault per line of processes without number
dd if=/dev/urandom bs=1048576 count="${COWLAB_GARBAGE:-16}" 2>/dev/null | expect 2 'damaged lines in all' -
dd if=/dev/zero bs=1048576 count="${COWLAB_GARBAGE:-16}" 2>/dev/null | expect 2 'more than 256 KiB' -
awk 'BEGIN { for (i = 1; i < 200000; i++)
	printf "c %d [000] 1.0: exceptions:page_fault_user: address=0x1000 ip=0x1 error_code=0x7\n", i }' |
	expect 0 'all                         199999' --totals -
echo "all told"
