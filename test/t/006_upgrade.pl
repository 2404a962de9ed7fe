# upgrade(): a later release, made here, whose tables differ leads the tables of 1.0 to its own, all or nothing.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('upgrade');
my $sharedir = $node->config_data('--sharedir');
my $update = "$sharedir/extension/omnichannel--1.0--1.0.99.sql";

END { unlink $update if defined $update; }

# The upgrade to a version that adds a column and a view, and whose second script fails when it is told to.
append_to_file($update, <<'SQL');
\echo Use "ALTER EXTENSION omnichannel UPDATE" to load this file. \quit
CREATE OR REPLACE FUNCTION omnichannel.upgrade_script(version text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE version
	WHEN '1.0' THEN $$ALTER TABLE omnichannel.company ADD COLUMN motto text; UPDATE omnichannel.company SET version = '1.0.98'$$
	WHEN '1.0.98' THEN $$CREATE VIEW omnichannel.motto AS SELECT motto FROM omnichannel.company; UPDATE omnichannel.company SET version = '1.0.99'$$
END;
SQL

omni_setup($node);
$node->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'CZK'");
is($node->safe_psql('postgres', 'SELECT omnichannel.upgrade()'), '1.0', 'nothing to do');
$node->safe_psql('postgres', "ALTER EXTENSION omnichannel UPDATE TO '1.0.99'");

# Stopped half-way, nothing is changed.
$node->safe_psql('postgres', 'CREATE VIEW omnichannel.motto AS SELECT 1 AS in_the_way');
is(error_of($node, 'postgres', 'SELECT omnichannel.upgrade()'), '42P07', 'the second step fails');
is($node->safe_psql('postgres', 'SELECT version FROM omnichannel.company'), '1.0', 'and the first is undone');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_attribute WHERE attrelid = 'omnichannel.company'::regclass AND attname = 'motto'"), '0', 'with its column');
$node->safe_psql('postgres', 'DROP VIEW omnichannel.motto');

my $session = $node->background_psql('postgres');
is(value($session, 'SELECT omnichannel.default_currency()'), 'CZK', 'a session with a warm cache');
is($node->safe_psql('postgres', 'SELECT omnichannel.upgrade()'), '1.0.99', 'upgraded, step after step');
is($node->safe_psql('postgres', 'SELECT currency, motto FROM omnichannel.company'), 'CZK|', 'the data stay');
is(value($session, 'SELECT omnichannel.default_currency()'), 'CZK', 'the warm session goes on');
is($node->safe_psql('postgres', 'SELECT omnichannel.upgrade()'), '1.0.99', 'a second upgrade() has nothing to do');
$session->quit;

# Tables newer than the extension: no way leads back.
$node->safe_psql('postgres', "UPDATE omnichannel.company SET version = '9.9'");
is(error_of($node, 'postgres', 'SELECT omnichannel.upgrade()'), '55000', 'tables of a later version');

done_testing();
