#!/bin/sh
# route.sh: route() and claim() at 1, 4, 16 and 64 clients, beside functions that do the same in PL/pgSQL and beside a bare
# FOR UPDATE SKIP LOCKED queue that only hands out ids; the 95th percentile of both with few and many requests waiting;
# and while another session holds an old snapshot.
#
# Ten queues of a hundred agents each, requests of four kinds. The PL/pgSQL functions have tables made for them,
# presence, load, fluency and skills in one narrow row an agent, skills and channels being numbers and each request
# needing one skill at most, and do what ours do: one lock a queue, agents who serve any number of queues and channels,
# merged customers, the owner and the hold for him, aged relationships, rings, preferences, refusals, wrap-up, capacity,
# the score, the order of those who wait, over queues that age differently, and the assignment, written down with the
# state and the version of the request, if that waits still. That both choose the same agents and requests is checked
# first. Transactions a second, of three interleaved runs; the last rows in ms. Of each run the first second, in which
# sessions begin and read what they keep, is left out; before each round what is dead is cleared away, for all.
#
# First without flush (fsync = off), which shows what the functions themselves take; then durable, where each commit waits
# for the disk, the bare queue's too. What no function can go beyond, because it begins and ends a transaction as the bare
# queue does, is a row of its own: the bare queue beside PL/pgSQL. A single client and its server stand on one core, where
# taskset is to be had: on two, most of the time is each waking the other up, and a round in which the system puts them
# together compares nothing with one in which it does not.
#
# SECONDS_EACH is the length of a run, SNAPSHOT_SECONDS for how long the old snapshot is held. FUNCTIONS, CLIENTS, MODES and
# PERCENTILES choose among the rows.
set -eu
. test/bench/lib.sh
seconds=${SECONDS_EACH:-2}
snapshot_seconds=${SNAPSHOT_SECONDS:-60}
functions=${FUNCTIONS-route claim}
clients_each=${CLIENTS-1 4 16 64}
modes=${MODES-unflushed durable}
percentiles=${PERCENTILES-waiting snapshot}

psql -X -q -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
SET search_path = omnichannel, pg_catalog;
INSERT INTO queue (queue, offer_for) SELECT 'q' || n, '1 day' FROM generate_series(0, 9) AS n;
INSERT INTO agent (agent_id, name, skills, capacity)
SELECT n, 'Agent ' || n, format('s0:%s, s1:%s, s2:%s', 1 + n % 7, 1 + n % 5, 1 + n % 3)::skill_set, 100000 FROM generate_series(1, 1000) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, 'chat', 1 + n % 10 FROM generate_series(1, 1000) AS n;
INSERT INTO queue_member (queue, agent_id) SELECT 'q' || n % 10, n FROM generate_series(1, 1000) AS n;
INSERT INTO agent_state (agent_id, idle_since, state) SELECT n, now() - n * interval '1 second', 'available' FROM generate_series(1, 1000) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 200000);
INSERT INTO relationship (customer_id, agent_id, contacts, strength, aged_at)
SELECT n, 1 + (n * 7 + m * 130) % 1000, m, m, now() - n % 100 * interval '1 day'
FROM generate_series(1, 200000) AS n, generate_series(1, 3) AS m WHERE n % 2 = 0 ON CONFLICT DO NOTHING;
INSERT INTO lane (lane_id, queue, channel, requires)
SELECT 1 + n * 4 + k, 'q' || n, 'chat', CASE k WHEN 0 THEN '' ELSE format('s%s:2', k - 1) END::skill_set
FROM generate_series(0, 9) AS n, generate_series(0, 3) AS k;
SELECT FROM setval('lane_lane_id_seq', 100);

SET search_path = public;
CREATE TABLE peer_queue (queue text PRIMARY KEY, hold_for_owner interval, prefer_for interval, age_after interval, offer_for interval);
INSERT INTO peer_queue SELECT queue, hold_for_owner, prefer_for, age_after, offer_for FROM omnichannel.queue;
CREATE TABLE peer_channel (channel int PRIMARY KEY, cost int);
INSERT INTO peer_channel SELECT row_number() OVER (ORDER BY channel <> 'chat', channel), cost FROM omnichannel.channel;
CREATE TABLE peer_agent (agent_id bigint PRIMARY KEY, active boolean, available boolean, present boolean, used int,
	capacity int, idle_since timestamptz, busy_until timestamptz, fluency smallint[], levels smallint[]) WITH (fillfactor = 50);
