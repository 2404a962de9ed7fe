# Several calls in one transaction: whoever routes and frees an agent locks up with nobody, and a backlog can be routed
# by one statement.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('one_transaction', conf => <<'CONF');
max_connections = 60
max_locks_per_transaction = 10
deadlock_timeout = 200ms
CONF

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('q', '0'), ('p', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 1000000 FROM generate_series(1, 30) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(1, 30) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT queue, n FROM generate_series(1, 30) AS n, omnichannel.queue;
INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(1, 100);
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(1, 30) AS n;
SQL

my $dir = "$PostgreSQL::Test::Utils::tmp_check";
my %script = (
	'routed and completed' => <<'SQL',
SELECT omnichannel.open_request(:c, 'question', 'chat', 'q') AS r \gset
SELECT omnichannel.route(:r);
SELECT omnichannel.complete_request(:r, 'resolved');
SQL
	'somebody comes on, and routed' => <<'SQL',
SELECT omnichannel.set_presence(:a, 'available');
SELECT omnichannel.open_request(:c, 'question', 'chat', 'q') AS r \gset
SELECT omnichannel.route(:r);
SQL
	'two queues, in any order' => <<'SQL',
\set first random(0, 1)
SELECT omnichannel.open_request(:c, 'question', 'chat', CASE :first WHEN 1 THEN 'p' ELSE 'q' END) AS r \gset
SELECT omnichannel.route(:r);
SELECT omnichannel.complete_request(:r, 'resolved');
SELECT omnichannel.open_request(:c, 'question', 'chat', CASE :first WHEN 0 THEN 'p' ELSE 'q' END) AS s \gset
SELECT omnichannel.route(:s);
SELECT omnichannel.complete_request(:s, 'resolved');
SQL
);

# Each transaction in a session of its own, which has learnt nothing from one before, and all in some sessions; each
# session has agents of its own.
foreach my $what (sort keys %script)
{
	(my $file = "$dir/$what.sql") =~ tr/ ,/__/;
	append_to_file($file, "\\set c random(1, 100)\n\\set a 1 + :client_id * 3\nBEGIN;\n$script{$what}COMMIT;\n");
	foreach my $sessions ([ '-C', '-t', 5 ], [ '-t', 40 ])
	{
		my ($out, $err) = ('', '');
		my $how = $sessions->[0] eq '-C' ? 'new sessions' : 'sessions';

		IPC::Run::run([ 'pgbench', '-n', '-c', '8', '-j', '2', @$sessions, '-f', $file, $node->connstr('postgres') ],
			'<', \undef, '>', \$out, '2>', \$err);
		like($out, qr/actually processed: (\d+)\/\1$/m, "$what, in $how: all of them");
		unlike($err, qr/ERROR|aborted/, "$what, in $how: nobody is told to try again");
	}
}
is($node->safe_psql('postgres', q{SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = 'postgres'}), '|0', 'nobody has locked up');

# What was left to the sweep comes right.
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()') for 1 .. 10;
is($node->safe_psql('postgres', q{SELECT count(*) FROM omnichannel.request AS q WHERE q.state = 'waiting_agent'}), '0', 'every request has somebody');
is($node->safe_psql('postgres', q{SELECT s.agent_id FROM omnichannel.agent_state AS s LEFT JOIN omnichannel.assignment AS a USING (agent_id)
	GROUP BY s.agent_id HAVING s.used <> coalesce(sum(a.cost), 0)}), '', 'and loads are sums');

# A call a transaction: agents who leave at once, each with offers that another could take.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, decline_for) VALUES ('shift', '0', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 20 FROM generate_series(101, 108) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(101, 108) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'shift', n FROM generate_series(101, 108) AS n;
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(101, 108) AS n;
INSERT INTO omnichannel.request (customer_id, kind, channel, queue) SELECT n, 'shift', 'chat', 'shift' FROM generate_series(1, 40) AS n;
SELECT omnichannel.route(request_id) FROM omnichannel.request WHERE kind = 'shift';
SQL
append_to_file("$dir/shift.sql", "\\set a 101 + :client_id\nSELECT omnichannel.set_presence(:a, 'break');\nSELECT omnichannel.set_presence(:a, 'available');\n");
my ($shifts) = run_command([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '60', '--max-tries=1', '-f', "$dir/shift.sql", $node->connstr('postgres') ]);
like($shifts, qr/actually processed: 480\/480$/m, 'agents leave and come at once');
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()') for 1 .. 3;
is($node->safe_psql('postgres', q{SELECT count(*), sum(a.cost) = (SELECT sum(used) FROM omnichannel.agent_state WHERE agent_id BETWEEN 101 AND 108)
	FROM omnichannel.assignment AS a JOIN omnichannel.request USING (request_id) WHERE kind = 'shift'}), '40|t', 'and everything is offered');

# Whoever changes agents is not kept waiting by whoever holds their queue.
my $sitter = $node->background_psql('postgres');
$node->safe_psql('postgres', q{INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue) VALUES (900001, 1, 'shift', 'chat', 'shift')});
$sitter->query_safe('BEGIN; SELECT omnichannel.route(900001)');
is($node->safe_psql('postgres', q{SET statement_timeout = '2s'; WITH changed AS (UPDATE omnichannel.agent SET capacity = 30 WHERE agent_id BETWEEN 101 AND 108 RETURNING 1) SELECT count(*) FROM changed}),
	'8', 'agents of a queue that is held are changed at once');
$sitter->query_safe('COMMIT');
$sitter->quit;

# Who is to be had is found also where all of the best are being changed, and a later call waits for none of them.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, weight_relationship) VALUES ('many', '0', 0);
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 20 FROM generate_series(201, 212) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(201, 212) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'many', n FROM generate_series(201, 212) AS n;
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(201, 212) AS n;
INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue) VALUES (900011, 1, 'many', 'chat', 'many'), (900012, 2, 'many', 'chat', 'many');
SQL
my ($changer, $router) = map { $node->background_psql('postgres') } 1 .. 2;
$changer->query_safe('BEGIN; SELECT FROM omnichannel.agent_state WHERE agent_id BETWEEN 202 AND 211 FOR UPDATE');
is($router->query_safe('BEGIN; SELECT omnichannel.route(900011)'), '201', 'the best one is free');
is($router->query_safe('SELECT omnichannel.route(900012)'), '212', 'of the next ones only the last');
$router->query_safe('ROLLBACK');
$changer->query_safe('ROLLBACK');
$_->quit foreach $changer, $router;

# A backlog.
$node->safe_psql('postgres', q{INSERT INTO omnichannel.request (customer_id, kind, channel, queue)
	SELECT 1 + n % 100, 'backlog', 'chat', CASE n % 2 WHEN 0 THEN 'p' ELSE 'q' END FROM generate_series(1, 5000) AS n});
is($node->safe_psql('postgres', q{SELECT count(omnichannel.route(request_id)) FROM omnichannel.request WHERE kind = 'backlog'}), '5000', 'one statement routes a backlog');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT a.agent_id) FROM omnichannel.assignment AS a JOIN omnichannel.request USING (request_id) WHERE kind = 'backlog'}), '5000|30', 'to everybody');
done_testing();
