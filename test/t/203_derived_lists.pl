# Lists that are derived from each other, while prices are changed, deleted and loaded and the derivation changes, by
# several sessions in every order: nobody locks up, and what is derived is what its sources say.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{DERIVED_SECONDS} // 5;
my $node = omni_node('derived', conf => "fsync = off\ndeadlock_timeout = 100ms\n");
omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
SET search_path = omnichannel;
INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1, 20) AS n;
INSERT INTO price_list (price_list, kind) VALUES ('s', 'override'), ('t', 'override');
INSERT INTO price (price_list, product, amount) SELECT list, 'p' || n, 100 FROM generate_series(1, 20) AS n, unnest('{s,t}'::text[]) AS list;
INSERT INTO price_list (price_list, kind, derived_from) VALUES ('d', 'override', 's'), ('e', 'override', 'd'), ('f', 'override', 'd');
SQL
# Statements that change the same rows lock up as on any table where the one comes upon them in another order than the
# other: who changes many at once locks them in the order of their ids, as apply_prices() does.
my %script = (
	amount => q{UPDATE omnichannel.price SET amount = :n WHERE price_list = 's' AND product = 'p' || :p AND upper_inf(valid) AND adjust IS NULL;},
	amounts => q{WITH held AS MATERIALIZED (SELECT price_id FROM omnichannel.price WHERE price_list IN ('s', 't') AND upper_inf(valid) AND source_price IS NULL AND adjust IS NULL ORDER BY price_id FOR UPDATE)
UPDATE omnichannel.price SET amount = :n WHERE price_id IN (SELECT price_id FROM held);},
	adjustment => q{INSERT INTO omnichannel.price (price_list, product, adjust, min_quantity) VALUES ('s', 'p' || :p, -5, :n) ON CONFLICT DO NOTHING;},
	gone => q{DELETE FROM omnichannel.price WHERE price_list = 's' AND product = 'p' || :p AND NOT upper_inf(valid);
WITH held AS MATERIALIZED (SELECT price_id FROM omnichannel.price WHERE price_list = 's' AND min_quantity = :n ORDER BY price_id FOR UPDATE)
DELETE FROM omnichannel.price WHERE price_id IN (SELECT price_id FROM held);},
	load => q{INSERT INTO omnichannel.price_staging (price_list, product, amount) SELECT 's', 'p' || (1 + (:p + i) % 20), :n FROM generate_series(1, 7) AS i;
SELECT count(*) FROM omnichannel.apply_prices(accept => '{jump,tier rises,sale above base,below floor}');},
	derive_d => q{UPDATE omnichannel.price_list SET derived_adjust = :n WHERE price_list = 'd';},
	derive_e => q{UPDATE omnichannel.price_list SET derived_adjust = :n WHERE price_list IN ('e', 'f');},
	source => q{UPDATE omnichannel.price_list SET derived_from = CASE WHEN :n % 2 = 0 THEN 's' ELSE 't' END WHERE price_list = 'd';},
	child => q{INSERT INTO omnichannel.price_list (price_list, derived_from, kind) VALUES ('c' || :n % 3, 'd', 'override') ON CONFLICT DO NOTHING;},
);
my $dir = "$PostgreSQL::Test::Utils::tmp_check";
my @files;
foreach my $what (sort keys %script)
{
	append_to_file("$dir/$what.sql", "\\set n random(1, 50)\n\\set p random(1, 20)\n$script{$what}\n");
	push @files, '-f', "$dir/$what.sql@" . ($what =~ /^(amount|gone|load)$/ ? 4 : 1);
}
my ($out, $err) = ('', '');
IPC::Run::run([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', $seconds, '--max-tries=1000', '--failures-detailed', '-r', @files, $node->connstr('postgres') ],
	'<', \undef, '>', \$out, '2>', \$err);
is($err =~ s/^pgbench: (pghost|setting|progress).*\n//gmr, '', 'nothing is refused but what is to be begun again');
like($out, qr/number of transactions actually processed: [1-9]/, 'and much is done');
is($node->safe_psql('postgres', q{SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = 'postgres'}), '|0', 'nobody has locked up');
is($node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	WITH rows AS (SELECT price_list, product, min_quantity, amount, adjust, surcharge, valid, source_price FROM price WHERE source_price IS NOT NULL),
		wanted AS (SELECT price_list, product, min_quantity, amount, adjust, surcharge, valid, source_price FROM derived_prices(NULL, NULL))
	SELECT (SELECT count(*) FROM (TABLE rows EXCEPT TABLE wanted) AS extra), (SELECT count(*) FROM (TABLE wanted EXCEPT TABLE rows) AS missing),
		(SELECT count(*) FROM rows) > 40}), '0|0|t', 'what is derived is what its sources say');
note $out if $ENV{DERIVED_SECONDS};
$node->stop;
done_testing();
