#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The program from outside: exit codes, messages, and every bad input that a careless user gives.
# usage: test_cli.sh PROGRAM [SOURCE]
# One line a check; at the end `N passed, N failed`, and exit code 1 if any failed.

. "$(dirname "$0")/place.sh"

pass() {
	passed=$((passed + 1))
	echo "ok    $1"
}

fail() {
	failed=$((failed + 1))
	echo "FAIL  $1: $2"
	sed 's/^/      out: /' out 2>/dev/null | head -n 5
	sed 's/^/      err: /' err 2>/dev/null | head -n 8
}

# run ARGUMENT...: leaves out, err and $code
run() {
	"$program" "$@" >out 2>err
	code=$?
}

# check NAME CODE PATTERN_OF_OUT PATTERN_OF_ERR: of the last run; a pattern of '' wants no output,
# '*' takes any
check() {
	if [ "$code" -ne "$2" ]; then
		fail "$1" "exit code $code, expected $2"
	elif ! matches out "$3"; then
		fail "$1" "standard output is not '$3'"
	elif ! matches err "$4"; then
		fail "$1" "standard error is not '$4'"
	else
		pass "$1"
	fi
}

matches() {
	case $2 in
	'') [ ! -s "$1" ] ;;
	'*') true ;;
	*) grep -q -e "$2" "$1" ;;
	esac
}

# The caret stands under the column that the message names.
caret_is_right() {
	awk 'NR == 1 { split($0, part, ":"); column = part[3] }
	     NR == 3 { exit index($0, "^") == column + 4 ? 0 : 1 }' err
}

# bad NAME PLACE PATTERN: what is on standard input does not parse
bad() {
	cat >bad.cow
	run run bad.cow
	if [ "$code" -ne 2 ]; then
		fail "$1" "exit code $code, expected 2"
	elif ! grep -q "^bad.cow:$2: error: .*$3" err; then
		fail "$1" "no 'bad.cow:$2: error: $3'"
	elif ! caret_is_right; then
		fail "$1" "the caret is not at the column"
	elif grep -q FAILED out; then
		fail "$1" "something ran"
	else
		pass "$1"
	fi
}

# ---------------------------------------------------------------- files

cat >good.cow <<'END'
title a child does not see a later write
process P
P: mmap a 1
P: write a 1 -> alloc
P: fork C
P: write a 2
C: read a == 1
verdict ok
END

cat >wrong.cow <<'END'
process P
P: mmap a 1
P: write a 1 -> hit
P: read a == 2
END

cat >unmodelled.cow <<'END'
process P
P: mmap a 1
P: mmap b 512 thp shared
END

cat >one.cow <<'END'
policies exclusive
process P
P: mmap a 1
P: write a 1 -> alloc
END

cat >broken.cow <<'END'
process P
P: raed a
END

mkdir directory

# ---------------------------------------------------------------- usage

run
check "no verb" 1 '' 'a verb is missing'
run rnu good.cow
check "an unknown verb" 1 '' "unknown verb 'rnu': did you mean 'run'?"
run xyzzyx
check "a verb like none" 1 '' "^cowlab: unknown verb 'xyzzyx'$"
run --hepl
check "an unknown option in place of a verb" 1 '' "did you mean '--help'?"
run run good.cow --polcy exclusive
check "an unknown option" 1 '' "unknown option '--polcy': did you mean '--policy'?"
run run good.cow --polcy=exclusive
check "an unknown option with a value" 1 '' "unknown option '--polcy'"
run print --policy exclusive good.cow
check "an option of another verb" 1 '' "unknown option '--policy'"
run run good.cow --policy
check "an option without its value" 1 '' '--policy needs a value: LIST'
run run good.cow --explain=yes
check "a value for an option that takes none" 1 '' '--explain takes no value'
run run good.cow --format jsno
check "an unknown format" 1 '' "unknown format 'jsno': did you mean 'json'?"
run run good.cow --geometry tny
check "an unknown geometry" 1 '' "unknown geometry 'tny': did you mean 'tiny'?"
run run good.cow --policy exclusiv
check "an unknown policy" 1 '' "no policy .exclusiv.; did you mean .exclusive."
run matrix good.cow --policy 'exclusive,gpu=mapcount'
check "an unknown decision of a policy" 1 '' 'gpu'
run policies mapcuont
check "an unknown policy to print" 1 '' "no policy .mapcuont.; did you mean .mapcount."
run run
check "run without a file" 1 '' 'FILE is missing'
run matrix --format csv
check "matrix without a file" 1 '' 'FILE is missing'
run print good.cow one.cow
check "print of two files" 1 '' "'one.cow' is one more"
run help rnu
check "help for an unknown verb" 1 '' "did you mean 'run'?"

