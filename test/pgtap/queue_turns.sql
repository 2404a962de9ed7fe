-- Who arrives does not pass those who wait, and what only time frees goes to whom it suits best.
BEGIN;
SELECT plan(42);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, age_after, wrap_up) VALUES ('a', '0', NULL, '1 minute'), ('b', '0', NULL, '0');
INSERT INTO agent (agent_id, name, skills) VALUES (1, 'Anna', 'y:3'), (2, 'Bo', 'y:5'), (3, 'Cy', 'y:9');
INSERT INTO agent_channel (agent_id, channel) SELECT n, channel FROM generate_series(1, 3) AS n, unnest('{phone,chat}'::text[]) AS channel;
INSERT INTO queue_member (queue, agent_id) VALUES ('a', 1), ('b', 1);
INSERT INTO customer (customer_id) SELECT generate_series(1, 40);

-- A request of its own customer.
CREATE FUNCTION pg_temp.ask(request_id bigint, queue text, channel text DEFAULT 'phone', priority integer DEFAULT 0, prefers text DEFAULT '') RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, priority, prefers)
	VALUES ($1, $1, 'question', 'waiting_agent', $3, $2, $4, $5::omnichannel.skill_set) RETURNING request_id
$$;
-- Time passes for whoever waits or wraps up.
CREATE FUNCTION pg_temp.passes(elapsed interval) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.agent_state SET idle_since = idle_since - $1, busy_until = busy_until - $1;
	UPDATE omnichannel.waiting SET entered_at = entered_at - $1, queued_at = queued_at - $1;
	UPDATE omnichannel.refusal SET until = until - $1;
	DELETE FROM omnichannel.lane_head;
$$;

-- the end of a wrap-up
SELECT set_presence(1, 'available');
SELECT is(route(pg_temp.ask(1, 'a')), 1::bigint, 'an agent has a call');
SELECT accept_request(1, 1);
SELECT is(route(pg_temp.ask(2, 'a', priority => 5)), NULL, 'another one waits');
SELECT is(release_request(1, 'done'), NULL, 'he wraps up');
SELECT pg_temp.passes('2 minutes');
SELECT is(route(pg_temp.ask(3, 'a')), NULL, 'who arrives when he has done so does not pass who waits');
SELECT results_eq('SELECT request_id, agent_id FROM assignment', 'VALUES (2::bigint, 1::bigint)', 'who is served before');
SELECT accept_request(2, 1);
SELECT release_request(2, 'done'), pg_temp.passes('2 minutes');
SELECT is(route(pg_temp.ask(4, 'b')), NULL, 'nor through another queue');
SELECT results_eq('SELECT request_id, agent_id FROM assignment', 'VALUES (3::bigint, 1::bigint)', 'of the same agent');
SELECT accept_request(3, 1);
SELECT release_request(3, 'done'), pg_temp.passes('2 minutes');
SELECT is(route(pg_temp.ask(5, 'a', priority => 1)), 1::bigint, 'who comes first passes');
SELECT accept_request(5, 1);
SELECT release_request(5, 'done'), pg_temp.passes('2 minutes');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) VALUES (6, 6, 'question', 'waiting_agent', 'phone', 'a');
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT is(tick_queues(), 1::bigint, 'the sweep lets nobody pass who was not routed');
SELECT results_eq('SELECT request_id FROM assignment', 'VALUES (4::bigint)', 'either');

-- the end of a refusal
SELECT release_request(4, 'done');
SELECT abandon_request(6, '0'), set_presence(1, 'available');
SELECT is(route(pg_temp.ask(7, 'b')), 1::bigint, 'a request is offered');
SELECT is(decline_request(7, 1), NULL, 'and declined');
SELECT pg_temp.passes('1 hour');
SELECT is(route(pg_temp.ask(8, 'b')), NULL, 'who arrives when that is over does not pass it');
SELECT results_eq('SELECT request_id FROM assignment', 'VALUES (7::bigint)', 'it is offered again');
SELECT release_request(7, 'done'), release_request(8, 'done'), set_presence(1, 'offline');

