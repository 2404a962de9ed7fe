# Answers are of one moment: while another session changes lists and prices together, no answer mixes them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('state', conf => "fsync = off\n");
omni_setup($node);
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1, 2000) AS n;
	INSERT INTO price_list (price_list, priority) VALUES ('x', 1), ('y', 0);
	INSERT INTO price (price_list, product, amount, valid) SELECT 'x', 'p' || n, 100, '[2030-01-01,)' FROM generate_series(1, 2000) AS n;
	INSERT INTO price (price_list, product, amount, valid) SELECT 'y', 'p' || n, 1, '[2030-01-01,)' FROM generate_series(1, 2000) AS n;
	CREATE TABLE public.wrong (n bigint);
	INSERT INTO product (product, parent, category) VALUES ('own', NULL, NULL), ('above', NULL, NULL), ('variant', 'above', NULL), ('sorted', NULL, 'sorted'), ('promoted', NULL, NULL);
	INSERT INTO price (price_list, product, amount, valid) VALUES ('x', 'own', 10000, '[2030-01-01,)'), ('x', 'above', 10000, '[2030-01-01,)'), ('x', 'promoted', 1000000, '[2030-01-01,)');
	INSERT INTO price (price_list, category, amount, valid) VALUES ('x', 'sorted', 10000, '[2030-01-01,)');
	INSERT INTO promotion (promotion, kind, value, products, valid) VALUES ('promoted', 'fixed_price', 10000, '{promoted}', '[2030-01-01,)');
	INSERT INTO product (product, category) SELECT 'q' || n, CASE WHEN n % 10000 = 0 THEN 'late.q' || n ELSE 'early' END::public.ltree FROM generate_series(1, 60000) AS n;
	INSERT INTO price (price_list, category, amount, valid) VALUES ('x', 'late', 50, '[2030-01-01,)'), ('x', 'early', 50, '[2030-01-01,)');
	INSERT INTO price (price_list, category, amount, valid) SELECT 'x', category, 50, '[2030-01-01,)' FROM product WHERE category::text LIKE 'late%';
});

# In every committed state the list of priority 1 costs 100 and the other one 1.
my %script = (
	swap => q{
BEGIN;
UPDATE omnichannel.price SET amount = CASE amount WHEN 1 THEN 100 ELSE 1 END WHERE product = 'p1';
UPDATE omnichannel.price_list SET priority = 1 - priority;
COMMIT;
},
	flip => q{UPDATE omnichannel.price_list SET priority = 1 - priority;
},
	ask => q{
INSERT INTO public.wrong SELECT count(*) FROM generate_series(1, 200) AS n, omnichannel.quote(NULL, 'p1', at => '2031-01-01') AS quote
WHERE n > 0 AND quote.unit_price <> 100 HAVING count(*) > 0;
},
	raise => q{UPDATE omnichannel.price SET amount = amount + 1 WHERE product = 'p1' AND upper_inf(valid);
},
	repeat => q{
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM omnichannel.company;
INSERT INTO public.wrong SELECT count(*) FROM omnichannel.price AS truth, omnichannel.quote(NULL, 'p1', at => '2031-01-01') AS quote
WHERE truth.product = 'p1' AND truth.price_list = quote.price_list AND truth.valid @> '2031-01-01'::timestamptz AND quote.unit_price <> truth.amount HAVING count(*) > 0;
COMMIT;
},
	move => q{
\set n random(1, 99)
BEGIN;
UPDATE omnichannel.price SET amount = :n WHERE category_path = 'early';
UPDATE omnichannel.price SET amount = 100 - :n WHERE category_path LIKE 'late.%';
COMMIT;
},
	# From one to another, over a savepoint that is rolled back: in sum they stay the same, and the first only rises.
	shift => q{
BEGIN;
UPDATE omnichannel.price SET amount = amount + 3 WHERE product = 'own';
SAVEPOINT undone;
UPDATE omnichannel.price SET amount = amount + 50 WHERE product IN ('own', 'above');
ROLLBACK TO undone;
UPDATE omnichannel.price SET amount = amount - 1 WHERE product = 'above';
UPDATE omnichannel.price SET amount = amount - 1 WHERE category_path = 'sorted';
UPDATE omnichannel.promotion SET value = value - 1 WHERE promotion = 'promoted';
COMMIT;
},
	sum => q{
INSERT INTO public.wrong SELECT sum(unit_price) FROM omnichannel.quotes(NULL, '{own,variant,sorted,promoted}', at => '2031-01-01') HAVING sum(unit_price) <> 40000;
INSERT INTO public.wrong SELECT sum(line_total) FROM omnichannel.quote_basket_lines(NULL, '{own,variant,sorted,promoted}', '{1,1,1,1}', at => '2031-01-01') HAVING sum(line_total) <> 40000;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO public.wrong SELECT sum((omnichannel.quote(NULL, code, at => '2031-01-01')).unit_price) FROM unnest('{own,variant,sorted,promoted}'::text[]) AS code
HAVING sum((omnichannel.quote(NULL, code, at => '2031-01-01')).unit_price) <> 40000;
COMMIT;
SELECT amount AS before FROM omnichannel.price WHERE product = 'own' \gset
SELECT unit_price AS asked FROM omnichannel.quote(NULL, 'own', at => '2031-01-01') \gset
SELECT amount AS after FROM omnichannel.price WHERE product = 'own' \gset
INSERT INTO public.wrong SELECT :asked::numeric WHERE :asked::numeric NOT BETWEEN :before::numeric AND :after::numeric;
},
	catalogue => q{
INSERT INTO public.wrong SELECT count(DISTINCT unit_price) FROM (
	SELECT CASE WHEN substr(product, 2)::integer % 10000 = 0 THEN 100 - unit_price ELSE unit_price END AS unit_price
	FROM omnichannel.catalogue_prices(NULL, at => '2031-01-01') WHERE product LIKE 'q%') AS priced
HAVING count(DISTINCT unit_price) > 1;
},
	page => q{
INSERT INTO public.wrong SELECT count(DISTINCT unit_price) FROM omnichannel.quotes(NULL, (SELECT array_agg('p' || n) FROM generate_series(2, 2000) AS n), at => '2031-01-01')
HAVING count(DISTINCT unit_price) > 1;
});
append_to_file($node->basedir . "/$_.sql", $script{$_}) foreach keys %script;
my @pgbench = ('pgbench', '-n', '-h', $node->host, '-p', $node->port, '-T', '4', 'postgres');
foreach my $pair ([ 'shift', 'sum' ], [ 'swap', 'ask' ], [ 'flip', 'page' ], [ 'raise', 'repeat' ], [ 'move', 'catalogue' ])
{
	my ($writer, $reader) = @$pair;
	my $handle = IPC::Run::start([ @pgbench, '-R', '200', '-f', $node->basedir . "/$writer.sql" ], '>', \my $out, '2>', \my $err);
	$node->command_ok([ 'pgbench', '-n', '-c', '2', '-T', '3', '-f', $node->basedir . "/$reader.sql", 'postgres' ], "$reader beside $writer");
	$handle->finish;
	is($node->safe_psql('postgres', 'SELECT coalesce(sum(n), 0) FROM public.wrong'), '0', "no answer of $reader mixes states");
	$node->safe_psql('postgres', 'TRUNCATE public.wrong');
}
$node->stop;
done_testing();
