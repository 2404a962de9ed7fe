-- Offers whose agent goes, refusals without a time, queues that nobody serves, and what the sweep looks at.
BEGIN;
SELECT plan(71);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, offer_for, decline_for) VALUES ('q', '0', '1 hour', '0');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 6), (2, 'Bo', 6), (3, 'Celia', 6);
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, 'chat', 4 - n FROM generate_series(1, 3) AS n;
INSERT INTO queue_member (queue, agent_id) VALUES ('q', 1), ('q', 2);
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
SET CONSTRAINTS ALL IMMEDIATE;
CREATE FUNCTION pg_temp.arrive(request bigint, name text DEFAULT 'q', skills text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO request (request_id, customer_id, kind, channel, queue, requires) VALUES (request, 1 + request % 20, 'question', 'chat', name, skills::skill_set);
	SELECT route(request);
$$;

-- what is only offered goes to somebody else when its agent goes
SELECT set_presence(1, 'available');
SELECT is(pg_temp.arrive(1), 1::bigint, 'a request is offered to Anna');
SELECT is(pg_temp.arrive(2), 1::bigint, 'and another one');
SELECT accept_request(2, 1);
SELECT set_presence(2, 'available');
SELECT is(set_presence(1, 'break'), NULL, 'who goes on a break');
SELECT results_eq('SELECT request_id, agent_id FROM assignment ORDER BY 1', 'VALUES (1::bigint, 2::bigint), (2, 1)',
	'the offer is Bo''s, and what she has accepted stays hers');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 2, 'her load says so');
SELECT is((SELECT outcome FROM assignment_history WHERE request_id = 1), 'expired', 'and the history');
SELECT is_empty('SELECT FROM refusal', 'it is no refusal');
SELECT throws_ok('SELECT accept_request(1, 1)', '55000', NULL, 'she can accept it no more');
SELECT set_presence(2, 'busy');
SELECT results_eq('SELECT request_id FROM waiting', 'VALUES (1::bigint)', 'where nobody else is there, it waits');
SELECT is(set_presence(1, 'available'), 1::bigint, 'and whoever comes back gets it');

-- so by plain statements, from the next sweep on
SELECT set_presence(2, 'available');
UPDATE agent SET active = false WHERE agent_id = 1;
SELECT throws_ok('SELECT accept_request(1, 1)', '55000', NULL, 'an inactive agent accepts nothing');
SELECT is((SELECT verdict || ': ' || reason FROM explain_match(1) WHERE agent_id = 1), 'offered: no longer gets requests', 'and it is said why');
SELECT is(tick_queues(), 1::bigint, 'the sweep takes his offers back');
SELECT results_eq('SELECT agent_id FROM assignment WHERE request_id = 1', 'VALUES (2::bigint)', 'for somebody who is there');
UPDATE agent SET active = true WHERE agent_id = 1;
UPDATE agent_state SET state = 'offline' WHERE agent_id = 2;
SELECT is(tick_queues(), 1::bigint, 'so with somebody who is set offline by hand');
SELECT results_eq('SELECT agent_id FROM assignment WHERE request_id = 1', 'VALUES (1::bigint)', 'he loses the offer');
UPDATE agent_state SET state = 'available' WHERE agent_id = 2;

-- a refusal counts for a moment, whatever the queue says
SELECT is(decline_request(1, 1), 2::bigint, 'declined, it goes to Bo');
SELECT is(decline_request(1, 2), NULL, 'and from him into the queue, not to Anna at once');
SELECT is(next_offer(1), NULL, 'who does not get it at once');
SELECT cmp_ok((SELECT min(until) - clock_timestamp() FROM refusal), '<=', interval '1 second', 'but soon');
UPDATE refusal SET until = '-infinity';
SELECT is(next_offer(1), 1::bigint, 'then');
SELECT complete_request(1, 'resolved'), complete_request(2, 'resolved');

-- queues that nobody serves, also at the end of an overflow
INSERT INTO queue (queue, overflow_queue, overflow_after) VALUES ('nobody', NULL, NULL), ('to_nobody', 'nobody', '1 minute'),
	('by_way_of', 'to_nobody', '1 minute'), ('to_q', 'q', '1 minute');
INSERT INTO request (request_id, customer_id, kind, channel, queue)
VALUES (11, 1, 'question', 'chat', 'nobody'), (12, 1, 'question', 'chat', 'to_nobody'), (13, 1, 'question', 'chat', 'by_way_of'),
	(14, 1, 'question', 'chat', 'to_q');
SELECT throws_ok(format('SELECT route(%s)', n), '55000', NULL, format('nobody serves the queue of %s', n)) FROM generate_series(11, 13) AS n;
SELECT lives_ok('SELECT route(14)', 'somebody serves the queue that it overflows into');
UPDATE request SET state = 'cancelled' WHERE request_id IN (11, 12, 13, 14);
INSERT INTO queue_member (queue, agent_id) VALUES ('by_way_of', 3);
SELECT is(pg_temp.arrive(15, 'by_way_of'), NULL, 'a request waits in a queue that somebody serves');
UPDATE waiting SET entered_at = entered_at - interval '1 hour', queued_at = queued_at - interval '1 hour' WHERE request_id = 15;
SELECT tick_queues();
SELECT is((SELECT queue FROM request WHERE request_id = 15), 'by_way_of', 'and stays there instead of where nobody is');
SELECT complete_request(15, 'resolved');
SELECT tick_queues();