INSERT INTO peer_agent SELECT n, true, true, true, used, 100000, idle_since, busy_until, ARRAY[1 + n % 10],
	ARRAY[1 + n % 7, 1 + n % 5, 1 + n % 3] FROM generate_series(1, 1000) AS n JOIN omnichannel.agent_state ON agent_id = n;
CREATE TABLE peer_member (queue text, agent_id bigint, join_after interval, PRIMARY KEY (agent_id, queue));
INSERT INTO peer_member SELECT 'q' || n % 10, n, '0' FROM generate_series(1, 1000) AS n;
CREATE INDEX ON peer_member (queue, agent_id);
CREATE TABLE peer_request (id bigint PRIMARY KEY, customer_id bigint, queue text, channel int, state text, priority int, skill int, level int,
	prefers int, agent_id bigint, version bigint, opened_at timestamptz, state_since timestamptz, closed_at timestamptz) WITH (fillfactor = 70);
CREATE INDEX ON peer_request (customer_id, opened_at, id) WHERE closed_at IS NULL;
CREATE TABLE peer_waiting (id bigint PRIMARY KEY, customer_id bigint, queue text, channel int, skill int, level int, prefers int, rank bigint,
	due_at timestamptz, entered_at timestamptz, owner_id bigint, priority int);
CREATE INDEX ON peer_waiting (queue, rank, due_at, entered_at, id);
CREATE TABLE peer_assignment (id bigint PRIMARY KEY, customer_id bigint, agent_id bigint, queue text, cost int, priority int,
	due_at timestamptz, entered_at timestamptz, offered_at timestamptz, expires_at timestamptz, accepted_at timestamptz);
CREATE INDEX ON peer_assignment (agent_id);
CREATE TABLE peer_refusal (id bigint, agent_id bigint, until timestamptz, PRIMARY KEY (id, agent_id));
CREATE TABLE bare_queue (id bigint PRIMARY KEY, queue int, priority int, entered_at timestamptz);
CREATE INDEX ON bare_queue (queue, priority DESC, entered_at, id);
CREATE SEQUENCE next_request;
CREATE SEQUENCE peer_next;

-- So many requests to be routed, and after them so many that wait; the same for everybody, but that the bare queue, which
-- is quicker, has twice as many, up to 1,200,000.
CREATE PROCEDURE fill(routable int, waits int) LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	TRUNCATE omnichannel.request CASCADE;
	TRUNCATE omnichannel.waiting, omnichannel.assignment, omnichannel.lane_head, omnichannel.arrival,
		peer_request, peer_waiting, peer_assignment, bare_queue;
	INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, requires)
	SELECT n, 1 + n % 200000, 'question', 'waiting_agent', 'chat', 'q' || n % 10,
		CASE n / 10 % 4 WHEN 0 THEN NULL ELSE format('s%s:2', n / 10 % 4 - 1)::omnichannel.skill_set END FROM generate_series(1, routable + waits) AS n;
	INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, entered_at, queued_at)
	SELECT n, 1 + n % 200000, 1 + n % 10 * 4 + n / 10 % 4, 0, at, at FROM generate_series(routable + 1, routable + waits) AS n, LATERAL (SELECT '2026-01-01'::timestamptz + n * interval '1 ms' AS at) AS t;
	INSERT INTO peer_request SELECT n, 1 + n % 200000, 'q' || n % 10, 1, 'waiting_agent', 0, nullif(n / 10 % 4, 0), 2, NULL, NULL, 1, now(), now(), NULL
	FROM generate_series(1, routable + waits) AS n;
	INSERT INTO peer_waiting SELECT n, 1 + n % 200000, 'q' || n % 10, 1, nullif(n / 10 % 4, 0), 2, NULL, 0, 'infinity', '2026-01-01'::timestamptz + n * interval '1 ms', 0, 0
	FROM generate_series(routable + 1, routable + waits) AS n;
	INSERT INTO bare_queue SELECT n, n % 10, 0, '2026-01-01'::timestamptz + n * interval '1 ms' FROM generate_series(1, least(2 * (routable + waits), 1200000)) AS n;
	UPDATE omnichannel.agent_state SET used = 0;
	UPDATE peer_agent SET used = 0;
	PERFORM setval('next_request', 1, false), setval('peer_next', 1, false);
END
$$;

