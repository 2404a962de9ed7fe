-- Requests that plain statements change, close and delete while they wait or have an agent, and those whose clocks are
-- due at other times meanwhile: the sweep gives each the place that is theirs.
BEGIN;
SELECT plan(41);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, prefer_for) VALUES ('q', '0', '0'), ('q2', '0', '0'), ('vip', '0', '0');
INSERT INTO agent (agent_id, name, skills, capacity) VALUES (1, 'Anna', '', 2), (2, 'Bo', 'x:5', 2), (3, 'Cy', '', 2);
INSERT INTO agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(1, 3) AS n;
INSERT INTO queue_member (queue, agent_id) VALUES ('q', 1), ('q', 2), ('q2', 3), ('vip', 3);
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
SELECT setval('request_request_id_seq', 1000);
SET CONSTRAINTS ALL IMMEDIATE;

-- another queue, other skills, another priority
SELECT open_request(1, 'question', 'chat', 'q') AS r1, open_request(2, 'question', 'chat', 'q') AS r2, open_request(3, 'question', 'chat', 'q') AS r3 \gset
SELECT tick_queues();
SELECT is_empty('SELECT * FROM arrival', 'three wait in their places');
UPDATE request SET requires = 'x:5' WHERE request_id = :r1;
UPDATE request SET queue = 'q2' WHERE request_id = :r2;
UPDATE request SET priority = 100 WHERE request_id = :r3;
SELECT is((SELECT count(*) FROM arrival), 3::bigint, 'changes are noted');
UPDATE request SET subject = 'a' WHERE request_id = :r1;
SELECT is(set_presence(3, 'available'), NULL, 'before the sweep nobody is given');
SELECT is(set_presence(1, 'available'), NULL, 'what is not his any more');
SELECT is(tick_queues(), 3::bigint, 'the sweep');
SELECT results_eq('SELECT request_id, agent_id FROM assignment ORDER BY 1', format('VALUES (%s::bigint, 3::bigint), (%s, 1)', :r2, :r3), 'offers them where they suit');
SELECT is(set_presence(2, 'available'), :r1::bigint, 'and lets wait what waits for a skill');
SELECT is_empty('SELECT * FROM arrival', 'nothing is left to do');
SELECT release_request(:r1, 'done'), release_request(:r2, 'done'), release_request(:r3, 'done');

-- by route() itself
SELECT set_presence(1, 'busy'), set_presence(2, 'busy'), set_presence(3, 'busy');
SELECT open_request(1, 'question', 'chat', 'q') AS r1, open_request(2, 'question', 'chat', 'q') AS r2 \gset
SELECT route(:r1), route(:r2);
UPDATE request SET priority = 7 WHERE request_id = :r2;
SELECT route(:r2);
SELECT is((queue_position(:r2)).place, 1::bigint, 'route() puts it into its place as well');
SELECT is((SELECT count(*) FROM waiting), 2::bigint, 'and not twice');

-- states: the customer's turn, closed, deleted while it waits
UPDATE request SET state = 'waiting_customer' WHERE request_id = :r2;
SELECT is(claim(2), :r1::bigint, 'nobody is given what is the customer''s turn');
SELECT is(tick_queues(), 1::bigint, 'the sweep');
SELECT is_empty('SELECT * FROM waiting', 'takes it out of the queue');
SELECT open_request(3, 'question', 'chat', 'q') AS r3, open_request(4, 'question', 'chat', 'q') AS r4, open_request(5, 'question', 'chat', 'q') AS r5 \gset
SELECT tick_queues();
UPDATE request SET state = 'cancelled' WHERE request_id = :r3;
DELETE FROM request WHERE request_id = :r4;
SELECT is((queue_position(:r5)).place, 3::bigint, 'one was closed and one deleted');
SELECT cmp_ok(tick_queues(), '>=', 1::bigint, 'the sweep');
SELECT is((queue_position(:r5)).place, 1::bigint, 'counts them no more');

-- ... while an agent has it
SELECT is((SELECT used FROM agent_state WHERE agent_id = 2), 2, 'an agent is at work');
UPDATE request SET state = 'waiting_customer' WHERE request_id = :r1;
SELECT is(tick_queues(), 1::bigint, 'which is the customer''s turn now');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 2), 0, 'he is freed');
SELECT is(claim(2), :r5::bigint, 'and takes the next');
UPDATE request SET state = 'waiting_agent' WHERE request_id = :r5;
SELECT set_presence(1, 'available');
SELECT cmp_ok(tick_queues(), '>=', 1::bigint, 'back into the queue');
SELECT results_eq('SELECT request_id, agent_id FROM assignment', format('VALUES (%s::bigint, 1::bigint)', :r5), 'is offered to another one');
SELECT is((SELECT outcome FROM assignment_history WHERE request_id = :r5), 'transferred', 'passed on');
SELECT release_request(:r5, 'done');
SELECT is((SELECT sum(used) FROM agent_state), 0::bigint, 'nobody is at work');
SELECT is_empty('SELECT * FROM arrival', 'nothing is noted');

