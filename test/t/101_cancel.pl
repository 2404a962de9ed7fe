# Long answers about working time end when they are asked to, and what was being built then serves on. A hot standby
# answers by code, and sees the calendars change.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = omni_node('cancel', allows_streaming => 1);

omni_setup($primary);
$primary->safe_psql('postgres',
	"INSERT INTO omnichannel.calendar VALUES ('dense', 'Every other minute', 'Europe/Warsaw', (
		SELECT string_agg(format('%s-%s', to_char(minute, 'HH24:MI'), to_char(minute + interval '1 minute', 'HH24:MI')), ',')
		FROM generate_series(timestamp '2000-01-01', '2000-01-01 23:58', '2 minutes') AS minute)::omnichannel.working_hours)");

# Each in a session of its own, which is asked something small after it.
foreach my $long (
	"SELECT count(*) FROM omnichannel.working_periods('2026-01-01', '294000-01-01', 'dense')",
	"SELECT count(*) FROM omnichannel.explain_deadline('2026-01-01', '400000000 hours', 'dense')",
	"SELECT count(*) FROM omnichannel.explain_deadline('2026-01-01', '90000000 days', 'dense')",
	"SELECT omnichannel.deadline('2026-01-01', '90000000 days', 'dense')",
	"SELECT omnichannel.working_time('4713-01-01 BC', '294000-01-01', 'dense')")
{
	my ($code, $out, $err) = $primary->psql('postgres', <<"SQL", on_error_stop => 0);
\\set VERBOSITY sqlstate
SET timezone = 'UTC';
SET statement_timeout = '300ms';
$long;
SET statement_timeout = 0;
SELECT omnichannel.deadline('2026-01-05 00:00:00', '10 hours', 'dense'), omnichannel.working_time('2026-01-01', '2026-01-02', 'dense');
SQL
	like($err, qr/57014/, "cancelled: $long");
	is($out, '2026-01-05 19:59:00+00|12:00:00', 'and right afterwards');
}

# Rules that never match are followed period by period, and end between two of them.
my $never = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:never\nDTSTART;VALUE=DATE:00010101\n" . "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\n" x 2000
	. "END:VEVENT\nEND:VCALENDAR";
my $begun = time;
is(error_of($primary, 'postgres', "SET statement_timeout = '300ms'; SELECT count(*) FROM omnichannel.read_holidays('$never', 'UTC', 2031)"),
	'57014', 'rules that never match are cancelled');
cmp_ok(time - $begun, '<', 5, 'at once');

# So do long works on service levels, and leave nothing half done.
$primary->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.sla_policy (policy, rank, metric, target, calendar) VALUES ('solve', 5, 'resolution', '10 hours', 'office');
DELETE FROM omnichannel.sla_stale;
INSERT INTO omnichannel.customer (customer_id) SELECT g FROM generate_series(1000001, 1020000) AS g;
INSERT INTO omnichannel.request (customer_id, kind, channel) SELECT g, 'complaint', 'branch' FROM generate_series(1000001, 1020000) AS g;
INSERT INTO omnichannel.sla_policy (policy, rank, metric, target, calendar) VALUES ('sooner', 1, 'resolution', '5 hours', 'office');
SQL
foreach my $long (
	'SELECT count(*) FROM omnichannel.recompute_sla()',
	'SELECT omnichannel.tick_sla()',
	'UPDATE omnichannel.request SET priority = 7',
	"INSERT INTO omnichannel.request (customer_id, kind, channel) SELECT g, 'complaint', 'branch' FROM generate_series(1000001, 1020000) AS g")
{
	my ($code, $out, $err) = $primary->psql('postgres', "\\set VERBOSITY sqlstate\nSET statement_timeout = '100ms';\n$long;", on_error_stop => 0);

	like($err, qr/57014/, "cancelled: $long");
	is($primary->safe_psql('postgres', "SELECT count(*), count(DISTINCT request_id), min(policy), max(policy) FROM omnichannel.sla_clock WHERE stopped_at IS NULL"),
		'20000|20000|solve|solve', 'and nothing was done');
}
is($primary->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.recompute_sla()'), '20000', 'the next call does all of it');

my $standby = omni_standby($primary, 'cancel_standby');

my $session = $standby->background_psql('postgres');
my $answer = "SELECT omnichannel.deadline('2026-11-20 16:00+01', '2 hours', 'office') AT TIME ZONE 'Europe/Warsaw'";
is(value($session, $answer), '2026-11-23 10:00:00', 'the standby answers');
$primary->safe_psql('postgres', "SELECT omnichannel.add_holiday('office', '2026-11-23')");
$primary->wait_for_catchup($standby);
is(value($session, $answer), '2026-11-24 10:00:00', 'a warm session of the standby sees the holiday');
is(error_of($standby, 'postgres', "SELECT omnichannel.add_holiday('office', '2026-11-24')"), '25006', 'which cannot be made there');
$session->quit;

done_testing();
