#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: selftest.sh COWLAB
# Linux's COW selftest on the running kernel, beside the simulator: a difference that is not in
# known-selftest fails, and a result of the kernel that is not the simulator's.
set -eu
cowlab=$1
here=$(cd "$(dirname "$0")" && pwd)
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: known-selftest is about 6.18, and this is $(uname -r)" && exit 77 ;;
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
awk -F, '$6 == "DIFFERS" { print $1 }' "$scratch/out" | sort >"$scratch/found"
grep -v '^#' "$here/known-selftest" | cut -d' ' -f1 | sort >"$scratch/known"
if ! comm -13 "$scratch/known" "$scratch/found" | tee "$scratch/new" | awk 'END { exit NR > 0 }'; then
	echo "differ, and are not known:"
	grep -F -f "$scratch/new" "$scratch/out"
	exit 1
fi
wrong=$(awk -F, 'NR > 1 && $4 != "" && $4 != $3 && $6 != "unstable" { print }' "$scratch/out")
[ -z "$wrong" ] || { echo "the kernel has another result:" && echo "$wrong" && exit 1; }
agree=$(awk -F, '$6 == "agrees"' "$scratch/out" | wc -l)
[ "$agree" -gt 200 ] || { echo "only $agree cases agree" && exit 1; }
echo "$agree agree, $(wc -l <"$scratch/found") differ as known," \
	"$(awk -F, '$6 == "unstable"' "$scratch/out" | wc -l) unstable," \
	"$(awk -F, '$6 == "skipped"' "$scratch/out" | wc -l) skipped"
