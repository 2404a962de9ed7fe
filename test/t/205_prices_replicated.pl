# A logical replica of the tables that prices follow from, beside sessions that change prices: its sessions answer as
# the publisher does, of now and of the past, and quotes that were locked beside changes under way are verified there.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = omni_node('publisher', allows_streaming => 'logical', conf => 'fsync = off');
my $subscriber = omni_node('subscriber', allows_streaming => 'logical', conf => 'fsync = off');
my @tables = map { "omnichannel.$_" } qw(company coupon currency customer locked_quote omnibus_rule price price_change price_correction price_list
  product promotion promotion_total promotion_use promotion_used_up segment segment_member);
my $tables = join(', ', @tables);

omni_setup($_) foreach $publisher, $subscriber;
# The seed rows come from the publisher.
$subscriber->safe_psql('postgres', "TRUNCATE $tables CASCADE");
$publisher->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO customer (customer_id) VALUES (1), (2);
	INSERT INTO segment (segment) VALUES ('club');
	INSERT INTO product (product, tax_rate, min_price) SELECT 'p' || i, 23, 5 FROM generate_series(1, 20) AS i;
	INSERT INTO price_list (price_list, kind, priority, segments_any) VALUES ('shop', 'base', 0, '{}'), ('sale', 'sale', 1, '{club}');
	INSERT INTO price_list (price_list, kind, priority, derived_from, derived_adjust, segments_any) VALUES ('trade', 'override', 2, 'shop', -10, '{club}');
	INSERT INTO price (price_list, product, amount) SELECT 'shop', 'p' || i, 10 + i FROM generate_series(1, 20) AS i;
	INSERT INTO price (price_list, everything, adjust) VALUES ('sale', true, -25);
	INSERT INTO promotion (promotion, kind, value, use_limit, customer_limit) VALUES ('few', 'percent', 10, 1000, NULL), ('once', 'amount', 1, NULL, 1);
	INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
	CREATE TABLE public.asked (at timestamptz);
});
$publisher->safe_psql('postgres', "CREATE PUBLICATION prices FOR TABLE $tables");
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION prices CONNECTION '$connection' PUBLICATION prices");
$subscriber->wait_for_subscription_sync($publisher, 'prices');

my $warm = $subscriber->background_psql('postgres');
my $all = q{SELECT jsonb_agg(quoted ORDER BY c, product) FROM unnest('{1,2,NULL}'::bigint[]) AS c, LATERAL omnichannel.catalogue_prices(c) AS quoted};
is(value($warm, $all =~ s/quoted ORDER/to_jsonb(quoted) - '{valid_until}'::text[] ORDER/r), $publisher->safe_psql('postgres', $all =~ s/quoted ORDER/to_jsonb(quoted) - '{valid_until}'::text[] ORDER/r), 'the replica answers the same');

# Prices, lists, members and uses change, several at a time.
my %script = (
	price => q{
\set n random(1, 20)
\set amount random(6, 40)
BEGIN;
UPDATE omnichannel.price SET amount = :amount WHERE price_list = 'shop' AND product = 'p' || :n AND upper_inf(valid);
INSERT INTO public.asked VALUES (clock_timestamp());
COMMIT;
}, list => q{
\set adjust random(5, 40)
BEGIN;
UPDATE omnichannel.price_list SET derived_adjust = -:adjust WHERE price_list = 'trade';
COMMIT;
UPDATE omnichannel.price SET adjust = -:adjust WHERE price_list = 'sale' AND upper_inf(valid);
}, uses => q{
\set c random(1, 2)
\set order random(1, 1000000000)
SELECT omnichannel.reserve_use('few', 'order ' || :order, :c);
SELECT omnichannel.reserve_use('once', 'order ' || :order, :c);
SELECT omnichannel.release_use('order ' || :order);
}, members => q{
UPDATE omnichannel.segment_member SET valid = tstzrange(lower(valid), now()) WHERE customer_id = 1 AND upper_inf(valid) AND lower(valid) < now();
INSERT INTO omnichannel.segment_member (customer_id, segment) VALUES (1, 'club') ON CONFLICT DO NOTHING;
});
my @scripts;
foreach my $name (sort keys %script)
{
	append_to_file($publisher->basedir . "/$name.sql", $script{$name});
	push @scripts, '-f', $publisher->basedir . "/$name.sql";
}
# Who derives a list anew, or ends what has begun since, may have to begin again.
$publisher->command_ok([ 'pgbench', '-n', '-c', '4', '-j', '2', '-t', '40', '--max-tries=100', @scripts, 'postgres' ], 'prices change');
$publisher->wait_for_catchup('prices');

my $then = join(', ', map {"'$_'"} split /\n/, $publisher->safe_psql('postgres', 'SELECT at FROM public.asked ORDER BY at'));
my $past = qq{SELECT md5(jsonb_agg(quoted ORDER BY moment, c, product)::text) FROM unnest(ARRAY[$then]::timestamptz[]) AS moment, unnest('{1,2,NULL}'::bigint[]) AS c,
	LATERAL omnichannel.quotes(c, '{p1,p7,p20}', at => moment) AS quoted};
is(value($warm, $past), $publisher->safe_psql('postgres', $past), 'a warm session of the replica answers the same of each moment');
is($subscriber->safe_psql('postgres', $past), value($warm, $past), 'and so does a new one');

# Between a change and its commit, and then in the way of another one.
my $writer = $publisher->background_psql('postgres');
$writer->query_safe(q{SELECT pg_sleep(1.1); BEGIN; UPDATE omnichannel.price SET amount = 99 WHERE price_list = 'shop' AND product = 'p1' AND upper_inf(valid); SELECT omnichannel.reserve_use('once', 'last', 2); SELECT pg_sleep(1.1)});
$publisher->safe_psql('postgres', q{SELECT omnichannel.lock_quote(2, 'p1', key => 'between')});
$writer->query_safe('COMMIT');
$writer->quit;
$publisher->safe_psql('postgres', q{SELECT omnichannel.lock_quote(2, 'p1', key => 'after')});
$publisher->wait_for_catchup('prices');
my $verified = q{SELECT held.key, verified.same, (verified.recomputed).unit_price FROM omnichannel.locked_quote AS held, omnichannel.verify_quote(held.quote_id) AS verified ORDER BY held.quote_id};
like($publisher->safe_psql('postgres', $verified), qr/^between\|t\|[0-9.]+\nafter\|t\|89\.10$/, 'quotes that were locked beside the changes are right');
is($subscriber->safe_psql('postgres', $verified), $publisher->safe_psql('postgres', $verified), 'and are found so on the replica');
my $counts = q{SELECT (SELECT count(*) FROM omnichannel.price), (SELECT count(*) FROM omnichannel.price_change), (SELECT count(*) FROM omnichannel.price_correction)};
is($subscriber->safe_psql('postgres', $counts), $publisher->safe_psql('postgres', $counts), 'triggers add nothing there');
$warm->quit;
done_testing();
