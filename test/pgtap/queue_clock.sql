-- What the queue writes down goes by the clock: transactions are long, and do not get their turns in the order in which
-- they began.
BEGIN;
SELECT plan(16);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, offer_for, wrap_up, weight_relationship, weight_fluency, weight_skill, weight_load, weight_idle)
VALUES ('round', '0', '1 hour', '1 minute', 0, 0, 0, 0, 1), ('short', '0', '200 milliseconds', '0', 0, 0, 0, 0, 1);
INSERT INTO agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 1000 FROM generate_series(1, 4) AS n;
INSERT INTO agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(1, 4) AS n;
INSERT INTO queue_member (queue, agent_id) VALUES ('round', 1), ('round', 2), ('round', 3), ('short', 4);
INSERT INTO customer (customer_id) SELECT generate_series(1, 20);
SELECT set_presence(n, 'available') FROM generate_series(1, 4) AS n;

-- who was offered something last comes last, by route() and by the sweep
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, n, 'question', 'chat', 'round' FROM generate_series(1, 9) AS n;
SELECT results_eq('SELECT route(n) FROM generate_series(1, 9) AS n', 'SELECT 1 + n::bigint % 3 FROM generate_series(0, 8) AS n', 'nine requests in one transaction go round');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (10, 1, 'question', 'chat', 'round');
SELECT is((SELECT string_agg(agent_id::text, ',') FROM match_agents(10)), '1,2,3', 'and match_agents() knows whose turn it is');
INSERT INTO request (request_id, customer_id, kind, state, channel, queue) SELECT n, 1 + n % 20, 'question', 'waiting_agent', 'chat', 'round' FROM generate_series(101, 190) AS n;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT cmp_ok(tick_queues(), '>=', 90::bigint, 'the sweep routes ninety');
SELECT results_eq('SELECT count(*) FROM assignment WHERE request_id BETWEEN 101 AND 190 GROUP BY agent_id', 'VALUES (30::bigint), (30), (30)', 'evenly');

-- by statements as by rows
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine AFTER INSERT ON assignment FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'round' FROM generate_series(11, 13) AS n;
SELECT is((SELECT count(DISTINCT route(n)) FROM generate_series(11, 13) AS n), 3::bigint, 'by statements, too');
DROP TRIGGER mine ON assignment;

-- times that follow one another, and what they are counted from
SELECT pg_sleep(0.3);
SELECT accept_request(1, 1);
SELECT isnt(release_request(1, 'done'), 0::bigint, 'work ends');
SELECT ok(offered_at < accepted_at AND accepted_at < ended_at, 'in the order of its times') FROM assignment_history WHERE request_id = 1;
SELECT cmp_ok((SELECT busy_until - now() FROM agent_state WHERE agent_id = 1), '>', interval '1 minute 250 milliseconds', 'a wrap-up begins when the work has ended');
INSERT INTO request (request_id, customer_id, kind, channel, queue) VALUES (21, 1, 'question', 'chat', 'short');
SELECT is(route(21), 4::bigint, 'an offer for an instant');
SELECT pg_sleep(0.25);
SELECT throws_ok('SELECT accept_request(21, 4)', '55000', 'request 21 is not offered to agent 4', 'is not accepted afterwards, whenever the transaction began');
SELECT is_empty('SELECT FROM assignment WHERE request_id = 21 AND accepted_at IS NOT NULL', 'nor is anything changed');

-- presence: states side by side are other states, and none is lost that lasted after a transaction began
CREATE FUNCTION pg_temp.states() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(state || CASE WHEN upper(during) IS NOT DISTINCT FROM next THEN '' ELSE ' gap' END, ', ' ORDER BY during)
	FROM (SELECT *, lead(lower(during)) OVER (ORDER BY during) AS next FROM omnichannel.presence WHERE agent_id = 4) AS p
$$;
SELECT set_presence(4, 'break');
SELECT is(pg_temp.states(), 'break', 'what a transaction sets and changes has not been');
UPDATE presence SET during = tstzrange(now() - interval '1 hour', NULL) WHERE agent_id = 4;
SELECT set_presence(4, 'available'), set_presence(4, 'meeting');
SELECT is(pg_temp.states(), 'break, meeting', 'also where it is another state');
SELECT set_presence(4, 'break');
SELECT is(pg_temp.states(), 'break, meeting, break', 'but for what it was before: it has come back');
SELECT cmp_ok((SELECT lower(during) FROM presence WHERE agent_id = 4 AND upper_inf(during)), '>', now(), 'by the clock');
SELECT set_presence(4, 'available'), set_presence(4, 'available');
SELECT is(pg_temp.states(), 'break, meeting, break, available', 'as after whoever was quicker');

SELECT * FROM finish();
ROLLBACK;
