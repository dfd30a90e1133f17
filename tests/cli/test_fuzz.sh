#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_fuzz.sh PROGRAM: cowlab fuzz from outside: 2,000 scenarios of all profiles find nothing, the same
# seed gives the same bytes, every form of output is sound, and mistakes in the options are told.
set -u
. "$(dirname "$0")/verb.sh"

# fuzz CODE OPTION...
fuzz()
{
	verb fuzz "$@"
}

fuzz 0 --seed 7 --count 2000 --policy exclusive,exclusive-6.2,page-count,ideal
[ -s "$dir/err" ] && fail "nobody looks, and yet there is progress"
grep -q '^2000 scenarios, [0-9]* events, 8000 comparisons: 0 differ$' "$dir/out" || fail "sums"
for profile in base gup wp swap file ksm thp hugetlb all; do
	grep -Eq "^$profile +22[23] +[0-9]+ +0$" "$dir/out" || fail "profile $profile"
done

# Every policy, compositions too, and a profile alone; the same twice.
fuzz 0 --count 45 --policy 'all,exclusive,gup=mapcount,exclusive,marker=extra'
cp "$dir/out" "$dir/first"
fuzz 0 --count 45 --policy 'all,exclusive,gup=mapcount,exclusive,marker=extra'
cmp -s "$dir/first" "$dir/out" || fail "the same seed, and other bytes"
grep -q '45 scenarios, [0-9]* events, 675 comparisons: 0 differ' "$dir/out" || fail "sums"
fuzz 0 --count 20 --profile gup,swap --policy ideal
grep -Eq '^gup +10 ' "$dir/out" && grep -Eq '^swap +10 ' "$dir/out" || fail "two profiles"
grep -q '^base' "$dir/out" && fail "a profile that nobody wants"

# Left out: what a word means, and the profile that is about it, unless that was asked for.
fuzz 0 --count 60 --without swap,hugetlb,refs --policy exclusive
grep -Eq '^(swap|hugetlb|gup) ' "$dir/out" && fail "a profile of what is left out"
grep -Eq '^all +10 ' "$dir/out" || fail "six profiles are left"
fuzz 1 --profile base,ksm --without ksm
grep -q -- '--without ksm: profile ksm is about that' "$dir/err" || fail "a profile with nothing left"
fuzz 1 --without swap,kms
grep -q "unknown word of --without 'kms': did you mean 'ksm'" "$dir/err" || fail "unknown word"
fuzz 1 --without swap,
fuzz 1 --without

# Nothing saved where nothing differs, but the folder is there.
fuzz 0 --count 9 --policy exclusive --shrink-to "$dir/found"
[ -d "$dir/found" ] && [ -z "$(ls "$dir/found")" ] || fail "the folder"

fuzz 0 --count 18 --policy exclusive --format csv
[ "$(wc -l <"$dir/out")" -eq 10 ] || fail "csv"
fuzz 0 --count 18 --policy exclusive --format json
grep -q '"schema": "cowlab-fuzz-1"' "$dir/out" || fail "json"
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys
d = json.load(sys.stdin)
assert d["scenarios"] == sum(p["scenarios"] for p in d["profiles"]) == d["comparisons"] == 18
assert d["events"] == sum(p["events"] for p in d["profiles"])
assert not d["found"] and len(d["profiles"]) == 9' <"$dir/out" || fail "json"
fi

# The time is over, and nothing differs.
fuzz 5 --seconds 1 --policy exclusive --profile base

fuzz 1 --profile gupp
grep -q "unknown profile 'gupp': did you mean 'gup'" "$dir/err" || fail "profile"
fuzz 1 --count 0
fuzz 1 --count -3
fuzz 1 --seed 0x
fuzz 1 --seconds 1s
fuzz 1 --policy exclusif
fuzz 1 file.cow
fuzz 1 --shrink
fuzz 3 --count 1 --shrink-to "$dir/no/such"
fuzz 0 --help
[ "$(wc -l <"$dir/out")" -le 25 ] || fail "the help is longer than a screen"
grep -q '^example: cowlab fuzz' "$dir/out" || fail "no example"
