-- Matching under roles and policies, what the reading of presence and load without a plan must guard, and every function
-- with NULL.
BEGIN;
SELECT plan(51);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('tap', '0');
INSERT INTO agent (agent_id, name, skills, capacity) VALUES (1, 'Anna', 'billing:8', 2), (2, 'Bo', 'billing:5', 2), (3, 'Cy', '', 2);
INSERT INTO agent_channel (agent_id, channel, fluency) VALUES (1, 'chat', 9), (2, 'chat', 5), (3, 'chat', 1);
INSERT INTO queue_member (queue, agent_id) VALUES ('tap', 1), ('tap', 2), ('tap', 3);
INSERT INTO customer (customer_id) VALUES (100);
INSERT INTO request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 100, 'question', 'waiting_agent', 'chat', 'tap' FROM generate_series(1, 20) AS n;
INSERT INTO agent_state (agent_id, idle_since, state) VALUES (1, now(), 'available'), (2, now(), 'available'), (3, now(), 'available');

CREATE FUNCTION pg_temp.agents(request_id bigint) RETURNS bigint[] LANGUAGE sql AS
	'SELECT array_agg(agent_id) FROM omnichannel.match_agents(request_id)';

-- NULL in: none out, or an error where something would be done
SELECT throws_ok('SELECT route(NULL)', '22023', NULL, 'route');
SELECT is_empty('SELECT * FROM match_agents(NULL)', 'match_agents');
SELECT is_empty('SELECT * FROM match_agents(1, NULL)', 'match_agents, max_agents');
SELECT is_empty('SELECT * FROM explain_match(NULL)', 'explain_match');
SELECT throws_ok('SELECT set_presence(NULL, ''available'')', '22023', NULL, 'set_presence, agent');
SELECT throws_ok('SELECT set_presence(1, NULL)', '22023', NULL, 'set_presence, state');
SELECT throws_ok('SELECT claim(NULL)', '22023', NULL, 'claim');
SELECT throws_ok('SELECT next_offer(NULL)', '22023', NULL, 'next_offer');
SELECT throws_ok('SELECT next_offer(1, NULL)', '22023', NULL, 'next_offer, wait');
SELECT throws_ok('SELECT decline_request(NULL, 1)', '22023', NULL, 'decline_request');
SELECT throws_ok('SELECT release_request(NULL)', '22023', NULL, 'release_request');
SELECT throws_ok('SELECT request_callback(NULL)', '22023', NULL, 'request_callback');
SELECT throws_ok('SELECT transfer_request(NULL, ''tap'')', '22023', NULL, 'transfer_request');
SELECT is(skill_level('a:1', NULL), NULL, 'skill_level');
SELECT is(relationship_strength(NULL, now()), NULL, 'relationship_strength');

-- rows are found where they are, wherever they went
SELECT is(pg_temp.agents(1), '{1,2,3}', 'all three, the first time by a plan');
SELECT is(pg_temp.agents(1), '{1,2,3}', 'the second time where they were');
UPDATE agent_state SET used = 2 WHERE agent_id = 1;
SELECT is(pg_temp.agents(1), '{2,3}', 'after an update on the same page');
SAVEPOINT a;
UPDATE agent_state SET used = 2 WHERE agent_id = 2;
SELECT is(pg_temp.agents(1), '{3}', 'an own update');
ROLLBACK TO a;
SELECT is(pg_temp.agents(1), '{2,3}', 'and its rollback');
DO $$BEGIN FOR i IN 1 .. 300 LOOP UPDATE omnichannel.agent_state SET used = i % 2 WHERE agent_id = 1; END LOOP; END$$;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'after so many updates that the row left its page');
SELECT is(pg_temp.agents(1), '{1,2,3}', 'and again');
DELETE FROM agent_state WHERE agent_id = 2;
SELECT is(pg_temp.agents(1), '{1,3}', 'a row is gone');
INSERT INTO agent_state (agent_id, idle_since, state) VALUES (2, now(), 'available');
SELECT is(pg_temp.agents(1), '{1,2,3}', 'and is there again, elsewhere');
CREATE TABLE other_state AS SELECT * FROM agent_state;
TRUNCATE agent_state;
SELECT is(pg_temp.agents(1), NULL, 'the table is empty');
INSERT INTO agent_state SELECT * FROM other_state ORDER BY agent_id DESC;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'and full again, in another order');
ALTER TABLE agent_state ADD COLUMN mine text DEFAULT 'x';
SELECT is(pg_temp.agents(1), '{1,2,3}', 'with a column more');
ALTER TABLE agent_state ALTER COLUMN used TYPE bigint;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'with a column of another type');
ALTER TABLE agent_state ALTER COLUMN used TYPE integer;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'rewritten');
ALTER TABLE agent_state DROP COLUMN mine;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'with a column dropped');

