#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: unprivileged.sh COWLAB
# Without root: what cannot be seen is said, values are compared all the same, a defect in them is
# found, and what needs rights is skipped with a reason.
set -eu
cowlab=$1
examples=$(dirname "$0")/../../examples
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

fail() {
	echo "unprivileged: $*"
	cat "$scratch/out" "$scratch/err"
	exit 1
}

if [ "$(id -u)" -eq 0 ]; then
	command -v setpriv >/dev/null || { echo "skipped: no setpriv" && exit 77; }
	nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$@"; }
else
	nobody() { "$@"; }
fi
# The program may lie where only its owner comes.
cp "$cowlab" "$scratch/cowlab"
cp "$examples"/basic-cow.cow "$examples"/cve-2020-29374.cow "$examples"/file-private.cow \
	"$examples"/file-shared.cow "$examples"/basic-dontneed-pin.cow "$examples"/uffd-wp-basic.cow \
	"$examples"/thp-fork-cow.cow "$scratch"
nobody "$scratch/cowlab" --help >/dev/null 2>&1 || { echo "skipped: nobody runs nothing" && exit 77; }

# host CODE ARGUMENT...
host() {
	want=$1 got=0
	shift
	nobody "$scratch/cowlab" host "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
	[ "$got" -eq "$want" ] || fail "host $*: exit $got, not $want"
}

host 0 --compare --facts "$scratch"/*.cow
grep -q 'not seen here: page frames' "$scratch/err" || fail "what is not seen is not said"
[ "$(grep -c ' agrees$' "$scratch/out")" -ge 5 ] || fail "too few agree"
grep -q 'DIFFERS' "$scratch/out" && fail "they differ"

# A value that is wrong is found without any frame: mapcount lets the child see the secret.
host 10 --compare --policy mapcount "$scratch/cve-2020-29374.cow"
grep -Eq '^    kernel    .*== 0x1$' "$scratch/out" || fail "the value of the kernel"
grep -Eq '^    simulator .*== 0xff$' "$scratch/out" || fail "the value of the simulator"

# What was observed says nothing of frames, holds in the simulator, and has the values.
host 0 --facts "$scratch/cve-2020-29374.cow"
cp "$scratch/out" "$scratch/observed.txt"
"$cowlab" run "$scratch/observed.txt" --policy exclusive >/dev/null || fail "it does not hold"
grep -q '^peek r == 1$' "$scratch/out" || fail "no value"
grep -Eq 'mapcount|exclusive (yes|no)|-> (copy|reuse|alloc|zero|share)' "$scratch/out" &&
	fail "something of frames"

# What takes rights is skipped, with its reason; nothing but skipped is exit 3.
try() { # REASON, scenario from stdin
	cat >"$scratch/try.txt"
	host 3 --compare "$scratch/try.txt"
	grep -q "skipped: .*$1" "$scratch/out" || fail "not '$1'"
}
printf 'process P\nP: mmap a 1\nP: write a 1\nkernel: swap-out P a\n' | try 'no swap file: '
printf 'process P\nP: mmap a 1\nP: madvise a mergeable\nkernel: ksm\n' | try ':3: ksmd cannot be'
printf 'hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\n' | try ':3: the hugetlb pool cannot be set'
