# Offers reach agents: notified on a channel for each agent, off by default, or waited for. And every function of the
# matching above READ COMMITTED: refused, with nothing changed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = omni_node('offers');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, wrap_up) VALUES ('help', '0', '0');
INSERT INTO omnichannel.agent (agent_id, name, capacity) VALUES (1, 'Anna', 2), (2, 'Bo', 2);
INSERT INTO omnichannel.agent_channel (agent_id, channel) VALUES (1, 'chat'), (2, 'chat');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('help', 1), ('help', 2);
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue) SELECT n, 1, 'question', 'new', 'chat', 'help' FROM generate_series(1, 9) AS n;
SQL

# What psql says of notifications that its session got until then.
sub heard
{
	my ($session) = @_;
	my $said = $session->query('SELECT 1');

	return join ' ', $said =~ /notification "(\w+)" with payload "(\d+)"/g;
}

# What psql says of an error of a statement in a session that stays open, or an empty text.
sub in_error
{
	my ($session, $statement) = @_;

	$session->{stderr} = '';
	$session->query($statement);
	my $said = $session->{stderr};
	$session->{stderr} = '';
	return $said;
}

my $anna = $node->background_psql('postgres');
my $bo = $node->background_psql('postgres');
$anna->query_safe('LISTEN offer_1');
$bo->query_safe('LISTEN offer_2');

$node->safe_psql('postgres', "SELECT omnichannel.set_presence(1, 'available')");
is($node->safe_psql('postgres', 'SELECT omnichannel.route(1)'), '1', 'an offer');
is(heard($anna), '', 'no notification by default');
$node->safe_psql('postgres', "SELECT omnichannel.release_request(1, 'done'); UPDATE omnichannel.routing_setting SET notify_channel = 'offer'");
is($node->safe_psql('postgres', 'SELECT omnichannel.route(2)'), '1', 'an offer to Anna');
is(heard($anna), 'offer_1 2', 'which she is told of');
is(heard($bo), '', 'and Bo is not');
$node->safe_psql('postgres', 'BEGIN; SELECT omnichannel.release_request(2, \'done\'); SELECT omnichannel.route(3); ROLLBACK');
is(heard($anna), '', 'what is rolled back is not told');
$node->safe_psql('postgres', "SELECT omnichannel.route(3); SELECT omnichannel.set_presence(2, 'available')");
is(heard($bo), 'offer_2 3', 'Bo is told of what waited for him');
$node->safe_psql('postgres', 'SELECT omnichannel.accept_request(3, 2)');
is(heard($bo), '', 'an acceptance is no offer');
$node->safe_psql('postgres', "SELECT omnichannel.set_presence(2, 'busy'), omnichannel.release_request(3, 'done'); SELECT omnichannel.route(4); SELECT omnichannel.claim(2)");
is(heard($bo), '', 'nor is what he claims');
$node->safe_psql('postgres', "UPDATE omnichannel.routing_setting SET notify_channel = NULL; SELECT omnichannel.release_request(4, 'done'), omnichannel.release_request(2, 'done'); SELECT omnichannel.route(5)");
is(heard($anna), '', 'off again');
$node->safe_psql('postgres', "SELECT omnichannel.release_request(5, 'done')");
$_->quit foreach $anna, $bo;

