#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: fuzz.sh COWLAB
# Random scenarios of the profiles without swap and KSM agree with the running kernel; beside a policy
# that this kernel is not, they do not, and what differs is shrunk and saved as the kernel has it.
set -eu
cowlab=$1
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root, so no frames are seen" && exit 77; }
"$cowlab" fuzz --help | grep -q -- --host || { echo "skipped: built without host" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: docs/fidelity.md is about 6.18, and this is $(uname -r)" && exit 77 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fuzz() { # CODE OPTION...
	want=$1 got=0
	shift
	"$cowlab" fuzz --host "$@" >"$scratch/out" 2>&1 || got=$?
	if [ "$got" -eq 3 ] && grep -q 'in use' "$scratch/out"; then
		echo "skipped: another session is open" && exit 77
	fi
	[ "$got" -eq "$want" ] || { echo "fuzz --host $*: exit $got, not $want" && cat "$scratch/out" && exit 1; }
}

fuzz 0 --profile base,gup,wp,file --seed 700 --count 200 --shrink-to "$scratch/found"
grep -q '^200 scenarios, [0-9]* events, 200 comparisons: 0 differ' "$scratch/out"
[ -z "$(ls "$scratch/found")" ]
cp "$scratch/out" "$scratch/sums"

# A decision of another kernel is found at once.
fuzz 10 --profile gup --count 24 --policy exclusive,write=mapcount --shrink-to "$scratch/found"
saved=$(ls "$scratch/found"/*.cow | head -n 1)
[ "$(grep -cE '^([A-Z][A-Za-z0-9]*|kernel): |^(peek|poke|release) ' "$saved")" -le 8 ]
code=0
"$cowlab" host --compare --facts --policy exclusive,write=mapcount "$saved" >"$scratch/out" || code=$?
[ "$code" -eq 10 ] || { echo "$saved: exit $code, not 10" && cat "$scratch/out" && exit 1; }

# How many run at a time is not to be seen: neither in what is found nor in the sums.  A scenario that the
# kernel does not repeat, for other load, says nothing about that: then both are asked again.
for attempt in 1 2 3; do
	for jobs in 1 2; do
		fuzz 10 --profile gup,swap,thp --seed 5000 --count 120 \
			--policy exclusive,write=mapcount --jobs $jobs --format json
		sed 's/"scenario": .*//' "$scratch/out" >"$scratch/jobs-$jobs"
	done
	[ "$(cat "$scratch/jobs-1" "$scratch/jobs-2" | grep -c '^  "unstable": 0,$')" -ne 2 ] || break
	echo "not deterministic, attempt $attempt"
done
grep -q '"kind"' "$scratch/jobs-1"
cmp "$scratch/jobs-1" "$scratch/jobs-2"

# An event of the kernel's own differs, after one that may have emptied a page table: nobody's pages are
# looked at for a name.
cat >"$scratch/kernels.cow" <<-END
	policies exclusive
	process P

	P: mmap a 8
	P: mmap b 512 thp
	P: write a 1
	P: madvise a[0] dontneed
	P: pin r a[3] write
	kernel: swap-out P a[3]
END
code=0
"$cowlab" host --compare --policy exclusive,swap-out=mapcount "$scratch/kernels.cow" \
	>"$scratch/out" 2>&1 || code=$?
if [ "$code" -ne 10 ] && ! grep -q 'skipped' "$scratch/out"; then
	echo "kernels.cow: exit $code, not 10" && cat "$scratch/out" && exit 1
fi

# Sizes of huge pages are the system's: no advice can mean a second one beside `thp order K`, unless it changes nothing.
for region in a b; do
	printf 'process P\n\nP: mmap a 16 thp order 4\nP: mmap b 16 after a\nP: madvise %s hugepage\nP: write a 1\n' \
		$region >"$scratch/sizes-$region.cow"
done
"$cowlab" host --compare --facts "$scratch/sizes-a.cow" "$scratch/sizes-b.cow" >"$scratch/out" 2>&1 || :
if ! grep -q 'sizes-b.cow:5: the advice means huge pages of a second size' "$scratch/out" ||
	! grep -Eq 'sizes-a.cow  (agrees|skipped: .*(off here|no huge pages of that order))' "$scratch/out"; then
	cat "$scratch/out" && exit 1
fi

code=0
"$cowlab" fuzz --host --policy mapcount,exclusive --count 1 >/dev/null 2>&1 || code=$?
[ "$code" -eq 1 ] || { echo "two policies: exit $code, not 1" && exit 1; }
tail -n 1 "$scratch/sums"
