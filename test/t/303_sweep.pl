# The sweep stands in nobody's way: while it cannot have a queue or a request, it does the rest, and keeps nobody waiting.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use Test::More;
use Time::HiRes qw(time);

my $node = omni_node('sweep');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner) SELECT 'z' || n, '0' FROM generate_series(1, 6) AS n;
INSERT INTO omnichannel.agent (agent_id, name, capacity) VALUES (1, 'Anna', 10000);
INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (1, 'chat');
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'z' || n, 1 FROM generate_series(1, 6) AS n;
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue)
SELECT n, 1, 'question', 'new', 'chat', 'z' || 1 + n % 6 FROM generate_series(1, 12) AS n;
SELECT omnichannel.set_presence(1, 'available');
-- More than one call looks at, in a queue that will be held; and one in another.
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) SELECT n, 1, 'question', 'waiting_agent', 'chat', 'z3' FROM generate_series(101, 400) AS n;
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) VALUES (1000, 1, 'question', 'waiting_agent', 'chat', 'z4');
-- One that the agent could take of each queue, as after a missed arrival.
INSERT INTO omnichannel.lane (queue, channel) VALUES ('z3', 'chat'), ('z5', 'chat');
INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, entered_at)
SELECT request_id, customer_id, lane_id, 0, now() FROM omnichannel.request JOIN omnichannel.lane USING (queue, channel) WHERE request_id IN (2, 4);
UPDATE omnichannel.request SET state = 'waiting_agent' WHERE request_id IN (2, 4);
UPDATE omnichannel.request SET requires = 'never:9' WHERE request_id = 8;
SQL

my $sitter = $node->background_psql('postgres');
$sitter->query_safe('BEGIN; SELECT omnichannel.route(8)');

my $ticker = $node->background_psql('postgres');
my $began = time;
cmp_ok($ticker->query_safe("BEGIN; SET LOCAL statement_timeout = '30s'; SELECT omnichannel.tick_queues()"), '>=', 2, 'while somebody sits on a queue, the sweep works');
cmp_ok(time - $began, '<', 15, 'and does not wait for him');
is($ticker->query_safe("SELECT string_agg(request_id::text, ' ' ORDER BY request_id) FROM omnichannel.assignment WHERE request_id IN (2, 4, 1000)"), '2 4 1000',
	'what arrived and what waited is offered, behind any number in the one that is held; what comes first for the agent, also there');