# Waiting for an offer: an arrival ends it, and it is in nobody's way.
my $waiter = $node->background_psql('postgres');
my $began = time;
query_begin($waiter, "SELECT 'offer ' || omnichannel.next_offer(1, '20 seconds');\n\\echo ends\n");
sleep 0.5;
is($node->safe_psql('postgres', 'SELECT omnichannel.route(6)'), '1', 'a request arrives while its agent waits for one');
like($waiter->query_until(qr/ends/, ''), qr/offer 6/, 'he gets it');
cmp_ok(time - $began, '<', 10, 'soon');
# The end of a wrap-up, which nobody announces.
$node->safe_psql('postgres', "UPDATE omnichannel.queue SET wrap_up = '1 second'; SELECT omnichannel.accept_request(6, 1); SELECT omnichannel.route(7), omnichannel.release_request(6, 'done')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.waiting'), '1', 'while he wraps up, the next waits');
query_begin($waiter, "SELECT 'offer ' || omnichannel.next_offer(1, '20 seconds');\n\\echo ends\n");
like($waiter->query_until(qr/ends/, ''), qr/offer 7/, 'and is his when that ends');
$node->safe_psql('postgres', "SELECT omnichannel.set_presence(1, 'busy'), omnichannel.release_request(7, 'done')");
query_begin($waiter, "SELECT coalesce(omnichannel.next_offer(1, '1 second')::text, 'nothing');\n\\echo ends\n");
is($node->safe_psql('postgres', "SET lock_timeout = '500ms'; SELECT omnichannel.route(8)"), '', 'who waits in vain keeps no lock');
$waiter->query_until(qr/ends/, '');
$waiter->quit;

# An error while the queue is waited for: the session is where it was before, in a transaction block and without one.
my $holder = $node->background_psql('postgres');
my $poller = $node->background_psql('postgres', on_error_stop => 0);
$node->safe_psql('postgres', 'CREATE TABLE note (what text)');
$holder->query_safe('BEGIN; SELECT omnichannel.route(9)');
$node->safe_psql('postgres', "UPDATE omnichannel.agent_state SET state = 'available' WHERE agent_id = 1");
foreach my $case ([ 'lock_timeout', 'lock_not_available' ], [ 'statement_timeout', 'query_canceled' ])
{
	my ($setting, $condition) = @$case;
	my $poll = "SELECT omnichannel.next_offer(1, '5 seconds')";

	$poller->query("RESET ALL; SET $setting = '200ms'");
	like(in_error($poller, $poll), qr/due to lock timeout|due to statement timeout/, "$setting ends the waiting");
	is(in_error($poller, "INSERT INTO note VALUES ('after $setting')"), '', 'and the session goes on');
	is($node->safe_psql('postgres', "SELECT count(*) FROM note WHERE what = 'after $setting'"), '1', 'what it writes is committed');
	is( in_error($poller,
			"DO \$\$ BEGIN BEGIN PERFORM 1 FROM ($poll) AS poll; EXCEPTION WHEN $condition THEN INSERT INTO note VALUES ('handled $setting'); END; END \$\$"),
		'', "a handler of $condition ends it too");
	is(in_error($poller, "INSERT INTO note VALUES ('handled $setting')"), '', 'and the session goes on');
	is($node->safe_psql('postgres', "SELECT count(*) FROM note WHERE what = 'handled $setting'"), '2', 'what both write is committed');
	$poller->query('ROLLBACK');
	in_error($poller, '');
}
$holder->query_safe('ROLLBACK');
is($poller->query("RESET ALL; SELECT omnichannel.next_offer(1, '5 seconds')"), '8', 'once the queue is free, the offer comes');
$node->safe_psql('postgres', "SELECT omnichannel.set_presence(1, 'busy')");
$_->quit foreach $holder, $poller;

# Above READ COMMITTED: 55000, and nothing has changed.
$node->safe_psql('postgres', "UPDATE omnichannel.queue SET wrap_up = '0'; SELECT omnichannel.set_presence(1, 'available')");
my $state = q{
	SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (
		SELECT q::text FROM omnichannel.request AS q UNION ALL SELECT a::text FROM omnichannel.assignment AS a
		UNION ALL SELECT s::text FROM omnichannel.agent_state AS s UNION ALL SELECT w::text FROM omnichannel.waiting AS w
		UNION ALL SELECT p::text FROM omnichannel.presence AS p UNION ALL SELECT h::text FROM omnichannel.assignment_history AS h) AS t};
my $before = $node->safe_psql('postgres', $state);
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	foreach my $call ('route(9)', "set_presence(1, 'break')", 'claim(1)', 'next_offer(1)', 'accept_request(8, 1)', 'decline_request(8, 1)',
		"transfer_request(8, 'help')", "release_request(8, 'done')", 'abandon_request(8)', 'request_callback(8)', 'tick_queues()')
	{
		is(error_of($node, 'postgres', "BEGIN ISOLATION LEVEL $level; SELECT omnichannel.$call"), '55000', "$call in $level");
	}
}
is($node->safe_psql('postgres', $state), $before, 'nothing has changed');
is(error_of($node, 'postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT omnichannel.complete_request(8, 'resolved'); COMMIT"),
	'00000', 'who completes a request there matches nothing');
is($node->safe_psql('postgres', 'SELECT omnichannel.tick_queues(); SELECT count(*) FROM omnichannel.assignment WHERE request_id = 8'),
	"1\n0", 'and leaves its agent to the sweep');
done_testing();