run --version
check "--version" 0 '^cowlab [0-9]*\.[0-9]*\.[0-9]*$' ''
run --help
check "--help" 0 '^usage: cowlab' ''
cp out help.txt
run help
check "help" 0 '^usage: cowlab' ''
cmp -s out help.txt && pass "help is --help" || fail "help is --help" "they differ"
verbs=$(sed -n '/^  help/q; s/^  \([a-z][a-z]*\) .*/\1/p' help.txt)
for verb in '' $verbs; do
	# shellcheck disable=SC2086
	run help $verb
	cp out help.txt
	# shellcheck disable=SC2086
	run $verb --help
	check "$verb --help" 0 "^usage: cowlab ${verb:-VERB}" ''
	lines=$(wc -l <out)
	wide=$(awk 'length > 80' out | wc -l)
	if ! cmp -s out help.txt; then
		fail "$verb --help on one screen" "it differs from help $verb"
	elif [ "$lines" -gt 24 ] || [ "$wide" -gt 0 ] || ! grep -q '^example: .*cowlab' out; then
		fail "$verb --help on one screen" "$lines lines, $wide too wide, or no example"
	else
		pass "$verb --help on one screen"
	fi
done

# A verb takes the options that its help names, and no other.  A value that is none, and an operand too
# many, keep it from doing anything.
for verb in $verbs; do
	"$program" "$verb" --help
done | grep -o -e '--[a-z][a-z-]*' | sort -u >options.txt
for verb in $verbs; do
	"$program" "$verb" --help >out
	wrong=
	while read -r option; do
		named=no taken=yes
		grep -q -e "$option\([^a-z-]\|$\)" out && named=yes
		"$program" "$verb" "$option=?" no/such no/such </dev/null 2>&1 |
			grep -q 'unknown option' && taken=no
		[ "$named" = "$taken" ] || wrong="$wrong $option"
	done <options.txt
	if [ -z "$wrong" ]; then
		pass "$verb takes what its help names"
	else
		fail "$verb takes what its help names" "not so:$wrong"
	fi
done

# ---------------------------------------------------------------- files that do not parse

bad "an unknown verb of a process" 3:4 "unknown verb 'raed': did you mean 'read'?" <<'END'
process P
P: mmap a 1
P: raed a
END
bad "an unknown process" 3:1 "'Q'" <<'END'
process P
P: mmap a 1
Q: read a
END
bad "an unknown region" 3:9 "'b'" <<'END'
process P
P: mmap a 1
P: read b
END
bad "an unknown reference" 3:6 "'r'" <<'END'
process P
P: mmap a 1
peek r == 1
END
bad "an unknown policy in an exception" 3:22 "'mapcont': did you mean 'mapcount'?" <<'END'
process P
P: mmap a 1
P: write a 1 -> hit [mapcont: alloc]
END
bad "an unknown policy in the header" 1:10 "'exclusve': did you mean 'exclusive'?" <<'END'
policies exclusve
process P
END
bad "a place outside its region" '3:[0-9]*' '' <<'END'
process P
P: mmap a 2
P: read a[2]
END
bad "a range that ends outside its region" '3:[0-9]*' '' <<'END'
process P
P: mmap a 2
P: read a[0..2]
END
bad "a region's name used twice" '3:9' "'a'" <<'END'
process P
P: mmap a 1
P: mmap a 1
END
bad "a process's name used twice" '1:11' "'P'" <<'END'
process P P
END
bad "a child's name used twice" '3:9' "'P'" <<'END'
process P
P: mmap a 1
P: fork P
END
bad "a reference's name used twice" '4:8' "'r'" <<'END'
process P
P: mmap a 1
P: get r a
P: get r a
END
bad "a header after an event" '3:1' "frames" <<'END'
process P
P: mmap a 1
frames 10
END
bad "a header given twice" '2:1' "frames" <<'END'
frames 10
frames 11
process P
END
bad "a number past 64 bits" '3:12' '' <<'END'
process P
P: mmap a 1
P: write a 18446744073709551616
END
bad "a region past the address space" '2:11' '' <<'END'
process P
P: mmap a 18446744073709551615
END
bad "more frames than a machine has" '1:8' '' <<'END'
frames 99999999999
process P
END
bad "a reference that was released" '5:6' "'r'" <<'END'
process P
P: mmap a 1
P: get r a
release r
peek r == 1
END
bad "no process at all" '[0-9]*:[0-9]*' 'process' <<'END'
title nobody
END
bad "an empty file" '[0-9]*:[0-9]*' 'process' </dev/null
printf 'process P\nP: mmap a 1\nP: write a' | bad "a truncated line" '3:11' ''
printf 'process P\nP: mmap a 1\nP: read a[' | bad "a truncated place" '3:11' ''
printf 'process P\nrepeat 3\nP: mmap a 1\n' | bad "a repeat without an end" '[0-9]*:[0-9]*' ''

