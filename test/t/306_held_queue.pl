# Transactions that follow one another hold a queue all the time: the sweep has its turn all the same, and says so where
# it has not.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use Test::More;
use Time::HiRes qw(sleep);

my $node = omni_node('held');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('held', '0'), ('full', '0'), ('calm', '0'), ('idle', '0');
INSERT INTO omnichannel.queue (queue, hold_for_owner, overflow_queue, overflow_after) VALUES ('over', '0', 'full', '1 minute');
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 10000 FROM generate_series(1, 4) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(1, 4) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('held', 1), ('full', 2), ('calm', 3), ('over', 4), ('idle', 3), ('idle', 4);
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
SELECT omnichannel.set_presence(n, 'available') FROM generate_series(1, 3) AS n;
CREATE TABLE note (what text);
INSERT INTO note VALUES ('nothing');
SQL
my @holders = map { $node->background_psql('postgres') } 1 .. 2;
my $ticker = $node->background_psql('postgres');
my $request = 0;

# A statement that opens a request in a queue and routes it.
sub routed
{
	my ($queue) = @_;

	$request++;
	return "INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue) VALUES ($request, 1, 'question', 'chat', '$queue'); SELECT omnichannel.route($request);";
}

# The sweep by the ticker, while two hold a queue by turns, by that statement; returns how many it moved by the first call
# that moved any, and which call that was.
sub sweep_beside
{
	my ($statement) = @_;
	my ($calls, $moved) = (0, 0);
	my ($holder, $next) = @holders;

	$holder->query_safe('BEGIN; ' . $statement->());
	while ($calls < 10 && $moved == 0)
	{
		$calls++;
		query_begin($ticker, "SELECT 'moved ' || omnichannel.tick_queues();\n\\echo swept\n");
		# Longer than it waits for a queue as a rule.
		sleep 0.3;
		query_begin($next, "BEGIN; " . $statement->() . "\n\\echo routed\n");
		sleep 0.1;
		$holder->query_safe('COMMIT');
		$ticker->query_until(qr/swept/, '') =~ /moved (\d+)/;
		$moved = $1;
		$next->query_until(qr/routed/, '');
		($holder, $next) = ($next, $holder);
	}
	$holder->query_safe('COMMIT');
	return ($moved, $calls);
}

# An offer that has expired.
my $overdue = "UPDATE omnichannel.assignment SET expires_at = now() - interval '1 hour' WHERE request_id =";

$node->safe_psql('postgres', routed('held') . "$overdue $request");
my $offer = $request;
my ($moved, $calls) = sweep_beside(sub { routed('held') });
cmp_ok($moved, '>', 0, "an expired offer is taken back between transactions that overlap, by call $calls");
is($node->safe_psql('postgres', "SELECT outcome FROM omnichannel.assignment_history WHERE request_id = $offer"), 'expired', 'that one');

# What overflows needs two queues.
$node->safe_psql('postgres', routed('over') . "UPDATE omnichannel.waiting SET queued_at = now() - interval '1 hour' WHERE request_id = $request");
my $late = $request;
($moved, $calls) = sweep_beside(sub { routed('full') });
cmp_ok($moved, '>', 0, "what waits too long overflows into a queue that is held all the time, by call $calls");
is($node->safe_psql('postgres', "SELECT queue FROM omnichannel.request WHERE request_id = $late"), 'full', 'that one');

# What was noted.
$node->safe_psql('postgres', "INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) VALUES (10001, 1, 'question', 'waiting_agent', 'chat', 'full'); UPDATE omnichannel.arrival SET noted_at = now() - interval '1 hour'");
($moved, $calls) = sweep_beside(sub { "SELECT omnichannel.set_presence(2, 'available');" });
cmp_ok($moved, '>', 0, "a request that nobody routed finds its place, by call $calls");

# What waits for somebody who idles by now.
$node->safe_psql('postgres', "UPDATE omnichannel.agent_state SET busy_until = now() + interval '1 hour' WHERE agent_id = 3;" . routed('idle') . <<"SQL");
UPDATE omnichannel.waiting SET queued_at = now() - interval '1 hour' WHERE request_id = $request;
UPDATE omnichannel.agent_state SET busy_until = now() - interval '1 hour' WHERE agent_id = 3;
SQL
($moved, $calls) = sweep_beside(sub { "SELECT omnichannel.set_presence(4, 'break');" });
cmp_ok($moved, '>', 0, "who idles is given what waits, by call $calls");
is($node->safe_psql('postgres', "SELECT state FROM omnichannel.request WHERE request_id = $request"), 'offered', 'he is');

