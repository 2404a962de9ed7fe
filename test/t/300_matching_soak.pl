# The invariants of matching hold under 64 clients who come, go, change the channel, take, refuse and give up, while backends are killed and
# the server crashes. SOAK_SECONDS sets the length of each of the three rounds.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{SOAK_SECONDS} || 6;
my $node = omni_node('matching_soak', conf => <<'CONF');
max_connections = 100
deadlock_timeout = 200ms
log_min_messages = fatal
CONF

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.queue (queue, hold_for_owner, prefer_for, offer_for, decline_for, wrap_up, age_after) VALUES
	('first', '1 second', '0', '300 milliseconds', '1 second', '0', '1 minute'),
	('second', '0', '1 second', '2 seconds', '1 second', '1 second', NULL),
	('third', '0', '0', '20 milliseconds', '0', '0', '1 second');
UPDATE omnichannel.queue SET overflow_queue = 'third', overflow_after = '3 seconds' WHERE queue = 'second';
INSERT INTO omnichannel.agent (agent_id, name, skills, capacity)
SELECT n, 'Agent ' || n, CASE n % 3 WHEN 0 THEN 'billing:5' WHEN 1 THEN 'billing:8, lang.pl:5' ELSE '' END::omnichannel.skill_set, 3 + n % 4
FROM generate_series(1, 40) AS n;
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency)
SELECT n, channel, 1 + n % 10 FROM generate_series(1, 40) AS n, unnest('{chat,email,phone}'::text[]) AS channel WHERE channel <> 'phone' OR n % 2 = 0;
INSERT INTO omnichannel.queue_member (queue, agent_id)
SELECT queue, n FROM generate_series(1, 40) AS n, omnichannel.queue WHERE (queue, n % 4) <> ('first', 0) AND (queue, n % 4) <> ('third', 1);
INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(1, 200);

CREATE TABLE trouble (at timestamptz DEFAULT clock_timestamp(), step text, code text, message text);
-- One thing that somebody does. Refusals are part of life; anything else is trouble.
CREATE FUNCTION step() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	die double precision := random();
	step text;
	request bigint;
	agent bigint;
BEGIN
	IF die < 0.30 THEN
		step := 'arrive';
		IF (SELECT count(*) FROM omnichannel.waiting) < 100 THEN
			request := omnichannel.open_request(1 + (random() * 199)::int, 'question', (ARRAY['chat', 'email', 'phone'])[1 + (random() * 2)::int],
				(ARRAY['first', 'second', 'third'])[1 + (random() * 2)::int], (random() * 3)::int,
				requires => (ARRAY['', 'billing:4', 'lang.pl'])[1 + (random() * 2)::int], prefers => (ARRAY['', 'billing:8'])[1 + (random())::int]);
			-- Who forgets to pass it on is found by the sweep.
			IF random() < 0.9 THEN
				PERFORM omnichannel.route(request);
			END IF;
		END IF;
		RETURN;
	END IF;
	IF die < 0.40 THEN
		step := 'presence';
		PERFORM omnichannel.set_presence(1 + (random() * 39)::int, (ARRAY['available', 'available', 'available', 'busy', 'offline'])[1 + (random() * 4)::int]);
		RETURN;
	ELSIF die < 0.47 THEN
		step := 'claim';
		PERFORM omnichannel.claim(1 + (random() * 39)::int);
		RETURN;
	ELSIF die < 0.49 THEN
		step := 'tick';
		IF random() < 0.1 THEN
			UPDATE omnichannel.lane_head SET used_at = '-infinity' WHERE lane_id IN (SELECT lane_id FROM omnichannel.lane_head FOR UPDATE SKIP LOCKED);
		ELSE
			PERFORM omnichannel.tick_queues();
		END IF;
		RETURN;
	ELSIF die < 0.54 THEN
		SELECT w.request_id INTO request FROM omnichannel.waiting AS w ORDER BY random() LIMIT 1;
		step := 'abandon';
		IF request IS NULL THEN
			RETURN;
		ELSIF random() < 0.5 THEN
			PERFORM omnichannel.abandon_request(request);
		ELSE
			PERFORM omnichannel.request_callback(request);
		END IF;
		RETURN;
	ELSIF die < 0.55 THEN
		step := 'another channel';
		SELECT q.request_id INTO request FROM omnichannel.request AS q WHERE q.closed_at IS NULL ORDER BY random() LIMIT 1;
		IF request IS NOT NULL THEN
			PERFORM omnichannel.continue_request(request, (ARRAY['chat', 'email', 'phone'])[1 + (random() * 2)::int]);
		END IF;
		RETURN;
	ELSIF die < 0.58 THEN
		step := 'come back';
		SELECT q.request_id INTO request FROM omnichannel.request AS q WHERE q.state = 'waiting_customer' AND q.closed_at IS NULL ORDER BY random() LIMIT 1;
		IF request IS NOT NULL THEN
			PERFORM omnichannel.route(request);
		END IF;
		RETURN;
	END IF;
	SELECT a.request_id, a.agent_id INTO request, agent FROM omnichannel.assignment AS a ORDER BY random() LIMIT 1;
	IF request IS NULL THEN
		RETURN;
	ELSIF die < 0.74 THEN
		step := 'accept';
		PERFORM omnichannel.accept_request(request, agent);
	ELSIF die < 0.80 THEN
		step := 'decline';
		PERFORM omnichannel.decline_request(request, agent);
	ELSIF die < 0.85 THEN
		step := 'transfer';
		IF random() < 0.5 THEN
			PERFORM omnichannel.transfer_request(request, (ARRAY['first', 'second', 'third'])[1 + (random() * 2)::int]);
		ELSE
			PERFORM omnichannel.transfer_request(request, agent_id => 1 + (random() * 39)::int);
		END IF;
	ELSIF die < 0.90 THEN
		step := 'complete';
		PERFORM omnichannel.complete_request(request, 'resolved');
	ELSIF die < 0.92 THEN
		step := 'next offer';
		PERFORM omnichannel.next_offer(agent);
	ELSE
		step := 'release';
		PERFORM omnichannel.release_request(request, (ARRAY['done', 'done', 'cancelled', 'waiting_customer'])[1 + (random() * 3)::int]);
	END IF;
