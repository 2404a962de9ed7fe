-- What comes first is found on the leaves of an index, wherever it stands there, however often it has come and gone, and
-- whatever index there is.
BEGIN;
SELECT plan(12);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('q', '0', NULL), ('r', '1 minute', NULL);
INSERT INTO agent (agent_id, name, skills, capacity) SELECT n, 'Agent ' || n, 'a, b', 1000000 FROM generate_series(1, 3) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, 'chat', 11 - n FROM generate_series(1, 3) AS n;
INSERT INTO queue_member (queue, agent_id) SELECT q, n FROM generate_series(1, 3) AS n, unnest('{q,r}'::text[]) AS q;
INSERT INTO customer (customer_id, merged_into) SELECT n, CASE WHEN n > 40 THEN n - 40 END FROM generate_series(1, 80) AS n ORDER BY n;
INSERT INTO lane (lane_id, queue, channel, requires) VALUES (1001, 'q', 'chat', ''), (1002, 'q', 'chat', 'a'), (1003, 'q', 'chat', 'b');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, priority, requires)
SELECT n, 1 + n % 40, 'question', 'waiting_agent', 'chat', 'q', n % 3, (ARRAY[NULL, 'a', 'b'])[1 + n % 3]::skill_set FROM generate_series(1, 3000) AS n;
SELECT set_presence(n, 'busy') FROM generate_series(1, 3) AS n;
SET CONSTRAINTS ALL IMMEDIATE;
DELETE FROM arrival;

-- Three lanes of a thousand each, in which many stand at the same rank, due time and begin.
CREATE FUNCTION pg_temp.refill() RETURNS void LANGUAGE sql AS $$
	DELETE FROM omnichannel.waiting;
	DELETE FROM omnichannel.lane_head;
	INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, due_at, entered_at, queued_at, priority)
	SELECT n, 1 + n % 40, 1001 + n % 3, -(n % 3), '2030-01-01'::timestamptz + n * 31 % 3 * interval '1 hour', at, at, n % 3
	FROM generate_series(1, 3000) AS n, LATERAL (SELECT '2026-01-01'::timestamptz + n * 7 % 11 * interval '1 minute' AS at) AS t ORDER BY md5(n::text)
$$;
CREATE FUNCTION pg_temp.ordered(count int) RETURNS SETOF bigint LANGUAGE sql AS $$
	SELECT request_id FROM omnichannel.waiting ORDER BY rank, due_at, entered_at, request_id LIMIT count
$$;
-- So many claims, and what should have come first each time; then all is as it was.
CREATE FUNCTION pg_temp.claims(count int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	first bigint;
	differ int := 0;
BEGIN
	FOR n IN 1 .. count LOOP
		first := pg_temp.ordered(1);
		differ := differ + (omnichannel.claim(1 + n % 3) IS DISTINCT FROM first)::int;
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN differ || ' differ';
END
$$;
SELECT pg_temp.refill();
SELECT is(pg_temp.claims(300), '0 differ', 'in order, over the leaves of an index');
SELECT is_empty($$SELECT ident FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ 'FROM omnichannel.waiting AS w WHERE w.lane_id = '$$, 'without SQL');

-- One that was taken out and put back at its place again and again: entries that are equal, on several leaves.
DO $$
BEGIN
	FOR n IN 1 .. 900 LOOP
		WITH gone AS (DELETE FROM omnichannel.waiting WHERE request_id IN (SELECT pg_temp.ordered(1)) RETURNING *)
		INSERT INTO omnichannel.waiting SELECT * FROM gone;
	END LOOP;
END
$$;
SELECT is(pg_temp.claims(30), '0 differ', 'what has come back often');
DELETE FROM waiting WHERE request_id IN (SELECT pg_temp.ordered(1));
SELECT is(pg_temp.claims(30), '0 differ', 'and is gone');
SELECT pg_temp.refill();
SELECT is(pg_temp.claims(30), '0 differ', 'all of them once more, behind the traces of all');
DELETE FROM waiting WHERE request_id NOT IN (SELECT pg_temp.ordered(2990) EXCEPT SELECT pg_temp.ordered(2960));
SELECT is(pg_temp.claims(31), '0 differ', 'until nothing is left');

-- An index that has the same columns in another order is none for this.
SELECT pg_temp.refill();
CREATE FUNCTION pg_temp.reversed(a bigint, b bigint) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.btint8cmp(b, a)';
CREATE OPERATOR CLASS pg_temp.reversed FOR TYPE bigint USING btree AS OPERATOR 1 > , OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 pg_temp.reversed(bigint, bigint);
DROP INDEX waiting_order;
CREATE INDEX waiting_reversed ON waiting (lane_id, rank pg_temp.reversed, due_at, entered_at, request_id);
SELECT is(pg_temp.claims(40), '0 differ', 'an index in another order is passed over');
DROP INDEX waiting_reversed;
CREATE INDEX waiting_longer ON waiting (lane_id, rank, due_at, entered_at, request_id, queued_at);
SELECT is(pg_temp.claims(40), '0 differ', 'one that has more columns is not');

-- Who steps over what was taken before notes where the rest begins, so that nobody steps over much: here nothing of it is
-- over for others, as while an old snapshot lasts.
CREATE FUNCTION pg_temp.pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) ' || statement INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
DROP INDEX waiting_longer;
CREATE INDEX waiting_order ON waiting (lane_id, rank, due_at, entered_at, request_id);
SELECT pg_temp.pages('SELECT omnichannel.claim(1)') FROM generate_series(1, 3);
INSERT INTO lane_head (lane_id, rank, due_at, entered_at, request_id) SELECT DISTINCT ON (lane_id) lane_id, rank, due_at, entered_at, request_id FROM waiting ORDER BY lane_id, rank, due_at, entered_at, request_id;
CREATE TEMP TABLE read AS SELECT pg_temp.pages('SELECT omnichannel.claim(1)') AS pages FROM generate_series(1, 120);
SELECT cmp_ok((SELECT max(pages) - min(pages) FROM read), '<', 30::bigint, 'few pages more where others were taken before');

-- Customers who are merged, by an index that has those who are not as well; and who owns what is open, however much.
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, agent_id, opened_at)
SELECT 10000 + n, 45, 'question', 'waiting_customer', 'chat', 'r', 1 + n % 3, now() - abs(300 - n) * interval '1 minute' FROM generate_series(1, 600) AS n;
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (20000, 5, 'question', 'chat', 'r'), (20001, 6, 'question', 'chat', 'r');
INSERT INTO relationship (customer_id, agent_id, contacts, strength) VALUES (46, 3, 1, 1), (6, 2, 1, 0.5);
UPDATE agent_state SET state = 'available';
DELETE FROM waiting;
CREATE TEMP TABLE matches AS SELECT 20000 AS request_id, * FROM match_agents(20000) UNION ALL SELECT 20001, * FROM match_agents(20001);
SELECT results_eq('SELECT DISTINCT ON (request_id) request_id, agent_id FROM matches ORDER BY request_id, score DESC', 'VALUES (20000, 1::bigint), (20001, 3)', 'the newest open request of either customer, and the relationship');
DROP INDEX customer_merged_into;
CREATE INDEX customer_all_merged_into ON customer (merged_into);
SELECT bag_eq('SELECT 20000 AS request_id, * FROM match_agents(20000) UNION ALL SELECT 20001, * FROM match_agents(20001)', 'SELECT * FROM matches', 'by any index of them');
SELECT is(route(20000), 1::bigint, 'to the owner by the newest');
SELECT * FROM finish();
ROLLBACK;
