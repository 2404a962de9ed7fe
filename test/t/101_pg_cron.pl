# tick() as the README has pg_cron call it: breaches are told once, and notified on the channel that the setting names.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('cron');

$node->init;
$node->append_conf('postgresql.conf', "cron.database_name = 'postgres'\ncron.use_background_workers = on");
$node->start;
plan skip_all => 'pg_cron is not installed'
	if $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'") eq '0';
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'");
$node->restart;

omni_setup($node);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
$node->safe_psql('postgres', "UPDATE omnichannel.sla_setting SET notify_channel = 'service_levels'");
$node->safe_psql('postgres', "UPDATE omnichannel.sla_policy SET notice_calendar = NULL");
$node->safe_psql('postgres',
	"SELECT omnichannel.log_contact('email', kind => 'email', value => 'a\@example.com', occurred_at => '2026-06-01 10:00Z')");

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN service_levels');

like($node->safe_psql('postgres', "SELECT cron.schedule('omnichannel', '* * * * *', 'SELECT omnichannel.tick()')"),
	qr/^\d+$/, 'the job is scheduled');
ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM omnichannel.sla_event'), 'the breach is told within a minute');
is($node->safe_psql('postgres', "SELECT string_agg(status, ',') FROM cron.job_run_details WHERE status <> 'running'"),
	'succeeded', 'the job succeeded');
is($node->safe_psql('postgres', 'SELECT omnichannel.tick()'), '0', 'a sweep by hand finds nothing more to do');
is($node->safe_psql('postgres', "SELECT string_agg(event || ' ' || metric, ',') FROM omnichannel.sla_event"),
	'breach first_response', 'once');

my $said = $listener->query('SELECT 1');
like($said . $listener->{stderr}, qr/service_levels.*"event" : "breach"/s, 'and notified');
$listener->quit;

$node->safe_psql('postgres', "SELECT cron.unschedule('omnichannel')");
$node->stop;
done_testing();
