#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh PROGRAM STATES SOURCE [CC [BOUND...]]: spin's pan, the program `states` and cowlab
# explore on the same bounded models.  The numbers of states and transitions, with the names of
# processes and references (NAMES 1) and up to them (NAMES 2), and the length of the shortest
# sequence of each word must be the same.  A BOUND is processes:pages:references:protect, the last
# being 1 for mprotect.  Exit 77 where spin or a C compiler is missing.
set -u
program=$1 states=$2 source=$3/tests/spin cc=${4:-cc}
shift 3
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 2:1:1:1 2:1:2:0 3:1:1:0
bounds=$*
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

command -v spin >/dev/null || { echo "skipped: no spin"; exit 77; }
command -v "$cc" >/dev/null || { echo "skipped: no C compiler '$cc'"; exit 77; }

# pan NAMES RULE PROCESSES PAGES REFERENCES PROTECT: "states N", "transitions N", "WORD LENGTH".
# pan has one state, two transitions and a level more: the step that makes the first process.
pan()
{
	cp "$source/cow.pml" "$source/names.h" "$dir" && cd "$dir" || exit 1
	spin -a -DNAMES="$1" -DRULE="$2" -DPROCS="$3" -DPAGES="$4" -DREFS="$5" -DPROTECT="$6" \
		cow.pml >spin.out 2>&1 &&
		"$cc" -w -O1 -DSAFETY -DNOREDUCE -DBFS -o pan pan.c >>spin.out 2>&1 &&
		./pan -w20 >pan.out 2>&1 || { cat spin.out pan.out >&2; exit 1; }
	grep -q 'errors: 0' pan.out || { cat pan.out >&2; exit 1; }
	awk '/^found / { print $2, $3 }
		match($0, /depth reached [0-9]+/) {
			print "depth", substr($0, RSTART + 14, RLENGTH - 14) - 1
		}
		/ states, stored$/ { print "states", $1 - 1 }
		/ transitions \(= stored\+matched\)/ { print "transitions", $1 - 2 }' pan.out | sort
}

# explorer POLICY EVENTS PROCESSES PAGES REFERENCES [names]: the same of cowlab.
explorer()
{
	"$states" "$@" >"$dir/counted" || { echo "states $*: exit $?" >&2; exit 1; }
	"$program" explore --format csv --policy "$1" --events "$2" --processes "$3" --pages "$4" \
		--refs "$5" ${6:+--no-symmetry} >"$dir/csv"
	code=$?
	[ "$code" -eq 10 ] || { echo "cowlab explore: $*: exit $code" >&2; exit 1; }
	grep -q ',complete,' "$dir/csv" || { echo "cowlab explore: $*: not complete" >&2; exit 1; }
	tr -d '"' <"$dir/csv" | awk -F, 'NR > 1 && $3 { print $2, $3 }' | sort - "$dir/counted"
}

for bound in $bounds; do
	old=$IFS
	IFS=:
	# shellcheck disable=SC2086 # words are meant to be split
	set -- $bound
	IFS=$old
	events=mmap,munmap,fork,exit,read,write,get,peek,release
	[ "$4" -eq 0 ] || events=$events,mprotect-ro,mprotect-rw
	for pair in 0:mapcount 1:page-count 2:exclusive; do
		for names in 1 2; do
			told=$([ "$names" -eq 2 ] || echo names)
			# shellcheck disable=SC2086 # nothing or one word
			ours=$(explorer "${pair#*:}" "$events" "$1" "$2" "$3" $told) || exit 1
			theirs=$(pan "$names" "${pair%:*}" "$1" "$2" "$3" "$4") || exit 1
			if [ "$ours" != "$theirs" ]; then
				printf '%s %s, names %s: cowlab\n%s\npan\n%s\n' "$bound" \
					"${pair#*:}" "$names" "$ours" "$theirs"
				exit 1
			fi
			# shellcheck disable=SC2086 # one line
			echo "$bound ${pair#*:}, names $names:" $ours
		done
	done
done