-- The agents who suit a request now, best first; NULL for agent_id where it is held for owner_id. Left to itself the server
-- plans this anew for each call, which takes as long again.
CREATE FUNCTION peer_match(request bigint, OUT agent_id bigint, OUT owner_id bigint) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	asked record;
	queued record;
	family bigint[];
	owner record;
	waited interval;
BEGIN
	SELECT r.*, coalesce(w.entered_at, r.state_since) AS since, c.cost INTO asked
	FROM peer_request AS r JOIN peer_channel AS c USING (channel) LEFT JOIN peer_waiting AS w USING (id) WHERE r.id = request;
	SELECT * INTO queued FROM peer_queue AS q WHERE q.queue = asked.queue;
	waited := greatest(now() - asked.since, '0');
	SELECT array_agg(m.customer_id) INTO family FROM (
		SELECT coalesce(c.merged_into, c.customer_id) AS customer_id FROM omnichannel.customer AS c WHERE c.customer_id = asked.customer_id
		UNION ALL SELECT k.customer_id FROM omnichannel.customer AS c JOIN omnichannel.customer AS k ON k.merged_into = coalesce(c.merged_into, c.customer_id)
		WHERE c.customer_id = asked.customer_id) AS m;
	owner_id := coalesce(asked.agent_id,
		(SELECT o.agent_id FROM peer_request AS o WHERE o.customer_id = ANY (family) AND o.closed_at IS NULL
			AND o.state IN ('offered', 'assigned', 'waiting_customer') AND o.agent_id IS NOT NULL AND o.id <> request ORDER BY o.opened_at DESC, o.id DESC LIMIT 1),
		(SELECT r.agent_id FROM omnichannel.relationship AS r WHERE r.customer_id = ANY (family)
			AND EXISTS (SELECT FROM peer_member AS m JOIN peer_agent AS a USING (agent_id) WHERE m.queue = asked.queue AND m.agent_id = r.agent_id
				AND a.active AND a.fluency[asked.channel] > 0 AND (asked.skill IS NULL OR a.levels[asked.skill] >= asked.level))
			GROUP BY r.agent_id ORDER BY sum(r.strength * power(0.5, date_part('epoch', now() - r.aged_at) / (180 * 86400))) DESC, r.agent_id LIMIT 1));
	SELECT a.* INTO owner FROM peer_agent AS a JOIN peer_member AS m USING (agent_id)
	WHERE a.agent_id = owner_id AND m.queue = asked.queue AND a.active AND a.fluency[asked.channel] > 0 AND (asked.skill IS NULL OR a.levels[asked.skill] >= asked.level);
	IF owner.agent_id IS NULL OR queued.hold_for_owner = '0' THEN
		owner_id := NULL;
	ELSIF owner.present AND waited < queued.hold_for_owner
		AND NOT (owner.available AND owner.busy_until <= now() AND owner.used + asked.cost <= owner.capacity)
		AND NOT EXISTS (SELECT FROM peer_refusal AS f WHERE f.id = request AND f.agent_id = owner.agent_id AND f.until > now())
	THEN
		RETURN;
	END IF;
	SELECT p.agent_id INTO agent_id
	FROM peer_member AS m JOIN peer_agent AS p USING (agent_id) LEFT JOIN (SELECT r.agent_id, sum(r.strength * power(0.5, date_part('epoch', now() - r.aged_at) / (180 * 86400))) AS strength
		FROM omnichannel.relationship AS r WHERE r.customer_id = ANY (family) GROUP BY r.agent_id) AS known USING (agent_id)
	CROSS JOIN LATERAL (SELECT greatest(round(1000000 * date_part('epoch', now() - p.idle_since)), 0) AS usecs) AS idle
	WHERE m.queue = asked.queue AND m.join_after <= waited AND p.active AND p.available AND p.busy_until <= now() AND p.fluency[asked.channel] > 0
		AND p.used + asked.cost <= p.capacity AND (asked.skill IS NULL OR p.levels[asked.skill] >= asked.level)
		AND (asked.prefers IS NULL OR waited >= queued.prefer_for OR p.levels[asked.prefers] >= 1 OR p.agent_id = owner_id)
		AND NOT EXISTS (SELECT FROM peer_refusal AS f WHERE f.id = request AND f.agent_id = p.agent_id AND f.until > now())
	ORDER BY coalesce(p.agent_id = owner_id, false) DESC, 50 * coalesce(known.strength / (known.strength + 1), 0)
		+ 20 * (p.fluency[asked.channel]::float8 / 10) + 15 * (coalesce(p.levels[asked.skill], 0)::float8 / 10)
		+ 10 * (idle.usecs / (idle.usecs + 900000000)) + 5 * (1 - p.used::float8 / p.capacity) DESC, p.idle_since, p.agent_id LIMIT 1 FOR UPDATE OF p;
