#!/bin/sh
# match.sh: match_agents() over 10,000 agents and 1M past contacts, beside SQL for the same order.
#
# The peers' tables are made for it: levels of skills, capacity and fluency stand beside presence and load in one narrow
# row, and the contacts are counted already; they know neither owners nor ageing, rings or refusals. One has the levels in
# an array and looks at every row; the other has a byte each and a GIN index of each skill with each level up to the
# agent's, of those who are available, which is the best that was found of what can be kept while agents come, go and
# are given work. (A table of an agent's row once for each of his skills, with all columns in the index, takes a fifth
# less as long as nobody is given anything.) The last row is of the same while another session writes 500 agents'
# rows a second, of either table; there the server has a second core. Each number is the mean latency in ms of one client with prepared
# statements over the socket, on one core with its server; the ratio is peer / ours.
set -eu
. test/bench/lib.sh

psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
SET search_path = omnichannel, pg_catalog;
SELECT FROM setseed(0.42);
INSERT INTO queue (queue, hold_for_owner) VALUES ('bench', '0');
INSERT INTO agent (agent_id, name, skills, capacity)
SELECT n, 'Agent ' || n, (SELECT coalesce(string_agg(format('s%s:%s', s, 1 + abs(hashint4(n * 64 + s)) % 10), ','), '')
	FROM generate_series(0, 39) AS s WHERE abs(hashint4(n * 64 + s + 1000000)) % 10 = 0)::skill_set, 6
FROM generate_series(1, 10000) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency)
SELECT n, c, 1 + (random() * 9)::int FROM generate_series(1, 10000) AS n, unnest('{phone,chat,email}'::text[]) AS c;
INSERT INTO queue_member (queue, agent_id) SELECT 'bench', n FROM generate_series(1, 10000) AS n;
INSERT INTO agent_state (agent_id, idle_since, used, state)
SELECT n, now() - random() * interval '2 hours', (random() * 6)::int,
	CASE WHEN random() < 0.6 THEN 'available' ELSE 'break' END FROM generate_series(1, 10000) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(1, 100000);
INSERT INTO relationship (customer_id, agent_id, contacts, strength)
SELECT n % 100000 + 1, 1 + (random() * 9999)::int, 1, 1 FROM generate_series(0, 999999) AS n
ON CONFLICT DO NOTHING;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, requires)
SELECT n, 1 + (random() * 99999)::int, 'question', 'waiting_agent', 'chat', 'bench', format('s%s:%s', n % 40, 4)::skill_set
FROM generate_series(1, 1000) AS n;

CREATE TABLE public.peer_agent AS
SELECT a.agent_id, s.state = 'available' AS available, s.used, a.capacity, s.idle_since, c.fluency AS chat,
	(SELECT array_agg(coalesce(skill_level(a.skills, 's' || n), 0)::smallint ORDER BY n) FROM generate_series(0, 39) AS n) AS levels
FROM agent AS a JOIN agent_state AS s USING (agent_id) JOIN agent_channel AS c ON c.agent_id = a.agent_id AND c.channel = 'chat';
ALTER TABLE public.peer_agent ADD PRIMARY KEY (agent_id);
CREATE FUNCTION public.peer_match(customer bigint, skill integer, level integer, max_agents integer)
RETURNS TABLE (agent_id bigint, score double precision) LANGUAGE sql STABLE AS $$
	SELECT p.agent_id, 50 * coalesce(r.contacts / (r.contacts + 1.0::float8), 0) + 2.0::float8 * p.chat
		+ 1.5::float8 * p.levels[skill + 1]
		+ 10 * (extract(epoch FROM now() - p.idle_since)::float8 / (extract(epoch FROM now() - p.idle_since)::float8 + 900))
		+ 5 * (1 - p.used::float8 / p.capacity) AS score
	FROM public.peer_agent AS p
	LEFT JOIN omnichannel.relationship AS r ON r.customer_id = customer AND r.agent_id = p.agent_id
	WHERE p.available AND p.used + 2 <= p.capacity AND p.levels[skill + 1] >= level
	ORDER BY score DESC, p.idle_since, p.agent_id LIMIT max_agents
$$;
CREATE FUNCTION public.skill_codes(levels bytea) RETURNS integer[] IMMUTABLE LANGUAGE sql AS $$
	SELECT coalesce(array_agg(s * 16 + l), '{}') FROM generate_series(0, 39) AS s, generate_series(1, 10) AS l WHERE get_byte(levels, s) >= l
$$;
CREATE TABLE public.peer_indexed AS
SELECT agent_id, idle_since, used::smallint, capacity::smallint, chat::smallint, available,
	(SELECT decode(string_agg(lpad(to_hex(l::integer), 2, '0'), '' ORDER BY o), 'hex') FROM unnest(levels) WITH ORDINALITY AS u (l, o)) AS levels
