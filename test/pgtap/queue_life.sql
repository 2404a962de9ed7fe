-- What nobody says to the queue and still must not be lost or wait: plain statements, ends of work, wrap-ups, and lanes
-- that nobody uses. And refusals that change nothing.
BEGIN;
SELECT plan(79);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, wrap_up) VALUES ('l', '0', '0'), ('slow', '0', '200 milliseconds'), ('nobody', '0', '0');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 2), (2, 'Bo', 2);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO queue_member (queue, agent_id) VALUES ('l', 1), ('slow', 2);
INSERT INTO customer (customer_id) VALUES (100);
SELECT set_presence(1, 'available');
SELECT setval('request_request_id_seq', 1000);

-- a request with a queue that nobody passes to route(); constraints are what the end of the transaction checks
SET CONSTRAINTS ALL IMMEDIATE;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (1, 100, 'question', 'waiting_agent', 'chat', 'l');
SELECT results_eq('SELECT request_id FROM arrival', ARRAY[1::bigint], 'a plain INSERT into a queue is noted');
SELECT is(tick_queues(), 1::bigint, 'the sweep routes it');
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 1), 1::bigint, 'to the agent who idles');
SELECT is(tick_queues(), 0::bigint, 'once');
SELECT is_empty('SELECT * FROM arrival', 'and forgets it');
SELECT open_request(100, 'question', 'chat', 'l') AS opened \gset
SELECT is(tick_queues(), 1::bigint, 'open_request() into a queue');
SELECT isnt((SELECT entered_at FROM waiting WHERE request_id = :opened), NULL, 'waits where nobody is free');
INSERT INTO request (request_id, customer_id, kind, state, channel) VALUES (2, 100, 'question', 'new', 'chat');
SELECT is_empty('SELECT * FROM arrival WHERE request_id = 2', 'in no queue: nothing to note');
UPDATE request SET state = 'waiting_agent', queue = 'nobody' WHERE request_id = 2;
SELECT is(tick_queues(), 1::bigint, 'a plain UPDATE into a queue');
SELECT is((queue_position(2)).place, 1::bigint, 'waits, even where nobody serves');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (3, 100, 'question', 'waiting_agent', 'chat', 'l');
UPDATE request SET state = 'cancelled' WHERE request_id = 3;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (4, 100, 'question', 'waiting_agent', 'chat', 'l');
DELETE FROM request WHERE request_id = 4;
SELECT is(tick_queues(), 0::bigint, 'what was closed or deleted since is not routed');
SELECT is_empty('SELECT * FROM arrival', 'and not kept');
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (5, 100, 'question', 'waiting_agent', 'chat', 'l');
SELECT route(5);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is_empty('SELECT * FROM arrival', 'what is routed in its own transaction leaves no trace');
SET CONSTRAINTS ALL DEFERRED;

-- complete_request() frees the agent, who gets the next, in the same transaction
SELECT is((SELECT count(*) FROM waiting), 3::bigint, 'three wait');
SELECT accept_request(1, 1);
SELECT isnt(complete_request(1, 'resolved'), NULL, 'complete_request()');
SELECT is((SELECT state FROM request WHERE request_id = 1), 'done', 'closes');
SELECT results_eq('SELECT request_id FROM assignment WHERE agent_id = 1', ARRAY[5::bigint], 'and the agent has the next request at once');
SELECT is((SELECT outcome FROM assignment_history WHERE request_id = 1), 'finished', 'the work is on record');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 2, 'the load is that of the next one');
SELECT isnt(complete_request(:opened, 'withdrawn'), NULL, 'of one that waits');
SELECT is_empty(format('SELECT * FROM waiting WHERE request_id = %s', :opened), 'it leaves the queue');
SELECT throws_ok('SELECT complete_request(5, ''resolved'', expected_version => 1)', '40001', NULL, 'another version');
SELECT is((SELECT count(*) FROM assignment WHERE agent_id = 1), 1::bigint, 'frees nobody');
SELECT lives_ok('SELECT release_request(5, ''done'')', 'the end');