END
$$;
CREATE FUNCTION peer_route(request bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	asked record;
	chosen record;
BEGIN
	SELECT r.queue INTO asked FROM peer_request AS r WHERE r.id = request;
	PERFORM pg_advisory_xact_lock(1, hashtext(asked.queue));
	SELECT r.*, q.offer_for, q.age_after, c.cost INTO asked
	FROM peer_request AS r JOIN peer_queue AS q USING (queue) JOIN peer_channel AS c USING (channel) WHERE r.id = request FOR UPDATE OF r;
	IF asked.closed_at IS NOT NULL OR asked.state NOT IN ('new', 'waiting_agent') THEN
		RETURN asked.agent_id;
	END IF;
	SELECT * INTO chosen FROM peer_match(request);
	IF chosen.agent_id IS NULL THEN
		INSERT INTO peer_waiting VALUES (request, asked.customer_id, asked.queue, asked.channel, asked.skill, asked.level, asked.prefers,
			floor(date_part('epoch', asked.state_since) / date_part('epoch', asked.age_after)) - asked.priority, 'infinity', asked.state_since, coalesce(chosen.owner_id, 0), asked.priority)
		ON CONFLICT (id) DO NOTHING;
		RETURN NULL;
	END IF;
	UPDATE peer_agent SET used = used + asked.cost, idle_since = clock_timestamp() WHERE agent_id = chosen.agent_id;
	DELETE FROM peer_waiting WHERE id = request;
	INSERT INTO peer_assignment VALUES (request, asked.customer_id, chosen.agent_id, asked.queue, asked.cost, asked.priority, 'infinity', asked.state_since, clock_timestamp(), clock_timestamp() + asked.offer_for, NULL);
	UPDATE peer_request SET state = 'offered', agent_id = chosen.agent_id, version = version + 1, state_since = now() WHERE id = request;
	RETURN chosen.agent_id;
END
$$;
CREATE FUNCTION peer_claim(agent bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	mine record;
	taken record;
BEGIN
	PERFORM pg_advisory_xact_lock(1, hashtext(queue)) FROM (SELECT queue FROM peer_member WHERE agent_id = agent ORDER BY queue) AS own;
	SELECT a.*, (SELECT array_agg(cost ORDER BY channel) FROM peer_channel) AS costs INTO mine FROM peer_agent AS a WHERE a.agent_id = agent FOR UPDATE OF a;
	IF NOT mine.present OR NOT mine.active OR mine.busy_until > now() THEN
		RETURN NULL;
	END IF;
	LOOP
		-- The first of each queue, and of these the first.
		DELETE FROM peer_waiting WHERE id = (
			SELECT f.id FROM peer_member AS m JOIN peer_queue AS q USING (queue) CROSS JOIN LATERAL (
				SELECT w.id, w.rank, w.due_at, w.entered_at FROM peer_waiting AS w WHERE w.queue = m.queue
					AND mine.fluency[w.channel] > 0 AND mine.used + mine.costs[w.channel] <= mine.capacity
					AND (w.skill IS NULL OR mine.levels[w.skill] >= w.level)
					AND w.entered_at <= now() - m.join_after
					AND (w.prefers IS NULL OR mine.levels[w.prefers] >= 1 OR w.entered_at <= now() - q.prefer_for)
					AND (w.owner_id = 0 OR w.owner_id = agent OR w.entered_at <= now() - q.hold_for_owner
						OR NOT EXISTS (SELECT FROM peer_agent AS o WHERE o.agent_id = w.owner_id AND o.present))
					AND NOT EXISTS (SELECT FROM peer_refusal AS f WHERE f.id = w.id AND f.agent_id = agent AND f.until > now())
				ORDER BY w.rank, w.due_at, w.entered_at, w.id LIMIT 1) AS f
			WHERE m.agent_id = agent
			ORDER BY f.rank - floor(date_part('epoch', now()) / date_part('epoch', q.age_after)), f.due_at, f.entered_at, f.id LIMIT 1)
		RETURNING * INTO taken;
		IF taken.id IS NULL THEN
			RETURN NULL;
		END IF;
		UPDATE peer_request SET state = 'assigned', agent_id = agent, version = version + 1, state_since = now()
		WHERE id = taken.id AND closed_at IS NULL AND state = 'waiting_agent';
		EXIT WHEN FOUND;
	END LOOP;
	UPDATE peer_agent SET used = used + mine.costs[taken.channel], idle_since = clock_timestamp() WHERE agent_id = agent;
	INSERT INTO peer_assignment VALUES (taken.id, taken.customer_id, agent, taken.queue, mine.costs[taken.channel], taken.priority, taken.due_at, taken.entered_at, clock_timestamp(), 'infinity', clock_timestamp());
	RETURN taken.id;
END
$$;
CALL fill(1000, 0);
VACUUM ANALYZE;
-- The same questions must have the same answers.
CREATE TEMP TABLE differing AS SELECT count(*) AS requests FROM generate_series(1, 1000) AS n WHERE omnichannel.route(n) IS DISTINCT FROM peer_route(n);
CALL fill(0, 1000);
VACUUM ANALYZE;
DO $$
DECLARE
	differs int := requests FROM differing;
BEGIN
	FOR n IN 1 .. 900 LOOP
		differs := differs + (omnichannel.claim(1 + n * 37 % 1000) IS DISTINCT FROM peer_claim(1 + n * 37 % 1000))::int;
	END LOOP;
	IF differs > 0 THEN
		RAISE EXCEPTION '% answers differ', differs;
	END IF;
END
$$;
SQL

echo "SELECT omnichannel.route(nextval('next_request'));" >route.sql
echo "SELECT peer_route(nextval('peer_next'));" >peer_route.sql
printf '%s\n' '\set agent random(1, 1000)' 'SELECT omnichannel.claim(:agent);' >claim.sql
printf '%s\n' '\set agent random(1, 1000)' 'SELECT peer_claim(:agent);' >peer_claim.sql
printf '%s\n' '\set queue random(0, 9)' 'DELETE FROM bare_queue WHERE id = (SELECT id FROM bare_queue WHERE queue = :queue ORDER BY priority DESC, entered_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *;' >bare.sql

# fill ROUTABLE WAITING [STATE]: and agents in that state, by default available for route(), busy for claim(), who are then
# pushed nothing.
fill() {
	psql -X -q -v ON_ERROR_STOP=1 -c "CALL fill($1, $2)" -c 'VACUUM ANALYZE' \
		-c "UPDATE omnichannel.agent_state SET state = '${3:-$([ "$1" -gt 0 ] && echo available || echo busy)}'" \
		-c 'SELECT FROM omnichannel.tick_queues()' -c CHECKPOINT >/dev/null
}
# throughput SCRIPT CLIENTS: of each second but the first
throughput() {
	set -- "$1" "$2" "$([ "$2" = 1 ] && command -v taskset >/dev/null && echo taskset -c 0)"
	# shellcheck disable=SC2086
	$3 pgbench -n -M prepared -P 1 -c "$2" -j 4 -T $((seconds + 1)) -f "$1.sql" 2>&1 |
		awk '/^progress:/ && n++ {tps += $4} /ERROR|aborted/ {print "an error: " $0 >"/dev/stderr"} END {if (n > 1) print int(tps / (n - 1))}'
}
# mode unflushed|durable
mode() {
	setting=$([ "$1" = durable ] && echo on || echo off)
	psql -X -q -c "ALTER SYSTEM SET fsync = $setting" -c "ALTER SYSTEM SET full_page_writes = $setting" -c 'SELECT FROM pg_reload_conf()' >/dev/null
	sleep 1
}
# cores LIST: on which the server's sessions run from now on
cores() {
	! command -v taskset >/dev/null ||
		taskset -c -p "$1" "$(head -n 1 "$(psql -X -A -t -c 'SHOW data_directory')/postmaster.pid")" >/dev/null
}
last_core=$(($(nproc) - 1))
# enough FUNCTION ROWS: raises an error where a run has had nothing left to do
enough() {
	if [ "$1" = route ]; then
		left="(SELECT greatest(r.last_value, p.last_value) < $2 FROM next_request AS r, peer_next AS p)"
	else
		left='EXISTS (SELECT FROM omnichannel.waiting) AND EXISTS (SELECT FROM peer_waiting)'
	fi
	[ "$(psql -X -A -t -c "SELECT $left AND EXISTS (SELECT FROM bare_queue)")" = t ] || {
		echo "route: too few requests for $1()" >&2
		exit 1
	}
}
for mode in $modes; do
	mode "$mode"
	for clients in $clients_each; do
		cores "$([ "$clients" = 1 ] && echo 0 || echo "0-$last_core")"
		rows=$([ "$clients" = 1 ] && echo 300000 || echo 600000)
		for what in $functions; do
			if [ "$what" = route ]; then fill "$rows" 0; else fill 0 "$rows"; fi
			for _ in 1 2 3; do
				psql -X -q -c 'VACUUM bare_queue, peer_agent, peer_waiting, omnichannel.agent_state, omnichannel.waiting'
				echo "$(throughput "$what" "$clients") $(throughput "peer_$what" "$clients") $(throughput bare "$clients")"
			done >rounds
			enough "$what" "$rows"
			cut -d ' ' -f 1,2 rounds | report "$what(), $clients clients, $mode, and PL/pgSQL" '%.0f tps'
			cut -d ' ' -f 1,3 rounds | report "$what(), $clients clients, $mode, and a bare queue" '%.0f tps'
			awk '{print $3, $2}' rounds | report "bound: a bare queue, $clients clients, $mode, and PL/pgSQL's $what()" '%.0f tps'
		done
	done
done
mode unflushed

# The clients have a core of their own here, so that each call wakes somebody up on another one.
cores "0$([ "$last_core" -lt 2 ] || echo "-$((last_core - 1))")"

# percentile SCRIPT NAME OPTION...: of a call at 4 clients, in ms, without the time by which a transaction began too late
percentile() {
	script=$1
	name=$2
	shift 2
	rm -f "latency_$name".*
	# shellcheck disable=SC2046
	$(command -v taskset >/dev/null && echo taskset -c "$last_core") \
		pgbench -n -M prepared -c 4 -j 4 -l --log-prefix="latency_$name" -f "$script.sql" "$@" >/dev/null 2>&1
	cat "latency_$name".* | awk '{print $3 - $7}' | sort -n | awk '{v[NR] = $1} END {printf "%.3f\n", v[int(NR * 0.95)] / 1000}'
}
# What arrives while all are busy waits behind the others.
for what in $(case $percentiles in *waiting*) echo "$functions" ;; esac); do
	for _ in 1 2 3; do
		for waits in 1000000 1000; do
			for run in 1 2 3; do
				# 800 more or less of a million are no matter.
				if [ $waits != 1000000 ] || [ $run = 1 ]; then fill "$([ "$what" = route ] && echo 4000 || echo 0)" $waits busy; fi
				percentile "$what" "$waits" -t 200 -R 1000
			done | sort -n | sed -n 2p >"percentile.$waits"
		done
		echo "$(cat percentile.1000000) $(cat percentile.1000)"
	done | report "$what(), p95, 1,000,000 and 1,000 waiting" '%.3f ms'
done

case $percentiles in *snapshot*) ;; *) exit 0 ;; esac

