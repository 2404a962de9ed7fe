-- Lanes that are asked for while an agent's are looked at: those are kept until he has got something, or nothing.
--
-- As after pg_restore --data-only --disable-triggers the trigger that tells of new lanes fires not always, so that
-- nothing is kept from one call to the next and whoever asks reads anew.
BEGIN;
SELECT plan(4);
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue) SELECT 'q' || n FROM generate_series(1, 30) AS n;
INSERT INTO agent (agent_id, name, skills, capacity)
SELECT n, 'Agent ' || n, 's1:9, s2:9, s3:9, s4:9, s5:9', 6 FROM generate_series(1, 5) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, 'chat', 5 FROM generate_series(1, 5) AS n;
INSERT INTO queue_member (queue, agent_id) SELECT 'q' || q, a FROM generate_series(1, 30) AS q, generate_series(1, 5) AS a;
INSERT INTO customer (customer_id) SELECT generate_series(1, 300);
SELECT count(route(open_request(n, 'question', 'chat', 'q' || 1 + n % 30, requires => format('s%s:%s', 1 + n % 5, 1 + n % 9))))
FROM generate_series(1, 300) AS n;
ALTER TABLE lane DISABLE TRIGGER ALL;
ALTER TABLE lane ENABLE TRIGGER ALL;

SELECT cmp_ok((SELECT count(*) FROM lane), '>', 80::bigint, 'there are many lanes');
SELECT is((SELECT array_agg(set_presence(n, 'available') ORDER BY n) FROM generate_series(1, 5) AS n), '{1,4,7,10,13}'::bigint[],
	'what comes first in any of them is offered to each who comes on');
SELECT is((SELECT array_agg(request_id ORDER BY request_id) FROM assignment), ARRAY(SELECT n::bigint FROM generate_series(1, 15) AS n),
	'as much as each has room for');
SELECT is((SELECT valid FROM cache_status() AS s (cache, valid) WHERE cache = 'lane'), false, 'though nothing of them is kept');
SELECT * FROM finish();
ROLLBACK;
