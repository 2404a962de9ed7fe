# Who logs contacts never locks up with others who do, whoever merges and parts the customers meanwhile; and open clocks are
# those of what was logged, in whatever order. SOAK_SECONDS sets the length.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{SOAK_SECONDS} || 4;
my $node = omni_node('merge_soak', conf => <<'CONF');
deadlock_timeout = 200ms
CONF

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
SELECT omnichannel.identify('account', 'k' || n) FROM generate_series(1, 12) AS n;
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
my $merger = IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '-h', $node->host, '-p', $node->port, '-f', $files{part}, 'postgres' ],
	'>', \my $merged, '2>', \my $complaints);
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-j', '2', '-T', $seconds, '-f', $files{one}, 'postgres' ], 'no client failed');
ok($merger->finish, 'nor did who merges');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/deadlock detected/, 'nobody locked up');

sub none
{
	my ($name, $query) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM $query"), '0', $name);
}

# What others held is followed by tick(); then the open clocks are those that all of the log gives.
$node->safe_psql('postgres', 'SELECT omnichannel.tick()') foreach 1 .. 3;
none('no clocks are behind', 'omnichannel.sla_behind');
my $open = q{SELECT omnichannel.customer_root(customer_id), metric, request_id, channel, thread, started_at FROM omnichannel.sla_clock WHERE stopped_at IS NULL};
$node->safe_psql('postgres', "CREATE TABLE kept AS $open");
$node->safe_psql('postgres', 'SELECT omnichannel.customers_regrouped(ARRAY(SELECT customer_id FROM omnichannel.customer WHERE merged_into IS NULL))');
none('open clocks are those of the log', "((TABLE kept EXCEPT $open) UNION ALL ($open EXCEPT TABLE kept)) AS other");
$node->stop;
done_testing();
