# Service levels while others work: clocks of requests that are passed on, overflow, are abandoned and released; of a
# customer whom another transaction holds; sweeps at the same time; and notifications.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('service_levels');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
DELETE FROM omnichannel.sla_policy;
INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Ewa');
INSERT INTO omnichannel.queue (queue) VALUES ('billing'), ('backstop');
INSERT INTO omnichannel.queue (queue, overflow_queue, overflow_after) VALUES ('calls', 'backstop', '1 minute');
INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT queue, 1 FROM omnichannel.queue;
INSERT INTO omnichannel.sla_policy (policy, rank, metric, queue, target) VALUES
	('billing', 1, 'resolution', 'billing', '2 hours'), ('backstop', 1, 'resolution', 'backstop', '30 minutes'),
	('any', 9, 'resolution', NULL, '8 hours'), ('answer', 9, 'first_response', NULL, '1 hour');
DELETE FROM omnichannel.sla_stale;
SELECT omnichannel.identify('account', 'anna'), omnichannel.identify('account', 'ben');
SQL

# clocks CUSTOMER: what is promised, one line a clock.
sub clocks
{
	my ($customer) = @_;

	return $node->safe_psql('postgres', <<"SQL");
SELECT string_agg(concat_ws(' ', c.metric, c.policy, c.due_at - c.started_at,
	CASE WHEN c.time_left IS NOT NULL THEN 'paused' WHEN c.stopped_at IS NULL THEN 'runs' ELSE c.outcome END), ', ' ORDER BY c.clock_id)
FROM omnichannel.sla_clock AS c WHERE c.customer_id = omnichannel.identify('account', '$customer')
SQL
}

my $request = $node->safe_psql('postgres',
	"SELECT omnichannel.open_request(omnichannel.identify('account', 'anna'), 'complaint', 'phone', queue => 'calls')");
$node->safe_psql('postgres', "SELECT omnichannel.route($request)");
is(clocks('anna'), 'resolution any 08:00:00 runs', 'one clock from the opening');
$node->safe_psql('postgres', "SELECT omnichannel.transfer_request($request, 'billing')");
is(clocks('anna'), 'resolution billing 02:00:00 runs', 'the same one after a transfer, from the same start');
$node->safe_psql('postgres', "SELECT omnichannel.transfer_request($request, 'calls')");
is(clocks('anna'), 'resolution any 08:00:00 runs', 'and back');
$node->safe_psql('postgres',
	"UPDATE omnichannel.waiting SET queued_at = now() - interval '1 hour'; SELECT omnichannel.tick_queues()");
is($node->safe_psql('postgres', "SELECT queue FROM omnichannel.request WHERE request_id = $request"),
	'backstop', 'it has waited too long');
