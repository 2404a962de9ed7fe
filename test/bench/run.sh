#!/bin/sh
# run.sh: measures the extension beside its peers on a private server and prints a table.
#
# usage: test/bench/run.sh [ROW]...
# Each other script here is a row, or a few: it finds an empty database in PGDATABASE with the extension set up, measures
# ours and the peer's in turns, three times, and prints lines "what|ours|peer|ratio|spread"; see lib.sh. All rows where none
# is named. SHARED_BUFFERS in the environment sets what its name says, 512MB otherwise. Where the machine
# has huge pages to spare (vm.nr_hugepages), the server takes them, and the head of the table says so.
set -eu
cd "$(dirname "$0")/../.."
. test/lib.sh
in_workshop test/bench/run.sh "$BUILD_PACKAGES" "$@"

SERVER_SETTINGS="
shared_buffers = ${SHARED_BUFFERS:-512MB}
work_mem = 64MB
max_wal_size = 4GB
max_connections = 200
max_parallel_workers_per_gather = 0
jit = off"
use_server

# huge_pages: whether the server's shared memory is of them, which huge_pages = try leaves open
huge_pages() {
	server=$(psql -X -A -t -c "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
	if [ ! -r "/proc/$server/smaps" ]; then
		echo unknown
	elif awk '/^KernelPageSize:/ && $2 > 4 {found = 1} END {exit !found}' "/proc/$server/smaps"; then
		echo on
	else
		echo off
	fi
}

settings() {
	for setting in shared_buffers work_mem fsync synchronous_commit jit max_parallel_workers_per_gather; do
		printf '%s %s, ' $setting "$(psql -X -A -t -c "SHOW $setting")"
	done
	echo "huge pages $(huge_pages)"
}

memory_gb=$(awk '/^MemTotal/ {printf "%.0f", $2 / 1048576}' /proc/meminfo)
echo "machine:    $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $memory_gb GB"
echo "PostgreSQL: $(psql -X -A -t -c 'SHOW server_version'), extension $(sed -n "s/^default_version *= *'\(.*\)'/\1/p" omnichannel.control)"
echo "settings:   $(settings)"
echo

if [ $# -eq 0 ]; then
	for script in test/bench/*.sh; do
		case $script in */run.sh | */lib.sh) continue ;; esac
		set -- "$@" "$(basename "$script" .sh)"
	done
fi
[ $# -gt 0 ] || fail "there is nothing to measure"
rows=$WORKSHOP/bench.rows
: >"$rows"
failed=0
for row; do
	database=bench_$row
	set_up_database "$database"
	echo "measuring $row" >&2
	PGDATABASE=$database "test/bench/$row.sh" >"$rows.one" || {
		echo "$row failed" >&2
		failed=1
	}
	awk -F '|' 'NF == 5' "$rows.one" >>"$rows"
	awk -F '|' 'NF != 5' "$rows.one" >&2
	dropdb "$database"
done
awk -F '|' '
	BEGIN {cell[0, 1] = "what"; cell[0, 2] = "ours"; cell[0, 3] = "peer"; cell[0, 4] = "ratio"; cell[0, 5] = "spread"
		for (c = 1; c <= 5; c++) width[c] = length(cell[0, c])}
	{for (c = 1; c <= 5; c++) {cell[NR, c] = $c; if (length($c) > width[c]) width[c] = length($c)}}
	END {for (r = 0; r <= NR; r++) {
		printf "%-*s", width[1], cell[r, 1]
		for (c = 2; c <= 5; c++) printf "  %*s", width[c], cell[r, c]
		printf "\n"}
	}' "$rows"
exit $failed
