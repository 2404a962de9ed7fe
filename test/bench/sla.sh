#!/bin/sh
# sla.sh: what tick() costs beside what is open, and a recomputation beside an UPDATE of the same rows.
#
# usage: by run.sh. tick(): a sweep that tells 1,000 breaches, with 1M clocks open, over the same with 10,000 open; about 1
# if it costs what is due and not what is open. Recompute: 100,000 open clocks over a plain UPDATE of the same rows, where a
# target has changed, and, of requests, where a policy comes that wins, so that all is reckoned from the moments.
set -eu
. test/bench/lib.sh

OPEN=${OPEN:-1000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
psql -X -q -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
INSERT INTO omnichannel.sla_policy (policy, rank, metric, target, calendar) VALUES ('bench', 1, 'resolution', '6 hours', 'office');
DELETE FROM omnichannel.sla_stale;
SQL

# clocks FROM TO DUE: inserts open clocks, one a customer, due then.
clocks() {
	psql -X -q -v ON_ERROR_STOP=1 -c "INSERT INTO omnichannel.customer (customer_id) SELECT g FROM generate_series($1, $2) AS g ON CONFLICT DO NOTHING;
		INSERT INTO omnichannel.sla_clock (customer_id, metric, policy, channel, moment_id, started_at, target, calendar, due_at, tell_at)
		SELECT g, 'resolution', 'bench', 'branch', g, '2026-06-01 10:00Z', '6 hours', 'office', $3, $3 FROM generate_series($1, $2) AS g"
}

# timed SQL: prints the milliseconds that a statement takes.
timed() {
	psql -X -q -A -t -v ON_ERROR_STOP=1 -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1
}

# sweeps: prints the milliseconds of three sweeps of 1,000 breaches.
sweeps() {
	for run in 1 2 3; do
		from=$((50000000 + $1 * 100000 + run * 1000))
		clocks $from $((from + 999)) "now() - interval '1 hour'"
		timed "SELECT omnichannel.tick_sla()"
	done
}

clocks 1 10000 "now() + interval '100 days'"
psql -X -q -c 'VACUUM ANALYZE omnichannel.sla_clock'
sweeps 0 >/dev/null
sweeps 1 >"$work/few"
clocks 10001 100000 "now() + interval '100 days'"
psql -X -q -c "DELETE FROM omnichannel.sla_clock WHERE customer_id >= 50000000" -c 'VACUUM ANALYZE omnichannel.sla_clock'

for run in 1 2 3; do
	peer=$(timed "UPDATE omnichannel.sla_clock SET due_at = due_at + interval '1 minute', tell_at = tell_at + interval '1 minute'")
	psql -X -q -c 'VACUUM omnichannel.sla_clock' -c "UPDATE omnichannel.sla_policy SET target = '$((run + 1)) hours' WHERE policy = 'bench'"
	echo "$(timed 'SELECT count(*) FROM omnichannel.recompute_sla()') $peer"
	psql -X -q -c 'VACUUM omnichannel.sla_clock'
done | report 'recompute_sla(), 100,000 open clocks: UPDATE' '%.0f ms'

psql -X -q -c "UPDATE omnichannel.sla_clock SET due_at = now() + interval '100 days', tell_at = now() + interval '100 days', breached_at = NULL, outcome = NULL"
clocks 100001 "$OPEN" "now() + interval '100 days'"
psql -X -q -c 'VACUUM ANALYZE omnichannel.sla_clock'
sweeps 2 >"$work/many"
paste "$work/many" "$work/few" | report "tick_sla(), 1,000 of $OPEN open clocks due: 1,000 of 10,000" '%.0f ms'

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
TRUNCATE omnichannel.sla_clock;
INSERT INTO omnichannel.request (customer_id, kind, channel) SELECT g, 'complaint', 'branch' FROM generate_series(1, 100000) AS g;
VACUUM ANALYZE;
SQL
for run in 1 2 3; do
	peer=$(timed "UPDATE omnichannel.sla_clock SET due_at = due_at + interval '1 minute', tell_at = tell_at + interval '1 minute'")
	psql -X -q -c 'VACUUM omnichannel.sla_clock' -c "INSERT INTO omnichannel.sla_policy (policy, rank, metric, target, calendar)
		VALUES ('better$run', -$run, 'resolution', '$((run + 1)) hours', 'office')"
	echo "$(timed 'SELECT count(*) FROM omnichannel.recompute_sla()') $peer"
	psql -X -q -c 'VACUUM omnichannel.sla_clock, omnichannel.sla_customer'
done | report 'recompute_sla(), a better policy for 100,000: UPDATE' '%.0f ms'
