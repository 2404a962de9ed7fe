-- Work of agents who do not exist: it is not given to them, they are not deleted while they have it, and what is left of
-- it all the same goes back into its queue.
BEGIN;
SELECT plan(31);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('q', '0');
INSERT INTO agent (agent_id, name) VALUES (1, 'Anna'), (77, 'Temp'), (78, 'Temp'), (79, 'Temp'), (80, 'Temp');
INSERT INTO agent_channel (agent_id, channel) SELECT agent_id, 'chat' FROM agent;
INSERT INTO queue_member (queue, agent_id) SELECT 'q', agent_id FROM agent;
INSERT INTO customer (customer_id) SELECT generate_series(1, 9);
SELECT setval('request_request_id_seq', 1000);
SET CONSTRAINTS ALL IMMEDIATE;
CREATE FUNCTION pg_temp.has(request_id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', q.state, q.agent_id, 'with', a.agent_id, CASE WHEN w.request_id IS NOT NULL THEN 'waits' END)
	FROM omnichannel.request AS q LEFT JOIN omnichannel.assignment AS a USING (request_id) LEFT JOIN omnichannel.waiting AS w USING (request_id)
	WHERE q.request_id = $1
$$;

-- statements that give work to nobody
SELECT open_request(1, 'question', 'chat', 'q', agent_id => 77) AS r \gset
SELECT tick_queues() \g /dev/null
SELECT is(pg_temp.has(:r), 'assigned 77 with 77', 'an agent who was never there has work');
SELECT throws_ok($$SELECT open_request(1, 'question', 'chat', 'q', agent_id => 4711)$$, '23503', 'agent 4711 does not exist', 'one who does not exist gets none from open_request()');
SELECT throws_ok(format($$UPDATE request SET agent_id = 4711 WHERE request_id = %s$$, :r), '23503', 'agent 4711 does not exist', 'nor from an UPDATE');
SELECT throws_ok(format($$INSERT INTO request (customer_id, kind, state, channel, %s) VALUES (1, 'question', %L, 'chat', %s)$$, columns, state, vals), '23503', 'agent 4711 does not exist',
	'nor from an INSERT: ' || state || ' ' || columns)
FROM (VALUES ('queue, agent_id', 'assigned', '''q'', 4711'), ('agent_id', 'assigned', '4711'), ('queue, agent_id', 'waiting_agent', '''q'', 4711')) AS v (columns, state, vals);
SELECT lives_ok($$INSERT INTO request (request_id, customer_id, kind, state, channel, agent_id, closed_at) VALUES (90, 9, 'question', 'done', 'chat', 4711, now())$$, 'history may name who is gone');
SELECT throws_ok($$UPDATE request SET state = 'assigned' WHERE request_id = 90$$, '23503', 'agent 4711 does not exist', 'but cannot be opened again for him');
SELECT lives_ok($$UPDATE request SET state = 'assigned', agent_id = 77 WHERE request_id = 90$$, 'but for another');
SELECT lives_ok($$UPDATE request SET state = 'done', agent_id = 4712 WHERE request_id = 90$$, 'and closed');

-- also by roles that may not read agents
CREATE ROLE omnichannel_stranger;
GRANT USAGE ON SCHEMA omnichannel, public TO omnichannel_stranger;
GRANT SELECT, UPDATE ON request TO omnichannel_stranger;
SET LOCAL ROLE omnichannel_stranger;
SELECT throws_ok(format($$UPDATE omnichannel.request SET agent_id = 4711 WHERE request_id = %s$$, :r), '23503', 'agent 4711 does not exist', 'whoever writes requests');
SELECT lives_ok(format($$UPDATE omnichannel.request SET agent_id = 78 WHERE request_id = %s$$, :r), 'and may give them to those there are');
RESET ROLE;
SELECT tick_queues() \g /dev/null
SELECT is(pg_temp.has(:r), 'assigned 78 with 78', 'who have them then');

-- agents who have work stay
SELECT throws_ok('DELETE FROM agent WHERE agent_id = 78', '23503', format('agent 78 has request %s', :r), 'who has work is not deleted');
SELECT throws_ok('UPDATE agent SET agent_id = 99 WHERE agent_id = 78', '23503', format('agent 78 has request %s', :r), 'nor is he somebody else');
SELECT lives_ok('UPDATE agent SET agent_id = 78, name = ''Temporary'' WHERE agent_id = 78', 'what he is called may change');
SELECT open_request(2, 'question', 'chat', agent_id => 79) AS r2 \gset
SELECT throws_ok('DELETE FROM agent WHERE agent_id = 79', '23503', format('agent 79 has request %s', :r2), 'nor is who has a request that is in no queue');
UPDATE request SET state = 'done' WHERE request_id = :r2;
SELECT lives_ok('DELETE FROM agent WHERE agent_id = 79', 'until it is closed');
SELECT lives_ok('DELETE FROM agent WHERE agent_id = 77', 'as is who has none');

-- who was deleted all the same: what he had, and what he was given and the sweep has not seen
SELECT open_request(3, 'question', 'chat', 'q', agent_id => 80) AS r3 \gset
ALTER TABLE agent DISABLE TRIGGER guard_agent;
DELETE FROM agent WHERE agent_id IN (78, 80);
ALTER TABLE agent ENABLE TRIGGER guard_agent;
SELECT cmp_ok(tick_queues(), '>=', 2::bigint, 'the sweep finds what is left');
SELECT is(pg_temp.has(:r), 'waiting_agent with waits', 'which waits again');
SELECT is(pg_temp.has(:r3), 'waiting_agent with waits', 'also what had not come to him');
SELECT is((SELECT string_agg(agent_id || ' ' || outcome, ', ' ORDER BY assignment_id) FROM assignment_history WHERE request_id = :r), '77 transferred, 78 transferred', 'and it is on record');
SELECT set_presence(1, 'available') \g /dev/null
SELECT results_eq('SELECT agent_id FROM assignment', 'VALUES (1::bigint), (1)', 'and comes to whoever is there');

-- what was deleted or closed while nobody was told, of who was there and of who never was
INSERT INTO agent (agent_id, name) VALUES (81, 'Temp'), (82, 'Temp');
SELECT open_request(4, 'question', 'chat', 'q', agent_id => 1) AS r4 \gset
SELECT open_request(5, 'question', 'chat', 'q', agent_id => 81) AS r5 \gset
SELECT open_request(6, 'question', 'chat', 'q', agent_id => 82) AS r6 \gset
SELECT tick_queues() \g /dev/null
SELECT is(concat_ws('; ', pg_temp.has(:r4), pg_temp.has(:r5), pg_temp.has(:r6)), 'assigned 1 with 1; assigned 81 with 81; assigned 82 with 82', 'they have work');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT throws_ok('DELETE FROM agent WHERE agent_id = 82', '23503', format('agent 82 has request %s', :r6), 'and stay');
SET LOCAL session_replication_role = replica;
DELETE FROM request WHERE request_id IN (:r4, :r5);
UPDATE request SET state = 'done', closed_at = now() WHERE request_id = :r6;
SET LOCAL session_replication_role = origin;
SELECT lives_ok('DELETE FROM agent WHERE agent_id = 82', 'who has but what is closed is deleted');
SAVEPOINT before;
SELECT lives_ok('DELETE FROM agent WHERE agent_id = 81', 'or what there is not');
ROLLBACK TO before;
SELECT cmp_ok(tick_queues(), '>=', 3::bigint, 'the sweep finds that');
SELECT is_empty(format('SELECT request_id, agent_id FROM assignment WHERE request_id IN (%s, %s, %s)', :r4, :r5, :r6), 'and ends it');
SELECT results_eq(format('SELECT agent_id, outcome FROM assignment_history WHERE request_id IN (%s, %s, %s) ORDER BY 1', :r4, :r5, :r6), $$VALUES (1::bigint, 'finished'), (81, 'finished'), (82, 'finished')$$, 'on record');

SELECT * FROM finish();
ROLLBACK;
