#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_fuzz_finds.sh PROGRAM: what cowlab fuzz does with what it finds.  `exclusive` without its marker
# decides as `exclusive` does, and is held to the same promise; it breaks it.
set -u
. "$(dirname "$0")/verb.sh"
policy=exclusive,marker=none

# fuzz CODE OPTION...
fuzz()
{
	verb fuzz "$@"
}

# Printed: the kind, the line, how often, and the scenario, which says how to make it again.
fuzz 10 --count 300 --policy "$policy"
grep -Eq '^[a-z]+, seed [0-9]+, exclusive,marker=none: verdict leak$' "$dir/out" || fail "no leak"
grep -Eq '^[a-z]+, seed [0-9]+, exclusive,marker=none: verdict stale-pin$' "$dir/out" ||
	fail "no stale pin"
grep -Eq '^    [0-9]+ times?; shrunk to [2-8] events$' "$dir/out" || fail "not shrunk"
grep -Eq '^    [0-9]+ times?; shrunk to ([019]|[1-9][0-9]+) events$' "$dir/out" && fail "long"
grep -Eq '^300 scenarios, [0-9]+ events, 300 comparisons: [1-9][0-9]* differ$' "$dir/out" ||
	fail "sums"
again=$(sed -n 's/^# cowlab fuzz //p' "$dir/out" | head -n 1)
kind=$(sed -n 's/^# \(verdict .*\)/\1/p' "$dir/out" | head -n 1)
cp "$dir/out" "$dir/first"
fuzz 10 --count 300 --policy "$policy"
cmp -s "$dir/first" "$dir/out" || fail "the same seed, and other bytes"
# shellcheck disable=SC2086 # words are meant to be split
fuzz 10 $again
grep -q "^# $kind\$" "$dir/out" || fail "made again, it is another difference than $kind"
grep -q '^1 scenarios, .* 1 comparisons: 1 differ$' "$dir/out" || fail "one scenario"

# Without references nothing leaks.  What is found otherwise says what was left out, and is made again so.
fuzz 0 --count 300 --without refs --policy "$policy"
fuzz 10 --count 300 --without thp,swap --policy "$policy"
grep -v '^#' "$dir/out" | grep -Eq '( thp|hugepage|pageout|swap-out)' && fail "what was to be left out"
again=$(sed -n 's/^# cowlab fuzz //p' "$dir/out" | head -n 1)
case $again in
*' --without thp,swap --policy '*) ;;
*) fail "made again with: $again" ;;
esac
# shellcheck disable=SC2086 # words are meant to be split
fuzz 10 $again

# Saved: each sort in a file whose every assertion holds there, and not under the sound policy.
fuzz 10 --count 300 --policy "$policy" --shrink-to "$dir/found"
count=0
for file in "$dir"/found/*.cow; do
	count=$((count + 1))
	case $file in
	*[,=]*) fail "$file: a name to be quoted" ;;
	esac
	grep -q ": $file\$" "$dir/out" || fail "$file is not told"
	"$program" run --policy "$policy" "$file" >"$dir/run" || fail "$file does not hold"
	"$program" run --policy exclusive "$file" >"$dir/run"
	[ $? -eq 10 ] || fail "$file holds under exclusive, too"
done
[ "$count" -eq "$(grep -c 'shrunk to' "$dir/out")" ] || fail "$count files"
[ "$count" -ge 2 ] || fail "$count sorts"

# Two policies: each sort is told for each that has it, and only there.
fuzz 10 --count 60 --profile gup --policy "exclusive,$policy"
grep -q '^gup, seed [0-9]*, exclusive: ' "$dir/out" && fail "exclusive differs"
grep -q '^60 scenarios, [0-9]* events, 120 comparisons: ' "$dir/out" || fail "sums of two"

fuzz 10 --count 300 --policy "$policy" --format csv
awk -F, 'NR > 1 { n += $4 } END { exit n == 0 }' "$dir/out" || fail "csv counts no difference"
fuzz 10 --count 300 --policy "$policy" --format json
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys
d = json.load(sys.stdin)
assert d["differences"] == sum(f["times"] for f in d["found"]) > 0
assert d["differences"] == sum(p["differences"] for p in d["profiles"])
for f in d["found"]:
    assert f["kind"].startswith("verdict ") and f["policy"] == "exclusive,marker=none"
    assert 2 <= f["events"] <= 8 and f["file"] is None and f["sentence"]
    assert "process P\n" in f["scenario"] and f["scenario"].count("\n") > f["events"]
open(sys.argv[1], "w").write(d["found"][0]["scenario"])' "$dir/json.cow" <"$dir/out" || fail "json"
	"$program" run --policy "$policy" "$dir/json.cow" >/dev/null || fail "the scenario in json"
	fuzz 10 --count 300 --policy "$policy" --format json --shrink-to "$dir/found"
	python3 -c 'import json, os, sys
assert all(os.path.exists(f["file"]) for f in json.load(sys.stdin)["found"])' <"$dir/out" ||
		fail "files in json"
	# Somebody who looks sees how far it is, on a line that is written over.
	python3 -c 'import os, pty, sys
def read(fd):
    data = os.read(fd, 1024)
    seen.append(data)
    return data
seen = []
pty.spawn(sys.argv[1:], read)
text = b"".join(seen)
assert b"\r0 scenarios, 0 differ" in text and b"comparisons: 0 differ" in text' \
		"$program" fuzz --count 20 --policy ideal >/dev/null </dev/null || fail "progress"
fi

# What cannot be written is told.
name=$(basename "$file")
rm -f "$dir"/found/*.cow
mkdir "$dir/found/$name"
fuzz 3 --count 300 --policy "$policy" --shrink-to "$dir/found"
grep -q "$name: " "$dir/err" || fail "no word of $name"
"$program" fuzz --count 9 --policy exclusive >/dev/full 2>"$dir/err"
[ $? -eq 3 ] || fail "a full disk"
for format in csv json; do
	"$program" fuzz --count 9 --policy exclusive --format $format >/dev/full 2>"$dir/err"
	[ $? -eq 3 ] || fail "a full disk, $format"
done