# At so many calls a second, before the snapshot and when it has been held for so long, five times each. The sweep runs
# each second, as it should; the snapshot is that of a backup or a report.
rate=2000
for what in $functions; do
	rows=$((rate * (snapshot_seconds + 60)))
	if [ "$what" = route ]; then fill $rows 0; else fill 0 $((rows + 1000000)) busy; fi
	(while sleep 1; do psql -X -q -c 'SELECT FROM omnichannel.tick_queues()'; done >/dev/null 2>&1) &
	ticker=$!
	for _ in 1 2 3 4 5; do percentile "$what" before -T 3 -R $rate; done | sort -n >ms.before
	(echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM omnichannel.company; SELECT pg_sleep($snapshot_seconds + 30);" |
		psql -X -q >/dev/null 2>&1) &
	holder=$!
	sleep 1
	percentile "$what" meanwhile -T "$snapshot_seconds" -R $rate >/dev/null
	for _ in 1 2 3 4 5; do percentile "$what" held -T 3 -R $rate; done | sort -n >ms.held
	kill $holder $ticker 2>/dev/null || true
	psql -X -q -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()" >/dev/null
	echo "$(sed -n 3p ms.held) $(sed -n 3p ms.before)" |
		report "$what(), p95 at $rate a second, $snapshot_seconds s into an old snapshot" '%.3f ms'
done