FROM public.peer_agent;
ALTER TABLE public.peer_indexed ADD PRIMARY KEY (agent_id);
CREATE INDEX ON public.peer_indexed USING gin (public.skill_codes(levels)) WITH (fastupdate = off) WHERE available;
CREATE FUNCTION public.peer_indexed_match(customer bigint, skill integer, level integer, max_agents integer)
RETURNS TABLE (agent_id bigint, score double precision) LANGUAGE sql STABLE AS $$
	SELECT p.agent_id, 50 * coalesce(r.contacts / (r.contacts + 1.0::float8), 0) + 2.0::float8 * p.chat
		+ 1.5::float8 * get_byte(p.levels, skill)
		+ 10 * (extract(epoch FROM now() - p.idle_since)::float8 / (extract(epoch FROM now() - p.idle_since)::float8 + 900))
		+ 5 * (1 - p.used::float8 / p.capacity) AS score
	FROM public.peer_indexed AS p
	LEFT JOIN omnichannel.relationship AS r ON r.customer_id = customer AND r.agent_id = p.agent_id
	WHERE p.available AND p.used + 2 <= p.capacity AND public.skill_codes(p.levels) @> ARRAY[skill * 16 + level]
	ORDER BY score DESC, p.idle_since, p.agent_id LIMIT max_agents
$$;
VACUUM ANALYZE;
SQL

cat >ours.sql <<'SQL'
\set request random(1, 1000)
SELECT agent_id, score FROM omnichannel.match_agents(:request);
SQL
cat >peer.sql <<'SQL'
\set customer random(1, 100000)
\set skill random(0, 39)
SELECT agent_id, score FROM public.peer_match(:customer, :skill, 4, 10);
SQL

sed 's/peer_match/peer_indexed_match/' peer.sql >peer_indexed.sql

printf '%s\n' '\set agent random(1, 10000)' 'UPDATE omnichannel.agent_state SET used = used WHERE agent_id = :agent;' >change.sql
printf '%s\n' '\set agent random(1, 10000)' 'UPDATE public.peer_indexed SET used = used WHERE agent_id = :agent;' >peer_change.sql

one_core=
if command -v taskset >/dev/null; then
	one_core='taskset -c 0'
	taskset -c -p 0 "$(head -n 1 "$(psql -X -A -t -c 'SHOW data_directory')/postmaster.pid")" >/dev/null
fi
latency() {
	$one_core pgbench -n -M prepared -c 1 -T 3 -f "$1" 2>/dev/null | sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p'
}

# The same question must have the same answer, in the same order.
psql -X -q -A -t -v ON_ERROR_STOP=1 <<'SQL'
DO $$
BEGIN
	IF EXISTS (SELECT FROM omnichannel.request AS q, LATERAL (SELECT array_agg(agent_id) AS a FROM omnichannel.match_agents(q.request_id)) AS ours,
			LATERAL (SELECT array_agg(agent_id) AS a FROM public.peer_match(q.customer_id, (q.request_id % 40)::int, 4, 10)) AS peer,
			LATERAL (SELECT array_agg(agent_id) AS a FROM public.peer_indexed_match(q.customer_id, (q.request_id % 40)::int, 4, 10)) AS indexed
		WHERE ours.a IS DISTINCT FROM peer.a OR ours.a IS DISTINCT FROM indexed.a)
	THEN
		RAISE EXCEPTION 'the answers differ';
	END IF;
END
$$;
SQL
for _ in 1 2 3; do
	echo "$(latency ours.sql) $(latency peer.sql) $(latency peer_indexed.sql)"
done >rounds
cut -d ' ' -f 1,2 rounds | report 'match_agents(), 10,000 agents, and levels in arrays' '%.3f ms' inverse
cut -d ' ' -f 1,3 rounds | report 'match_agents(), 10,000 agents, and an index of levels' '%.3f ms' inverse

# changing SCRIPT MATCH: the latency while another session changes agents
changing() {
	pgbench -n -M prepared -c 1 -T 5 -R 500 -f "$1" >/dev/null 2>&1 &
	changer=$!
	sleep 1
	latency "$2"
	wait $changer
}
last_core=$(($(nproc) - 1))
if [ -n "$one_core" ]; then
	taskset -c -p "0,$last_core" "$(head -n 1 "$(psql -X -A -t -c 'SHOW data_directory')/postmaster.pid")" >/dev/null
fi
for _ in 1 2 3; do
	echo "$(changing change.sql ours.sql) $(changing peer_change.sql peer_indexed.sql)"
done | report 'match_agents(), 10,000 agents, 500 changed a second, and an index of levels' '%.3f ms' inverse
