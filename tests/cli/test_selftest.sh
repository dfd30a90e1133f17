#!/bin/sh
# SPDX-License-Identifier: MIT
#
# cowlab selftest from outside: that there are 778 cases, that a printed case is a scenario which
# holds, the forms of output, and mistakes.  What the cases come to is tested by `selftest`.
# usage: test_selftest.sh PROGRAM
# One line a check; at the end `N passed, N failed`, and exit code 1 if any failed.

. "$(dirname "$0")/place.sh"

# ok NAME COMMAND...: the command succeeds
ok() {
	name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok    $name"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		sed 's/^/      err: /' err 2>/dev/null | head -n 5
	fi
}

# code_is CODE ARGUMENT...: of the program, which leaves out and err
code_is() {
	code=$1
	shift
	"$program" "$@" >out 2>err
	[ $? -eq "$code" ]
}

lines_are() {
	[ "$(grep -c -e "$2" "$1")" -eq "$3" ]
}

# ---------------------------------------------------------------- the cases

code_is 0 selftest --policy exclusive
cp out cases
ok "778 cases" lines_are cases '^[ABT][0-9]* [VN][0-9]* [0-9]*[KMG]  ' 778
ok "14 tests of 54 set-ups" lines_are cases '^A' 756
ok "each has 54" lines_are cases '^A7 ' 54
ok "4 of collapse" lines_are cases '^T' 4
ok "3 of 6 sources" lines_are cases '^B' 18
ok "8 sizes of THP" lines_are cases '^A3 V5 ' 8
ok "2 of hugetlb" lines_are cases '^A3 V11 ' 2
grep '^[ABT][0-9]' cases | awk '{ print $1 "-" $2 "-" $3 }' >names
ok "every name is there once" test "$(sort -u names | wc -l)" -eq 778

# A case of each test, and of each set-up in its smallest and its largest size.
awk -F- '!seen[$1]++ { print } $1 == "A13" || $1 == "B2"' names | sort -u >some
mkdir printed
printed_twice() {
	while read -r one; do
		"$program" selftest --print "$one" >"printed/$one.cow" 2>err || return 1
		"$program" print "printed/$one.cow" >again 2>err || return 1
		cmp -s "printed/$one.cow" again || return 1
	done <some
}
ok "printed cases are canonical" printed_twice
ok "printed cases hold" code_is 0 matrix printed/*.cow
ok "of every test and every set-up" test "$(ls printed | wc -l)" -gt 70

# says CASE PATTERN: what a printed case expects
says() {
	"$program" selftest --print "$1" >out 2>err && grep -q -e "$2" out
}
ok "A3 on base pages leaks under mapcount alone" says A3-V1-4K '^verdict ok \[mapcount: leak\]$'
ok "A3 on a THP leaks under page-count too" says A3-V3-2M '^verdict ok .*[[,]page-count[,:].*leak'
ok "A14 on a THP loses its pin under 5.18" says A14-V3-2M \
	'^verdict ok \[page-count-2.6,page-count-5.18: stale-pin\]$'
ok "A5 on hugetlb leaks under exclusive" says A5-V11-2M '^verdict ok .*,exclusive,.*leak'
ok "B2 of the zero page is stale until 6.2" says B2-N1-4K '^verdict ok .*exclusive-5.19,.*stale-pin'
ok "a THP has its order" says A1-V5-64K '^P: mmap a 16 thp order 4$'
ok "that of a PMD has none" says A1-V5-2M '^P: mmap a 512 thp$'
ok "1 GiB says that it is 2 MiB" says A1-V11-1G '^title .* 1G: .*2 MiB'

# ---------------------------------------------------------------- forms

ok "--format csv" code_is 0 selftest --policy 'exclusive*' --format csv
ok "one line a run" test "$(wc -l <out)" -eq $((778 * 3 + 1))
ok "of 12 fields" awk -F, 'NF != 12 { exit 1 }' out
if command -v python3 >/dev/null 2>&1; then
	ok "--format json" code_is 0 selftest --policy 'exclusive*' --format json
	ok "is JSON" python3 -c 'import json
whole = json.load(open("out"))
assert whole["schema"] == "cowlab-selftest-1"
assert len(whole["runs"]) == 778 * 3 and len(whole["policies"]) == 3'
fi
ok "one line a case of several policies" code_is 0 selftest --policy 'exclusive*'
ok "778 again" lines_are out '^[ABT][0-9]' 778
ok "sums for each policy" lines_are out '^exclusive[-.0-9]* .* 778 ' 3
cp out first
code_is 0 selftest --policy 'exclusive*'
ok "the same bytes twice" cmp -s out first
ok "nothing is expected of a composition" code_is 0 selftest --policy exclusive,gup=mapcount
ok "and it says so" lines_are out ' 0 as expected, 0 differ, 778 with nothing expected$' 1

# ---------------------------------------------------------------- mistakes

ok "an unknown case" code_is 1 selftest --print A3-V5-64k
ok "and the nearest" grep -q "unknown case 'A3-V5-64k': did you mean 'A3-V5-64K'?" err
ok "a case that does not exist" code_is 1 selftest --print A3-V3-16K
ok "no case" code_is 1 selftest --print
ok "an operand" code_is 1 selftest A3-V5-64K
ok "and why not" grep -q "selftest takes no operand, and 'A3-V5-64K' is one" err
ok "an unknown policy" code_is 1 selftest --policy exclusiv

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
