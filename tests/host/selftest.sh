#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: selftest.sh COWLAB
# Linux's COW selftest on the running kernel, beside the simulator: a difference fails, and so does a
# result of the kernel that is not the simulator's.
set -eu
cowlab=$1
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: what agrees is known of 6.18, and this is $(uname -r)" && exit 77 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
code=0
"$cowlab" selftest --host --format csv >"$scratch/out" 2>"$scratch/err" || code=$?
if [ "$code" -eq 3 ] && grep -q 'in use' "$scratch/err"; then
	echo "skipped: another session has this kernel" && exit 77
fi
[ "$code" -eq 0 ] || [ "$code" -eq 10 ] || { cat "$scratch/err" && exit 1; }
[ "$(wc -l <"$scratch/out")" -eq 779 ]
# case,"policy",simulator,kernel,write,status,"left out","reason"
if grep ',DIFFERS,' "$scratch/out"; then
	exit 1
fi
wrong=$(awk -F, 'NR > 1 && $4 != "" && $4 != $3 && $6 != "unstable" { print }' "$scratch/out")
[ -z "$wrong" ] || { echo "the kernel has another result:" && echo "$wrong" && exit 1; }
agree=$(awk -F, '$6 == "agrees"' "$scratch/out" | wc -l)
[ "$agree" -gt 200 ] || { echo "only $agree cases agree" && exit 1; }
[ "$code" -eq 0 ]
echo "$agree agree, $(awk -F, '$6 == "unstable"' "$scratch/out" | wc -l) unstable," \
	"$(awk -F, '$6 == "skipped"' "$scratch/out" | wc -l) skipped"