-- each queue has its own time for a request that comes from another one, which keeps its age
INSERT INTO queue (queue, overflow_queue, overflow_after, hold_for_owner) VALUES ('c3', NULL, NULL, '0'), ('c2', 'c3', '5 minutes', '0'), ('c1', 'c2', '5 minutes', '0');
INSERT INTO queue_member (queue, agent_id) VALUES ('c1', 3), ('c2', 3), ('c3', 3);
INSERT INTO queue_member (queue, agent_id, join_after) VALUES ('c2', 1, '4 minutes');
SELECT is(pg_temp.arrive(21, 'c1'), NULL, 'a request waits in the first of a chain');
CREATE FUNCTION pg_temp.wait_more(span interval) RETURNS text LANGUAGE sql AS $$
	UPDATE waiting SET entered_at = entered_at - span, queued_at = queued_at - span WHERE request_id = 21;
	DELETE FROM lane_head;
	SELECT tick_queues();
	SELECT coalesce((SELECT l.queue FROM waiting JOIN lane AS l USING (lane_id) WHERE request_id = 21), (SELECT agent_id::text FROM assignment WHERE request_id = 21));
$$;
SELECT is(pg_temp.wait_more('5 minutes'), 'c2', 'after five minutes in the second');
SELECT is(pg_temp.wait_more('0'), 'c2', 'where it stays');
SELECT is((SELECT waited FROM queue_position(21)), interval '5 minutes', 'with its age');
SELECT alike((SELECT reason FROM explain_match(21) WHERE agent_id = 1), 'helps in 4 min%', 'helpers of that queue wait for their time in it');
SELECT is(pg_temp.wait_more('3 minutes'), 'c2', 'five minutes there as well');
SELECT is(pg_temp.wait_more('1 minute'), '1', 'a helper takes it when his time has come');
SELECT is(decline_request(21, 1), NULL, 'what goes back');
SELECT is((SELECT now() - queued_at FROM waiting WHERE request_id = 21), interval '4 minutes', 'has waited there before');
SELECT is(pg_temp.wait_more('1 minute'), 'c3', 'and goes on in time');
SELECT is(transfer_request(21, 'c2'), NULL, 'transferred');
SELECT is((SELECT (now() - entered_at, now() - queued_at)::text FROM waiting WHERE request_id = 21), '(00:10:00,00:00:00)', 'it begins anew there, with its age');
UPDATE request SET queue = 'c1' WHERE request_id = 21;
SELECT tick_queues();
SELECT is((SELECT (l.queue, now() - w.queued_at)::text FROM waiting AS w JOIN lane AS l USING (lane_id) WHERE request_id = 21), '(c1,00:00:00)', 'so by a plain statement');
SELECT complete_request(21, 'resolved');
SELECT is_empty('SELECT FROM waiting', 'nothing is left');

-- what nobody can take makes the sweep hold no queue
SELECT is(pg_temp.arrive(16, 'q', 'never:1'), NULL, 'a request that suits nobody waits');
SELECT is(tick_queues(), 0::bigint, 'the sweep finds nothing');
SELECT is((SELECT count(*) FROM waiting WHERE request_id = 16), 1::bigint, 'and leaves it');

-- how many it moved
UPDATE request SET state = 'cancelled' WHERE request_id = 16;
SELECT tick_queues();
SELECT set_presence(2, 'break');
UPDATE agent SET capacity = 0 WHERE agent_id = 1;
SELECT pg_temp.arrive(n) FROM generate_series(17, 19) AS n;
SELECT is((SELECT count(*) FROM waiting), 3::bigint, 'three requests wait for one agent');
UPDATE agent_state SET state = 'offline' WHERE agent_id = 1;
UPDATE agent SET capacity = 6 WHERE agent_id = 1;
UPDATE agent_state SET state = 'available' WHERE agent_id = 1;
SELECT is(tick_queues(), 3::bigint, 'the sweep counts requests, not agents');


