# What a call reads does not grow with what waits, with what was taken since the last sweep, or with how many queues there are.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
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
is($node->safe_psql('postgres', "SELECT pg_relation_size('omnichannel.agent_state') / current_setting('block_size')::int"), '1', 'and the agent stays on his page');

# Requests of one rank: a place is found by reading those before it, not all of them.
my ($near, $far) = split /\n/, $node->safe_psql('postgres', <<'SQL');
VACUUM ANALYZE;
SELECT place, public.pages('SELECT * FROM omnichannel.queue_position(4100)') FROM omnichannel.queue_position(4100);
SELECT place, public.pages('SELECT * FROM omnichannel.queue_position(20000)') FROM omnichannel.queue_position(20000);
SQL
my ($near_place, $near_pages) = split /\|/, $near;
my ($far_place, $far_pages) = split /\|/, $far;
is("$near_place $far_place", '90 15990', 'places are counted');
cmp_ok($near_pages, '<', 120, 'one in front by a look at few pages');
cmp_ok($far_pages, '<', 500, 'one behind by the pages of the index');

# A sweep that finds nothing to do.
my $read = $node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT FROM omnichannel.tick_queues();
SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'request' AND schemaname = 'omnichannel';
COMMIT;
SQL
cmp_ok($read =~ s/\n//gr, '<', 2000, 'a sweep looks at some of the requests that agents work on');
$node->safe_psql('postgres', <<'SQL');
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET jit = on;
SELECT omnichannel.tick_queues();
SQL
my $log = slurp_file($node->logfile);
like($log, qr/omnichannel\.assignment AS a/, 'its statements are known');
unlike($log, qr/JIT:/, 'and not compiled');
is($node->safe_psql('postgres', 'DELETE FROM omnichannel.request WHERE request_id <= 3; SELECT omnichannel.tick_queues()'), '3', 'it is told of what was deleted');

# Offers that run out go to others, among fifty agents.
my $pages = $node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.agent (agent_id, name, capacity, skills) SELECT n, 'Agent ' || n, 1000, 's1:5, s2:5, s3:5' FROM generate_series(2, 50) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(2, 50) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'z', n FROM generate_series(2, 50) AS n;
DO $$ BEGIN FOR n IN 1 .. 50 LOOP PERFORM omnichannel.set_presence(n, 'available'); END LOOP; END $$;
VACUUM ANALYZE;
UPDATE omnichannel.assignment SET expires_at = now() WHERE request_id BETWEEN 15001 AND 15020;
SELECT FROM omnichannel.tick_queues();
UPDATE omnichannel.assignment SET expires_at = now() WHERE request_id BETWEEN 16001 AND 16100;
SELECT public.pages('SELECT omnichannel.tick_queues()');
SQL
cmp_ok($pages =~ s/\n//gr, '<', 100 * 400, 'each with a look at few pages');
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.assignment WHERE request_id BETWEEN 16001 AND 16100 AND agent_id > 1'), '100', 'all of them');

# Where the rows of agents are is known after others have changed them a thousand times.
$node->safe_psql('postgres', <<'SQL');
SELECT FROM setval('omnichannel.lane_lane_id_seq', 100) AS l, setval('omnichannel.request_request_id_seq', 20000) AS r;
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('y', '0');
INSERT INTO omnichannel.agent (agent_id, name) SELECT n, 'Agent ' || n FROM generate_series(61, 70) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(61, 70) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'y', n FROM generate_series(61, 70) AS n;
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(61, 70) AS n;
VACUUM FULL omnichannel.agent_state;
SQL
my $session = $node->background_psql('postgres', on_error_stop => 1);
my $open = "SELECT omnichannel.route(omnichannel.open_request(1, 'question', 'chat', queue => 'y')) IS NOT NULL";
my $scans = "SELECT idx_scan + seq_scan AS scans FROM pg_stat_xact_user_tables WHERE relname = 'agent_state' AND schemaname = 'omnichannel'";
is(value($session, "BEGIN;\n$open;\n$scans;\nCOMMIT"), "t\n10", 'a session has looked for all agents of a queue');
$node->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR n IN 1 .. 1000 LOOP UPDATE omnichannel.agent_state SET idle_since = now() WHERE agent_id BETWEEN 61 AND 70; COMMIT; END LOOP; END $$;
SQL
is(value($session, "BEGIN;\n$scans \\gset before_\n$open;\nSELECT scans - :before_scans FROM ($scans) AS s;\nCOMMIT"), "t\n0", 'and finds them again without the index');

# Also where an old snapshot keeps every version that there was meanwhile.
my $pages_of = "SELECT public.pages(format('SELECT omnichannel.route(%s)', omnichannel.open_request(1, 'question', 'chat', queue => 'y')))";
my $holder = $node->background_psql('postgres', on_error_stop => 1);
value($holder, "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM omnichannel.company");
my $few = value($session, $pages_of);
$node->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR n IN 1 .. 1000 LOOP UPDATE omnichannel.agent_state SET idle_since = now() WHERE agent_id BETWEEN 61 AND 70; COMMIT; END LOOP; END $$;
SQL
cmp_ok(value($session, $pages_of), '<', 10 * 20 + $few, 'and near the last of a thousand versions, where a snapshot keeps them');
$holder->quit;
$session->quit;

done_testing();
