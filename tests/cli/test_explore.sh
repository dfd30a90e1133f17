#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_explore.sh PROGRAM: cowlab explore from outside.  For every policy and every word, on a small
# bound: what it prints is a scenario that `cowlab run` accepts and that holds, and without any one
# of its events the word is gone.  Exit codes, forms of output, threads, checkpoints, graphs, and
# mistakes in the options.
set -u
. "$(dirname "$0")/verb.sh"
words='leak corruption stale-pin stale-get killed needless-copy unsafe-reuse'
small='--processes 2 --refs 1'

# explore CODE OPTION...
explore()
{
	verb explore "$@"
}

# has FILE WORD: true if a run of the file, whatever else came of it, has the word.
has()
{
	"$program" run --format json --policy "$policy" "$1" >"$dir/report" 2>/dev/null
	case $2 in
	needless-copy) grep -q '"needless-copies": [1-9]' "$dir/report" ;;
	unsafe-reuse) grep -q '"unsafe-reuses": [1-9]' "$dir/report" ;;
	*) grep '"verdict":' "$dir/report" | grep -q "\"$2\"" ;;
	esac
}

# ------------------------------------------------------------ every policy, every word

policies=$("$program" policies --format csv | awk -F, 'NR > 1 { print $1 }')
[ -z "${COWLAB_QUICK-}" ] || policies='mapcount page-count exclusive'
for policy in $policies; do
	# shellcheck disable=SC2086 # words are meant to be split
	"$program" explore --policy "$policy" $small --format csv >"$dir/all.csv" 2>"$dir/err"
	code=$?
	found=$(awk -F, 'NR > 1 && $3' "$dir/all.csv" | wc -l)
	[ "$code" -eq 10 ] && [ "$found" -gt 0 ] || fail "$policy: exit $code, $found words"
	[ "$(wc -l <"$dir/all.csv")" -eq 8 ] || fail "$policy: not seven words"
	for word in $words; do
		length=$(awk -F, -v word="$word" '$2 == word { print $3 }' "$dir/all.csv")
		if [ -z "$length" ]; then
			explore 0 --policy "$policy" $small --find "$word"
			grep -Eq "^# $word +none$" "$dir/out" || fail "$policy: $word is not none"
			continue
		fi
		explore 10 --policy "$policy" $small --find "$word"
		cp "$dir/out" "$dir/word.cow"
		grep -Eq "^# $word +$length: " "$dir/out" || fail "$policy: $word has two lengths"
		"$program" run "$dir/word.cow" >"$dir/out" 2>"$dir/err" ||
			fail "$policy: $word: the scenario does not hold"
		"$program" run - <"$dir/word.cow" >"$dir/out" 2>"$dir/err" ||
			fail "$policy: $word: the scenario does not hold on standard input"
		has "$dir/word.cow" "$word" || fail "$policy: the scenario has no $word"
		# An event is a line of its own below the header; what it asserts is taken off.
		sed 's/ *->.*//; s/ == [^ ]*//' "$dir/word.cow" >"$dir/bare.cow"
		has "$dir/bare.cow" "$word" || fail "$policy: without assertions there is no $word"
		events=$(grep -nE '^([A-Za-z_0-9]+: |peek |poke |release )' "$dir/bare.cow" |
			cut -d: -f1)
		[ "$(echo "$events" | wc -w)" -eq "$length" ] || fail "$policy: $word: events"
		for line in $events; do
			sed "${line}d" "$dir/bare.cow" >"$dir/less.cow"
			has "$dir/less.cow" "$word" && fail "$policy: $word needs no line $line"
		done
	done
done
[ -s "$dir/err" ] && fail "nobody looks, and yet there is progress"

# ------------------------------------------------------------ threads, bounds, forms

for threads in 1 2 5; do
	explore 10 --policy mapcount,exclusive $small --threads "$threads" --format json
	cp "$dir/out" "$dir/threads.$threads"
done
cmp -s "$dir/threads.1" "$dir/threads.2" && cmp -s "$dir/threads.1" "$dir/threads.5" ||
	fail "the answer depends on the number of threads"
if command -v python3 >/dev/null; then
	python3 -c 'import json, sys
d = json.load(sys.stdin)
assert d["schema"] == "cowlab-explore-1"
assert [p["policy"] for p in d["policies"]] == ["mapcount", "exclusive"]
for p in d["policies"]:
    assert p["end"] == "complete" and len(p["words"]) == 7
    for w in p["words"]:
        assert w["events"] is None or len(w["line"].split("; ")) == w["events"]' \
		<"$dir/threads.1" || fail "json"
