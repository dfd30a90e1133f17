#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: limits.sh COWLAB
# Where users are limited, or files of the system masked: what cannot be done is skipped with its reason,
# nothing passes for a difference, and every setting is what it was.
set -eu
cowlab=$1
here=$(cd "$(dirname "$0")" && pwd)
"$cowlab" host --help >/dev/null || { echo "skipped: built without host" && exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "skipped: not root" && exit 77; }
case $(uname -r) in
6.1[89].*) ;;
*) echo "skipped: docs/fidelity.md is about 6.18, and this is $(uname -r)" && exit 77 ;;
esac
for tool in setpriv prlimit unshare; do
	command -v $tool >/dev/null || { echo "skipped: no $tool" && exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
mkdir "$scratch/cow"
cp "$cowlab" "$scratch/cowlab"
cowlab=$scratch/cowlab
for file in "$here"/../../examples/*.cow; do
	grep -qe hugetlb -e '^lru-batch' "$file" || cp "$file" "$scratch/cow"
done
rm -f "$scratch"/cow/thp-* "$scratch"/cow/*-thp* # khugepaged and the machine's load are not meant here
chmod -R a+rX "$scratch"

fail() {
	echo "limits: $*"
	grep -A 3 DIFFERS "$scratch/out" || head -n 40 "$scratch/out"
	cat "$scratch/err"
	exit 1
}

settings() {
	head -n 1 /proc/sys/vm/page-cluster /proc/sys/fs/pipe-max-size \
		/sys/kernel/mm/ksm/run /sys/kernel/mm/ksm/pages_to_scan /sys/kernel/mm/ksm/sleep_millisecs \
		/sys/kernel/mm/transparent_hugepage/hugepages-*/enabled 2>/dev/null || true
	tail -n +2 /proc/swaps | cut -d' ' -f1
}

# under WRAPPER...: the examples and random scenarios come to nothing that differs.
under() {
	settings >"$scratch/before"
	code=0
	"$@" "$cowlab" host --compare --facts "$scratch"/cow/*.cow >"$scratch/out" 2>"$scratch/err" || code=$?
	[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || fail "$*: host: exit $code"
	reasons=$(grep -o 'skipped: .*' "$scratch/out" || true)
	told=$(cat "$scratch/err")
	agree=$(grep -c ' agrees$' "$scratch/out" || true)
	code=0
	"$@" "$cowlab" fuzz --host --seed 7000 --count 210 --profile base,gup,wp,swap,file,ksm,thp \
		>"$scratch/out" 2>"$scratch/err" || code=$?
	[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || fail "$*: fuzz: exit $code"
	settings | cmp -s - "$scratch/before" || { sleep 1; settings | diff "$scratch/before" -; } ||
		fail "$*: a setting is another"
}

# agrees LEAST; says REASON
agrees() {
	[ "$agree" -ge "$1" ] || fail "only $agree agree"
}
says() {
	case $reasons$told in
	*"$1"*) ;;
	*) fail "not '$1': $reasons" ;;
	esac
}

nobody="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"
# shellcheck disable=SC2086 # words are meant to be split
{
	under $nobody
	agrees 60
	says 'not seen here: page frames'
	under prlimit --memlock=16384 $nobody
	agrees 60
	# Rings of the sessions before are given back late, and count: there may be no room for a ring.
	case $reasons in
	*'(RLIMIT_MEMLOCK)'* | *'io_uring is not to be had'*) ;;
	*) fail "memory that may be pinned has no limit: $reasons" ;;
	esac
	for count in 3 4 5; do
		under prlimit --nproc=$count $nobody
	done
}
for count in 12 16 20 24 28 32 40; do
	under prlimit --nofile=$count
done
agrees 60
under prlimit --nofile=16
[ "$code" -eq 3 ] || fail "all of a search is skipped: exit $code, not 3"
grep -q '^skipped: too few files may be open here (RLIMIT_NOFILE), [1-9][0-9]* times$' "$scratch/out" ||
	fail "no sum of what is skipped"
says 'too few files may be open here (RLIMIT_NOFILE)'

# Root without its rights: frames are hidden, files of root can be written.
under setpriv --bounding-set -sys_admin --inh-caps -sys_admin
agrees 60
says 'what is merged is not seen'
says 'not seen here: page frames'

# /proc/kpagecount and kpageflags masked by empty files, as containers do.
: >"$scratch/empty"
cat >"$scratch/masked" <<END
mount --make-rprivate /
mount --bind $scratch/empty /proc/kpagecount
mount --bind $scratch/empty /proc/kpageflags
exec "\$@"
END
if unshare -m sh "$scratch/masked" true 2>/dev/null; then
	under unshare -m sh "$scratch/masked"
	agrees 60
	says 'not seen here: /proc/kpagecount'
	says 'is not told what reclaim came to'
else
	echo "nothing can be mounted here"
fi

# A swap file is made somewhere else if the first place has no room, or cannot be swapped to, and under
# whatever name that place goes by.
swap=$scratch/cow/swap-basic.cow
where() {
	"$@" "$cowlab" host --compare "$swap" >"$scratch/out" 2>"$scratch/err" || fail "$*: $swap"
	grep -q ' agrees$' "$scratch/out" || fail "$*: it does not agree"
}
if "$cowlab" host --compare "$swap" | grep -q ' agrees$'; then
	ln -s /var/tmp "$scratch/link"
	mkdir "$scratch/a place"
	where env TMPDIR="$scratch/link"
	where env TMPDIR="$scratch/a place"
	where env TMPDIR=.
	where env TMPDIR="$scratch/none"
	echo "mount -t tmpfs -o size=64k none '$scratch/a place'; TMPDIR='$scratch/a place' exec \"\$@\"" \
		>"$scratch/small"
	where unshare -m sh "$scratch/small"
fi
echo "limits: all told"
