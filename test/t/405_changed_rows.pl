# Rows that every contact changes stay on their pages, which are tidied up when they are nearly full, not at each look.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('changed_rows', conf => "autovacuum = off\n");
omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_walinspect;
INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Ewa');
CREATE TABLE mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text);
SELECT omnichannel.track('mail', channel => 'email', customer => '{who}', kind => 'account', agent => '1');
INSERT INTO mail (who) SELECT 'u' || i FROM generate_series(1, 200) AS i;
SQL
my $before = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
my $file = "$PostgreSQL::Test::Utils::tmp_check/changed_rows.sql";
PostgreSQL::Test::Utils::append_to_file($file, "\\set u random(1, 200)\nINSERT INTO mail (who) VALUES ('u' || :u);\n");
$node->command_ok([ 'pgbench', '-n', '-c', '1', '-t', '4000', '-f', $file, 'postgres' ], 'contacts are logged');
$node->safe_psql('postgres', 'SELECT pg_stat_force_next_flush()');

foreach my $table (qw(relationship sla_customer))
{
	is($node->safe_psql('postgres', "SELECT n_tup_upd >= 4000, n_tup_hot_upd >= 0.99 * n_tup_upd FROM pg_stat_user_tables
		WHERE schemaname = 'omnichannel' AND relname = '$table'"), 't|t', "$table is changed in place");
	cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('omnichannel.$table') / current_setting('block_size')::int"), '<=', 12,
		'and does not grow');
}
cmp_ok($node->safe_psql('postgres', "SELECT count FROM pg_get_wal_stats('$before', pg_current_wal_flush_lsn(), true)
	WHERE \"resource_manager/record_type\" ~ '^Heap2/PRUNE' ORDER BY count DESC LIMIT 1") || 0, '<', 2000, 'pages are not pruned at each look');
$node->stop;
done_testing();