-- whoever else gives a request away lets it pass nobody either
SELECT set_presence(1, 'available');
SELECT accept_request(27, route(pg_temp.ask(27, 'a')));
SELECT is(route(pg_temp.ask(28, 'a', priority => 5)), NULL, 'one waits');
SELECT is(route(pg_temp.ask(29, 'a')), NULL, 'and another one');
SELECT release_request(27, 'done'), pg_temp.passes('2 minutes');
SELECT is(transfer_request(29, 'a'), NULL, 'a request that is transferred does not pass who comes first');
SELECT results_eq('SELECT request_id FROM assignment', 'VALUES (28::bigint)', 'who is served');
SELECT accept_request(28, 1), route(pg_temp.ask(30, 'a', priority => 5));
SELECT release_request(28, 'done'), pg_temp.passes('2 minutes');
SELECT is(request_callback(29, 'phone'), NULL, 'nor one that is to be called back');
SELECT results_eq('SELECT request_id FROM assignment', 'VALUES (30::bigint)', 'either');
SELECT accept_request(30, 1), pg_temp.ask(40, 'a');
SELECT release_request(30, 'done'), pg_temp.passes('2 minutes');
SELECT tick_queues();
SELECT results_eq('SELECT request_id FROM assignment', 'VALUES (29::bigint)', 'nor one that the sweep finds');
SELECT release_request(29, 'done'), release_request(40, 'done'), set_presence(1, 'offline');

-- many that wait: some are served before the one that arrives, which waits
UPDATE agent SET capacity = 100 WHERE agent_id = 1;
SELECT route(pg_temp.ask(n, 'b', 'chat')) FROM generate_series(11, 25) AS n;
UPDATE agent_state SET state = 'available' WHERE agent_id = 1;
SELECT is(route(pg_temp.ask(26, 'b', 'chat')), NULL, 'who arrives behind many waits');
SELECT is((SELECT array_agg(request_id ORDER BY request_id) FROM waiting), '{19,20,21,22,23,24,25,26}', 'some of them are served');
SELECT tick_queues();
SELECT is((SELECT count(*) FROM assignment), 16::bigint, 'the sweep serves the rest');
SELECT release_request(n, 'done') FROM generate_series(11, 26) AS n;

-- what the sweep gives out goes to whom it suits best, each with the load as it is then
UPDATE agent SET capacity = 4;
INSERT INTO queue_member (queue, agent_id) VALUES ('b', 2), ('b', 3);
UPDATE queue SET prefer_for = '1 minute', weight_relationship = 0, weight_fluency = 0, weight_skill = 1, weight_idle = 0, weight_load = 0 WHERE queue = 'b';
SELECT set_presence(n, 'available') FROM generate_series(1, 3) AS n;
SELECT route(pg_temp.ask(n, 'b', 'chat', prefers => 'y:10')) FROM generate_series(31, 33) AS n;
SELECT pg_temp.passes('2 minutes');
SELECT is(tick_queues(), 3::bigint, 'preferences are over');
SELECT results_eq('SELECT request_id, agent_id FROM assignment ORDER BY 1', 'VALUES (31::bigint, 3::bigint), (32, 3), (33, 2)', 'the best skilled have the requests');
SELECT release_request(n, 'done') FROM generate_series(31, 33) AS n;
UPDATE queue SET weight_skill = 0, weight_load = 1 WHERE queue = 'b';
SELECT route(pg_temp.ask(n, 'b', 'chat', prefers => 'y:10')) FROM generate_series(34, 39) AS n;
SELECT pg_temp.passes('2 minutes');
SELECT tick_queues();
SELECT results_eq('SELECT agent_id, count(*) FROM assignment GROUP BY 1 ORDER BY 1', 'VALUES (1::bigint, 2::bigint), (2, 2), (3, 2)', 'or the least busy');
SELECT release_request(n, 'done') FROM generate_series(34, 39) AS n;

