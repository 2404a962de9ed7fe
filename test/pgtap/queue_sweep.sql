-- What the sweep does with many at once, with what was deleted, and the locks it takes.
BEGIN;
SELECT plan(26);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, prefer_for) VALUES ('a', '0', '0'), ('over', '0', '0');
INSERT INTO queue (queue, hold_for_owner, prefer_for, overflow_queue, overflow_after)
SELECT 'o' || n, '0', '0', 'over', '1 minute' FROM generate_series(1, 3) AS n;
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 2), (2, 'Bo', 2);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO queue_member (queue, agent_id) SELECT queue, 2 FROM queue WHERE queue <> 'a' UNION VALUES ('a', 1);
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
SET CONSTRAINTS ALL IMMEDIATE;

-- locks: of a class that nobody can take from SQL
SELECT set_presence(1, 'available');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (1, 1, 'question', 'chat', 'a');
SELECT is(route(1), 1::bigint, 'a request is routed');
CREATE TEMP VIEW held AS SELECT objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT cmp_ok((SELECT count(*) FROM held), '>=', 2::bigint, 'under locks');
SELECT is_empty('SELECT * FROM held WHERE objsubid IN (1, 2)', 'which pg_advisory_lock() does not reach');

-- a request that is deleted gives its agent back
SELECT accept_request(1, 1);
DELETE FROM request WHERE request_id = 1;
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 2, 'the request of a busy agent is deleted');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (2, 2, 'question', 'chat', 'a');
SELECT is(route(2), NULL, 'another one waits for him');
SELECT is(tick_queues(), 2::bigint, 'the sweep ends the work and serves him');
SELECT results_eq('SELECT request_id, agent_id FROM assignment', 'VALUES (2::bigint, 1::bigint)', 'with what waits');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 2, 'and his load is that of it');
SELECT is((SELECT outcome FROM assignment_history WHERE request_id = 1), 'finished', 'the work is on record');
SELECT is(tick_queues(), 0::bigint, 'once');

-- one that cannot be moved does not keep the others
UPDATE agent SET capacity = 1000 WHERE agent_id = 1;
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not this one'; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON request FOR EACH ROW WHEN (old.request_id IN (12, 22)) EXECUTE FUNCTION pg_temp.refuse();
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 2, 'question', 'waiting_agent', 'chat', 'a' FROM generate_series(11, 13) AS n;
SET LOCAL client_min_messages = error;
SELECT is(tick_queues(), 2::bigint, 'of three requests a trigger refuses one');
SELECT results_eq('SELECT request_id FROM assignment WHERE request_id BETWEEN 11 AND 13 ORDER BY 1', 'VALUES (11::bigint), (13)', 'the others are offered');
SELECT results_eq('SELECT request_id FROM arrival', 'VALUES (12::bigint)', 'and it stays noted');
SELECT set_presence(1, 'break');
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 2, 'question', 'chat', 'a' FROM generate_series(21, 23) AS n;
ALTER TABLE request DISABLE TRIGGER refuse;
SELECT route(n) FROM generate_series(21, 23) AS n;
SELECT set_presence(1, 'available');
UPDATE assignment SET expires_at = now() WHERE request_id BETWEEN 21 AND 23;
ALTER TABLE request ENABLE TRIGGER refuse;
SELECT lives_ok('SELECT tick_queues()', 'so with offers that have expired');
SELECT results_eq('SELECT request_id FROM assignment WHERE request_id BETWEEN 21 AND 23', 'VALUES (22::bigint)', 'which are taken back but for one');
DROP TRIGGER refuse ON request;
SELECT tick_queues();
SELECT is_empty('SELECT FROM arrival UNION ALL SELECT FROM assignment WHERE request_id BETWEEN 21 AND 23', 'and that one when it can be');
-- nor do many
CREATE TRIGGER refuse BEFORE UPDATE ON request FOR EACH ROW WHEN (old.kind = 'bad') EXECUTE FUNCTION pg_temp.refuse();
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) SELECT n, 2, 'bad', 'waiting_agent', 'chat', 'a' FROM generate_series(3001, 3250) AS n;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (4000, 2, 'good', 'waiting_agent', 'chat', 'a');
SELECT tick_queues(), tick_queues(), tick_queues();
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 4000), 1::bigint, 'what comes after hundreds of those is moved in a few sweeps');
DROP TRIGGER refuse ON request;
DELETE FROM request WHERE kind = 'bad';
SELECT tick_queues(), tick_queues();
RESET client_min_messages;

-- thousands of kinds of requests
INSERT INTO lane (queue, channel, requires) SELECT 'a', 'chat', ('s' || n || ':1')::skill_set FROM generate_series(1, 12000) AS n;
INSERT INTO lane (queue, channel, requires) VALUES ('a', 'chat', 's1:1');
INSERT INTO lane_head (lane_id, rank, due_at, entered_at, request_id) SELECT lane_id, 0, '-infinity', now(), 0 FROM lane ON CONFLICT DO NOTHING;
ANALYZE lane, lane_head;
SET LOCAL statement_timeout = '4s';
SELECT lives_ok('SELECT tick_queues()', 'a sweep does not compare each with each');
RESET statement_timeout;
SELECT is((SELECT count(*) FROM lane WHERE requires = 's1:1'), 1::bigint, 'and removes the second of a kind');
DELETE FROM lane WHERE requires <> '';

-- much that is due at once: some of it each time, with few locks
INSERT INTO lane (queue, channel) SELECT 'o' || n, 'chat' FROM generate_series(1, 3) AS n;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 1 + n % 20, 'question', 'waiting_agent', 'chat', 'o' || 1 + n % 3 FROM generate_series(1001, 1900) AS n;
INSERT INTO waiting (request_id, customer_id, lane_id, rank, entered_at, queued_at)
SELECT q.request_id, q.customer_id, l.lane_id, 0, now() - interval '2 minutes', now() - interval '2 minutes' FROM request AS q JOIN lane AS l ON l.queue = q.queue WHERE q.request_id BETWEEN 1001 AND 1900;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT cmp_ok(tick_queues(), '<=', 300::bigint, 'a sweep moves some of the requests that overflow');
SELECT cmp_ok((SELECT count(*) FROM request WHERE queue = 'over'), '>=', 200::bigint, 'indeed');
SELECT cmp_ok((SELECT count(*) FROM held), '<=', 350::bigint, 'and does not fill the table of locks');
SELECT tick_queues(), tick_queues(), tick_queues();
SELECT is((SELECT count(*) FROM request WHERE queue = 'over'), 900::bigint, 'the next ones move the rest');
SELECT is((SELECT count(DISTINCT queue) FROM waiting JOIN lane USING (lane_id) WHERE request_id > 1000), 1::bigint, 'to where they wait');
SELECT is(set_presence(2, 'available'), 1001::bigint, 'for the agent there');
SELECT is(tick_queues(), 0::bigint, 'and stay');

SELECT * FROM finish();
ROLLBACK;
