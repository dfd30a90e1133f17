#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: known.sh COWLAB
# Each difference that has a name on this kernel, in the scenario known/NAME.cow, is known by its cause,
# and by no other name.  A name that has none belongs to other kernels, or to other policies.
set -eu
cowlab=$1
cd "$(dirname "$0")/known"
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: what differs is known of 6.18, and this is $(uname -r)" && exit 77 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for file in *.cow; do
	"$cowlab" host --compare --facts "$file" >"$scratch/out" 2>&1 || true
	if grep -q "^$file  differs as known: ${file%.cow}\$" "$scratch/out"; then
		echo "$file" >>"$scratch/known"
	elif grep -q 'skipped:' "$scratch/out"; then
		grep 'skipped:' "$scratch/out"
	else
		echo "$file is not known by its name:" && cat "$scratch/out" && exit 1
	fi
done
[ -s "$scratch/known" ] || { echo "skipped: none of them can be run here" && exit 77; }
echo "$(wc -l <"$scratch/known") of $(ls -- *.cow | wc -l) known"
