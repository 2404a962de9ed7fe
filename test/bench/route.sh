#!/bin/sh
# route.sh: route() and claim() at 1, 4, 16 and 64 clients, beside functions that do the same in plain PL/pgSQL, and
# beside a bare FOR UPDATE SKIP LOCKED queue that only hands out ids; claim() with few and many requests waiting, and
# while another session holds an old snapshot.
#
# Ten queues of a hundred agents each. The PL/pgSQL peers have tables made for them, no ageing, holds, refusals or
# history, and one lock a queue. Transactions a second, the mean of three interleaved runs; for the two last rows the
# 95th percentile in ms.
set -eu

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
SET search_path = omnichannel, pg_catalog;
INSERT INTO queue (queue, hold_for_owner) SELECT 'q' || n, '0' FROM generate_series(0, 9) AS n;
INSERT INTO agent (agent_id, name, skills, capacity) SELECT n, 'Agent ' || n, 'a:5', 1000000000 FROM generate_series(1, 1000) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, 'chat', 1 + n % 10 FROM generate_series(1, 1000) AS n;
INSERT INTO queue_member (queue, agent_id) SELECT 'q' || n % 10, n FROM generate_series(1, 1000) AS n;
INSERT INTO agent_state (agent_id, idle_since, state) SELECT n, now(), 'available' FROM generate_series(1, 1000) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 100000);
INSERT INTO relationship (customer_id, agent_id, contacts, strength)
SELECT n, 1 + (n * 7 + m * 13) % 1000, m, m FROM generate_series(1, 100000) AS n, generate_series(1, 3) AS m ON CONFLICT DO NOTHING;
SET session_replication_role = replica;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 1 + n % 100000, 'question', 'waiting_agent', 'chat', 'q' || n % 10 FROM generate_series(1, 1400000) AS n;
INSERT INTO lane (lane_id, queue, channel) SELECT n + 1, 'q' || n, 'chat' FROM generate_series(0, 9) AS n;
SELECT FROM setval('lane_lane_id_seq', 20);
INSERT INTO waiting (request_id, customer_id, lane_id, level, entered_at)
SELECT n, 1 + n % 100000, 1 + n % 10, 0, '2026-01-01'::timestamptz + n * interval '1 ms' FROM generate_series(1, 1000000) AS n;
RESET session_replication_role;

SET search_path = public;
CREATE SEQUENCE next_request START 1000001;
CREATE SEQUENCE peer_next START 300001;
CREATE TABLE peer_agent AS SELECT n AS agent_id, n % 10 AS queue, true AS available, 0 AS used, 1000000000 AS capacity,
	now() AS idle_since, 1 + n % 10 AS chat FROM generate_series(1, 1000) AS n;
ALTER TABLE peer_agent ADD PRIMARY KEY (agent_id), SET (fillfactor = 50);
CREATE INDEX ON peer_agent (queue);
CREATE TABLE peer_request (id bigint PRIMARY KEY, customer_id bigint, queue int, state text, agent_id bigint) WITH (fillfactor = 70);
INSERT INTO peer_request SELECT n, 1 + n % 100000, n % 10, 'waiting' FROM generate_series(1, 900000) AS n;
CREATE TABLE peer_waiting (id bigint PRIMARY KEY, queue int, priority int, entered_at timestamptz);
CREATE INDEX ON peer_waiting (queue, priority DESC, entered_at, id);
INSERT INTO peer_waiting SELECT n, n % 10, 0, '2026-01-01'::timestamptz + n * interval '1 ms' FROM generate_series(1, 300000) AS n;
CREATE TABLE peer_assignment (id bigint PRIMARY KEY, agent_id bigint, offered_at timestamptz);
CREATE INDEX ON peer_assignment (agent_id);
CREATE TABLE bare_queue (id bigint PRIMARY KEY, queue int, priority int, entered_at timestamptz);
CREATE INDEX ON bare_queue (queue, priority DESC, entered_at, id);
INSERT INTO bare_queue SELECT n, n % 10, 0, '2026-01-01'::timestamptz + n * interval '1 ms' FROM generate_series(1, 1000000) AS n;