-- who may not write assignments can still complete: the sweep does the rest
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (6, 100, 'question', 'waiting_agent', 'chat', 'l');
SELECT is(route(6), 1::bigint, 'another one');
CREATE ROLE tap_closer;
SELECT grant_access('tap_closer', 'app');
REVOKE DELETE ON assignment FROM tap_closer;
SET LOCAL ROLE tap_closer;
SELECT lives_ok('SELECT omnichannel.complete_request(6, ''resolved'')', 'a role without rights on assignments');
RESET ROLE;
SELECT is((SELECT count(*) FROM assignment WHERE request_id = 6), 1::bigint, 'leaves the agent to the sweep');
SELECT is(tick_queues(), 1::bigint, 'which frees him');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 0, 'indeed');

-- those who work in the queues may put a request into another channel
CREATE ROLE tap_caller;
SELECT grant_access('tap_caller', 'app');
INSERT INTO sla_policy (policy, metric, target) VALUES ('tap_life', 'resolution', '1 hour');
INSERT INTO queue (queue) VALUES ('call');
INSERT INTO agent (agent_id, name) VALUES (77, 'Cora');
INSERT INTO queue_member (queue, agent_id) VALUES ('call', 77);
SET LOCAL ROLE tap_caller;
SELECT omnichannel.open_request(100, 'question', 'chat', 'call') AS call \gset
SELECT is(omnichannel.route(:call), NULL, 'a request of a role that may not correct clocks waits');
SELECT lives_ok(format('SELECT omnichannel.request_callback(%s, ''phone'')', :call), 'and is to be called back');
SELECT lives_ok(format('SELECT omnichannel.transfer_request(%s, ''call'', requires => ''x:1'')', :call), 'transferred');
SELECT lives_ok(format('SELECT omnichannel.abandon_request(%s, ''1 hour'')', :call), 'and given up');
RESET ROLE;
SELECT is((SELECT current_channel FROM request WHERE request_id = :call), 'phone', 'its customer is in the other channel');
SELECT is((SELECT count(*) FROM sla_clock WHERE request_id = :call AND policy = 'tap_life'), 1::bigint, 'with its clock');
DELETE FROM request WHERE request_id = :call;
DELETE FROM sla_policy WHERE policy = 'tap_life';
DELETE FROM queue WHERE queue = 'call';
SELECT tick_queues();

-- next_offer() at the end of a wrap-up
SELECT set_presence(2, 'available');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 100, 'question', 'waiting_agent', 'chat', 'slow' FROM generate_series(10, 13) AS n;
SELECT is(route(10), 2::bigint, 'work');
SELECT is(route(11), NULL, 'more work waits');
SELECT accept_request(10, 2);
UPDATE queue SET wrap_up = clock_timestamp() - now() + interval '300 milliseconds' WHERE queue = 'slow';
SELECT is(release_request(10, 'done'), NULL, 'wraps up');
SELECT is(next_offer(2), NULL, 'nothing meanwhile');
SELECT is((SELECT count(*) FROM waiting WHERE request_id = 11), 1::bigint, 'it waits');
SELECT is(next_offer(2, '5 seconds'), 11::bigint, 'next_offer() gives what waits when the wrap-up ends');
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 11), 2::bigint, 'it is offered');
SELECT is((SELECT date_trunc('second', expires_at - offered_at) FROM assignment WHERE request_id = 11), '30 seconds', 'for as long as any offer');
SELECT cmp_ok((SELECT offered_at FROM assignment WHERE request_id = 11), '>', now(), 'from then on');
SELECT is(next_offer(2), 11::bigint, 'again the same');
SELECT accept_request(11, 2);
SELECT is(route(12), NULL, 'the next waits');
SELECT is(next_offer(2), NULL, 'an agent without room is given nothing');
SELECT set_presence(2, 'busy');
SELECT is(next_offer(2), NULL, 'nor one who is not available');
SELECT release_request(11, 'done'), release_request(12, 'done');

