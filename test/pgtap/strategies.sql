-- Each strategy of the README's table, got by nothing but the settings that stand there.
BEGIN;
SELECT plan(38);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, age_after) VALUES ('s', '0', NULL), ('t', '0', NULL);
INSERT INTO agent (agent_id, name, skills, capacity) VALUES (1, 'Anna', 'billing:3', 6), (2, 'Bo', 'billing:9', 6), (3, 'Cy', 'billing:6, lang.pl', 6);
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (1, 'chat', 9), (2, 'chat', 5), (3, 'chat', 1);
INSERT INTO queue_member (queue, agent_id) VALUES ('s', 1), ('s', 2), ('s', 3);
INSERT INTO customer (customer_id) VALUES (100);
INSERT INTO relationship (customer_id, agent_id, contacts, strength) VALUES (100, 1, 2, 2), (100, 3, 9, 9);
INSERT INTO agent_state (agent_id, idle_since, state) VALUES (1, now() - interval '10 minutes', 'available'),
	(2, now() - interval '20 minutes', 'available'), (3, now() - interval '5 minutes', 'available');

-- A request that has waited so long already.
CREATE FUNCTION pg_temp.ask(request_id bigint, requires text DEFAULT '', prefers text DEFAULT '', priority integer DEFAULT 0,
	waited interval DEFAULT '0', agent_id bigint DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, requires, prefers, priority, agent_id, opened_at, state_since)
	VALUES ($1, 100, 'question', 'waiting_agent', 'chat', 's', $2::omnichannel.skill_set, $3::omnichannel.skill_set, $4, $6, now() - $5, now() - $5)
	RETURNING request_id
$$;
-- The queue with one weight only.
CREATE FUNCTION pg_temp.only_weight(part text) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.queue SET weight_relationship = ($1 = 'relationship')::int, weight_fluency = ($1 = 'fluency')::int,
		weight_skill = ($1 = 'skill')::int, weight_idle = ($1 = 'idle')::int, weight_load = ($1 = 'load')::int WHERE queue = 's'
