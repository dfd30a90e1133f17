# SPDX-License-Identifier: MIT
#
# Where the tests of the program work that count what passes.  To be sourced by test_NAME.sh PROGRAM:
# goes to a directory of its own, from which $program can be called.
# shellcheck shell=sh
program=${1:-${COWLAB:?the program to test}}
case $program in
/*) ;;
*/*) program=$PWD/$program ;;
esac
if [ ! -x "$program" ]; then
	echo "$program: not a program"
	exit 1
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

passed=0
failed=0
