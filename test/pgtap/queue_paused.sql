-- A plain statement lets a request wait for its customer, and its clocks stand still: whatever gives it to an agent again
-- sets them going, by rows as by statements.
BEGIN;
SELECT plan(12);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner) VALUES ('a', '0'), ('held', '1 minute');
INSERT INTO agent (agent_id, name, capacity) VALUES (1, 'Anna', 100);
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat');
INSERT INTO queue_member (queue, agent_id) VALUES ('a', 1), ('held', 1);
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('all', 1, 'resolution', '1 hour');
INSERT INTO customer (customer_id) SELECT generate_series(1, 9);
SELECT set_presence(1, 'available');
CREATE TEMP VIEW clock AS SELECT request_id, due_at IS NOT NULL AS goes FROM sla_clock;
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, n, 'question', 'chat', 'a' FROM generate_series(1, 4) AS n;
SELECT results_eq('SELECT request_id, goes FROM clock ORDER BY 1', 'SELECT n, true FROM generate_series(1::bigint, 4) AS n', 'requests have clocks');

-- an offer that is accepted all the same
SELECT route(1), route(2) \g /dev/null
UPDATE request SET state = 'waiting_agent' WHERE request_id IN (1, 2);
UPDATE request SET state = 'waiting_customer' WHERE request_id IN (1, 2);
SELECT results_eq('SELECT goes FROM clock WHERE request_id IN (1, 2)', 'VALUES (false), (false)', 'which stand still while the customer is waited for');
SELECT accept_request(1, 1) \g /dev/null
SELECT is((SELECT goes FROM clock WHERE request_id = 1), true, 'and go on where the offer is accepted');
SELECT is((SELECT state FROM request WHERE request_id = 1), 'assigned', 'which it is');

CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine AFTER UPDATE ON assignment FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT accept_request(2, 1) \g /dev/null
SELECT is((SELECT goes FROM clock WHERE request_id = 2), true, 'by statements, too');
DROP TRIGGER mine ON assignment;

-- one that is offered
UPDATE request SET state = 'waiting_customer' WHERE request_id IN (3, 4);
SELECT results_eq('SELECT goes FROM clock WHERE request_id IN (3, 4)', 'VALUES (false), (false)', 'nobody has had them');
SELECT is(route(3), 1::bigint, 'one is offered');
SELECT is((SELECT goes FROM clock WHERE request_id = 3), true, 'and its clock goes on');

-- one that waits
SELECT set_presence(1, 'break') \g /dev/null
SELECT is(route(4), NULL, 'nobody is there for the other one');
SELECT is((SELECT goes FROM clock WHERE request_id = 4), true, 'whose clock goes on all the same');
UPDATE request SET state = 'waiting_customer' WHERE request_id = 4;
SELECT is((SELECT goes FROM clock WHERE request_id = 4), false, 'until the customer is waited for again');
SELECT set_presence(1, 'available') \g /dev/null
SELECT tick_queues() \g /dev/null
SELECT is((SELECT goes FROM clock WHERE request_id = 4), (SELECT state <> 'waiting_customer' FROM request WHERE request_id = 4), 'and as long');
SELECT * FROM finish();
ROLLBACK;
