-- What is published can be written, as where a server is upgraded by logical replication; what cannot be replicated is not.
BEGIN;
SELECT plan(8);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;
SELECT is((SELECT array_agg(c.oid::regclass::text ORDER BY 1) FROM pg_class AS c WHERE c.relnamespace = 'omnichannel'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'cache\_%'
	AND c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)), NULL, 'every table that is written has a key');

INSERT INTO queue (queue, hold_for_owner, wrap_up) VALUES ('a', '0', '0');
INSERT INTO agent (agent_id, name) VALUES (1, 'Anna'), (2, 'Bo');
INSERT INTO agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO queue_member (queue, agent_id) VALUES ('a', 1), ('a', 2);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO request (request_id, customer_id, kind, channel, queue) SELECT n, 1, 'question', 'chat', 'a' FROM generate_series(1, 4) AS n;
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT lives_ok($$SELECT omnichannel.route(n) FROM generate_series(1, 3) AS n$$, 'requests are routed where everything is published');
SELECT lives_ok($$SELECT omnichannel.set_presence(1, state) FROM unnest('{available,break,available,busy,available}'::text[]) AS state$$, 'agents come and go');
SELECT lives_ok($$SELECT omnichannel.decline_request(1, 1), omnichannel.accept_request(2, 1), omnichannel.transfer_request(2, agent_id => 2) FROM omnichannel.set_presence(2, 'available')$$, 'decline, accept and pass on');
SELECT lives_ok($$SELECT omnichannel.release_request(2, 'done'), omnichannel.complete_request(3, 'resolved'), omnichannel.tick()$$, 'and end');
DROP PUBLICATION everything;

SELECT set_presence(1, 'offline'), set_presence(2, 'offline'), route(4) \g /dev/null
SELECT isnt_empty('SELECT FROM omnichannel.waiting WHERE request_id = 4', 'a request waits');
ALTER TABLE waiting REPLICA IDENTITY NOTHING;
CREATE PUBLICATION leaving FOR TABLE waiting WITH (publish = 'delete');
SELECT throws_ok($$SELECT omnichannel.set_presence(1, 'available')$$, '55000', NULL, 'what cannot tell subscribers is refused');
ALTER TABLE waiting REPLICA IDENTITY FULL;
SELECT is(set_presence(1, 'available'), 4::bigint, 'and done where it can');
SELECT * FROM finish();
ROLLBACK;
