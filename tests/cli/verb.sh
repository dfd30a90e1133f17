# SPDX-License-Identifier: MIT
#
# What the tests of one verb share, which end at the first thing that is wrong.  To be sourced by
# test_NAME.sh PROGRAM; the verb is called in the directory in which the test was started.
# shellcheck shell=sh
program=$1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

fail()
{
	echo "$(basename "$0" .sh): $*"
	head -n 40 "$dir/out" "$dir/err"
	exit 1
}

# verb VERB CODE OPTION...: leaves what was printed in $dir/out and $dir/err.
verb()
{
	verb=$1 want=$2
	shift 2
	"$program" "$verb" "$@" >"$dir/out" 2>"$dir/err"
	got=$?
	[ "$got" -eq "$want" ] || fail "$verb $*: expected exit $want, found $got"
}
