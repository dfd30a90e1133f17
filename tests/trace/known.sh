#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: known.sh COWLAB recorded | live KNOWN
# A program whose every fault is known, as the referee finds it: in the recordings that are kept
# here, or in one that is made now.
set -eu
cowlab=$1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

case $2 in
recorded)
	for name in known swap; do
		"$here/compare" "$cowlab" "$here/$name.expected" "$here/$name.perf.txt"
		# what is said of a part of the text does not change with what follows it
		sed -n '1,250p' "$here/$name.perf.txt" | "$cowlab" referee - --format csv |
			grep -v ',unknown,' >"$scratch/part"
		"$cowlab" referee "$here/$name.perf.txt" --format csv >"$scratch/whole"
		grep -Fqx -f "$scratch/part" "$scratch/whole"
		[ "$(grep -Fcx -f "$scratch/part" "$scratch/whole")" -eq "$(wc -l <"$scratch/part")" ]
	done
	# the comparison does find a fault that is told wrongly
	sed 's/write user reuse/write user copy/' "$here/known.expected" >"$scratch/wrong"
	! "$here/compare" "$cowlab" "$scratch/wrong" "$here/known.perf.txt" >/dev/null
	sed '200,$d' "$here/known.perf.txt" >"$scratch/short"
	! "$here/compare" "$cowlab" "$here/known.expected" "$scratch/short" >/dev/null
	;;
live)
	case $(uname -r) in
	[0-5].* | 6.[01].*)
		echo "skipped: rss_stat tells of each change from 6.2 on, and this is $(uname -r)"
		exit 77
		;;
	esac
	tries=0
	while :; do
		"$here/record" "$scratch/perf.txt" "$3" >"$scratch/expected" ||
			{ code=$? && cat "$scratch/expected" && exit "$code"; }
		grep -q 'PERF_RECORD_LOST' "$scratch/perf.txt" || break
		tries=$((tries + 1))
		[ "$tries" -lt 5 ] || { echo "skipped: perf loses events here" && exit 77; }
	done
	"$here/compare" "$cowlab" "$scratch/expected" "$scratch/perf.txt"
	;;
esac