printf 'process P\nP: mm\000p a 1\n' >bad.cow
run run bad.cow
check "a NUL byte" 2 '*' '^bad.cow:2:[0-9]*: error:'
grep -q '^    P: mm\\x00p a 1$' err && pass "a NUL byte is shown" ||
	fail "a NUL byte is shown" "no \\x00 in the line"
printf 'process P\nP: mmap\033[31m a 1\n' >bad.cow
run run bad.cow
LC_ALL=C grep -q "$(printf '\033')" err && fail "an escape sequence" "it got to the terminal" ||
	check "an escape sequence" 2 '*' '\\x1b'
printf 'process P\nP:\traed\ta\n' >bad.cow
run run bad.cow
check "a tab before the caret" 2 '*' "^$(printf '      \t^')$"

i=0
echo 'process P' >bad.cow
while [ $i -lt 30 ]; do
	echo "P: raed a"
	i=$((i + 1))
done >>bad.cow
run run bad.cow
if [ "$(grep -c ': error: ' err)" -eq 20 ] && grep -q '10 errors more' err; then
	pass "20 errors of 30 are shown"
else
	fail "20 errors of 30 are shown" "$(grep -c ': error: ' err) are"
fi

pattern='P: write a [ ]] -> \\001 9999999999999999999999 ""\n'
printf "$pattern%.0s" 1 2 3 4 5 6 7 8 9 10 >garbage
for doubling in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
	cat garbage garbage >more && mv more garbage
done
size=$(wc -c <garbage)
run run garbage
check "$((size >> 20)) MiB of garbage" 2 '*' '^garbage:1:'
[ "$(wc -l <err)" -lt 70 ] && pass "garbage is told in short" ||
	fail "garbage is told in short" "$(wc -l <err) lines"
rm -f garbage
head -c 1000000 /dev/urandom >garbage
run run garbage
check "1 MB of noise" 2 '*' '^garbage:'
head -c 67108864 /dev/zero | tr '\000' 'a' >garbage
run run garbage
check "64 MiB in one line" 2 '*' '^garbage:1:1: error:'
if truncate -s 1G sparse 2>/dev/null; then
	run run sparse
	check "a file of 1 GiB" 3 '*' '^cowlab: sparse: '
fi
rm -f garbage sparse

# ---------------------------------------------------------------- what the system would not let

run run directory
check "a directory" 3 '*' '^cowlab: directory: it is a directory$'
run print directory
check "print of a directory" 3 '' '^cowlab: directory: it is a directory$'
run matrix missing.cow
check "a missing file" 3 '*' '^cowlab: missing.cow: there is no such file$'
if [ "$(id -u)" -ne 0 ]; then
	cp good.cow secret.cow
	chmod 0 secret.cow
	run run secret.cow
	check "a file that may not be read" 3 '*' 'secret.cow: Permission denied'
fi
if [ -w /dev/full ]; then
	for arguments in "run good.cow" "matrix good.cow" "print good.cow" policies --help \
		"policies exclusive" "run good.cow --explain --format json" --version; do
		# shellcheck disable=SC2086
		"$program" $arguments >/dev/full 2>err
		code=$?
		: >out
		check "a full disk: $arguments" 3 '' '^cowlab: standard output: there is no space'
	done
fi
for arguments in "run good.cow" "matrix good.cow" policies \
	"run good.cow --explain --format json"; do
	# shellcheck disable=SC2086
	{
		sleep 0.1
		"$program" $arguments 2>err
		echo $? >code
	} | true
	code=$(cat code)
	: >out
	check "a closed pipe: $arguments" 3 '' '^cowlab: standard output: nobody reads the'
done
"$program" policies >&- 2>err
code=$?
: >out
check "no standard output" 3 '' '^cowlab: standard output: '

# ---------------------------------------------------------------- print

run print good.cow
check "print" 0 '^process P$' ''
cp out printed.cow
run print printed.cow
cmp -s out printed.cow && pass "print of print" || fail "print of print" "they differ"
"$program" print - <good.cow >out 2>err
code=$?
cmp -s out printed.cow && check "print of standard input" 0 '*' '' ||
	fail "print of standard input" "it differs"
run print broken.cow
check "print of a file that does not parse" 2 '' 'broken.cow:2:4: error:'
run print -- good.cow
check "an operand after --" 0 '^process P$' ''

# ---------------------------------------------------------------- policies

run policies
check "policies" 0 '^exclusive ' ''
[ "$(grep -c '^[^ ]' out)" -eq 13 ] && pass "13 policies" ||
	fail "13 policies" "$(grep -c '^[^ ]' out) are listed"
run policies exclusive
check "the table of a policy" 0 '^exclusive: ' ''
for key in write fork gup force protect track; do
	grep -q "^$key: " out || fail "the table of a policy" "no decision $key"
