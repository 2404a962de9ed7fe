# pg_dump and pg_restore carry the whole database over: the tables, and what the user has added to them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('dump');

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE branch_desk;
CREATE TABLE public.audit (at timestamptz, what text);
CREATE FUNCTION public.audit_contact() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.audit VALUES (NEW.occurred_at, NEW.channel); RETURN NEW; END$$;
CREATE TRIGGER my_audit AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.audit_contact();
ALTER TABLE omnichannel.contact ENABLE ROW LEVEL SECURITY;
CREATE POLICY my_policy ON omnichannel.contact FOR SELECT TO branch_desk USING (channel = 'branch');
CREATE INDEX my_index ON omnichannel.contact (subject) WHERE subject IS NOT NULL;
CREATE TABLE omnichannel.contact_2026_03 PARTITION OF omnichannel.contact FOR VALUES FROM ('2026-03-01 00:00+00') TO ('2026-04-01 00:00+00');
GRANT SELECT ON omnichannel.contact TO branch_desk;
ALTER TABLE omnichannel.company ADD COLUMN my_column text DEFAULT 'mine';

SELECT omnichannel.log_contact('email', kind => 'email', value => 'Anna@Example.com', occurred_at => '2026-03-02 09:00+01', subject => 'Where is my order?');
SELECT omnichannel.log_contact('branch', kind => 'email', value => 'anna@example.com', occurred_at => '2026-02-02 09:00+01', subject => 'Before');
CREATE TABLE public.call (call_id bigint PRIMARY KEY, caller text, at timestamptz);
SELECT omnichannel.track('public.call', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}');
INSERT INTO public.call VALUES (1, '600 100 200', '2026-03-03 10:00+01');
SQL

my $dump = "$PostgreSQL::Test::Utils::tmp_check/omnichannel.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', $dump ], 'restored');

# The two databases dumped again, as text, are the same but for the name of the database and pg_dump's random key.
sub dump_text
{
	my ($database) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '-d', $node->connstr($database) ]);

	$out =~ s/^\\(un)?restrict .*$//mg;
	return $out;
}
my $original = dump_text('postgres');
my ($first, $second) = map { "$PostgreSQL::Test::Utils::tmp_check/$_.sql" } qw(original copy);
append_to_file($first, $original);
append_to_file($second, dump_text('copy'));
my ($differences) = run_command([ 'diff', '-u', $first, $second ]);
is($differences, '', 'the copy dumps as the original does');
cmp_ok(length($original), '>', 20000, 'and the dump is not empty');

foreach my $added ('TRIGGER my_audit', 'POLICY my_policy', 'INDEX my_index', 'contact_2026_03', 'my_column', 'log_contact_trigger')
{
	like($original, qr/\Q$added\E/, "the dump has $added");
}

# The copy is alive: its caches, its trigger and its tracking work.
$node->safe_psql('copy', "INSERT INTO public.call VALUES (2, '+48 600 100 200', '2026-03-04 10:00+01')");
is($node->safe_psql('copy', 'SELECT count(*), count(DISTINCT customer_id) FROM omnichannel.contact'), '4|2', 'tracking goes on in the copy');
is($node->safe_psql('copy', 'SELECT count(*) FROM public.audit'), '4', "and so does the user's trigger");
is($node->safe_psql('copy', "UPDATE omnichannel.company SET currency = 'EUR'; SELECT omnichannel.default_currency()"), 'EUR', 'and the cache');
is($node->safe_psql('copy', "INSERT INTO omnichannel.price_list (price_list) VALUES ('copied') RETURNING currency"), 'EUR', 'which new lists go by');

done_testing();