# Somebody sits on a queue: the sweep says so of what has been due there for long, and does the rest.
sub swept
{
	my ($code, $moved, $said) = $node->psql('postgres', 'SELECT omnichannel.tick_queues()');

	return "$moved $said";
}
$node->safe_psql('postgres', routed('held'));
$offer = $request;
$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues() FROM generate_series(1, 3)');
$holders[0]->query_safe('BEGIN; ' . routed('held'));
$node->safe_psql('postgres', "UPDATE omnichannel.assignment SET expires_at = now() WHERE request_id = $offer");
is(swept(), '0 ', 'of what is due just now nothing is said');
$node->safe_psql('postgres', "$overdue $offer; INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) VALUES (10002, 1, 'question', 'waiting_agent', 'chat', 'calm')");
like(swept(), qr/^1 .*WARNING:  the sweep left queue "held" alone, which other transactions hold\nDETAIL:  Work has been due there since 20\d\d-[^\n]*\n[^"]*$/s, 'somebody sits on a queue: the sweep says so, and does the rest');
is($node->safe_psql('postgres', 'SELECT state FROM omnichannel.request WHERE request_id = 10002'), 'offered', 'in other queues');

# Many that would overflow into it do not stand before one that overflows into another one.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, overflow_queue, overflow_after) VALUES ('many', '0', 'held', '1 minute'), ('few', '0', 'calm', '1 minute');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('many', 4), ('few', 4);
INSERT INTO omnichannel.request (request_id, customer_id, kind, channel, queue) SELECT 20000 + n, 1, 'question', 'chat', CASE n WHEN 0 THEN 'few' ELSE 'many' END FROM generate_series(0, 3000) AS n;
SELECT omnichannel.route(20000), omnichannel.route(20001);
INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, due_at, entered_at, queued_at, priority)
SELECT 20000 + n, 1, w.lane_id, w.rank, w.due_at, now(), now() - interval '1 hour', 0 FROM omnichannel.waiting AS w CROSS JOIN generate_series(2, 3000) AS n WHERE w.request_id = 20001;
UPDATE omnichannel.request SET state = 'waiting_agent' WHERE request_id > 20001;
UPDATE omnichannel.waiting SET queued_at = now() - interval '2 minutes' WHERE request_id = 20000;
SQL
like(swept(), qr/^1 /, 'of many that overflow into that queue and one that does not, one is moved');
is($node->safe_psql('postgres', 'SELECT queue FROM omnichannel.request WHERE request_id = 20000'), 'calm', 'that one');
$node->safe_psql('postgres', 'DELETE FROM omnichannel.waiting WHERE request_id > 20000; DELETE FROM omnichannel.arrival');

# It gives back what it had to wait for, too, before it waits for that one: no queue is spoken of that is not its own.
my $spoken = '';
foreach my $queue ('calm', 'full', 'over', 'idle')
{
	$node->safe_psql('postgres', routed($queue) . "$overdue $request");
	query_begin($holders[1], "BEGIN; " . routed($queue) . "\nSELECT pg_sleep(0.06);\nCOMMIT;\n\\echo routed\n");
	$spoken .= swept();
	$holders[1]->query_until(qr/routed/, '');
}
unlike($spoken, qr/own a lock/, 'beside others who soon go, too');
is(() = $spoken =~ /left queue "held" alone/g, 4, 'which is said each time');

# One that others use, who do not leave it without waiting, has its turn all the same: one that comes first is had
# before, and given back.
my $busy = $node->safe_psql('postgres', "SELECT min('busy' || n) FROM generate_series(1, 99) AS n WHERE hashtext('busy' || n)::bigint & 4294967295 < hashtext('held')::bigint & 4294967295");
$node->safe_psql('postgres', <<"SQL");
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('$busy', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity) SELECT n, 'Agent ' || n, 10000 FROM generate_series(11, 15) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel) SELECT n, 'chat' FROM generate_series(11, 15) AS n;
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT '$busy', n FROM generate_series(11, 15) AS n;
SELECT omnichannel.set_presence(15, 'available');
SQL
$node->safe_psql('postgres', routed($busy));
my $use = $node->basedir . '/use.sql';
PostgreSQL::Test::Utils::append_to_file($use, "BEGIN;\nSELECT omnichannel.set_presence(:client_id + 11, 'available');\n\\sleep 20 ms\nCOMMIT;\n");
my $users = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '60', '-f', $use, $node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
$node->poll_query_until('postgres', "SELECT count(DISTINCT pid) > 2 FROM pg_locks WHERE locktype = 'advisory' AND objid = hashtext('$busy')::bigint & 4294967295");
$node->safe_psql('postgres', "$overdue $request");
my $back = 0;
for ($calls = 0; $calls < 10 && !$back; $calls++)
{
	sleep 0.2;
	swept();
	$back = $node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.assignment_history WHERE request_id = $request");
}
$users->kill_kill;
$users->finish;
is($back, 1, "a queue that is used has its turn beside one that somebody sits on, by call $calls");

