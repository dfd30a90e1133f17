#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: bad.sh COWLAB
# What cannot be run is skipped with its line, and a file that does not parse is refused.
set -eu
cowlab=$1
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }

expect() { # CODE TEXT ARGUMENT... <SCENARIO
	code=$1 text=$2 got=0
	shift 2
	out=$("$cowlab" host "$@" 2>&1) || got=$?
	[ "$got" -eq "$code" ] || { echo "$out: exit $got, not $code" && exit 1; }
	case $out in
	*"$text"*) ;;
	*) echo "$out: not '$text'" && exit 1 ;;
	esac
}

printf 'process P\nP: mmap a 1\nP: get r a write\n' | expect 3 '<stdin>:3: no system call' -
printf 'frames 16\nprocess P\nP: mmap a 1\n' | expect 3 'cannot be made so small' -
printf 'lru-batch 3\nprocess P\nP: mmap a 1\n' | expect 3 'and cannot be set' -
printf 'process P\nP: mmap a 1\nP: pin r a write longterm times 2000\n' |
	expect 3 'no more than 1024 buffers' --compare -
printf 'process P\nP: mmap a 5000\nP: write a 1\n' |
	expect 3 '3: the 4096 frames of the scenario' --compare -
printf 'process P\nfile F 0\nP: mmap a 1 file F\nP: read a -> sigbus\n' | expect 0 'sigbus' -
printf 'process P\r\nP: mmap a 1\r\nP: write a 1' | expect 0 'write a 1' -
printf 'process P\nrepeat 0\nend\n' | expect 2 'too small' -
printf 'process P\nP: mmap a 99999999999\n' | expect 2 'too large' -
{
	printf 'process'
	seq -f ' P%.0f' 200
	echo
} | tr -d '\n' | sed 's/$/\n/' | expect 3 'too many processes' -
dd if=/dev/urandom bs=65536 count=16 2>/dev/null | expect 2 'error' -
expect 2 'no `process' - </dev/null
[ "$(id -u)" -ne 0 ] || [ ! -c /dev/full ] || {
	code=0
	printf 'process P\nP: mmap a 1\n' | "$cowlab" host - >/dev/full 2>/dev/null || code=$?
	[ "$code" -eq 3 ] || { echo "a full disk: exit $code" && exit 1; }
}
printf 'process P\nP: mmap a\n' | expect 2 'error' -
expect 3 'no such file' ./none.cow
printf 'process P\nP: mmap a 1\nP: read a\n' | expect 1 'one policy' --compare --policy all -
printf 'process P\nP: mmap a 1\nP: munmap a\nP: exit\n' | expect 0 'P: exit' -
# a write that nobody would resolve does not hang
[ "$(id -u)" -ne 0 ] ||
	printf 'process P\nP: mmap a 1\nP: write a 1\nP: uffd-wp a on\nP: write a 2\n' |
		expect 0 'blocked' -
