-- The sweep compares no lane with all others, however many come before anybody has counted them.
SET client_min_messages = error;
SET search_path = omnichannel, public, pg_catalog;
INSERT INTO queue (queue) VALUES ('q');
INSERT INTO agent (agent_id, name) VALUES (1, 'Anna');
INSERT INTO queue_member (queue, agent_id) VALUES ('q', 1);
INSERT INTO lane (queue, channel) VALUES ('q', 'chat');
SELECT tick_queues();
VACUUM ANALYZE lane, lane_head, waiting;
-- Often enough for plans that are kept.
SELECT tick_queues() FROM generate_series(1, 8);

BEGIN;
SELECT plan(6);
INSERT INTO lane (queue, channel, requires) SELECT 'q', 'chat', ('s' || n || ':1')::skill_set FROM generate_series(1, 1000) AS n;
INSERT INTO waiting (request_id, customer_id, lane_id, rank, entered_at) SELECT lane_id, 1, lane_id, 0, now() FROM lane;
CREATE FUNCTION pg_temp.rows_read() RETURNS numeric LANGUAGE sql AS $$
	SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
	WHERE schemaname = 'omnichannel' AND relname IN ('lane', 'lane_head', 'waiting')
$$;
CREATE FUNCTION pg_temp.heads_stand() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM omnichannel.lane_head JOIN omnichannel.waiting USING (lane_id, rank, due_at, entered_at, request_id)
$$;
SELECT pg_temp.rows_read() AS before \gset
SELECT tick_queues();
SELECT cmp_ok(pg_temp.rows_read() - :before, '<', 50000::numeric, 'heads of a thousand lanes are made without reading them a thousand times');
SELECT is(pg_temp.heads_stand(), 1001::bigint, 'all of them');
UPDATE lane_head SET rank = rank - 5;
SELECT pg_temp.rows_read() AS before \gset
SELECT tick_queues();
SELECT cmp_ok(pg_temp.rows_read() - :before, '<', 50000::numeric, 'and moved');
SELECT is(pg_temp.heads_stand(), 1001::bigint, 'all of them');
DELETE FROM waiting;
UPDATE lane_head SET used_at = now() - interval '2 days';
SELECT pg_temp.rows_read() AS before \gset
SELECT tick_queues();
SELECT cmp_ok(pg_temp.rows_read() - :before, '<', 50000::numeric, 'and removed when nobody has used them for a day');
SELECT is((SELECT count(*) FROM lane), 0::bigint, 'all of them');
SELECT * FROM finish();
ROLLBACK;