# Nothing is due elsewhere from now on: each sweep waits.
$node->safe_psql('postgres', "DELETE FROM omnichannel.waiting; UPDATE omnichannel.assignment SET expires_at = 'infinity' WHERE request_id <> $offer");

# Whoever cancels a sweep that waits ends it, and his settings are as they were.
my $cancelled = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $cancelled->query_safe('SELECT pg_backend_pid()');
$cancelled->query_safe("SET lock_timeout = '77s'; SET deadlock_timeout = '66s'; SET client_min_messages = 'error'");
query_begin($cancelled, "SELECT omnichannel.tick_queues();\n\\echo swept\n");
# The first time it waits for all of them.
sleep 0.4;
is($node->safe_psql('postgres', "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid"), 'Lock', 'a sweep waits');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$cancelled->query_until(qr/swept/, '');
like($cancelled->{stderr}, qr/canceling statement due to user request/, 'until it is cancelled');
$cancelled->{stderr} = '';
is($cancelled->query_safe("SELECT current_setting('lock_timeout') || current_setting('deadlock_timeout')"), '77s66s', 'which leaves the settings');
is($cancelled->query_safe("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'"), '0', 'and no locks');
$cancelled->quit;

# What it has waited for is its own until its transaction ends, and the next sweep does not wait for it in vain.
$ticker->query_safe("BEGIN; SET LOCAL client_min_messages = 'error'");
query_begin($ticker, "SELECT 'moved ' || omnichannel.tick_queues();\n\\echo swept\n");
sleep 0.3;
$holders[0]->query_safe('COMMIT');
like($ticker->query_until(qr/swept/, ''), qr/moved 1/, 'when he has gone, it is the turn of that one');
is($ticker->query_safe("SELECT string_agg(DISTINCT mode, '') FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objid = hashtext('held')::bigint & 4294967295 AND granted"), 'ShareRowExclusiveLock', 'which it holds');
query_begin($holders[1], "BEGIN; " . routed('held') . "\n\\echo routed\n");
sleep 0.3;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), '1', 'until it ends');
$ticker->query_safe('COMMIT');
$holders[1]->query_until(qr/routed/, '');
$holders[1]->query_safe('COMMIT');

# Two sweeps at once: one has it after the other.
$node->safe_psql('postgres', "DELETE FROM omnichannel.waiting");
$node->safe_psql('postgres', routed('held') . "$overdue $request");
$holders[0]->query_safe('BEGIN; ' . routed('held'));
foreach my $sweep ($ticker, $holders[1])
{
	query_begin($sweep, "SELECT 'moved ' || omnichannel.tick_queues();\n\\echo swept\n");
}
sleep 0.4;
$holders[0]->query_safe('COMMIT');
is(join(' ', sort map { $_->query_until(qr/swept/, '') =~ /moved (\d+)/ } $ticker, $holders[1]), '0 1', 'two sweeps wait for it, and one of them does what is due');

# Whoever has the queue wants what the transaction of the sweep has written: he gets it.
$node->safe_psql('postgres', routed('held') . "$overdue $request");
$holders[0]->query_safe('BEGIN; ' . routed('held'));
$ticker->query_safe("BEGIN; SET LOCAL client_min_messages = 'error'; UPDATE note SET what = 'swept'");
query_begin($holders[0], "UPDATE note SET what = 'routed';\n\\echo noted\n");
sleep 0.5;
is($ticker->query_safe('SELECT omnichannel.tick_queues()'), '0', 'who waits for the sweep, with its queue in his hands');
$ticker->query_safe('COMMIT');
$holders[0]->query_until(qr/noted/, '');
is($holders[0]->{stderr}, '', 'is told of no deadlock');
$holders[0]->query_safe('COMMIT');
is($node->safe_psql('postgres', 'SELECT what FROM note'), 'routed', 'and goes on');

# Also if he is about to look for deadlocks just when the sweep comes.
$node->safe_psql('postgres', routed('held') . "$overdue $request");
$holders[0]->query_safe("SET deadlock_timeout = '600ms'; BEGIN; " . routed('held'));
$ticker->query_safe("BEGIN; SET LOCAL client_min_messages = 'error'; UPDATE note SET what = 'swept'");
query_begin($holders[0], "UPDATE note SET what = 'routed again';\n\\echo noted\n");
sleep 0.53;
is($ticker->query_safe('SELECT omnichannel.tick_queues()'), '0', 'who is about to look for deadlocks');
$ticker->query_safe('COMMIT');
$holders[0]->query_until(qr/noted/, '');
is($holders[0]->{stderr}, '', 'finds none');
$holders[0]->query_safe('COMMIT');
$_->quit foreach @holders, $ticker;
done_testing();
