# The log taken over by pg_partman with the recipe of the README: what was logged moves into partitions, and logging,
# tracking, timeline, logging once, maintenance, retention and dump go on.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('partman', conf => "timezone = 'Europe/Warsaw'");

# pg_partman 5 has another interface, and serves newer servers only.
plan skip_all => 'pg_partman 4 is not installed'
	if $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extension_versions WHERE name = 'pg_partman' AND version LIKE '4.7%'") eq '0';

# The recipe, as the README has it: the take-over and the daily maintenance.
my $section = slurp_file("$FindBin::RealBin/../../README.md");
$section =~ s/.*^### Years of contacts$(.*?)^##.*/$1/ms;
my ($take_over, $maintain) = $section =~ /^```psql\n(.*?)^```$/msg;
my ($move) = $section =~ /`(SELECT partman.partition_data_time[^`]*)`/;
ok($take_over && $maintain && $move, 'the README has the recipe');

sub sql
{
	my ($statement, $database) = @_;
	return $node->safe_psql($database // 'postgres', $statement);
}

omni_setup($node);
sql(<<'SQL');
SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna@example.com', occurred_at => now() - make_interval(days => i),
	source => 'mailbox', source_key => i::text, subject => 'Mail ' || i) FROM generate_series(1, 400) AS i;
SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna@example.com', occurred_at => now() - interval '8 years',
	source => 'mailbox', source_key => 'old');
CREATE TABLE call (call_id bigint PRIMARY KEY, caller text, at timestamptz);
SELECT omnichannel.track('call', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}');
INSERT INTO call VALUES (1, '600 100 200', now());
CREATE ROLE switchboard LOGIN;
GRANT INSERT ON call TO switchboard;
CREATE ROLE desk LOGIN;
SELECT omnichannel.grant_access('desk', 'agent');
SQL
my $digest = "SELECT count(*), md5(string_agg(md5(contact::text), '' ORDER BY contact_id)) FROM omnichannel.contact";
my $timeline = "SELECT md5(string_agg(t::text, '' ORDER BY n)) FROM omnichannel.timeline(omnichannel.identify('email', 'anna\@example.com'), max_rows => 1000)
	WITH ORDINALITY AS t (contact_id, occurred_at, channel, direction, outcome, agent_id, request_id, thread, subject, body, payload, logged_as, n)";
my ($logged, $told) = (sql($digest), sql($timeline));

# A session that has logged before, with its plans and caches warm.
my $warm = $node->background_psql('postgres');
$warm->query_safe("INSERT INTO call VALUES (2, '600 100 200', now()); DELETE FROM call WHERE call_id = 2; SET TimeZone = 'Europe/Warsaw'");
$logged = sql($digest);

sql($take_over);
is(sql($digest), $logged, 'every contact is there after the take-over, unchanged');
is(sql($timeline), $told, 'and the timeline reads as before');
is(sql('SELECT count(*) FROM omnichannel.contact_default'), '0', 'none is left in the default partition');
is(sql("SELECT to_regclass('omnichannel.contact_before') IS NULL"), 't', 'and none elsewhere');
cmp_ok(sql('SELECT count(DISTINCT tableoid) FROM omnichannel.contact'), '>=', 14, 'they lie in partitions of a month');
is(sql("SELECT count(*) FROM pg_inherits AS i WHERE i.inhparent = 'omnichannel.contact'::regclass
	AND NOT EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = i.inhrelid AND x.indisprimary AND x.indkey::text = '1 3 2')"),
	'0', "each with the timeline's index");
like(sql("EXPLAIN (COSTS off) SELECT * FROM omnichannel.contact WHERE customer_id = 1 AND occurred_at > now() - interval '1 day' ORDER BY occurred_at DESC"),
	qr/Subplans Removed|Index/, 'which is used');

# Logging goes on: in warm and in new sessions, by hand and tracked, whatever the writer's rights.
$warm->query_safe("INSERT INTO call VALUES (3, '600 100 200', now())");
$warm->quit;
is($node->psql('postgres', "INSERT INTO call SELECT i, '600 100 200', now() - make_interval(days => i::int) FROM generate_series(4, 100) AS i",
	extra_params => [ '-U', 'switchboard' ]), 0, 'a role without rights writes to the tracked table');
is(sql("SELECT count(*) FROM omnichannel.contact WHERE source = 'public.call'"), '100', 'what it and a warm session wrote is logged');
is(sql("SELECT count(*) FROM omnichannel.contact_default"), '0', 'in partitions');
is($node->psql('postgres', "SELECT count(*) FROM omnichannel.timeline(1)", extra_params => [ '-U', 'desk' ]), 0,
	'an agent reads the timeline without rights on the partitions');

# Once, whatever its time and partition.
my $first = sql("SELECT contact_id FROM omnichannel.contact WHERE source = 'mailbox' AND source_key = '17'");
is(sql("SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna\@example.com', source => 'mailbox', source_key => '17')"),
	$first, 'what was logged before the take-over is not logged again');
is(sql("SELECT omnichannel.backfill('call')"), '0', 'and backfill() finds nothing new');

# Retention, and what was dropped does not come back.
sql($maintain);
is(sql("SELECT count(*), min(occurred_at) > now() - interval '2 years' FROM omnichannel.contact WHERE source = 'mailbox'"), '400|t',
	'maintenance drops what is older than seven years, and nothing else');
sql("SELECT omnichannel.log_contact('email', kind => 'email', value => 'anna\@example.com', occurred_at => now() - interval '8 years', source => 'mailbox', source_key => 'old')");
is(sql("SELECT count(*) FROM omnichannel.contact WHERE source = 'mailbox'"), '400', 'which is not logged again');
is(sql("SELECT count(*) >= 4 FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
	WHERE inhparent = 'omnichannel.contact'::regclass AND c.relname > 'contact_p' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"), 't',
	'partitions are made in advance');

# History that no partition takes: from the default partition into its own.
sql("INSERT INTO call VALUES (101, '600 100 200', now() - interval '3 years')");
is(sql('SELECT count(*) FROM omnichannel.contact_default'), '1', 'a month without a partition goes to the default one');
$logged = sql($digest);
sql("SET TimeZone = 'UTC'; $move");
is(sql('SELECT count(*) FROM omnichannel.contact_default'), '0', 'and is moved');
is(sql($digest), $logged, 'unchanged');
sql($maintain);

# Dump and restore.
my $dump = "$PostgreSQL::Test::Utils::tmp_check/partman.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'dumped');
sql('CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', $dump ], 'restored');
is(sql($digest, 'copy'), sql($digest), 'with every contact');
sql("INSERT INTO call VALUES (102, '600 100 200', now())", 'copy');
is(sql("SELECT omnichannel.backfill('call')", 'copy'), '0', 'the copy logs, once');
sql($maintain, 'copy');
is(sql("SELECT count(*) FROM omnichannel.contact WHERE source = 'public.call'", 'copy'), '102', 'and is maintained');

$node->stop;
done_testing();