CREATE FUNCTION peer_route(request bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	asked record;
	chosen bigint;
BEGIN
	SELECT * INTO asked FROM peer_request WHERE id = request;
	PERFORM pg_advisory_xact_lock(1, asked.queue);
	SELECT p.agent_id INTO chosen
	FROM peer_agent AS p LEFT JOIN omnichannel.relationship AS r ON r.customer_id = asked.customer_id AND r.agent_id = p.agent_id
	WHERE p.queue = asked.queue AND p.available AND p.used + 2 <= p.capacity
	ORDER BY 50 * coalesce(r.strength / (r.strength + 1), 0) + 2.0::float8 * p.chat
		+ 10 * (extract(epoch FROM now() - p.idle_since)::float8 / (extract(epoch FROM now() - p.idle_since)::float8 + 900))
		+ 5 * (1 - p.used::float8 / p.capacity) DESC, p.idle_since, p.agent_id LIMIT 1 FOR UPDATE OF p;
	IF chosen IS NULL THEN
		INSERT INTO peer_waiting VALUES (request, asked.queue, 0, now());
		RETURN NULL;
	END IF;
	UPDATE peer_agent SET used = used + 2, idle_since = now() WHERE agent_id = chosen;
	INSERT INTO peer_assignment VALUES (request, chosen, now());
	UPDATE peer_request SET state = 'offered', agent_id = chosen WHERE id = request;
	RETURN chosen;
END
$$;
CREATE FUNCTION peer_claim(agent bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	mine record;
	taken bigint;
BEGIN
	SELECT * INTO mine FROM peer_agent WHERE agent_id = agent;
	PERFORM pg_advisory_xact_lock(1, mine.queue);
	SELECT * INTO mine FROM peer_agent WHERE agent_id = agent FOR UPDATE;
	IF NOT mine.available OR mine.used + 2 > mine.capacity THEN
		RETURN NULL;
	END IF;
	DELETE FROM peer_waiting WHERE id = (SELECT w.id FROM peer_waiting AS w WHERE w.queue = mine.queue
		ORDER BY w.priority DESC, w.entered_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id INTO taken;
	IF taken IS NOT NULL THEN
		UPDATE peer_agent SET used = used + 2, idle_since = now() WHERE agent_id = agent;
		INSERT INTO peer_assignment VALUES (taken, agent, now());
		UPDATE peer_request SET state = 'assigned', agent_id = agent WHERE id = taken;
	END IF;
	RETURN taken;
END
$$;
VACUUM ANALYZE;
SQL

echo "SELECT omnichannel.route(nextval('next_request'));" >route.sql
echo "SELECT peer_route(nextval('peer_next'));" >peer_route.sql
printf '%s\n' '\set agent random(1, 1000)' 'SELECT omnichannel.claim(:agent);' >claim.sql
printf '%s\n' '\set agent random(1, 1000)' 'SELECT peer_claim(:agent);' >peer_claim.sql
printf '%s\n' '\set queue random(0, 9)' 'DELETE FROM bare_queue WHERE id = (SELECT id FROM bare_queue WHERE queue = :queue
ORDER BY priority DESC, entered_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *;' | tr '\n' ' ' | sed 's/random(0, 9) /random(0, 9)\n/' >bare.sql

throughput() {
	pgbench -n -M prepared -c "$2" -j 4 -T 2 -f "$1.sql" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p'
}
for clients in 1 4 16 64; do
	for what in route claim; do
		# Whom route() is to choose is available; who claims is busy, and is pushed nothing by the sweep.
		psql -X -q -c "UPDATE omnichannel.agent_state SET state = '$([ $what = route ] && echo available || echo busy)'"
		for _ in 1 2 3; do
			echo "$(throughput $what $clients) $(throughput peer_$what $clients) $(throughput bare $clients)"
		done | awk -v what=$what -v clients=$clients '
			{for (i = 1; i <= 3; i++) sum[i] += $i
				for (i = 2; i <= 3; i++) {r = $1 / $i
					if (NR == 1 || r < low[i]) low[i] = r
					if (NR == 1 || r > high[i]) high[i] = r}}
			END {
				printf "%s(), %d clients, and PL/pgSQL|%d tps|%d tps|%.2f|%.2f-%.2f\n", what, clients, sum[1] / NR, sum[2] / NR, sum[1] / sum[2], low[2], high[2]
				printf "%s(), %d clients, and a bare queue|%d tps|%d tps|%.2f|%.2f-%.2f\n", what, clients, sum[1] / NR, sum[3] / NR, sum[1] / sum[3], low[3], high[3]}'
	done
done

# percentile NAME: of claim() at 4 clients, in ms
percentile() {
	rm -f "latency_$1".*
	pgbench -n -M prepared -c 4 -j 4 -T "${2:-4}" -l --log-prefix="latency_$1" -f claim.sql >/dev/null 2>&1
	cat "latency_$1".* | awk '{print $3}' | sort -n | awk '{v[NR] = $1} END {printf "%.3f\n", v[int(NR * 0.95)] / 1000}'
}
psql -X -q -c 'VACUUM ANALYZE omnichannel.waiting' -c 'SELECT FROM omnichannel.tick_queues()' >/dev/null
full=$(percentile full)
# The oldest snapshot of a backup or a report, held all the while.
(echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM omnichannel.company; SELECT pg_sleep(60);" | psql -X -q >/dev/null 2>&1) &
holder=$!
sleep 1
(while sleep 1; do psql -X -q -c 'SELECT FROM omnichannel.tick_queues()'; done >/dev/null 2>&1) &
ticker=$!
percentile before 20 >/dev/null
snapshot=$(percentile snapshot)
kill $holder $ticker 2>/dev/null || true
psql -X -q -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()" >/dev/null
psql -X -q -c 'DELETE FROM omnichannel.waiting WHERE request_id % 1000 <> 0' -c 'VACUUM ANALYZE omnichannel.waiting'
psql -X -q -c "INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, level, entered_at) SELECT n, 1 + n % 100000, 1 + n % 10, 0, now() FROM generate_series(1300001, 1340000) AS n" -c 'VACUUM ANALYZE omnichannel.waiting'
few=$(percentile few)
echo "$few $full $snapshot" | awk '{
	printf "claim(), p95, 1M and 40,000 waiting|%.3f ms|%.3f ms|%.2f|-\n", $2, $1, $2 / $1
	printf "claim(), p95, 20 s into an old snapshot|%.3f ms|%.3f ms|%.2f|-\n", $3, $2, $3 / $2}'