-- work that an agent is given without an offer takes his capacity, from the next sweep on
SELECT setval('request_request_id_seq', 1000);
SELECT complete_request(n, 'resolved') FROM generate_series(17, 19) AS n;
SELECT set_presence(1, 'available'), set_presence(2, 'available');
SELECT open_request(1, 'question', 'chat', 'q', agent_id => 1) AS given \gset
SELECT is(tick_queues(), 1::bigint, 'a request is opened for an agent');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 1), 2, 'and takes his capacity');
SELECT throws_ok(format('SELECT request_callback(%s, ''chat'')', :given), '55000', NULL, 'it does not wait');
UPDATE request SET agent_id = 2 WHERE request_id = :given;
SELECT is(tick_queues(), 1::bigint, 'it is given to another one by a plain statement');
SELECT results_eq('SELECT agent_id, used FROM agent_state WHERE agent_id IN (1, 2) ORDER BY 1', 'VALUES (1::bigint, 0), (2, 2)', 'whose capacity it takes now');
SELECT is((SELECT outcome FROM assignment_history WHERE request_id = :given), 'transferred', 'which is on record');
UPDATE request SET agent_id = 3 WHERE request_id = :given;
SELECT is(tick_queues(), 1::bigint, 'and to one who was never there');
SELECT set_presence(3, 'available');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 3), 2, 'who comes on with it');
SELECT complete_request(:given, 'resolved');
SELECT is((SELECT used FROM agent_state WHERE agent_id = 3), 0, 'and is rid of it in the end');
SELECT is(tick_queues(), 0::bigint, 'nothing is left to do');
SELECT throws_ok('UPDATE agent_state SET used = -1', '23514', NULL, 'no load is below nothing');

-- a freed agent: more capacity, a skill, a channel, a queue
SELECT set_presence(n, 'offline') FROM generate_series(1, 3) AS n;
UPDATE agent SET capacity = 0 WHERE agent_id = 1;
SELECT set_presence(1, 'available');
SELECT pg_temp.arrive(31);
UPDATE agent SET capacity = 2 WHERE agent_id = 1;
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 31), 1::bigint, 'whose capacity is raised takes what waits');
UPDATE agent SET capacity = 20 WHERE agent_id = 1;
SELECT pg_temp.arrive(32, skills => 'rare:3');
UPDATE agent SET skills = 'rare:4' WHERE agent_id = 1;
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 32), 1::bigint, 'so with a skill');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (33, 5, 'question', 'email', 'q');
SELECT route(33);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'email');
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 33), 1::bigint, 'a channel');
SELECT pg_temp.arrive(34, 'by_way_of');
INSERT INTO queue_member (queue, agent_id) VALUES ('by_way_of', 1);
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 34), 1::bigint, 'and a queue');
UPDATE agent SET active = false WHERE agent_id = 1;
SELECT pg_temp.arrive(35);
UPDATE agent SET active = true WHERE agent_id = 1;
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 35), 1::bigint, 'who is active again as well');
SELECT set_presence(1, 'busy');
UPDATE agent SET capacity = 100 WHERE agent_id = 1;
SELECT is((SELECT count(*) FROM waiting), 5::bigint, 'but not who is not available');
CREATE ROLE queue_corners_admin;
GRANT USAGE ON SCHEMA omnichannel TO queue_corners_admin;
GRANT SELECT, UPDATE ON agent TO queue_corners_admin;
UPDATE agent_state SET state = 'available' WHERE agent_id = 1;
SET LOCAL ROLE queue_corners_admin;
UPDATE omnichannel.agent SET capacity = 101 WHERE agent_id = 1;
RESET ROLE;
SELECT is((SELECT count(*) FROM waiting), 5::bigint, 'nor by a role that may not match');
SELECT is(tick_queues(), 5::bigint, 'for whom the sweep does it');
SELECT complete_request(n, 'resolved') FROM generate_series(31, 35) AS n;

-- the customer's answer wakes the request that it names
SELECT set_presence(1, 'available');
SELECT pg_temp.arrive(41);
SELECT accept_request(41, 1), release_request(41);
SELECT log_contact('email', customer_id => 2, request_id => 41, direction => 'outbound');
SELECT log_contact('email', customer_id => 2, request_id => 41, direction => 'internal');
SELECT is((SELECT state FROM request WHERE request_id = 41), 'waiting_customer', 'what we write or note does not');
SELECT log_contact('email', customer_id => 2, request_id => 41);
SELECT is((SELECT state FROM request WHERE request_id = 41), 'waiting_agent', 'what the customer says does');
SELECT is(tick_queues(), 1::bigint, 'it is offered again');
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 41), 1::bigint, 'to its agent');

-- relationships that are none
INSERT INTO relationship (customer_id, agent_id, contacts, strength) VALUES (9, 1, 1, 'NaN'), (9, 2, 1, -1), (9, 3, 1, 'Infinity');
SELECT set_presence(2, 'available');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (42, 9, 'question', 'chat', 'q');
SELECT results_eq('SELECT agent_id, relationship FROM match_agents(42) ORDER BY agent_id', 'VALUES (1::bigint, 0::float8), (2, 0)', 'count for nothing');

-- rights on the columns are enough to read who is there
GRANT SELECT ON ALL TABLES IN SCHEMA omnichannel TO queue_corners_admin;
REVOKE SELECT ON agent_state FROM queue_corners_admin;
GRANT SELECT (agent_id, state, used, idle_since, busy_until) ON agent_state TO queue_corners_admin;
SET LOCAL ROLE queue_corners_admin;
CREATE TEMP TABLE seen AS SELECT agent_id FROM omnichannel.match_agents(42);
RESET ROLE;
SELECT set_eq('SELECT agent_id FROM seen', ARRAY[1, 2]::bigint[], 'rights on columns are enough');

SELECT * FROM finish();
ROLLBACK;
