-- Ends that are not as usual: of what was never accepted, of places that are kept, and arguments that are missing.
BEGIN;
SELECT plan(34);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('a', '0'), ('b', '0');
INSERT INTO agent (agent_id, name) VALUES (1, 'Anna'), (2, 'Bo');
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO queue_member (queue, agent_id) VALUES ('a', 1), ('b', 1);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'a' FROM generate_series(1, 4) AS n;

-- an argument that is missing is no answer
SELECT throws_ok(call, '22023', NULL, call) FROM unnest(ARRAY['SELECT route(NULL)', 'SELECT claim(NULL)', 'SELECT next_offer(1, NULL)', 'SELECT set_presence(1, NULL)',
	'SELECT accept_request(1, NULL)', 'SELECT decline_request(1, NULL)', 'SELECT release_request(1, NULL)', 'SELECT abandon_request(1, NULL)', 'SELECT request_callback(NULL)']) AS call;

-- nor is a time that is longer than numbers go
SELECT throws_ok(format('SELECT next_offer(1, %L)', long), '22023', format('cannot wait for "%s"', long::interval), 'a wait of ' || long)
FROM unnest(ARRAY['213503983 days', '-106751992 days', '178000000 years']) AS long;
SELECT throws_ok(format('SELECT abandon_request(1, %L)', long), '22023', format('a place cannot be kept for "%s"', long::interval), 'a place kept for ' || long)
FROM unnest(ARRAY['213503983 days', '-106751992 days', '178000000 years']) AS long;
SELECT throws_ok('SELECT waiting_level(0, now(), ''-213503983 days'')', '22023', NULL, 'and no age_after is');
SELECT throws_ok('SELECT waiting_level(0, ''-infinity'', ''1 us'')', '22008', NULL, 'nobody has waited for ever');
SELECT results_eq('SELECT waiting_level(5, at::timestamptz, age_after::interval) FROM (VALUES (''2026-01-01'', ''213503983 days''),
	(''4713-01-02 BC'', ''213503983 days''), (''1999-12-31 23:59:58+00'', ''1 second''), (''1999-12-31 23:59:58.5+00'', ''1 second'')) AS w (at, age_after)',
	'VALUES (5::bigint), (6), (7), (7)', 'levels of long steps, and of before 2000');
SELECT is(waiting_level(0, '2000-01-02 00:00+00', '106751992 days -2562047784 hours'), -1::bigint, 'parts that are too long each and not together');

-- what was never accepted has not been finished
SELECT set_presence(1, 'available');
SELECT is(route(1), 1::bigint, 'a request is offered');
SELECT complete_request(1, 'resolved');
SELECT results_eq('SELECT outcome FROM assignment_history', ARRAY['done_elsewhere'], 'and done before it was accepted');
SELECT throws_ok('SELECT prepare_close(1, ''assigned'')', '22023', 'a request is not closed as "assigned"', 'what is about to be closed becomes done or cancelled');
SELECT is(route(2), 1::bigint, 'another one');
SELECT accept_request(2, 1), transfer_request(2, 'a');
SELECT is((SELECT reason FROM explain_match(2) WHERE agent_id = 1), 'declined it, let the offer expire or passed it on', 'is passed on, which is why it does not come back');
SELECT results_eq('SELECT outcome FROM assignment_history WHERE request_id = 2', ARRAY['transferred'], 'and on record');

-- a kept place
SELECT route(3), abandon_request(3), complete_request(3, 'resolved') FROM set_presence(1, 'offline');
SELECT throws_ok('SELECT request_callback(3)', '55000', NULL, 'nobody is called back about what is closed, whose place is kept');
SELECT route(4);
UPDATE waiting SET entered_at = now() - interval '1 hour', queued_at = now() - interval '1 minute' WHERE request_id = 4;
SELECT abandon_request(4);
SELECT is(route(4), NULL, 'whoever comes back');
SELECT results_eq('SELECT entered_at, queued_at FROM waiting WHERE request_id = 4', $$VALUES (now() - interval '1 hour', now() - interval '1 minute')$$,
	'has waited in this queue for as long as before, and altogether');
SELECT is_empty('SELECT FROM kept_place WHERE request_id = 4', 'in the old place');

-- what was offered, or waits, and was closed by a plain statement since
SELECT release_request(4, 'done');
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'a' FROM generate_series(5, 6) AS n;
SELECT route(5), set_presence(1, 'available');
UPDATE request SET state = 'cancelled' WHERE request_id = 5;
SELECT throws_ok('SELECT abandon_request(5)', '55000', 'request 5 does not wait for an agent', 'nobody gives up what is closed');
SELECT lives_ok($$SELECT set_presence(1, 'break')$$, 'nor does it keep the agent to whom it was offered');
SELECT results_eq('SELECT state, used FROM agent_state WHERE agent_id = 1', $$VALUES ('break', 0)$$, 'who is free of it');
SELECT is((SELECT state FROM request WHERE request_id = 5), 'cancelled', 'it stays closed');
SELECT route(6);
UPDATE request SET state = 'cancelled' WHERE request_id = 6;
SELECT throws_ok('SELECT abandon_request(6)', '55000', 'request 6 does not wait for an agent', 'nor what waited');
SELECT * FROM finish();
ROLLBACK;
