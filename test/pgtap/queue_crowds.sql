-- The sweep does so much a call: what cannot be moved does not stand before what can, however much there is of it.
BEGIN;
SELECT plan(4);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('nobody', '0'), ('calm', '0');
INSERT INTO queue (queue, hold_for_owner, overflow_queue, overflow_after) VALUES ('crowd', '0', 'nobody', '1 minute'), ('few', '0', 'calm', '1 minute');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 100), (2, 'Bo', 100);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO queue_member (queue, agent_id) VALUES ('crowd', 1), ('few', 1), ('calm', 2);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (1, 1, 'question', 'chat', 'crowd'), (2, 1, 'question', 'chat', 'few');
SELECT results_eq('SELECT route(n) FROM generate_series(1, 2) AS n', 'VALUES (NULL::bigint), (NULL)', 'requests wait');
UPDATE waiting SET queued_at = now() - interval '2 minutes' WHERE request_id = 2;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) SELECT n, 1, 'question', 'waiting_agent', 'chat', 'crowd' FROM generate_series(1001, 4000) AS n;
INSERT INTO waiting (request_id, customer_id, lane_id, rank, due_at, entered_at, queued_at, priority)
SELECT n, 1, w.lane_id, w.rank, w.due_at, now() - interval '1 hour', now() - interval '1 hour', w.priority FROM waiting AS w CROSS JOIN generate_series(1001, 4000) AS n WHERE w.request_id = 1;
SELECT is((SELECT tick_queues()), 1::bigint, 'of many that nobody would serve and one, one overflows');
SELECT is((SELECT queue FROM request WHERE request_id = 2), 'calm', 'that one');
SELECT is((SELECT count(*) FROM request WHERE queue = 'nobody'), 0::bigint, 'and none of the others');
SELECT * FROM finish();
ROLLBACK;