-- room that is kept for what does not fit
UPDATE agent SET capacity = 6;
INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('c', '0', NULL);
INSERT INTO queue_member (queue, agent_id) VALUES ('c', 1), ('c', 2);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'email'), (2, 'email');
SELECT set_presence(3, 'offline');
UPDATE queue SET prefer_for = '0' WHERE queue = 'b';
CREATE FUNCTION pg_temp.kept(setting interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	UPDATE omnichannel.queue SET keep_room_after = setting WHERE queue = 'c';
	INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(41, 60);
	FOR n IN 41 .. 46 LOOP
		PERFORM omnichannel.accept_request(n, omnichannel.route(pg_temp.ask(n, 'c', 'chat')));
	END LOOP;
	PERFORM omnichannel.route(pg_temp.ask(47, 'c', 'phone', 9));
	PERFORM omnichannel.route(pg_temp.ask(n, 'c', 'chat')) FROM generate_series(48, 51) AS n;
	UPDATE omnichannel.waiting SET queued_at = now() - interval '5 minutes';
	-- Each ends a chat, the first one twice: he lacks less room then.
	said := concat_ws(' ', coalesce(omnichannel.release_request((SELECT min(request_id) FROM omnichannel.assignment WHERE agent_id = 1), 'done'), 0),
		coalesce(omnichannel.release_request((SELECT min(request_id) FROM omnichannel.assignment WHERE agent_id = 2), 'done'), 0));
	PERFORM pg_temp.ask(52, 'c', 'email');
	said := concat_ws(' ', said, (SELECT verdict FROM omnichannel.explain_match(52) WHERE agent_id = 1), (SELECT count(*) FROM omnichannel.match_agents(52)),
		coalesce(omnichannel.route(52), 0), omnichannel.tick_queues());
	FOR n IN 1 .. 2 LOOP
		said := concat_ws(' ', said, coalesce(omnichannel.release_request((SELECT min(request_id) FROM omnichannel.assignment WHERE agent_id = 1), 'done'), 0));
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;
SELECT is(pg_temp.kept(NULL), '48 49 no_room 0 0 0 50 51', 'what fits passes what does not');
SELECT is(pg_temp.kept('1 minute'), '0 48 keeps_room 0 0 0 0 47', 'unless room is kept: by one agent, who then gets it');
SELECT is(pg_temp.kept('1 hour'), '48 49 no_room 0 0 0 50 51', 'after a time');

-- Room is kept also for what comes after others of its kind: of two calls the first is kept room for by agent 32, who
-- has declined the second, and many wait behind it.
INSERT INTO queue (queue, hold_for_owner, age_after, keep_room_after) VALUES ('e', '0', NULL, '0');
INSERT INTO agent (agent_id, name, capacity) VALUES (31, 'Gil', 7), (32, 'Hal', 8);
INSERT INTO agent_channel (agent_id, channel) SELECT n, channel FROM generate_series(31, 32) AS n, unnest('{phone,chat,email}'::text[]) AS channel;
INSERT INTO queue_member (queue, agent_id) VALUES ('e', 31), ('e', 32);
CREATE FUNCTION pg_temp.kept_behind(change text, before integer DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE change;
	INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(61, 200);
	PERFORM omnichannel.set_presence(n, 'busy') FROM generate_series(31, 32) AS n;
	UPDATE omnichannel.agent_state SET used = 4 WHERE agent_id IN (31, 32);
	PERFORM omnichannel.route(pg_temp.ask(n, 'e')) FROM generate_series(61, 61 + before) AS n;
	UPDATE omnichannel.agent_state SET state = 'available' WHERE agent_id IN (31, 32);
	INSERT INTO omnichannel.refusal (request_id, agent_id, until) VALUES (61 + before, 32, now() + interval '1 hour');
	UPDATE omnichannel.waiting SET queued_at = queued_at - interval '1 minute';
	PERFORM pg_temp.ask(200, 'e', 'email');
	said := concat_ws(' ', (SELECT string_agg(concat_ws(' ', agent_id, reason), ', ' ORDER BY agent_id) FROM omnichannel.explain_match(200) WHERE agent_id IN (31, 32)),
		coalesce(omnichannel.route(200), 0), coalesce(omnichannel.claim(31), 0));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN said;
END
$$;
SELECT is(pg_temp.kept_behind(change), '31 keeps room for request 62, 32 keeps room for request 61 0 0', 'room is kept for the second of a kind: ' || how)
FROM (VALUES ('SELECT', 'by rows'), ('CREATE TRIGGER mine AFTER UPDATE ON omnichannel.agent_state FOR EACH ROW WHEN (false) EXECUTE FUNCTION omnichannel.serve_changed()', 'by statements')) AS v (change, how);
SELECT is(pg_temp.kept_behind('SELECT', 20), '31 keeps room for request 81, 32 keeps room for request 61 0 0', 'and for one that stands behind many that are alike');
SELECT matches(pg_temp.kept_behind('SELECT', 40), '^31 email .*, 32 keeps room for request 61 31 0$', 'but not for any number');
SELECT is(pg_temp.kept_behind('INSERT INTO omnichannel.queue_member (queue, agent_id, join_after) VALUES (''e'', 3, ''50 seconds''); UPDATE omnichannel.agent SET capacity = 0 WHERE agent_id = 3'), '31 keeps room for request 62, 32 keeps room for request 61 0 0', 'where somebody joins later');
SELECT is(pg_temp.kept_behind('UPDATE omnichannel.queue SET prefer_for = ''1 hour''', 20), '31 keeps room for request 81, 32 keeps room for request 61 0 0', 'and where they are not alike yet');

-- whose priority was changed has its turn by the new one, and a second lane of a kind is as good as the first
INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('d', '0', NULL);
INSERT INTO agent (agent_id, name) VALUES (21, 'Flo');
INSERT INTO agent_channel (agent_id, channel) VALUES (21, 'phone');
INSERT INTO queue_member (queue, agent_id) VALUES ('d', 21);
INSERT INTO customer (customer_id) VALUES (61), (62);
SELECT set_presence(21, 'busy'), route(pg_temp.ask(61, 'd')), route(pg_temp.ask(62, 'd', priority => 3));
UPDATE agent_state SET state = 'available' WHERE agent_id = 21;
UPDATE request SET priority = 5 WHERE request_id = 61;
SELECT is(route(61), 21::bigint, 'a request that has become more urgent goes before what was');
SELECT is(release_request(61, 'done'), 62::bigint, 'which comes after it');
SELECT set_presence(21, 'busy');
INSERT INTO lane (queue, channel) VALUES ('d', 'phone');
UPDATE waiting SET lane_id = (SELECT max(lane_id) FROM lane) WHERE request_id = 62;
UPDATE agent_state SET state = 'available' WHERE agent_id = 21;
SELECT tick_queues();
SELECT is((SELECT agent_id FROM assignment WHERE request_id = 62), 21::bigint, 'the sweep serves what waits in the second lane of its kind');
SELECT release_request(62, 'done'), set_presence(21, 'offline');

-- a statement that routes a backlog does not lock all its customers
INSERT INTO queue (queue) VALUES ('backlog');
INSERT INTO queue_member (queue, agent_id) VALUES ('backlog', 3);
INSERT INTO customer (customer_id) SELECT generate_series(1001, 1400);
SELECT count(route(pg_temp.ask(n, 'backlog'))) FROM generate_series(1001, 1400) AS n;
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), '<=', 300::bigint, 'a statement that routes a backlog locks no more than it needs');
-- whoever declines a request owns none of its customer's by that
INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('owned', '5 minutes', NULL);
INSERT INTO agent (agent_id, name) VALUES (11, 'Di'), (12, 'Ed');
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (11, 'phone', 1), (12, 'phone', 9);
INSERT INTO queue_member (queue, agent_id) VALUES ('owned', 11), ('owned', 12);
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, priority)
VALUES (1001, 1, 'question', 'waiting_agent', 'phone', 'owned', 0), (1002, 1, 'question', 'waiting_agent', 'phone', 'owned', 5);
SELECT set_presence(11, 'available'), route(1001), route(1002), set_presence(12, 'available');
SELECT is(decline_request(1001, 11), NULL, 'what is declined does not pass what was held for him');
SELECT results_eq('SELECT request_id, agent_id FROM assignment WHERE request_id > 1000', 'VALUES (1002::bigint, 12::bigint)', 'which is his no more');
SELECT * FROM finish();
ROLLBACK;
