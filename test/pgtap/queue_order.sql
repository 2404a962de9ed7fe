-- Whoever helps after a time gets what comes first among what has waited for that time, wherever in the queue it stands,
-- and does not read the rest.
BEGIN;
SELECT plan(12);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('aged', '0', '10 minutes'), ('strict', '0', NULL), ('long', '0', '10 minutes');
INSERT INTO agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 1000000 FROM generate_series(1, 6) AS n;
INSERT INTO agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(1, 6) AS n;
INSERT INTO queue_member (queue, agent_id, join_after) SELECT queue, n, (n - 1) * interval '30 minutes' FROM generate_series(1, 5) AS n, (VALUES ('aged'), ('strict')) AS q (queue);
INSERT INTO queue_member (queue, agent_id, join_after) VALUES ('long', 1, '0'), ('long', 6, '1 hour');
INSERT INTO customer (customer_id) VALUES (1);
SET CONSTRAINTS ALL IMMEDIATE;

-- Two hours of arrivals of all priorities, some with a due time, many of which fall together; and what is a long queue.
SELECT FROM setseed(0.5);
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, priority, opened_at, state_since)
SELECT n, 1, 'question', 'waiting_agent', 'chat', CASE n % 2 WHEN 0 THEN 'aged' ELSE 'strict' END,
	(ARRAY[0, 0, 0, 1, 5, -1, -2, -7, -30])[1 + (random() * 8)::int], at, at
FROM (SELECT n, now() - random() * interval '150 minutes' AS at FROM generate_series(1, 600) AS n) AS arriving;
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (10000, 1, 'question', 'chat', 'long');
SELECT count(route(request_id)) FROM request;
UPDATE waiting SET due_at = now() + (request_id % 3) * interval '1 hour' WHERE request_id % 5 = 0;
INSERT INTO request (request_id, customer_id, kind, channel, queue, state) SELECT 10000 + n, 1, 'question', 'chat', 'long', 'waiting_agent' FROM generate_series(1, 20000) AS n;
INSERT INTO waiting (request_id, customer_id, lane_id, rank, entered_at, queued_at)
SELECT 10000 + n, 1, lane_id, -waiting_level(0, now() - n * interval '0.1 s', '10 minutes'), now() - n * interval '0.1 s', now() - n * interval '0.1 s'
FROM generate_series(1, 20000) AS n, lane WHERE queue = 'long';
DELETE FROM lane_head;
DELETE FROM arrival;
SELECT is((SELECT count(*) FROM waiting), 20601::bigint, 'requests wait');
SELECT results_eq('SELECT queue, min_priority FROM lane ORDER BY queue', $$VALUES ('aged', -32), ('long', 0), ('strict', -32)$$, 'their lanes know what may come');
SELECT set_presence(n, 'busy') FROM generate_series(1, 6) AS n;

CREATE FUNCTION pg_temp.next_of(agent bigint) RETURNS bigint LANGUAGE sql AS $$
	SELECT w.request_id FROM waiting AS w JOIN lane AS l USING (lane_id) JOIN queue AS q USING (queue) JOIN queue_member AS m USING (queue)
	WHERE m.agent_id = agent AND w.queued_at <= now() - m.join_after
	ORDER BY w.rank - coalesce(floor(date_part('epoch', now() - '2000-01-01 00:00+00') / date_part('epoch', q.age_after)), 0),
		w.due_at, w.entered_at, w.request_id LIMIT 1
$$;
CREATE FUNCTION pg_temp.pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE statement;
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) ' || statement INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
CREATE TEMP TABLE claimed (agent_id bigint, expected bigint, claimed bigint);

CREATE FUNCTION pg_temp.in_order(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wanted bigint;
	got bigint[];
	differ bigint;
	lefts bigint;
	nothing bigint[];
	pages bigint[];
BEGIN
	BEGIN
		-- Each claims more than there is, in turns.
		FOR n IN 1 .. 650 LOOP
			wanted := pg_temp.next_of(2 + n % 4);
			INSERT INTO claimed VALUES (2 + n % 4, wanted, omnichannel.claim(2 + n % 4));
		END LOOP;
		differ := (SELECT count(*) FROM claimed WHERE claimed IS DISTINCT FROM expected);
		got := ARRAY(SELECT count(claimed) FROM claimed GROUP BY agent_id ORDER BY agent_id) || (SELECT count(*) FROM claimed WHERE claimed IS NULL);
		lefts := (SELECT count(*) FROM waiting WHERE request_id <= 600);

		nothing := ARRAY[claim(6)];
		pages := ARRAY[pg_temp.pages('SELECT omnichannel.claim(6)')];
		UPDATE agent_state SET state = 'available' WHERE agent_id = 6;
		nothing := nothing || next_offer(6);
		pages := pages || pg_temp.pages('SELECT omnichannel.next_offer(6)');
		RAISE EXCEPTION USING ERRCODE = 'RT000';
	EXCEPTION WHEN SQLSTATE 'RT000' THEN
		NULL;
	END;
	RETURN NEXT is(differ, 0::bigint, how || ': each helper gets what comes first for him');
	RETURN NEXT ok(20 < ALL (got), how || ': they get some each, until nothing has waited for long enough');
	RETURN NEXT cmp_ok(lefts, '>', 20::bigint, how || ': though more waits');

	-- However many stand before him that are not for him, he reads few pages.
	RETURN NEXT is(nothing, ARRAY[NULL, NULL]::bigint[], how || ': nothing has waited for an hour in the long queue');
	RETURN NEXT ok(200 > ALL (pages), how || ': which takes few pages to see');
END
$$;
SELECT * FROM pg_temp.in_order('by rows');
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER nothing AFTER UPDATE ON agent_state FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT * FROM pg_temp.in_order('by statements');

SELECT * FROM finish();
ROLLBACK;