EXCEPTION WHEN OTHERS THEN
	IF SQLSTATE NOT IN ('55000', '40001') THEN
		INSERT INTO trouble (step, code, message) VALUES (step, SQLSTATE, SQLERRM);
	END IF;
END
$$;
SQL

my $script = "$PostgreSQL::Test::Utils::tmp_check/step.sql";
append_to_file($script, "SELECT step();\n");

# Starts the clients, does something to them meanwhile, and waits for their end.
sub round_of
{
	my ($meanwhile) = @_;
	my ($out, $err) = ('', '');
	my $clients = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '64', '-j', '2', '-T', $seconds, '-f', $script, $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err);

	$meanwhile->();
	eval { IPC::Run::finish($clients) };
	my ($steps) = $out =~ /number of transactions actually processed: (\d+)/;
	return $steps // 0;
}

# What must be true whenever no transaction is open, as rows that must not be.
my %never = (
	'a request with an agent and a place in a queue' =>
	  'SELECT request_id FROM omnichannel.assignment JOIN omnichannel.waiting USING (request_id)',
	'a request whose state and agent are not those of its assignment' => q{
		SELECT request_id FROM omnichannel.request AS q FULL JOIN omnichannel.assignment AS a USING (request_id)
		WHERE (coalesce(q.state, '') IN ('offered', 'assigned')) <> (a.request_id IS NOT NULL)
			OR a.request_id IS NOT NULL AND (q.agent_id, q.state) <> (a.agent_id, CASE WHEN a.accepted_at IS NULL THEN 'offered' ELSE 'assigned' END)},
	'a request that waits and is not in the queue, or the other way round' => q{
		SELECT request_id FROM omnichannel.request AS q FULL JOIN omnichannel.waiting AS w USING (request_id)
		WHERE (coalesce(q.state, '') = 'waiting_agent') <> (w.request_id IS NOT NULL)
			AND NOT EXISTS (SELECT FROM omnichannel.arrival AS n WHERE n.request_id = q.request_id)},
	'a request that waits or is offered in a channel that its customer is not in' => q{
		SELECT request_id FROM (SELECT request_id, lane_id FROM omnichannel.waiting UNION ALL SELECT request_id, lane_id FROM omnichannel.assignment WHERE accepted_at IS NULL) AS held
		JOIN omnichannel.lane USING (lane_id) JOIN omnichannel.request AS q USING (request_id)
		WHERE lane.channel <> coalesce(q.current_channel, q.channel) AND NOT EXISTS (SELECT FROM omnichannel.arrival AS n WHERE n.request_id = q.request_id)},
	'a request that stands in a lane that is not there' => q{
		SELECT request_id FROM (SELECT request_id, lane_id FROM omnichannel.waiting UNION ALL SELECT request_id, lane_id FROM omnichannel.assignment) AS held
		WHERE lane_id NOT IN (SELECT lane_id FROM omnichannel.lane)},
	'a request with two agents' => 'SELECT request_id FROM omnichannel.assignment GROUP BY request_id HAVING count(*) > 1',
	'work that ended before it began, or twice' => q{
		SELECT request_id, agent_id, offered_at FROM omnichannel.assignment_history GROUP BY request_id, agent_id, offered_at
		HAVING count(*) > 1 OR min(ended_at) < offered_at},
	'an agent whose load is not the sum of his assignments' => q{
		SELECT s.agent_id FROM omnichannel.agent_state AS s LEFT JOIN omnichannel.assignment AS a USING (agent_id)
		GROUP BY s.agent_id HAVING s.used <> coalesce(sum(a.cost), 0)},
	'an agent over his capacity' =>
	  'SELECT agent_id FROM omnichannel.agent_state JOIN omnichannel.agent USING (agent_id) WHERE used > capacity',
	'an agent whose presence is not his last interval' => q{
		SELECT agent_id FROM omnichannel.agent_state AS s LEFT JOIN omnichannel.presence AS p USING (agent_id)
		WHERE upper_inf(p.during) GROUP BY agent_id, s.state HAVING count(*) <> 1 OR min(p.state) <> s.state},
	'a request that waits before the head of its lane' => q{
		SELECT w.request_id FROM omnichannel.waiting AS w JOIN omnichannel.lane_head AS h USING (lane_id)
		WHERE (w.rank, w.due_at, w.entered_at, w.request_id) < (h.rank, h.due_at, h.entered_at, h.request_id)},
	'trouble' => 'SELECT step, code, min(message), count(*) FROM trouble GROUP BY step, code');

