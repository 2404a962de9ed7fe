-- Agents, queues and matching: each rule on candidates, each part of the score, owners, errors. One transaction, so that
-- now() stands still.
SET search_path = omnichannel, pg_catalog;
SET extra_float_digits = 0;
SET intervalstyle = postgres;
SET timezone = UTC;
\set SHOW_CONTEXT never
BEGIN;

-- The SQLSTATE and message of a statement's error, with its detail.
CREATE FUNCTION pg_temp.error(statement text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN code IS NULL THEN 'no error' ELSE concat_ws(' | ', code || ' ' || message,
		CASE WHEN code NOT LIKE '23%' THEN nullif(detail, '') END, CASE WHEN hint = '' AND code NOT LIKE '23%' THEN 'no hint' END) END
	FROM public.raises(statement)
$$;

-- A request that began to wait so long ago.
CREATE FUNCTION pg_temp.ask(request_id bigint, customer_id bigint, channel text, requires text DEFAULT '',
	prefers text DEFAULT '', waited interval DEFAULT '0', priority integer DEFAULT 0, queue text DEFAULT 'rt.help')
RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO request (request_id, customer_id, kind, state, channel, queue, requires, prefers, priority, opened_at, state_since)
	VALUES (ask.request_id, ask.customer_id, 'question', 'waiting_agent', ask.channel, ask.queue, ask.requires::skill_set,
		ask.prefers::skill_set, ask.priority, now() - waited, now() - waited)
	RETURNING request_id
$$;

INSERT INTO queue (queue, age_after) VALUES ('rt.help', NULL), ('rt.other', NULL), ('rt.empty', NULL);
UPDATE queue SET hold_for_owner = '0' WHERE queue = 'rt.other';
INSERT INTO agent (agent_id, name, skills, capacity, department) VALUES
	(9001, 'Anna', 'billing:8, lang.pl:10', 6, NULL), (9002, 'Bo', 'billing:5', 6, 'back'), (9003, 'Cy', 'tech:9', 6, 'back');
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES
	(9001, 'phone', 9), (9001, 'chat', 6), (9002, 'phone', 7), (9002, 'chat', 10), (9003, 'chat', 3);
INSERT INTO queue_member (queue, agent_id) VALUES ('rt.help', 9001);
INSERT INTO queue_department (queue, department) VALUES ('rt.help', 'back');
INSERT INTO customer (customer_id, name) VALUES (9100, 'Kasia'), (9101, 'Tom'), (9102, 'Kasia again');

-- nobody there: it waits
SELECT pg_temp.ask(9200, 9100, 'chat', 'billing:4');
SELECT * FROM match_agents(9200);
SELECT agent_id, verdict, score, reason FROM explain_match(9200) WHERE agent_id IN (9001, 9002, 9003);
SELECT route(9200), route(9200) AS again;
SELECT l.queue, l.channel, l.requires, -w.rank AS level, w.due_at, w.entered_at = now() AS now
FROM waiting AS w JOIN lane AS l USING (lane_id) WHERE request_id = 9200;

-- whoever comes is offered what suits: not Cy, who lacks the skill; Bo
SELECT set_presence(9003, 'available'), set_presence(9002, 'available') AS bo, set_presence(9001, 'available');
SELECT state, agent_id FROM request WHERE request_id = 9200;
SELECT count(*) FROM waiting WHERE request_id = 9200;
SELECT agent_id, cost, date_trunc('second', expires_at - now()) AS expires, accepted_at FROM assignment WHERE request_id = 9200;
SELECT agent_id, used FROM agent_state WHERE agent_id > 9000 ORDER BY agent_id;
SELECT route(9200) AS same_agent;
SELECT accept_request(9200, 9002), accept_request(9200, 9002) AS twice;
SELECT state, agent_id FROM request WHERE request_id = 9200;
UPDATE request SET state = 'done' WHERE request_id = 9200;
SELECT release_request(9200);
SELECT state, agent_id FROM request WHERE request_id = 9200;
SELECT agent_id, offered_at IS NOT NULL, accepted_at IS NOT NULL, outcome FROM assignment_history WHERE request_id = 9200;

-- the score and its parts
UPDATE agent_state SET idle_since = now() - CASE agent_id WHEN 9001 THEN '15 minutes' WHEN 9002 THEN '45 minutes' ELSE '0' END::interval
WHERE agent_id > 9000;
INSERT INTO relationship (customer_id, agent_id, contacts, strength, aged_at) VALUES
	(9101, 9002, 3, 3, now()), (9101, 9003, 4, 2, now() - interval '180 days');
UPDATE queue SET hold_for_owner = '0' WHERE queue = 'rt.help';
SELECT pg_temp.ask(9201, 9101, 'chat', prefers => 'billing:4, lang.pl:2');
SELECT agent_id, score, relationship, fluency, skill, idle, load, reason FROM match_agents(9201);
SELECT agent_id FROM match_agents(9201, 1);
SELECT agent_id, score = 50 * relationship + 20 * fluency + 15 * skill + 10 * idle + 5 * load AS sum FROM match_agents(9201);
-- one weight alone orders by just that
CREATE FUNCTION pg_temp.order_by(part text) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.queue SET weight_relationship = (part = 'relationship')::int, weight_fluency = (part = 'fluency')::int,
		weight_skill = (part = 'skill')::int, weight_idle = (part = 'idle')::int, weight_load = (part = 'load')::int
	WHERE queue = 'rt.help';
	RETURN array(SELECT agent_id FROM omnichannel.match_agents(9201));
END
$$;
UPDATE agent_state SET used = 4 WHERE agent_id = 9002;
SELECT part, pg_temp.order_by(part) FROM unnest(ARRAY['relationship', 'fluency', 'skill', 'idle', 'load']) AS part;
UPDATE agent_state SET used = 0 WHERE agent_id = 9002;
-- ties: the longest idle, then the lowest id
UPDATE queue SET weight_relationship = 0, weight_fluency = 0, weight_skill = 0, weight_idle = 0, weight_load = 0 WHERE queue = 'rt.help';
SELECT agent_id, score FROM match_agents(9201);
UPDATE agent_state SET idle_since = now() WHERE agent_id > 9000;
SELECT agent_id, score FROM match_agents(9201);
UPDATE queue SET weight_relationship = 50, weight_fluency = 20, weight_skill = 15, weight_idle = 10, weight_load = 5 WHERE queue = 'rt.help';

-- each reason to be no candidate
CREATE FUNCTION pg_temp.verdicts(request_id bigint, change text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	BEGIN
		IF change IS NOT NULL THEN
			EXECUTE change;
		END IF;
		SELECT string_agg(format('%s %s (%s)', a.agent_id, a.verdict, a.reason), E'\n') INTO answer
		FROM omnichannel.explain_match(verdicts.request_id) AS a WHERE a.agent_id BETWEEN 9001 AND 9003;
		RAISE EXCEPTION USING ERRCODE = 'RT000';
	EXCEPTION WHEN SQLSTATE 'RT000' THEN
		RETURN answer;
	END;
END
$$;
SELECT pg_temp.ask(9202, 9100, 'chat', 'billing:6', 'tech:1');
SELECT pg_temp.verdicts(9202);
SELECT pg_temp.verdicts(9202, 'UPDATE agent SET active = false WHERE agent_id = 9001');
SELECT pg_temp.verdicts(9202, 'DELETE FROM queue_member WHERE agent_id = 9001');
SELECT pg_temp.verdicts(9202, 'UPDATE agent SET department = NULL WHERE agent_id = 9003');
SELECT pg_temp.verdicts(9202, $$DELETE FROM agent_channel WHERE agent_id = 9001 AND channel = 'chat'$$);
SELECT pg_temp.verdicts(9202, $$SELECT omnichannel.set_presence(9001, 'break')$$);
SELECT pg_temp.verdicts(9202, $$UPDATE agent_state SET busy_until = now() + interval '40 seconds' WHERE agent_id = 9001$$);
SELECT pg_temp.verdicts(9202, 'UPDATE agent_state SET used = 5 WHERE agent_id = 9001');
SELECT pg_temp.verdicts(9202, 'UPDATE agent_state SET used = 4 WHERE agent_id = 9001');
SELECT pg_temp.verdicts(9202, $$UPDATE channel SET cost = 7 WHERE channel = 'chat'$$);
SELECT pg_temp.verdicts(9202, $$UPDATE queue_member SET join_after = '1 minute' WHERE agent_id = 9001$$);
SELECT pg_temp.verdicts(9202, $$UPDATE queue SET prefer_for = '1 minute' WHERE queue = 'rt.help'$$);
SELECT pg_temp.verdicts(9202, $$INSERT INTO refusal VALUES (9202, 9001, now() + interval '1 second')$$);
SELECT pg_temp.verdicts(9202, $$INSERT INTO refusal VALUES (9202, 9001, now())$$);
SELECT pg_temp.verdicts(9202, $$INSERT INTO queue_department VALUES ('rt.help', 'desk', '0'); UPDATE agent SET department = 'desk' WHERE agent_id = 9001;
	UPDATE queue_member SET join_after = '1 minute'$$);
SELECT pg_temp.verdicts(9202, $$DELETE FROM presence_state WHERE state = 'training'; UPDATE presence_state SET available = false WHERE state = 'available'$$);

-- waiting ends prefer_for and join_after
UPDATE queue SET prefer_for = '1 minute' WHERE queue = 'rt.help';
UPDATE queue_department SET join_after = '5 minutes' WHERE queue = 'rt.help';
SELECT pg_temp.ask(9203, 9100, 'chat', '', 'lang.pl', '59 seconds'), pg_temp.ask(9204, 9100, 'chat', '', 'lang.pl', '1 minute'),
	pg_temp.ask(9205, 9100, 'chat', '', 'lang.pl', '5 minutes');
SELECT r, array(SELECT agent_id FROM match_agents(r)) AS agents FROM generate_series(9203, 9205) AS r;
UPDATE queue SET prefer_for = '0' WHERE queue = 'rt.help';
UPDATE queue_department SET join_after = '0' WHERE queue = 'rt.help';

-- the owner: the agent of another open request of the customer, in any channel
UPDATE queue SET hold_for_owner = '30 seconds' WHERE queue = 'rt.help';
INSERT INTO request (request_id, customer_id, kind, state, channel, agent_id) VALUES (9206, 9100, 'order', 'waiting_customer', 'email', 9003);
SELECT pg_temp.ask(9207, 9100, 'chat');
SELECT agent_id, reason FROM match_agents(9207);
-- ... of a customer who was merged with this one
UPDATE customer SET merged_into = 9102 WHERE customer_id = 9100;
SELECT pg_temp.ask(9208, 9102, 'chat');
SELECT agent_id, reason FROM match_agents(9208);
UPDATE customer SET merged_into = NULL WHERE customer_id = 9100;
-- ... present, but without room: held, and offered when there is room
UPDATE agent_state SET used = 6 WHERE agent_id = 9003;
SELECT pg_temp.verdicts(9207);
SELECT count(*) FROM match_agents(9207);
SELECT route(9207);
SELECT count(*) FROM waiting WHERE request_id = 9207;
SELECT tick_queues(), set_presence(9001, 'available') AS not_for_anna;
UPDATE agent_state SET used = 0 WHERE agent_id = 9003;
SELECT tick_queues();
SELECT agent_id FROM assignment WHERE request_id = 9207;
SELECT release_request(9207, 'cancelled');
-- ... held for so long only
UPDATE agent_state SET used = 6 WHERE agent_id = 9003;
SELECT pg_temp.ask(9209, 9100, 'chat', waited => '30 seconds');
SELECT agent_id FROM match_agents(9209);
-- ... absent: skipped at once; at work in another state: held
SELECT set_presence(9003, 'offline');
SELECT pg_temp.ask(9210, 9100, 'chat');
SELECT agent_id FROM match_agents(9210);
SELECT pg_temp.verdicts(9210, $$SELECT omnichannel.set_presence(9003, 'busy')$$);
-- ... else the agent who knows the customer best, now
UPDATE agent_state SET used = 0, state = 'available' WHERE agent_id = 9003;
UPDATE relationship SET strength = 5 WHERE agent_id = 9003 AND customer_id = 9101;
SELECT agent_id, relationship, reason FROM match_agents(9201);
UPDATE relationship SET aged_at = now() WHERE agent_id = 9003 AND customer_id = 9101;
SELECT agent_id, relationship, reason FROM match_agents(9201);
UPDATE queue SET hold_for_owner = '0' WHERE queue = 'rt.help';

-- relationships age the same in any order of contacts
SELECT relationship_with(1, now(), now() + interval '180 days', 180 * 86400) AS later,
	relationship_with(1, now(), now() - interval '180 days', 180 * 86400) AS earlier,
	relationship_with(1, now(), '290000-01-01', 1) AS much_later, relationship_strength(4, now() - interval '360 days') AS aged;

-- the order in which those who wait are served: priority, aged by the step, then the earlier due, then the longer wait
UPDATE agent SET capacity = 2 WHERE agent_id > 9000;
SELECT set_presence(9001, 'offline'), set_presence(9002, 'offline'), set_presence(9003, 'offline');
SELECT pg_temp.ask(9220, 9100, 'chat', waited => '1 minute', queue => 'rt.other'),
	pg_temp.ask(9221, 9100, 'chat', waited => '5 minutes', queue => 'rt.other'),
	pg_temp.ask(9222, 9100, 'chat', waited => '3 minutes', priority => 1, queue => 'rt.other'),
	pg_temp.ask(9223, 9100, 'chat', 'billing:4', waited => '10 minutes', queue => 'rt.other');
SELECT pg_temp.error('SELECT route(9220)');
INSERT INTO queue_member (queue, agent_id) VALUES ('rt.other', 9003), ('rt.other', 9001);
SELECT route(9220), route(9221), route(9222), route(9223);
UPDATE waiting SET due_at = now() WHERE request_id = 9220;
SELECT set_presence(9003, 'available') AS first, release_request(9222, 'done') AS second, release_request(9220, 'done') AS third,
	release_request(9221, 'done') AS nothing_more;
SELECT set_presence(9001, 'available') AS with_the_skill;
SELECT release_request(9223, 'done');
-- with ageing, 5 minutes of waiting outrun a priority of 1
UPDATE queue SET age_after = '1 minute' WHERE queue = 'rt.other';
SELECT set_presence(9001, 'offline'), set_presence(9003, 'offline');
SELECT pg_temp.ask(9225, 9100, 'chat', waited => '5 minutes', queue => 'rt.other'),
	pg_temp.ask(9226, 9100, 'chat', waited => '3 minutes', priority => 1, queue => 'rt.other'),
	pg_temp.ask(9227, 9100, 'chat', waited => '3 minutes', priority => 3, queue => 'rt.other');
SELECT route(9225), route(9226), route(9227);
SELECT set_presence(9001, 'available') AS first, release_request(9227, 'done') AS second, release_request(9225, 'done') AS third,
	release_request(9226, 'done') AS nothing_more;

-- claim: at once the agent's, as many as fit
SELECT set_presence(9001, 'offline');
SELECT pg_temp.ask(9230, 9100, 'chat', queue => 'rt.other'), pg_temp.ask(9231, 9100, 'chat', queue => 'rt.other');
SELECT route(9230), route(9231);
SELECT claim(9001) AS absent, claim(9002) AS not_in_queue;
UPDATE agent_state SET state = 'available' WHERE agent_id = 9002;
UPDATE agent_state SET state = 'busy' WHERE agent_id = 9001;
SELECT claim(9001), claim(9001) AS no_room;
UPDATE agent_state SET state = 'available' WHERE agent_id = 9001;
SELECT state, agent_id FROM request WHERE request_id = 9230;

-- decline: to the next, else back with its age, not to the same agent before decline_for is over
UPDATE agent_state SET state = 'available' WHERE agent_id = 9003;
SELECT tick_queues();
SELECT agent_id FROM assignment WHERE request_id = 9231;
SELECT next_offer(9003), next_offer(9001) AS nothing;
SELECT decline_request(9231, 9003);
SELECT entered_at = now() FROM waiting WHERE request_id = 9231;
SELECT state, agent_id FROM request WHERE request_id = 9231;
SELECT date_trunc('minute', until - now()) AS until FROM refusal WHERE request_id = 9231;
SELECT tick_queues();
UPDATE refusal SET until = now() WHERE request_id = 9231;
SELECT tick_queues();
SELECT count(*) FROM refusal WHERE request_id = 9231;
-- an offer expires
UPDATE assignment SET expires_at = now() WHERE request_id = 9231;
SELECT pg_temp.error('SELECT accept_request(9231, 9003)');
SELECT tick_queues(), tick_queues() AS again;
SELECT agent_id, outcome FROM assignment_history WHERE request_id = 9231 ORDER BY assignment_id;
SELECT used FROM agent_state WHERE agent_id = 9003;

-- transfer: to a queue with its age, to a colleague
SELECT transfer_request(9230, 'rt.help', requires => 'tech:5');
SELECT state, agent_id, queue, requires FROM request WHERE request_id = 9230;
SELECT pg_temp.error('SELECT transfer_request(9230, agent_id => 9003)');
SELECT transfer_request(9230, agent_id => 9002);
SELECT state, agent_id FROM request WHERE request_id = 9230;
SELECT used FROM agent_state WHERE agent_id IN (9001, 9002, 9003) ORDER BY agent_id;
SELECT accept_request(9230, 9002);

-- wrap-up
UPDATE queue SET wrap_up = '2 minutes' WHERE queue = 'rt.help';
SELECT release_request(9230);
SELECT state, agent_id FROM request WHERE request_id = 9230;
SELECT date_trunc('minute', busy_until - now()) AS wraps_up, used FROM agent_state WHERE agent_id = 9002;
SELECT set_presence(9002, 'available');
SELECT busy_until, used FROM agent_state WHERE agent_id = 9002;

-- the customer leaves the queue and comes back to the same place; wants to be called back
SELECT set_presence(9001, 'offline'), set_presence(9002, 'offline'), set_presence(9003, 'offline');
SELECT pg_temp.ask(9240, 9100, 'chat', waited => '7 minutes');
SELECT route(9240);
SELECT abandon_request(9240, '10 minutes');
SELECT state FROM request WHERE request_id = 9240;
SELECT count(*) FROM waiting WHERE request_id = 9240;
SELECT route(9240);
SELECT now() - entered_at AS waited FROM waiting WHERE request_id = 9240;
SELECT * FROM queue_position(9240);
INSERT INTO assignment_history (request_id, customer_id, agent_id, queue, channel, entered_at, queued_at, offered_at, ended_at, outcome)
SELECT 1, 1, 9001, 'rt.help', 'chat', now(), now(), now(), now() - n * interval '1 minute', 'finished' FROM generate_series(1, 29) AS n;
SELECT pg_temp.ask(9241, 9100, 'phone', waited => '6 minutes'), pg_temp.ask(9242, 9100, 'phone', priority => 1);
SELECT route(9241), route(9242);
SELECT r, (queue_position(r)).* FROM generate_series(9240, 9242) AS r;
SELECT queue_position(9230) AS does_not_wait, agent_card(9001);
SELECT request_callback(9240, 'phone');
SELECT l.channel, now() - w.entered_at AS waited FROM waiting AS w JOIN lane AS l USING (lane_id) WHERE request_id = 9240;

-- overflow
UPDATE queue SET overflow_queue = 'rt.other', overflow_after = '8 minutes' WHERE queue = 'rt.help';
SELECT tick_queues();
UPDATE queue SET overflow_after = '7 minutes' WHERE queue = 'rt.help';
SELECT tick_queues();
SELECT q.queue, now() - w.entered_at AS waited FROM waiting AS w JOIN request AS q USING (request_id) WHERE request_id = 9240;

-- presence is kept as intervals
INSERT INTO presence VALUES (9002, 'break', tstzrange(now() - interval '2 hours', now() - interval '1 hour'));
UPDATE presence SET during = tstzrange(now() - interval '1 hour', NULL) WHERE agent_id = 9002 AND upper_inf(during);
SELECT set_presence(9002, 'busy'), set_presence(9002, 'busy'), set_presence(9002, 'break');
SELECT state, now() - lower(during) AS began, now() - upper(during) AS ended FROM presence WHERE agent_id = 9002 ORDER BY during;

-- closed by a plain UPDATE: the sweep frees the agent, a free agent steps over it
SELECT release_request(9231, 'done');
SELECT pg_temp.ask(9250, 9100, 'chat', queue => 'rt.other'), pg_temp.ask(9251, 9100, 'chat', queue => 'rt.other'),
	pg_temp.ask(9252, 9100, 'chat', queue => 'rt.other');
SELECT route(9250), route(9251), route(9252);
SELECT set_presence(9001, 'available');
UPDATE request SET state = 'cancelled' WHERE request_id IN (9250, 9251);
SELECT tick_queues(), tick_queues();
SELECT agent_id, request_id FROM assignment WHERE request_id BETWEEN 9250 AND 9252;

-- errors, and nothing changed
SELECT statement, pg_temp.error(statement) FROM unnest(ARRAY[
	'SELECT * FROM match_agents(1234567890123)', 'SELECT route(1234567890123)', 'SELECT * FROM match_agents(9251)',
	'SELECT route(9251)', 'SELECT transfer_request(9252, ''rt.empty'')', 'SELECT * FROM match_agents(9201, 0)', 'SELECT route(9206)', 'SELECT * FROM explain_match(9206)',
	'SELECT set_presence(9999, ''available'')', 'SELECT set_presence(9001, ''asleep'')', 'SELECT claim(9999)',
	'SELECT accept_request(9252, 9002)', 'SELECT accept_request(9252, 9999)', 'SELECT accept_request(9206, 9001)',
	'SELECT decline_request(9252, 9003)', 'SELECT decline_request(9206, 9003)', 'SELECT next_offer(9999)',
	'SELECT next_offer(9001, ''-1 s'')', 'SELECT next_offer(9001, ''61 secs'')', 'SELECT transfer_request(9252)',
	'SELECT transfer_request(9252, ''rt.none'')', 'SELECT transfer_request(9252, agent_id => 9999)',
	'SELECT transfer_request(9252, agent_id => 9001)', 'SELECT transfer_request(9252, ''rt.help'', requires => ''x:0'')',
	'SELECT transfer_request(9251, ''rt.help'')', 'SELECT release_request(9252, ''new'')', 'SELECT release_request(1234567890123)',
	'SELECT abandon_request(9206)', 'SELECT abandon_request(9252, ''-1 s'')', 'SELECT abandon_request(9251)',
	'SELECT request_callback(9252, ''none'')', 'SELECT request_callback(9251)',
	'SELECT queue_position(1234567890123)', 'SELECT agent_card(9999)',
	'INSERT INTO agent (name, capacity) VALUES (''x'', -1)', 'INSERT INTO agent (name, skills) VALUES (''x'', ''a:11'')',
	'INSERT INTO agent_channel VALUES (9001, ''email'', 11)', 'INSERT INTO agent_channel VALUES (9001, ''none'', 1)',
	'UPDATE queue SET overflow_after = NULL WHERE queue = ''rt.help''',
	'UPDATE queue SET overflow_queue = ''rt.help'', overflow_after = ''1 s'' WHERE queue = ''rt.other''',
	'UPDATE queue SET overflow_queue = ''rt.other'', overflow_after = ''1 s'' WHERE queue = ''rt.other''',
	'UPDATE queue SET weight_idle = ''NaN''', 'UPDATE queue SET hold_for_owner = ''-1 s''',
	'INSERT INTO queue_member VALUES (''rt.help'', 9999)', 'INSERT INTO presence VALUES (9002, ''break'', tstzrange(now(), NULL))',
	'UPDATE routing_setting SET relationship_half_life = ''0''', 'SELECT relationship_with(1, now(), now(), 0)',
	'UPDATE presence_state SET present = false WHERE state = ''available'''
]) AS statement;
SELECT agent_id, request_id, accepted_at FROM assignment WHERE request_id BETWEEN 9250 AND 9252;
ROLLBACK;

-- READ COMMITTED only
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT route(1);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT set_presence(1, 'available');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO queue (queue) VALUES ('rr');
UPDATE queue SET age_after = NULL WHERE queue = 'rr';
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO queue (queue, overflow_queue, overflow_after) VALUES ('rr', 'rs', '1 minute');
ROLLBACK;
BEGIN READ ONLY;
SELECT claim(1);
ROLLBACK;

-- what the invariants are: each agent's load is the sum of his assignments
SELECT s.agent_id, s.used, sum(a.cost) FROM agent_state AS s LEFT JOIN assignment AS a USING (agent_id)
GROUP BY s.agent_id HAVING s.used <> coalesce(sum(a.cost), 0);