is(clocks('anna'), 'resolution backstop 00:30:00 runs', 'and the other queue promises something else');
$node->safe_psql('postgres', "SELECT omnichannel.abandon_request($request)");
is(clocks('anna'), 'resolution backstop paused', 'abandoned it stands still');
$node->safe_psql('postgres', "SELECT omnichannel.route($request)");
like(clocks('anna'), qr/^resolution backstop 00:30:\S+ runs$/, 'and goes on when the customer is back');
is($node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.sla_clock, unnest(pauses)"), '1', 'with one pause');
$node->safe_psql('postgres', "SELECT omnichannel.release_request($request, 'done')");
like(clocks('anna'), qr/^resolution backstop 00:30:\S+ met$/, 'released as done it is met');

# Routing holds locks, so it waits for nobody: what it cannot do now, the next sweep does.
$request = $node->safe_psql('postgres',
	"SELECT omnichannel.open_request(omnichannel.identify('account', 'ben'), 'complaint', 'email', queue => 'calls')");
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT omnichannel.log_contact('email', kind => 'account', value => 'ben', request_id => $request)");
$node->safe_psql('postgres', "SET lock_timeout = '5s'; SELECT omnichannel.transfer_request($request, 'billing')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.sla_behind'), '1', 'the transfer did not wait');
is($node->safe_psql('postgres', 'SELECT omnichannel.tick_sla()'), '0', 'a sweep waits for half a second only');
$holder->query_safe('COMMIT');
is(clocks('ben'), 'resolution any 08:00:00 runs, first_response answer 01:00:00 runs', 'the clocks are behind');
is($node->safe_psql('postgres', 'SELECT omnichannel.tick_sla()'), '1', 'the next sweep takes it up');
is(clocks('ben'), 'resolution billing 02:00:00 runs, first_response answer 01:00:00 runs', 'and they are not any more');
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.sla_behind'), '0', 'once');

# A plain UPDATE while another holds the customer is made up for too, and one that is rolled back leaves nothing.
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT omnichannel.log_contact('email', kind => 'account', value => 'ben', request_id => $request, direction => 'outbound')");
$node->safe_psql('postgres', "BEGIN; UPDATE omnichannel.request SET queue = 'calls' WHERE request_id = $request; ROLLBACK");
$node->safe_psql('postgres', "UPDATE omnichannel.request SET queue = 'backstop' WHERE request_id = $request");
$holder->query_safe('ROLLBACK');
$node->safe_psql('postgres', 'SELECT omnichannel.tick_sla()');
is(clocks('ben'), 'resolution backstop 00:30:00 runs, first_response answer 01:00:00 runs', 'an UPDATE is not lost');

# Two sweeps at once tell each breach once, and who listens hears it.
$node->safe_psql('postgres', "UPDATE omnichannel.sla_setting SET notify_channel = 'service_levels'");
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN service_levels');
my $other = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT omnichannel.tick_sla(now() + interval '45 minutes')");
is($other->query_safe("SELECT omnichannel.tick_sla(now() + interval '45 minutes')"), '0', 'a second sweep passes by what the first tells');
is($listener->query('SELECT 1'), '1', 'nothing is heard before the commit');
$holder->query_safe('COMMIT');
is($other->query_safe("SELECT omnichannel.tick_sla(now() + interval '45 minutes')"), '0', 'nor tells it again after');
is($node->safe_psql('postgres', "SELECT string_agg(event || ' ' || policy, ', ') FROM omnichannel.sla_event"), 'breach backstop', 'told once');
my $said = $listener->query('SELECT 1') . $listener->{stderr};
like($said, qr/Asynchronous notification "service_levels" with payload "\{"event" : "breach"/, 'heard');
my ($payload) = $said =~ /with payload "(\{.*\})" received/;
is($node->safe_psql('postgres', "SELECT concat_ws(' ', j->>'metric', j->>'policy', j->>'request_id') FROM (SELECT '$payload'::json AS j) AS p"),
	"resolution backstop $request", 'as JSON that names clock and request');

# Who heard of a breach hears that it was none, once, from the next sweep.
$node->safe_psql('postgres', "UPDATE omnichannel.sla_policy SET target = '3 hours' WHERE policy = 'backstop'; SELECT omnichannel.recompute_sla()");
unlike($listener->query('SELECT 1') . $listener->{stderr}, qr/withdrawn/, 'a breach that was none is not notified where that turns out');
$holder->query_safe('BEGIN');
$holder->query_safe('SELECT omnichannel.tick_sla()');
$node->safe_psql('postgres', 'SELECT omnichannel.tick_sla()');
$holder->query_safe('COMMIT');
$node->safe_psql('postgres', 'SELECT omnichannel.tick_sla()');
$said = $listener->query('SELECT 1') . $listener->{stderr};
my @withdrawn = $said =~ /with payload "(\{"event" : "breach withdrawn".*\})" received/g;
is(@withdrawn, 1, 'but by one of the sweeps after it, once');
is($node->safe_psql('postgres', "SELECT e.event || ' ' || e.policy FROM omnichannel.sla_event AS e WHERE e.event_id = ('$withdrawn[0]'::json ->> 'event_id')::bigint
	AND e.withdrawn_at IS NOT NULL AND e.withdrawal_told_at IS NOT NULL"), 'breach backstop', 'and names what is withdrawn');
$node->safe_psql('postgres', "UPDATE omnichannel.sla_setting SET notify_channel = NULL");
$node->safe_psql('postgres', "SELECT omnichannel.tick_sla(now() + interval '2 hours')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.sla_event WHERE withdrawn_at IS NULL'), '1', 'one more is told');
unlike($listener->query('SELECT 1') . $listener->{stderr}, qr/"answer"/, 'without a name nothing is notified');

# Above READ COMMITTED who has been overtaken is told to try again, and not what the extension's statements look like.
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM omnichannel.company');
$node->safe_psql('postgres', "SELECT omnichannel.log_contact('email', kind => 'account', value => 'ben', thread => 'new')");
$holder->query("\\set ON_ERROR_STOP 0\n\\set VERBOSITY verbose\nSELECT omnichannel.log_contact('email', kind => 'account', value => 'ben', thread => 'new')");
like($holder->{stderr}, qr/40001: .*HINT:  Try the transaction again\./s, 'whoever has been overtaken is told to try again');
unlike($holder->{stderr}, qr/sla_customer/, 'and no more');

$_->quit foreach $holder, $listener, $other;
$node->stop;
done_testing();
