#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: redis.sh COWLAB
# By hand: sets what the referee counts of a BGSAVE under writes beside what Redis measures itself
# (rdb_last_cow_size, the private dirty memory of its child).  Needs root, perf and redis-server.
set -eu
if [ "${1:-}" = load ]; then # under perf, in the folder $2
	cd "$2"
	client="redis-cli -s $2/socket"
	redis-server --port 0 --unixsocket "$2/socket" --save '' --appendonly no --dir "$2" \
		--rdb-key-save-delay 20 --enable-debug-command yes --logfile "$2/log" &
	until $client ping >/dev/null 2>&1; do sleep 0.1; done
	$client debug populate 60000 key 300 >/dev/null
	$client bgsave >/dev/null
	awk 'BEGIN { for (i = 0; i < 700; i++) printf "SETRANGE key:%d 0 abcdef\n", i * 85 }' |
		$client >/dev/null
	until $client info persistence | grep -q bgsave_in_progress:0; do sleep 0.5; done
	$client info persistence >"$2/info"
	$client shutdown nosave
	wait
	exit
fi
cowlab=$1
for tool in perf redis-server; do
	command -v $tool >/dev/null || { echo "skipped: no $tool" && exit 77; }
done
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$here/record" "$scratch/perf.txt" sh "$here/redis.sh" load "$scratch"
"$cowlab" referee "$scratch/perf.txt" --format csv >"$scratch/faults.csv"
# the last process that the server forks is the one that saves
fork=$(grep -n 'sched_process_fork: comm=redis-server' "$scratch/perf.txt" | tail -n 1)
child=${fork##*child_pid=}
parent=$(echo "$fork" | sed 's/.* pid=\([0-9]*\) child_comm.*/\1/')
exit=$(grep -n "sched_process_exit: comm=redis-server pid=$child " "$scratch/perf.txt" | cut -d: -f1)
awk -F, -v from="${fork%%:*}" -v to="$exit" -v parent="$parent" -v child="$child" '
	$1 <= from || $1 >= to { next }
	$4 == parent && $10 == "copy" { copied++ }
	$4 == child && $10 == "copy" { own++ }
	$4 == child && $10 == "alloc" && $11 == "anon" { own++ }
	$10 == "unknown" && ($4 == parent || $4 == child) { unknown++ }
	END { printf "the referee: %d pages, %d copied by the server and %d new in its child; %d unknown\n",
		copied + own, copied, own, unknown }' "$scratch/faults.csv"
awk -F: '/^rdb_last_cow_size/ { printf "Redis: %d pages\n", $2 / 4096 }' "$scratch/info"
