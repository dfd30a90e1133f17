#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: compare.sh COWLAB
# The running kernel against the simulator, over every example.  What differs as it is known to is in
# known-differences, one file and the difference's name a line; a difference more, or one less, fails.
# What differs is asked twice more, as reclaim is not the same every time: if it agrees both times, it is
# told as not deterministic.
set -eu
cowlab=$1
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: known-differences is about 6.18, and this is $(uname -r)" && exit 77 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$here/../../examples"
code=0
"$cowlab" host --compare --facts ./*.cow >"$scratch/out" || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 10 ] || { cat "$scratch/out" && exit 1; }
sed -n -e 's,^\./\(.*\)  DIFFERS$,\1,p' -e 's,^\./\(.*\)  differs as known: ,\1 ,p' "$scratch/out" |
	sort >"$scratch/found"
grep -v '^#' "$here/known-differences" | sort >"$scratch/known"
cut -d' ' -f1 "$scratch/known" >"$scratch/names"
# What is skipped here, for want of swap or huge pages, says nothing.
sed -n 's,^\./\(.*\)  agrees$,\1,p' "$scratch/out" | sort >"$scratch/agree"
comm -13 "$scratch/known" "$scratch/found" >"$scratch/new"
comm -12 "$scratch/names" "$scratch/agree" >"$scratch/gone"
mv "$scratch/new" "$scratch/once"
while read -r line; do
	file=${line%% *}
	if "$cowlab" host --compare --facts "./$file" >"$scratch/again" 2>&1 &&
		"$cowlab" host --compare --facts "./$file" >>"$scratch/again" 2>&1 &&
		[ "$(grep -c 'agrees$' "$scratch/again")" -eq 2 ]; then
		echo "not deterministic: $file"
	else
		echo "$line"
	fi
done <"$scratch/once" >"$scratch/judged"
grep '^not deterministic' "$scratch/judged" || true
grep -v '^not deterministic' "$scratch/judged" >"$scratch/new" || true
if [ -s "$scratch/new" ] || [ -s "$scratch/gone" ]; then
	echo "differ, and are not known:" && cat "$scratch/new"
	echo "known, and agree now:" && cat "$scratch/gone"
	grep -A3 DIFFERS "$scratch/out" || true
	exit 1
fi
echo "$(grep -c 'agrees$' "$scratch/out") agree, $(grep -c 'skipped:' "$scratch/out" || true) skipped"
