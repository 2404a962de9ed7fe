# What a call reads does not grow with what waits, with what was taken since the last sweep, or with how many queues there are.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use Test::More;

my $node = omni_node('long_queues', conf => 'autovacuum = off');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) ' || statement INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('z', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity, skills) VALUES (1, 'Anna', 1000000, 's1:5, s2:5, s3:5');
INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (1, 'chat');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('z', 1);
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
SELECT omnichannel.set_presence(1, 'busy');
-- 20,000 of four kinds, which come in turns.
SET session_replication_role = replica;
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, requires)
SELECT n, 1, 'question', 'waiting_agent', 'chat', 'z', CASE n % 4 WHEN 0 THEN '' ELSE 's' || n % 4 END::omnichannel.skill_set FROM generate_series(1, 20000) AS n;
RESET session_replication_role;
INSERT INTO omnichannel.lane (lane_id, queue, channel, requires) SELECT 1 + n, 'z', 'chat', CASE n WHEN 0 THEN '' ELSE 's' || n END::omnichannel.skill_set FROM generate_series(0, 3) AS n;
INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, entered_at, queued_at)
SELECT n, 1, 1 + n % 4, 0, at, at FROM generate_series(1, 20000) AS n, LATERAL (SELECT '2026-01-01'::timestamptz + n * interval '1 ms' AS at) AS t;
VACUUM ANALYZE;
SELECT omnichannel.tick_queues();
SQL

my ($before, $after) = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT min(pages) FROM (SELECT public.pages('SELECT omnichannel.claim(1)') FROM generate_series(1, 5)) AS t (pages);
DO $$ BEGIN FOR n IN 1 .. 4000 LOOP PERFORM omnichannel.claim(1); COMMIT; END LOOP; END $$;
SELECT max(pages) FROM (SELECT public.pages('SELECT omnichannel.claim(1)') FROM generate_series(1, 5)) AS t (pages);
SQL
cmp_ok($after, '<=', 1.5 * $before, 'a claim reads as many pages after thousands of others since the sweep');
is($node->safe_psql('postgres', 'SELECT count(*), min(request_id), max(request_id) FROM omnichannel.assignment'), '4010|1|4010', 'in the order in which they came');

done_testing();