sub check
{
	my ($when) = @_;

	foreach my $wrong (sort keys %never)
	{
		is($node->safe_psql('postgres', $never{$wrong}), '', "$when: no $wrong");
	}
	$node->safe_psql('postgres', 'TRUNCATE trouble');

	# A sweep finds all that only time brings about.
	for (1 .. 20)
	{
		last if $node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()') eq '0';
	}
	is($node->safe_psql('postgres', q{SELECT request_id FROM omnichannel.request AS q WHERE q.state = 'waiting_agent'
			AND NOT EXISTS (SELECT FROM omnichannel.waiting AS w WHERE w.request_id = q.request_id)}),
		'', "$when: no request is lost");
	# Nobody who suits is idle beside a request that waits, unless a wait or a rest has just run out: the next sweep is
	# for those. What stands before a sweep and after it was passed over.
	my $idle = sub {
		return split /\n/, $node->safe_psql('postgres',
			'SELECT w.request_id, m.agent_id FROM omnichannel.waiting AS w, LATERAL omnichannel.match_agents(w.request_id) AS m');
	};
	my %before = map { $_ => 1 } $idle->();
	$node->safe_psql('postgres', 'SELECT omnichannel.tick_queues()');
	is(join("\n", grep { $before{$_} } $idle->()), '', "$when: nobody is suitable and idle while a request waits");
	return;
}

my $steps = round_of(sub { });
cmp_ok($steps, '>', 100, "$steps steps in peace");
check('in peace');

round_of(sub {
	for (1 .. 4 * $seconds)
	{
		sleep 0.2;
		$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY random() LIMIT 1});
	}
});
check('with backends killed');

round_of(sub {
	sleep $seconds / 2;
	$node->stop('immediate');
});
$node->start;
check('after a crash');

cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.assignment_history WHERE outcome = 'finished'"), '>', 10, 'work was done');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM omnichannel.assignment_history WHERE outcome = '$_'"), '>', 0, "offers were $_")
	foreach 'declined', 'expired', 'transferred';
done_testing();