-- lanes that nobody uses go, others stay
SELECT is((SELECT count(*) FROM lane WHERE queue = 'nobody'), 1::bigint, 'a lane');
SELECT tick_queues();
UPDATE lane_head SET used_at = now() - interval '2 days';
SELECT lives_ok('SELECT tick_queues()', 'a sweep');
SELECT is((SELECT count(*) FROM lane WHERE queue = 'nobody'), 1::bigint, 'the lane in which something waits stays');
SELECT is((SELECT count(*) FROM lane WHERE queue <> 'nobody'), 0::bigint, 'the others go');
SELECT is_empty('SELECT lane_id FROM lane_head EXCEPT SELECT lane_id FROM lane', 'and their heads');
SELECT is((SELECT used_at FROM lane_head), now(), 'what waits uses it');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (20, 100, 'question', 'waiting_agent', 'chat', 'l');
SELECT is(route(20), 1::bigint, 'a lane is made again when it is needed');
SELECT lives_ok('SELECT tick_queues()', 'a sweep');
UPDATE lane_head SET used_at = now() - interval '2 days';
SELECT lives_ok('SELECT tick_queues()', 'another');
SELECT is((SELECT count(*) FROM lane WHERE queue = 'l'), 1::bigint, 'the lane of an assignment stays');
SELECT release_request(20, 'done');
SELECT is((SELECT queue FROM assignment_history WHERE request_id = 20), 'l', 'so that its history can be written');

-- what is refused changes nothing
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 100, 'question', 'waiting_agent', 'chat', 'l' FROM generate_series(30, 32) AS n;
SELECT route(30), route(31);
CREATE FUNCTION pg_temp.fingerprint() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT string_agg(q::text, ',' ORDER BY request_id) FROM omnichannel.request AS q),
		(SELECT string_agg(q::text, ',' ORDER BY request_id) FROM omnichannel.assignment AS q),
		(SELECT string_agg(q::text, ',' ORDER BY request_id) FROM omnichannel.waiting AS q),
		(SELECT string_agg(q::text, ',' ORDER BY agent_id) FROM omnichannel.agent_state AS q),
		(SELECT string_agg(q::text, ',' ORDER BY q::text) FROM omnichannel.presence AS q),
		(SELECT string_agg(q::text, ',' ORDER BY agent_id) FROM omnichannel.agent AS q),
		(SELECT string_agg(q::text, ',' ORDER BY queue) FROM omnichannel.queue AS q),
		(SELECT string_agg(q::text, ',' ORDER BY assignment_id) FROM omnichannel.assignment_history AS q),
		(SELECT string_agg(q::text, ',' ORDER BY q::text) FROM omnichannel.refusal AS q)))
$$;
CREATE TEMP TABLE before AS SELECT pg_temp.fingerprint() AS fingerprint;
SELECT throws_ok(call, code, NULL, call) FROM (VALUES
	('SELECT route(99)', '23503'), ('SELECT set_presence(99, ''available'')', '23503'), ('SELECT claim(99)', '23503'),
	('SELECT accept_request(30, 99)', '23503'), ('SELECT next_offer(99)', '23503'),
	('SELECT transfer_request(30, agent_id => 99)', '23503'),
	('INSERT INTO agent (name, skills) VALUES (''x'', ''a:11'')', '22P02'),
	('INSERT INTO agent (name, skills) VALUES (''x'', ''a:0'')', '22P02'),
	('SELECT transfer_request(30, ''l'', requires => ''a:-1'')', '22P02'),
	('SELECT open_request(100, ''question'', ''chat'', ''l'', requires => ''a:11'')', '22P02'),
	('INSERT INTO agent (name, capacity) VALUES (''x'', -1)', '23514'),
	('SELECT transfer_request(30, ''nobody'')', '55000'),
	('UPDATE queue SET overflow_queue = ''l'', overflow_after = ''1 s'' WHERE queue = ''l''', '22023'),
	('SELECT accept_request(30, 2)', '55000'), ('SELECT decline_request(30, 2)', '55000'),
	('SELECT accept_request(31, 1)', '55000'), ('SELECT accept_request(20, 1)', '55000')) AS refused (call, code);
SELECT is(pg_temp.fingerprint(), (SELECT fingerprint FROM before), 'nothing has changed');
UPDATE assignment SET expires_at = now() WHERE request_id = 30;
UPDATE before SET fingerprint = pg_temp.fingerprint();
SELECT throws_ok('SELECT accept_request(30, 1)', '55000', NULL, 'what has expired');
SELECT is(pg_temp.fingerprint(), (SELECT fingerprint FROM before), 'nothing has changed');
SELECT * FROM finish();
ROLLBACK;