$ticker->query_safe('COMMIT');
foreach my $request (1, 3, 5, 6)
{
	is($node->safe_psql('postgres', "SET statement_timeout = '30s'; SELECT omnichannel.route($request)"), '1', "request $request arrives meanwhile");
}
$sitter->query_safe('COMMIT');
cmp_ok($node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()'), '>', 0, 'afterwards it is the turn of that queue');
is($node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.waiting WHERE request_id = 2"), '0', 'too');

# A request whose row somebody changes and sits on.
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues() FROM generate_series(1, 5)');
$node->safe_psql('postgres', "INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) VALUES (1001, 1, 'question', 'waiting_agent', 'chat', 'z1'), (1002, 1, 'question', 'waiting_agent', 'chat', 'z1')");
$sitter->query_safe("BEGIN; UPDATE omnichannel.request SET data = '{\"a\": 1}' WHERE request_id = 1001");
is($node->safe_psql('postgres', "SET statement_timeout = '30s'; SELECT omnichannel.tick_queues() > 0, count(*) FROM omnichannel.request"), "t|" . $node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.request'),
	'nor does it wait for a request');
is($node->safe_psql('postgres', 'SELECT request_id, state FROM omnichannel.request WHERE request_id IN (1001, 1002) ORDER BY 1'), "1001|waiting_agent\n1002|offered", 'which it leaves to the next');
$sitter->query_safe('COMMIT');
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()');
is($node->safe_psql('postgres', 'SELECT state FROM omnichannel.request WHERE request_id = 1001'), 'offered', 'as it does');

# An agent whom somebody changes, with an offer that has expired and beside another one who arrives.
$node->safe_psql('postgres', "UPDATE omnichannel.assignment SET expires_at = now() WHERE request_id = 1001; INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) VALUES (1003, 1, 'question', 'waiting_agent', 'chat', 'z2')");
$sitter->query_safe('BEGIN; UPDATE omnichannel.agent_state SET used = used WHERE agent_id = 1');
is($node->safe_psql('postgres', "SET statement_timeout = '30s'; SELECT omnichannel.tick_queues(); SELECT request_id, state FROM omnichannel.request WHERE request_id IN (1001, 1003) ORDER BY 1"),
	"1\n1001|offered\n1003|waiting_agent", 'nor does it wait for an agent');
$sitter->query_safe('COMMIT');
is($node->safe_psql('postgres', "SET statement_timeout = '30s'; SELECT omnichannel.tick_queues(); SELECT request_id, state FROM omnichannel.request WHERE request_id IN (1001, 1003) ORDER BY 1"),
	"2\n1001|waiting_agent\n1003|offered", 'whom it serves later');

# While tick() waits for somebody in another room, it holds no queue.
$node->safe_psql('postgres', "INSERT INTO omnichannel.lane (queue, channel, requires) VALUES ('z6', 'chat', 'never:9');
	INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, requires) VALUES (1004, 1, 'question', 'new', 'chat', 'z6', 'never:9'), (1005, 1, 'question', 'new', 'chat', 'z6', '')");
is($node->safe_psql('postgres', 'SELECT omnichannel.route(1004)'), '', 'something waits, so that the sweep looks at who is free');
$sitter->query_safe('BEGIN; LOCK TABLE omnichannel.erasure');
query_begin($ticker, "SELECT omnichannel.tick();\n\\echo ticked\n");
ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'omnichannel.erasure'::regclass AND NOT granted)"), 'tick() waits');
is($node->safe_psql('postgres', "SET statement_timeout = '30s'; SELECT omnichannel.route(1005)"), '1', 'and keeps no arrival waiting');
$sitter->query_safe('COMMIT');
$ticker->query_until(qr/ticked/, '');

# Many requests for a lane whose first one somebody has just brought, and sits on.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue, priority) VALUES (2001, 1, 'question', 'email', 'z6', 0), (2002, 1, 'question', 'email', 'z6', 5);
SELECT omnichannel.route(2001);
SELECT omnichannel.tick_queues();
SQL
$sitter->query_safe('BEGIN; SELECT omnichannel.route(2002)');
$node->safe_psql('postgres', "INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, priority) SELECT n, 1, 'question', 'waiting_agent', 'email', 'z6', 10 FROM generate_series(2101, 2200) AS n");
$began = time;
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()');
cmp_ok(time - $began, '<', 5, 'the sweep does not wait for him with each');
$sitter->query_safe('COMMIT');
is($node->safe_psql('postgres', "SELECT omnichannel.tick_queues() >= 100, (SELECT count(*) FROM omnichannel.waiting WHERE request_id > 2000)"), 't|2', 'but leaves them to the next');
is($node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.waiting WHERE request_id > 2000"), '102', 'who lets them wait');
$_->quit foreach $sitter, $ticker;

# Who routes and frees in one transaction, many at once: a session learns what it needs by its first deadlock.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, wrap_up) VALUES ('both', '0', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 1000 FROM generate_series(101, 130) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(101, 130) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'both', n FROM generate_series(101, 130) AS n;
INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(1001, 1999);
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(101, 130) AS n;
ALTER SYSTEM SET deadlock_timeout = '50ms';
SELECT pg_reload_conf();
SQL
my $script = $node->basedir . '/both.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
\set customer random(1001, 1999)
BEGIN;
SELECT omnichannel.open_request(:customer, 'question', 'chat', 'both') AS request \gset
SELECT omnichannel.route(:request);
SELECT omnichannel.complete_request(:request, 'resolved');
COMMIT;
SQL
my ($said) = PostgreSQL::Test::Utils::run_command([ 'pgbench', '-n', '-c', '8', '-t', '30', '--max-tries=1000', '-f', $script, '-d', $node->connstr('postgres') ]);
like($said, qr/processed: 240\/240/, 'all come through');
$said =~ /retries: (\d+)/;
cmp_ok($1 // 0, '<=', 24, 'with few retries');
# Many that need what one transaction has: the head of their lane. Whom the sweep keeps from a queue waits for it as long.
my $lone = omni_node('head');

omni_setup($lone);
$lone->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('head', '0');
INSERT INTO omnichannel.agent (agent_id, name) VALUES (2, 'Bo');
INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (2, 'email');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('head', 2);
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, priority) SELECT n, 1, 'question', 'new', 'email', 'head', 5 * (n - 2001) FROM generate_series(2001, 2002) AS n;
SELECT omnichannel.route(2001);
SELECT omnichannel.tick_queues();
SQL
is($lone->safe_psql('postgres', "SELECT count(*) FROM omnichannel.lane_head JOIN omnichannel.lane USING (lane_id) WHERE queue = 'head'"), '1', 'a lane has a head');
my $router = $lone->background_psql('postgres');
$router->query_safe('BEGIN; SELECT omnichannel.route(2002)');
$lone->safe_psql('postgres', "INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, priority) SELECT n, 1, 'question', 'waiting_agent', 'email', 'head', 10 FROM generate_series(2101, 2300) AS n");
$began = time;
is($lone->safe_psql('postgres', 'SELECT omnichannel.tick_queues()'), '0', 'while somebody sits on it, nothing of a higher priority comes in');
cmp_ok(time - $began, '<', 5, 'which the sweep does not wait for again and again');
$router->query_safe('COMMIT');
is($lone->safe_psql('postgres', 'SELECT omnichannel.tick_queues()'), '200', 'afterwards all of it does');
done_testing();