fi

explore 5 --depth 2
grep -Eq '^# leak +none within 2 events$' "$dir/out" || fail "depth"
grep -q '^# depth: ' "$dir/out" || fail "depth"
explore 10 --depth 3 --find stale-get
explore 10 $small --exact --find leak --policy mapcount
grep -q 'missed' "$dir/out" && fail "an exact search misses nothing"
explore 10 --policy 'mapcount,page-count,ideal' $small --table
grep -Eq '^mapcount .* complete$' "$dir/out" || fail "table"
grep -Eq '^  [0-9]+  P: mmap a 1; ' "$dir/out" || fail "table"

# A pair: the scenario says what each does.
explore 10 --differ mapcount,page-count $small
grep -q '^policies mapcount page-count$' "$dir/out" || fail "differ"
cp "$dir/out" "$dir/pair.cow"
"$program" run "$dir/pair.cow" >"$dir/out" 2>"$dir/err" || fail "differ: the scenario does not hold"
grep -q '2 held' "$dir/out" || fail "differ: both policies"
explore 0 --differ exclusive,pte-exclusive $small

# ------------------------------------------------------------ files

# Bounds and checkpoints: in three parts the same answer as in one.
explore 10 --policy mapcount $small --format json
cp "$dir/out" "$dir/whole.json"
explore 5 --policy mapcount $small --depth 2 --checkpoint "$dir/state" --format json
[ -s "$dir/state" ] || fail "no checkpoint"
explore 10 --policy mapcount $small --depth 6 --checkpoint "$dir/state" --format json
[ -s "$dir/state" ] || fail "no checkpoint"
explore 10 --policy mapcount $small --checkpoint "$dir/state" --format json
cmp -s "$dir/out" "$dir/whole.json" || fail "a search in parts comes to something else"
[ -e "$dir/state" ] && fail "a checkpoint of what is complete"
explore 5 --policy mapcount $small --depth 2 --checkpoint "$dir/state"
explore 2 --policy exclusive $small --checkpoint "$dir/state"
printf x | dd of="$dir/state" bs=1 seek=100 conv=notrunc 2>/dev/null
explore 2 --policy mapcount $small --checkpoint "$dir/state"
: >"$dir/state"
explore 2 --policy mapcount $small --checkpoint "$dir/state"

# Ctrl-C: ends with what is known, and goes on.
"$program" explore --pages 2 --checkpoint "$dir/interrupted" >"$dir/out" 2>"$dir/err" &
child=$!
sleep 2
kill -INT "$child"
wait "$child"
[ $? -eq 5 ] || fail "interrupted: not exit 5"
grep -q '^# interrupted: ' "$dir/out" && [ -s "$dir/interrupted" ] || fail "interrupted"
explore 5 --pages 2 --memory 20M
grep -q '^# memory: ' "$dir/out" || fail "memory"

explore 10 --processes 1 --refs 1 --dot "$dir/graph"
states=$(sed -n 's/^# complete: \([0-9]*\) states.*/\1/p' "$dir/out")
[ "$(grep -c 'tooltip' "$dir/graph")" -eq "$states" ] || fail "dot: nodes"
[ "$(head -n 1 "$dir/graph")" = 'digraph cowlab {' ] && [ "$(tail -n 1 "$dir/graph")" = '}' ] ||
	fail "dot: frame"
attributes='label="[^"]*"(, color=red, fontcolor=red)?'
sed '1,3d; $d' "$dir/graph" |
	grep -Evq "^	[0-9]+ (\[tooltip=\"depth [0-9]+\"\]|-> [0-9]+ \[$attributes\]);\$" &&
	fail "dot: grammar"
if command -v gc >/dev/null; then # of graphviz: reads the file, and draws nothing
	gc -n "$dir/graph" | grep -Eq "^ +$states " || fail "dot: graphviz counts other nodes"
fi

# ------------------------------------------------------------ mistakes

explore 1 --find leek
grep -q "did you mean 'leak'" "$dir/err" || fail "word"
explore 1 --events fork,reed
explore 1 --policy none
explore 1 --processes 0
explore 1 --processes 7
explore 1 --memory 1X
explore 1 --differ mapcount
explore 1 --differ mapcount,exclusive --policy ideal
explore 1 --policy all --checkpoint "$dir/x"
explore 1 --policy all --dot "$dir/x"
explore 1 operand
explore 3 $small --dot "$dir/none/x"
explore 0 --help
[ "$(wc -l <"$dir/out")" -le 40 ] || fail "help is longer than a screen"
echo "explore: all as it must be"
