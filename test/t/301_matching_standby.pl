# On a hot standby match_agents() and explain_match() answer, also for what changed on the primary since; what would
# write says that it cannot.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use Test::More;

my $primary = omni_node('primary', allows_streaming => 1);

omni_setup($primary);
$primary->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner) VALUES ('help', '0');
INSERT INTO omnichannel.agent (agent_id, name, skills) VALUES (1, 'Anna', 'a:5'), (2, 'Bo', 'a:5');
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency) VALUES (1, 'chat', 9), (2, 'chat', 5);
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('help', 1), ('help', 2);
INSERT INTO omnichannel.customer (customer_id) VALUES (1);
INSERT INTO omnichannel.request (request_id, customer_id, kind, state, channel, queue, requires) VALUES (1, 1, 'question', 'waiting_agent', 'chat', 'help', 'a');
SELECT omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available');
SQL
my $standby = omni_standby($primary, 'standby');

my $session = $standby->background_psql('postgres');
my $agents = 'SELECT array_agg(agent_id) FROM omnichannel.match_agents(1)';

is(value($session, $agents), '{1,2}', 'a standby matches');
is(value($session, $agents), '{1,2}', 'twice');
$primary->safe_psql('postgres', "SELECT omnichannel.set_presence(1, 'break')");
$primary->wait_for_catchup($standby);
is(value($session, $agents), '{2}', 'and sees who has left');
$primary->safe_psql('postgres', "UPDATE omnichannel.agent SET skills = '' WHERE agent_id = 2; SELECT omnichannel.set_presence(1, 'available')");
$primary->wait_for_catchup($standby);
is(value($session, $agents), '{1}', 'and who came, and what was unlearned');
is(value($session, 'SELECT string_agg(verdict, \',\' ORDER BY agent_id) FROM omnichannel.explain_match(1)'), 'best,skill', 'it explains');
$session->quit;

foreach my $call ('route(1)', "set_presence(1, 'break')", 'claim(1)', 'accept_request(1, 1)', 'decline_request(1, 1)',
	"transfer_request(1, 'help')", 'release_request(1)', 'abandon_request(1)', 'request_callback(1)', 'next_offer(1)', 'tick_queues()')
{
	is(error_of($standby, 'postgres', "SELECT omnichannel.$call"), '25006', "$call says that a standby cannot");
}
done_testing();
