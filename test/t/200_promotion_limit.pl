# A promotion with 1,000 uses, asked for 1,600 times by 64 sessions at once: exactly 1,000 win, and the books agree.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('limit', conf => "max_connections = 100\nfsync = off\n");
omni_setup($node);
$node->safe_psql('postgres', q{
	INSERT INTO omnichannel.promotion (promotion, kind, value, use_limit, budget) VALUES ('thousand', 'percent', 10, 1000, 100000);
	CREATE TABLE won (ok boolean);
});

my $script = $node->basedir . '/reserve.sql';
append_to_file($script, q{
BEGIN;
INSERT INTO won SELECT omnichannel.reserve_use('thousand', :client_id || '/' || (SELECT txid_current()), amount => 2);
COMMIT;
});
$node->command_ok([ 'pgbench', '-n', '-c', '64', '-j', '4', '-t', '25', '-f', $script, 'postgres' ], '64 sessions ask 1,600 times');

is($node->safe_psql('postgres', 'SELECT count(*) FROM won WHERE ok'), '1000', 'exactly 1,000 win');
is($node->safe_psql('postgres', 'SELECT count(*) FROM won WHERE NOT ok'), '600', 'the others are told so');
is($node->safe_psql('postgres', q{SELECT count(*), sum(amount) FROM omnichannel.promotion_use WHERE state = 'reserved'}),
	'1000|2000', 'each has its reservation');
is($node->safe_psql('postgres', q{SELECT uses, spent FROM omnichannel.promotion_total}), '1000|2000', 'the sums agree');
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.promotion_used_up WHERE until IS NULL'), '1', 'and it is known to be used up');
is($node->safe_psql('postgres', q{SELECT sum(omnichannel.release_use(key)) FROM (SELECT key FROM omnichannel.promotion_use LIMIT 10) AS held}),
	'10', 'ten come back');
is($node->safe_psql('postgres', q{SELECT uses, (SELECT count(*) FROM omnichannel.promotion_used_up WHERE until IS NULL) FROM omnichannel.promotion_total}),
	'990|0', 'and can be used again');
$node->stop;
done_testing();
