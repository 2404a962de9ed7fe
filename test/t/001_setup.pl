# setup(): by a role that is no superuser, all or nothing, once; and every function says so before it has run.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('setup');

# CREATE EXTENSION tells the next step.
my ($code, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION omnichannel CASCADE');
is($code, 0, 'extension created');
like($err, qr/NOTICE:.*no tables yet.*HINT:.*CALL omnichannel\.setup\(/s, 'CREATE EXTENSION names setup()');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')"),
	0, 'the extension owns no tables');

# Each function that reads tables says 55000 before setup(), of arguments that could be right. An immutable function
# answers from its arguments alone and is left out.
my @calls = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format('%s omnichannel.%I(%s)', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, proname,
	coalesce((SELECT string_agg(
			CASE
				WHEN proname = 'log_contact' AND format_type(type, NULL) = 'bigint' THEN 'NULL'
				WHEN proname = 'release_request' AND format_type(type, NULL) = 'text' THEN '''done'''
				WHEN (SELECT typtype FROM pg_type WHERE oid = type) = 'c' THEN 'NULL'
				WHEN format_type(type, NULL) = 'regclass' THEN '''pg_catalog.pg_class'''
				WHEN format_type(type, NULL) = 'timestamp with time zone' THEN '''2026-03-02 09:00+01'''
				WHEN format_type(type, NULL) = 'tstzrange' THEN '''[2026-03-02 09:00+01,2026-03-03 09:00+01)'''
				WHEN format_type(type, NULL) = 'interval' THEN '''1 hour'''
				WHEN format_type(type, NULL) = 'date' THEN '''2026-03-02'''
				WHEN format_type(type, NULL) = 'jsonb' THEN '''{}'''
				WHEN format_type(type, NULL) = 'regrole' THEN '''pg_monitor'''
				WHEN format_type(type, NULL) LIKE 'omnichannel.%[]' OR format_type(type, NULL) LIKE '%[]' THEN '''{}'''
				WHEN format_type(type, NULL) = 'omnichannel.skill_set' THEN '''billing:1'''
				WHEN format_type(type, NULL) = 'omnichannel.working_hours' THEN '''24/7'''
				WHEN format_type(type, NULL) = 'boolean' THEN '''true'''
				WHEN format_type(type, NULL) = 'uuid' THEN '''00000000-0000-0000-0000-000000000001'''
				WHEN format_type(type, NULL) IN ('bigint', 'integer', 'numeric', 'smallint', 'double precision') THEN '1'
				ELSE '''x'''
			END || '::' || format_type(type, NULL), ', ' ORDER BY n)
		FROM unnest(proargtypes) WITH ORDINALITY AS argument (type, n)), ''))
FROM pg_proc
JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'omnichannel')
WHERE provolatile <> 'i' AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'cstring'::regtype)
	AND NOT ('internal'::regtype = ANY (proargtypes))
	AND NOT ('cstring'::regtype = ANY (proargtypes))
	AND NOT ('record'::regtype = ANY (proargtypes))
	AND proname NOT IN ('setup', 'create_config_cache', 'cache_status', 'check_time_zone', 'drop_tracking_triggers', 'quote_digest', 'change_moment')
	-- the forms that need no table: hours and zone are given
	AND NOT ('omnichannel.working_hours'::regtype = ANY (proargtypes))
ORDER BY 1
SQL
cmp_ok(scalar(@calls), '>', 3, 'functions found to call: ' . scalar(@calls));
foreach my $call (@calls)
{
	my ($rc, $stdout, $stderr) = $node->psql('postgres', $call);

	like($stderr, qr/omnichannel is not set up in this database.*HINT:.*setup\(/s, "before setup(): $call");
}
is(error_of($node, 'postgres', 'SELECT omnichannel.require_setup()'), '55000', 'the SQLSTATE is 55000');

# A role that is no superuser needs the schema, and owns what it makes.
$node->safe_psql('postgres', 'CREATE ROLE shop LOGIN; CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA omnichannel TO shop, stranger');
my $setup = "CALL omnichannel.setup(currency => 'PLN', country => 'PL', time_zone => 'Europe/Warsaw')";
is(error_of($node, 'postgres', $setup, 'stranger'), '42501', 'setup() without CREATE on the schema');
is(error_of($node, 'postgres', "CALL omnichannel.setup('zloty', 'PL', 'Europe/Warsaw')"), '22023', 'no currency code');
is(error_of($node, 'postgres', "CALL omnichannel.setup('XYZ', 'PL', 'Europe/Warsaw')"), '22023', 'unknown currency');
is(error_of($node, 'postgres', "CALL omnichannel.setup('PLN', 'XX', 'Europe/Warsaw')"), '22023', 'unknown country');
is(error_of($node, 'postgres', "CALL omnichannel.setup('PLN', 'PL', 'Europe/Warschau')"), '22023', 'unknown zone');
is(error_of($node, 'postgres', 'CALL omnichannel.setup(NULL, NULL, NULL)'), '22023', 'NULLs');

# A setup() that fails half-way leaves nothing: here a table of a later room is in the way.
$node->safe_psql('postgres', 'CREATE TABLE omnichannel.contact (x int)');
is(error_of($node, 'postgres', $setup), '42P07', 'setup() stopped by a table in the way');
is($node->safe_psql('postgres', "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')"),
	'contact', 'and nothing is left of it');
is(error_of($node, 'postgres', 'SELECT omnichannel.default_currency()'), '55000', 'still not set up');
$node->safe_psql('postgres', 'DROP TABLE omnichannel.contact');

$node->safe_psql('postgres', 'ALTER SCHEMA omnichannel OWNER TO shop');
is(error_of($node, 'postgres', $setup, 'shop'), '00000', 'setup() by the owner of the schema');
is($node->safe_psql('postgres', "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')"),
	'shop', 'who owns all of it');
is($node->safe_psql('postgres', 'SELECT omnichannel.default_currency(), omnichannel.default_time_zone()', extra_params => [ '-U', 'shop' ]),
	'PLN|Europe/Warsaw', 'and is answered');
is(error_of($node, 'postgres', $setup, 'shop'), '55000', 'a second setup() is an error');
is(error_of($node, 'postgres', 'SELECT omnichannel.default_currency()', 'stranger'), '42501', 'the cache checks the right to read');
is(error_of($node, 'postgres', 'SELECT omnichannel.upgrade()', 'shop'), '00000', 'upgrade() has nothing to do');

# PUBLIC holds nothing.
is($node->safe_psql('postgres', <<'SQL'), '0', 'PUBLIC has no right on the schema, a table or a sequence');
SELECT count(*) FROM (
	SELECT nspacl AS acl FROM pg_namespace WHERE nspname = 'omnichannel'
	UNION ALL SELECT relacl FROM pg_class WHERE relnamespace = 'omnichannel'::regnamespace
) AS acls, aclexplode(acl) AS granted WHERE granted.grantee = 0
SQL

done_testing();