-- clocks: a policy that changes, a message that wants an answer, another queue
SELECT set_presence(1, 'busy'), set_presence(2, 'busy'), set_presence(3, 'busy');
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('a', -9, 'resolution', 'slow', '2 days'), ('b', -8, 'resolution', 'fast', '1 day');
INSERT INTO sla_policy (policy, rank, metric, queue, target) VALUES ('c', -10, 'resolution', 'vip', '5 minutes');
SELECT open_request(6, 'slow', 'chat', 'q') AS r1, open_request(7, 'fast', 'chat', 'q') AS r2 \gset
SELECT route(:r1), route(:r2);
SELECT is((SELECT date_trunc('hour', due_at - now()) FROM waiting WHERE request_id = :r1), '2 days', 'a request that is due in two days');
SELECT is((queue_position(:r1)).place, 2::bigint, 'waits behind one that is due in one');
UPDATE sla_policy SET target = '1 hour' WHERE policy = 'a';
SELECT recompute_sla();
SELECT cmp_ok(tick_queues(), '>=', 1::bigint, 'due in an hour, the sweep');
SELECT is((SELECT date_trunc('minute', due_at - now()) FROM waiting WHERE request_id = :r1), '1 hour', 'brings it');
SELECT is(claim(1), :r1::bigint, 'to the fore');
SELECT transfer_request(:r2, 'vip');
SELECT is((SELECT date_trunc('minute', due_at - now()) FROM waiting WHERE request_id = :r2), '5 minutes', 'what is transferred is due as the other queue says');
SELECT tick_queues();
INSERT INTO sla_policy (policy, rank, metric, channel, target) VALUES ('d', -11, 'next_response', 'email', '1 minute'), ('e', -12, 'first_response', 'email', '1 minute');
SELECT log_contact('email', customer_id => 7, request_id => :r2);
SELECT tick_queues();
SELECT is((SELECT date_trunc('minute', due_at - now()) FROM waiting WHERE request_id = :r2), '1 minute', 'what the customer writes meanwhile counts');

-- an offer of what was closed can be neither accepted nor declined; one of a long transaction lasts as long as any
SELECT release_request(:r1, 'done'), release_request(:r2, 'done'), set_presence(1, 'available');
SELECT open_request(8, 'question', 'chat', 'q') AS r1, open_request(9, 'question', 'chat', 'q') AS r2 \gset
SELECT pg_sleep(0.2);
SELECT is(route(:r1), 1::bigint, 'an offer');
SELECT cmp_ok((SELECT expires_at FROM assignment WHERE request_id = :r1), '>', clock_timestamp() + interval '29.9 seconds', 'lasts from when it is made');
UPDATE request SET state = 'cancelled' WHERE request_id = :r1;
SELECT throws_ok(format('SELECT accept_request(%s, 1)', :r1), '55000', NULL, 'a closed one is not accepted');
SELECT is((SELECT accepted_at FROM assignment WHERE request_id = :r1), NULL, 'indeed');
SELECT throws_ok(format('SELECT decline_request(%s, 1)', :r1), '55000', NULL, 'nor declined');
SELECT tick_queues();

-- a call back is for who waits
SELECT open_request(10, 'question', 'chat', 'q', agent_id => 1) AS r3 \gset
SELECT throws_ok(format('SELECT request_callback(%s, ''chat'')', :r3), '55000', NULL, 'not for whom an agent deals with');
SELECT route(:r2), accept_request(:r2, 1), release_request(:r2);
SELECT throws_ok(format('SELECT request_callback(%s, ''chat'')', :r2), '55000', NULL, 'nor for a customer whose turn it is');

-- a channel that costs nothing reaches agents who are full
SELECT release_request(:r3, 'done');
UPDATE channel SET cost = 0 WHERE channel = 'sms';
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'sms');
SELECT open_request(11, 'question', 'chat', 'q') AS r1, open_request(12, 'question', 'sms', 'q') AS r2 \gset
SELECT set_presence(1, 'busy'), route(:r2), route(:r1), claim(1);
UPDATE agent_state SET state = 'available', used = 2 WHERE agent_id = 1;
DELETE FROM assignment;
INSERT INTO assignment (request_id, customer_id, agent_id, lane_id, cost, priority, due_at, entered_at, offered_at, expires_at, accepted_at)
SELECT :r1, 11, 1, lane_id, 2, 0, 'infinity', now(), now(), 'infinity', now() FROM lane LIMIT 1;
DELETE FROM waiting;
UPDATE request SET state = 'assigned', agent_id = 1 WHERE request_id = :r1;
UPDATE request SET state = 'waiting_agent' WHERE request_id = :r2;
UPDATE agent_state SET state = 'offline' WHERE agent_id = 1;
SELECT tick_queues();
UPDATE agent_state SET state = 'available' WHERE agent_id = 1;
SELECT is(tick_queues(), 1::bigint, 'the sweep serves who is full');
SELECT is((SELECT agent_id FROM assignment WHERE request_id = :r2), 1::bigint, 'with what costs nothing');

SELECT * FROM finish();
ROLLBACK;