done
run policies exclusive,gup=mapcount
check "the table of a composition" 0 '^exclusive,gup=mapcount: ' ''
run policies 'mapcount*'
check "a list by a glob" 0 '^mapcount-unshare ' ''
run policies --format csv
check "policies as CSV" 0 '^name,kernels,marker,summary$' ''

# ---------------------------------------------------------------- run and matrix

run run good.cow
check "run under every policy" 0 '^13 runs: 13 held, 0 failed' ''
run run good.cow --policy exclusive
check "run under one" 0 '^good.cow  exclusive  verdict ok  copies 1 (needless 0)  ok$' ''
"$program" run --policy=exclusive - <good.cow >out 2>err
code=$?
check "run of standard input" 0 '^1 run: 1 held' ''
run run good.cow --policy exclusive --explain
check "run --explain" 0 'by rule ' ''
grep -q '^6: P: write a 2$' out && grep -q '^    -> copy$' out && grep -q '^    write P a: ' out &&
	pass "run --explain tells each step" ||
	fail "run --explain tells each step" "a line, its outcome or its decision is missing"
for geometry in x86-64 x86-64-5 arm64-16k arm64-64k tiny; do
	run run good.cow --geometry $geometry --check
	check "run --geometry $geometry --check" 0 '^13 runs: 13 held' ''
done
run run one.cow
check "a file that speaks of one policy" 0 '^1 run: 1 held, 0 failed, 0 skipped' ''
run run one.cow --policy all
check "the others are skipped when asked for" 0 '^13 runs: 1 held, 0 failed, 12 skipped' ''
run matrix one.cow
check "a matrix shows what is skipped" 0 ' skip ' ''
run run good.cow --no-audit
check "run --no-audit" 0 'verdict not-judged ' ''
run run good.cow --no-audit --policy ideal
check "ideal without an audit" 1 '' 'policy ideal decides by the audit'

run run wrong.cow --policy exclusive
check "a failed assertion" 10 '^wrong.cow:3: P: write a 1 -> hit$' ''
grep -q '^    expected ' out && grep -q '^    found ' out &&
	grep -q '^wrong.cow:4: P: read a == 2$' out && grep -q 'FAILED 2$' out &&
	pass "expected, found, and each failure" ||
	fail "expected, found, and each failure" "something is missing"
run matrix wrong.cow
check "a failed assertion in a matrix" 10 '! ' ''
run run unmodelled.cow --policy exclusive
check "what is not modelled yet" 3 'not modelled yet: .*unmodelled.cow:3' ''
run matrix unmodelled.cow
check "the same in a matrix" 3 'n/m' ''

run run broken.cow good.cow --policy exclusive
check "a bad file does not stop a good one" 2 '^good.cow .* ok$' '^broken.cow:2:4: error'
run run wrong.cow broken.cow --policy exclusive
check "2 is graver than 10" 2 'FAILED 2' 'broken.cow'
run run missing.cow broken.cow wrong.cow --policy exclusive
check "3 is graver than 2" 3 'FAILED 2' 'missing.cow'
run run good.cow wrong.cow good.cow --policy exclusive
check "10 is graver than 0" 10 '^3 runs: 2 held, 1 failed' ''

if command -v python3 >/dev/null 2>&1; then
	printf 'title "quoted", \\ back\n' | cat - one.cow >'odd "name", é.cow'
	for arguments in "run --explain" run matrix; do
		# shellcheck disable=SC2086
		run $arguments good.cow wrong.cow missing.cow unmodelled.cow 'odd "name", é.cow' \
			--policy all --format json
		python3 -m json.tool out >/dev/null 2>err.json &&
			check "$arguments as JSON" 3 '"schema": "cowlab-' 'missing.cow' ||
			fail "$arguments as JSON" "$(cat err.json)"
	done
	for arguments in policies "policies exclusive"; do
		# shellcheck disable=SC2086
		run $arguments --format json
		python3 -m json.tool out >/dev/null 2>err.json &&
			check "$arguments as JSON" 0 '"schema": "cowlab-' '' ||
			fail "$arguments as JSON" "$(cat err.json)"
	done
	for arguments in run matrix; do
		run $arguments good.cow wrong.cow 'odd "name", é.cow' \
			--policy all,exclusive,gup=mapcount --format csv
		widths=$(python3 -c 'import csv
print(len({len(row) for row in csv.reader(open("out", newline="", encoding="utf-8"))}))')
		[ "$widths" = 1 ] && check "$arguments as CSV" 10 '*' '' ||
			fail "$arguments as CSV" "rows of $widths widths"
	done
fi

run run good.cow wrong.cow --format json --explain --policy all
cp out first
run run good.cow wrong.cow --format json --explain --policy all
cmp -s out first && pass "the same bytes twice" || fail "the same bytes twice" "they differ"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
