# What a request says of its states is what its clocks say, to the microsecond, in transactions that last and in which
# contacts are logged; and recompute_sla() has nothing to add.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('request_times');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
DELETE FROM omnichannel.sla_policy;
INSERT INTO omnichannel.sla_policy (policy, metric, target) VALUES ('done', 'resolution', '5 hours');
DELETE FROM omnichannel.sla_stale;
INSERT INTO omnichannel.agent (agent_id, name, capacity) VALUES (1, 'Ewa', 10);
INSERT INTO omnichannel.queue (queue) VALUES ('office');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('office', 1);
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency) VALUES (1, 'email', 5);
SELECT omnichannel.identify('account', 'anna'), omnichannel.set_presence(1, 'available');
SQL

# opened [STATE]: a new request, perhaps in another state.
sub opened
{
	my ($state) = @_;
	my $request = $node->safe_psql('postgres', "SELECT omnichannel.open_request(1, 'complaint', 'email', queue => 'office')");

	$node->safe_psql('postgres', "UPDATE omnichannel.request SET state = '$state' WHERE request_id = $request") if $state;
	return $request;
}

# in_one TEXT...: runs statements in one transaction that has lasted a while.
sub in_one
{
	return $node->safe_psql('postgres', join(";\n", 'BEGIN', 'SELECT pg_sleep(0.2)', @_, 'COMMIT'));
}

# recomputed: how many clocks recompute_sla() moves, now and after a tick.
sub recomputed
{
	return $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM omnichannel.recompute_sla()), omnichannel.tick_sla(),
		(SELECT count(*) FROM omnichannel.recompute_sla())");
}

# clock REQUEST EXPRESSION: what holds of the request r and its clock c, whose last pause is p.
sub clock
{
	my ($request, $expression) = @_;

	return $node->safe_psql('postgres', "SELECT $expression FROM omnichannel.request AS r JOIN omnichannel.sla_clock AS c USING (request_id)
		CROSS JOIN LATERAL (SELECT unnest(c.pauses) AS p UNION ALL SELECT NULL ORDER BY p DESC NULLS LAST LIMIT 1) AS p WHERE r.request_id = $request");
}

# A wait ends when the customer answers, whatever the transaction says of the request afterwards.
my @after = (
	['nothing more', undef],
	['another state', "UPDATE omnichannel.request SET state = 'assigned', agent_id = 1 WHERE request_id = %s"],
	['an agent', 'SELECT omnichannel.route(%s)'],
	['another state from the start of the transaction', "UPDATE omnichannel.request SET state = 'new', state_since = now() WHERE request_id = %s AND state = 'waiting_customer'"],
);
for my $case (@after)
{
	my ($what, $statement) = @$case;
	my $request = opened('waiting_customer');

	in_one("SELECT omnichannel.log_contact('email', customer_id => 1, request_id => $request)", $statement ? sprintf($statement, $request) : ());
	is(clock($request, "upper(p) = (SELECT max(occurred_at) FROM omnichannel.contact WHERE request_id = $request)"), 't', "an answer and $what: the wait ends with the answer");
	is(recomputed(), '0|0|0', 'and stays so');
	$node->safe_psql('postgres', "SELECT omnichannel.release_request($request, 'done')");
}

# Waits begin, and requests end, when the row says so.
my $request = opened();
in_one("UPDATE omnichannel.request SET state = 'waiting_customer' WHERE request_id = $request");
is(clock($request, 'lower(p) = state_since'), 't', 'a wait begins when the request has come into its state');
in_one("SELECT omnichannel.log_contact('email', customer_id => 1, request_id => $request, occurred_at => clock_timestamp() - interval '10 milliseconds')");
is(clock($request, 'upper(p) = state_since AND state = $$waiting_agent$$'), 't', 'which goes on when the answer was made');
in_one("UPDATE omnichannel.request SET state = 'waiting_customer', state_since = now() WHERE request_id = $request");
is(clock($request, 'lower(p) = state_since AND upper_inf(p)'), 't', 'begins with the transaction where the statement says so');
in_one("UPDATE omnichannel.request SET state = 'new' WHERE request_id = $request");
is(clock($request, 'upper(p) = state_since'), 't', 'ends when it has come into the next state');
in_one("UPDATE omnichannel.request SET state = 'done' WHERE request_id = $request");
is(clock($request, 'stopped_at = closed_at AND stopped_at = state_since'), 't', 'a request is closed when its clock stops');
in_one("UPDATE omnichannel.request SET state = 'waiting_agent' WHERE request_id = $request");
is(clock($request, 'upper(p) = state_since AND stopped_at IS NULL AND closed_at IS NULL'), 't', 'opened again when that goes on');
in_one("UPDATE omnichannel.request SET state = 'done', state_since = now() WHERE request_id = $request");
is(clock($request, 'stopped_at = closed_at AND stopped_at = state_since'), 't', 'closed with the transaction where the statement says so');
is(recomputed(), '0|0|0', 'and all stays so');

$request = opened();
in_one("SELECT omnichannel.release_request($request, 'waiting_customer')");
is(clock($request, 'lower(p) = state_since'), 't', 'released to wait, it waits from the same moment');
in_one("SELECT omnichannel.route($request)", "SELECT omnichannel.accept_request($request, 1)");
is(clock($request, 'upper(p) <= state_since'), 't', 'and not for whom it is offered');
in_one("SELECT omnichannel.complete_request($request, 'resolved')");
is(clock($request, 'stopped_at = closed_at AND stopped_at = state_since'), 't', 'completed, it is closed when its clock stops');
is(recomputed(), '0|0|0', 'and all stays so');

$request = in_one("INSERT INTO omnichannel.request (customer_id, kind, channel) VALUES (1, 'plain', 'email') RETURNING request_id",
	"UPDATE omnichannel.request SET state = 'waiting_customer' WHERE kind = 'plain'");
($request) = $request =~ /(\d+)/;
is(clock($request, 'started_at = opened_at AND lower(p) = state_since AND state_since > opened_at'), 't', 'opened and put off in one transaction, it has two times');
is(recomputed(), '0|0|0', 'and keeps them');

$node->stop;
done_testing();
