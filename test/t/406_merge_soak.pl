# Who logs contacts, one or several at once, never locks up with others who do, nor with those who merge and part the
# customers meanwhile; and open clocks are those of what was logged, in whatever order. SOAK_SECONDS sets the length, and
# SOAK_SEED what is tried.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{SOAK_SECONDS} || 4;
my $seed = $ENV{SOAK_SEED} || int(rand(1 << 30));
note("SOAK_SEED=$seed");
my $node = omni_node('merge_soak', conf => <<'CONF');
deadlock_timeout = 200ms
CONF

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
SELECT omnichannel.identify('account', 'k' || n) FROM generate_series(1, 12) AS n;
CREATE TABLE soak (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, channel text, direction text, thread text, at timestamptz DEFAULT now());
SELECT omnichannel.track('soak', channel => '{channel}', kind => 'account', customer => '{who}', direction => '{direction}', thread => '{thread}',
	occurred_at => '{at}');
SQL

my %scripts = (
	one => <<'SQL',
\set k random(1, 12)
\set c random(1, 3)
\set d random(1, 3)
\set t random(1, 6)
SELECT omnichannel.log_contact(CASE :c WHEN 1 THEN 'forum' WHEN 2 THEN 'email' ELSE 'phone' END, kind => 'account', value => 'k' || :k,
	direction => CASE :d WHEN 1 THEN 'outbound' ELSE 'inbound' END, thread => CASE WHEN :t < 3 THEN 'S' || :t END);
SQL
	five => <<'SQL',
\set s random(1, 1000000000)
SELECT setseed(:s / 1000000000.0);
INSERT INTO soak (who, channel, direction, thread)
SELECT 'k' || 1 + floor(random() * 12), (ARRAY['forum', 'email', 'phone'])[1 + floor(random() * 3)::int],
	CASE WHEN random() < 0.3 THEN 'outbound' ELSE 'inbound' END, CASE WHEN random() < 0.3 THEN 'S' || 1 + floor(random() * 2) END
FROM generate_series(1, 5);
SQL
	part => <<'SQL',
\set a random(1, 12)
\set b random(1, 12)
\set m random(1, 2)
DO $$
BEGIN
	IF :m = 1 THEN
		PERFORM omnichannel.merge_customers(omnichannel.identify('account', 'k:a'), omnichannel.identify('account', 'k:b'), force => true);
	ELSE
		PERFORM omnichannel.unmerge_customers((SELECT merge_id FROM omnichannel.customer_merge WHERE unmerged_at IS NULL ORDER BY random() LIMIT 1));
	END IF;
EXCEPTION
	-- one customer already, or none to part
	WHEN object_not_in_prerequisite_state OR invalid_parameter_value OR foreign_key_violation THEN NULL;
END
$$;
SQL
);
my %files;
foreach my $name (sort keys %scripts)
{
	$files{$name} = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	PostgreSQL::Test::Utils::append_to_file($files{$name}, $scripts{$name});
}
my @running;
foreach my $kind ([ 'part', 3 ], [ 'five', 3 ])
{
	my ($name, $clients) = @$kind;
	push @running, IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-T', $seconds, "--random-seed=$seed", '-h', $node->host, '-p', $node->port,
		'-f', $files{$name}, 'postgres' ], '>', \my $said, '2>', \my $complaints);
}
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-j', '2', '-T', $seconds, "--random-seed=$seed", '-f', $files{one}, 'postgres' ], 'no client failed');
ok($running[0]->finish, 'nor did who merges');
ok($running[1]->finish, 'nor did who logs several contacts at once');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/deadlock detected/, 'nobody locked up');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/ERROR:  ON CONFLICT/, 'nor was anybody taken to be two');

sub none
{
	my ($name, $query) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM $query"), '0', $name);
}

# What others held is followed by tick(); then the open clocks are those that the log gives: all of it of those who stand
# alone, where whatever they had as one with others is reckoned anew. Of groups it is what they get as one, where what
# had stopped while they were apart stays so.
$node->safe_psql('postgres', 'SELECT omnichannel.tick()') foreach 1 .. 3;
none('no clocks are behind', 'omnichannel.sla_behind');
none('whoever is known to wait for an answer does', q{omnichannel.sla_customer AS h WHERE h.waits_request_id IS NOT NULL AND NOT EXISTS (
	SELECT FROM omnichannel.sla_clock AS c WHERE c.customer_id = h.customer_id AND c.request_id = h.waits_request_id AND c.stopped_at IS NULL
	AND c.metric IN ('first_response', 'next_response'))});
my $open = q{SELECT omnichannel.customer_root(customer_id), metric, request_id, channel, thread, started_at FROM omnichannel.sla_clock WHERE stopped_at IS NULL};
$node->safe_psql('postgres', "CREATE TABLE kept AS $open");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE merged AS SELECT DISTINCT merged_into AS root FROM omnichannel.customer WHERE merged_into IS NOT NULL;
SELECT omnichannel.customers_regrouped(ARRAY(SELECT customer_id FROM omnichannel.customer WHERE merged_into IS NULL AND customer_id NOT IN (TABLE merged)));
SELECT omnichannel.customers_regrouped(ARRAY[root]) FROM merged ORDER BY root;
SQL
none('open clocks are those of the log', "((TABLE kept EXCEPT $open) UNION ALL ($open EXCEPT TABLE kept)) AS other");
$node->stop;
done_testing();