-- rights and row-level security hold as for a plan
CREATE ROLE tap_role;
GRANT USAGE ON SCHEMA omnichannel TO tap_role;
SET LOCAL ROLE tap_role;
SELECT throws_ok('SELECT * FROM omnichannel.match_agents(1)', '42501', NULL, 'no right on the configuration');
RESET ROLE;
SELECT grant_access('tap_role', 'app');
SET LOCAL ROLE tap_role;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'an application');
RESET ROLE;
REVOKE SELECT ON agent_state FROM tap_role;
SET LOCAL ROLE tap_role;
SELECT throws_ok('SELECT * FROM omnichannel.match_agents(1)', '42501', NULL, 'no right on presence and load');
RESET ROLE;
GRANT SELECT ON agent_state TO tap_role;
ALTER TABLE agent_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY tap_policy ON agent_state TO tap_role USING (agent_id <> 2);
SET LOCAL ROLE tap_role;
SELECT is(pg_temp.agents(1), '{1,3}', 'a policy hides an agent''s state');
RESET ROLE;
SELECT is(pg_temp.agents(1), '{1,2,3}', 'not from the owner');
ALTER TABLE agent_state DISABLE ROW LEVEL SECURITY;
ALTER TABLE agent ENABLE ROW LEVEL SECURITY;
CREATE POLICY tap_policy ON agent FOR SELECT TO tap_role USING (agent_id <> 1);
SET LOCAL ROLE tap_role;
SELECT is(pg_temp.agents(1), '{2,3}', 'a policy hides an agent');
SELECT is(route(1), 2::bigint, 'and routes by it');
RESET ROLE;
ALTER TABLE agent DISABLE ROW LEVEL SECURITY;

-- an application needs no more than its profile for the whole life of a request
SET LOCAL ROLE tap_role;
SELECT lives_ok('SELECT omnichannel.accept_request(1, 2)', 'accept');
SELECT lives_ok('SELECT omnichannel.transfer_request(1, agent_id => 3)', 'transfer');
SELECT lives_ok('SELECT omnichannel.decline_request(1, 3)', 'decline');
SELECT lives_ok('SELECT omnichannel.release_request(1, ''done'')', 'release');
SELECT is(set_presence(2, 'break'), NULL, 'presence');
SELECT is(set_presence(1, 'break'), NULL, 'presence');
SELECT is(set_presence(3, 'break'), NULL, 'presence');
SELECT is(route(2), NULL, 'wait');
SELECT is((queue_position(2)).place, 1::bigint, 'place');
SELECT lives_ok('SELECT omnichannel.abandon_request(2)', 'abandon');
SELECT is(route(2), NULL, 'come back');
SELECT is(set_presence(3, 'available'), 2::bigint, 'serve');
SELECT lives_ok('SELECT omnichannel.tick_queues()', 'sweep');
RESET ROLE;

SELECT is((SELECT count(*) FROM agent_state AS s WHERE used <> (SELECT coalesce(sum(cost), 0) FROM assignment AS a WHERE a.agent_id = s.agent_id) AND agent_id <> 1), 0::bigint, 'loads are right');
SELECT * FROM finish();
ROLLBACK;