$$;
-- Time passes for whoever waits.
CREATE FUNCTION pg_temp.passes(elapsed interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.agent_state SET idle_since = idle_since - elapsed;
	UPDATE omnichannel.waiting AS w SET entered_at = w.entered_at - elapsed, queued_at = w.queued_at - elapsed, rank = -omnichannel.waiting_level(w.priority, w.entered_at - elapsed, q.age_after)
	FROM omnichannel.lane AS l JOIN omnichannel.queue AS q USING (queue) WHERE l.lane_id = w.lane_id;
	DELETE FROM omnichannel.lane_head;
END
$$;

-- longest idle, and round robin
SELECT pg_temp.only_weight('idle');
SELECT is(route(pg_temp.ask(1)), 2::bigint, 'longest idle');
SELECT pg_temp.passes('1 minute');
SELECT is(route(pg_temp.ask(2)), 1::bigint, 'the next');
SELECT pg_temp.passes('1 minute');
SELECT is(route(pg_temp.ask(3)), 3::bigint, 'the last');
SELECT pg_temp.passes('1 minute');
SELECT is(route(pg_temp.ask(4)), 2::bigint, 'who was offered something has gone to the end');
SELECT release_request(n, 'done') FROM generate_series(1, 4) AS n;

-- round robin, while some are done at once, some later, and some decline: it is the turn of who was offered something
-- the longest ago, as the asker knows
CREATE FUNCTION pg_temp.out_of_turn(first bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	turns bigint[];
	asked bigint;
	whom bigint;
	mistaken bigint := 0;
BEGIN
	SELECT array_agg(agent_id ORDER BY idle_since) INTO turns FROM omnichannel.agent_state;
	FOR n IN 1 .. 60 LOOP
		asked := pg_temp.ask(first + n);
		whom := omnichannel.route(asked);
		mistaken := mistaken + (whom IS DISTINCT FROM turns[1])::integer;
		turns := array_remove(turns, whom) || whom;
		IF n * n % 7 = 4 THEN
			whom := omnichannel.decline_request(asked, whom);
			mistaken := mistaken + (whom IS DISTINCT FROM turns[1])::integer;
			turns := array_remove(turns, whom) || whom;
		END IF;
		PERFORM omnichannel.accept_request(asked, whom);
		IF n * n % 5 <> 1 THEN
			PERFORM omnichannel.release_request(asked, 'done');
		END IF;
		IF n % 3 = 0 THEN
			PERFORM omnichannel.release_request(request_id, 'done') FROM (SELECT request_id FROM omnichannel.assignment ORDER BY request_id) AS a;
		END IF;
	END LOOP;
	PERFORM omnichannel.release_request(request_id, 'done') FROM (SELECT request_id FROM omnichannel.assignment ORDER BY request_id) AS a;
	RETURN mistaken;
END
$$;
UPDATE queue SET idle_from = 'offer' WHERE queue = 's';
SELECT is(pg_temp.out_of_turn(1000), 0::bigint, 'round robin, whoever is done when');
UPDATE queue SET idle_from = 'end' WHERE queue = 's';
SELECT cmp_ok(pg_temp.out_of_turn(2000), '>', 0::bigint, 'longest idle is something else');

-- least busy
SELECT pg_temp.only_weight('load');
UPDATE agent_state SET used = CASE agent_id WHEN 2 THEN 4 ELSE 2 END, idle_since = now() - (10 - agent_id) * interval '1 minute';
SELECT is(route(pg_temp.ask(5)), 1::bigint, 'least busy: 2 of 6, the longer idle');
SELECT is(route(pg_temp.ask(6)), 3::bigint, 'least busy: 2 of 6');
SELECT release_request(n, 'done') FROM generate_series(5, 6) AS n;
UPDATE agent_state SET used = 0;

-- best skilled, pure relationship, and fluency
SELECT pg_temp.only_weight('skill');
SELECT is(route(pg_temp.ask(7, 'billing')), 2::bigint, 'best skilled');
SELECT pg_temp.only_weight('relationship');
SELECT is(route(pg_temp.ask(8)), 3::bigint, 'pure relationship');
SELECT pg_temp.only_weight('fluency');
SELECT is(route(pg_temp.ask(9)), 1::bigint, 'most fluent');
SELECT release_request(n, 'done') FROM generate_series(7, 9) AS n;

-- preferred agent with time-out
UPDATE queue SET hold_for_owner = '30 seconds' WHERE queue = 's';
UPDATE agent_state SET used = 6 WHERE agent_id = 2;
SELECT is(route(pg_temp.ask(10, agent_id => 2)), NULL, 'the preferred agent is busy: it waits for him');
SELECT is(tick_queues(), 0::bigint, 'as long as the time-out lasts');
SELECT is((SELECT verdict FROM explain_match(10) WHERE agent_id = 1), 'held_for_owner', 'and says so');
SELECT pg_temp.passes('30 seconds');
SELECT is(tick_queues(), 1::bigint, 'then somebody else gets it');
SELECT isnt((SELECT agent_id FROM assignment WHERE request_id = 10), 2::bigint, 'not the busy one');
UPDATE agent_state SET used = 0 WHERE agent_id = 2;
SELECT is(route(pg_temp.ask(11, agent_id => 2)), 2::bigint, 'the preferred agent is free: at once');
SELECT set_presence(2, 'offline');
SELECT isnt(route(pg_temp.ask(12, agent_id => 2)), NULL, 'the preferred agent is away: nobody waits for him');
SELECT release_request(n, 'done') FROM generate_series(10, 12) AS n;
SELECT set_presence(2, 'available');
UPDATE queue SET hold_for_owner = '0' WHERE queue = 's';

-- skill groups with widening rings
UPDATE queue SET prefer_for = '1 minute' WHERE queue = 's';
UPDATE agent_state SET used = 6 WHERE agent_id = 3;
SELECT is(route(pg_temp.ask(13, prefers => 'lang.pl')), NULL, 'the inner ring is busy');
SELECT pg_temp.passes('1 minute');
SELECT is(tick_queues(), 1::bigint, 'the next ring is asked after prefer_for');
UPDATE agent_state SET used = 0 WHERE agent_id = 3;
SELECT is(route(pg_temp.ask(14, prefers => 'lang.pl')), 3::bigint, 'the inner ring is free');
UPDATE queue SET prefer_for = '0' WHERE queue = 's';
UPDATE queue_member SET join_after = '5 minutes' WHERE agent_id <> 1;
UPDATE agent_state SET used = 6 WHERE agent_id = 1;
SELECT is(route(pg_temp.ask(15)), NULL, 'helpers join later');
SELECT pg_temp.passes('4 minutes');
SELECT is(tick_queues(), 0::bigint, 'not yet');
SELECT pg_temp.passes('1 minute');
SELECT is(tick_queues(), 1::bigint, 'now');
UPDATE queue_member SET join_after = '0';
SELECT release_request(n, 'done') FROM generate_series(13, 15) AS n;

-- strict priority; then priority and age; then the earliest deadline
UPDATE agent_state SET used = 0, state = 'offline';
UPDATE agent SET capacity = 2;
SELECT route(pg_temp.ask(20, waited => '1 hour')), route(pg_temp.ask(21, priority => 1, waited => '5 minutes')), route(pg_temp.ask(22, waited => '2 hours'));
SELECT is(set_presence(1, 'available'), 21::bigint, 'strict priority: the higher one, however long the others have waited');
SELECT is(release_request(21, 'done'), 22::bigint, 'then who has waited longest');
SELECT is(release_request(22, 'done'), 20::bigint, 'then the other');
SELECT set_presence(1, 'offline'), release_request(20, 'done');
UPDATE queue SET age_after = '10 minutes' WHERE queue = 's';
SELECT route(pg_temp.ask(23, waited => '1 hour')), route(pg_temp.ask(24, priority => 1, waited => '5 minutes'));
SELECT is(set_presence(1, 'available'), 23::bigint, 'priority and age: an hour is six steps');
SELECT set_presence(1, 'offline'), release_request(23, 'done'), release_request(24, 'done');
UPDATE queue SET age_after = NULL WHERE queue = 's';
SELECT route(pg_temp.ask(25, waited => '1 hour')), route(pg_temp.ask(26, waited => '1 minute'));
UPDATE waiting SET due_at = now() + CASE request_id WHEN 25 THEN interval '2 hours' ELSE interval '1 hour' END;
DELETE FROM lane_head;
SELECT is(set_presence(1, 'available'), 26::bigint, 'the earliest deadline first');
SELECT set_presence(1, 'offline'), release_request(25, 'done'), release_request(26, 'done');

-- overflow
INSERT INTO queue_member (queue, agent_id) VALUES ('t', 2);
DELETE FROM queue_member WHERE queue = 's' AND agent_id = 2;
UPDATE queue SET overflow_queue = 't', overflow_after = '2 minutes' WHERE queue = 's';
UPDATE agent_state SET state = 'available' WHERE agent_id = 2;
SELECT is(route(pg_temp.ask(30)), NULL, 'overflow: it waits in its queue');
SELECT is(tick_queues(), 0::bigint, 'for overflow_after');
SELECT pg_temp.passes('2 minutes');
SELECT is(tick_queues(), 1::bigint, 'then it moves');
SELECT results_eq('SELECT agent_id FROM assignment WHERE request_id = 30', ARRAY[2::bigint], 'to whoever serves the other queue');
SELECT is((SELECT queue FROM request WHERE request_id = 30), 't', 'and stands in that');
SELECT release_request(30, 'done');

-- pull instead of push
UPDATE agent_state SET state = 'busy', used = 0 WHERE agent_id = 1;
UPDATE agent_state SET state = 'offline' WHERE agent_id <> 1;
SELECT is(route(pg_temp.ask(40)), NULL, 'pull: nothing is pushed');
SELECT is(tick_queues(), 0::bigint, 'not by the sweep either');
SELECT is(claim(1), 40::bigint, 'the agent takes it');
SELECT is((SELECT state FROM request WHERE request_id = 40), 'assigned', 'and has it at once');
SELECT * FROM finish();
ROLLBACK;
