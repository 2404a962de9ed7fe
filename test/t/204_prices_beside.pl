# Prices beside others who change them: uses and prepared changes under way, reservations that expire while 64 sessions
# compete for them, a standby that reads, and a dump that is restored with all of its past.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('beside', allows_streaming => 1, conf => "max_connections = 100\nfsync = off\nmax_prepared_transactions = 5\n");
omni_setup($node);
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO product (product, tax_rate) VALUES ('a', 23), ('b', 8);
	INSERT INTO price_list (price_list) VALUES ('shop');
	INSERT INTO price (price_list, product, amount) VALUES ('shop', 'a', 100), ('shop', 'b', 200);
	INSERT INTO promotion (promotion, kind, value, use_limit, products) VALUES ('one', 'percent', 10, 1, '{a}'), ('many', 'percent', 20, 200, '{b}');
	SELECT pg_sleep(1.1);
});
my $verify = q{SELECT same, reason FROM omnichannel.locked_quote, omnichannel.verify_quote(quote_id) WHERE key = };
my $shown = q{SELECT cause FROM omnichannel.locked_quote AS held, omnichannel.check_shown_price('a', held.unit_price, NULL, 1, 'PLN', '{}', NULL, held.locked_at) WHERE key = };
my $reader = $node->background_psql('postgres');
my $writer = $node->background_psql('postgres');
my $quote = q{SELECT unit_price FROM omnichannel.quote(NULL, 'a')};
my $lock = q{SELECT quote_id IS NOT NULL FROM omnichannel.lock_quote(NULL, 'a', key => '%s') AS quote_id};

# The last use of a promotion is reserved, and nobody knows yet.
$writer->query_safe(q{BEGIN; SELECT omnichannel.reserve_use('one', 'k', amount => 10)});
is(value($reader, $quote), '90.00', 'what is being used up is there for others');
value($reader, sprintf($lock, 'used'));
$writer->query_safe('COMMIT');
is(value($reader, $quote), '100.00', 'and is not afterwards');
is($node->safe_psql('postgres', "$verify 'used'"), 't|the same price as before a change that was under way', 'the quote of between is right');
is($node->safe_psql('postgres', "$shown 'used'"), '', 'and so is the price that was shown');
$writer->query_safe(q{BEGIN; SELECT omnichannel.release_use('k')});
is(value($reader, $quote), '100.00', 'what is being given back is not there yet');
value($reader, sprintf($lock, 'given'));
$writer->query_safe('COMMIT');
is(value($reader, $quote), '90.00', 'and is afterwards');
is($node->safe_psql('postgres', "$verify 'given'"), 't|the same price as before a change that was under way', 'the quote of between is right too');

# A change that is prepared is seen when it is committed, by whomever.
$writer->query_safe(q{BEGIN; UPDATE omnichannel.price SET amount = 120 WHERE product = 'a'; SELECT omnichannel.reserve_use('one', 'p', amount => 12); PREPARE TRANSACTION 'later'});
is(value($reader, $quote), '90.00', 'a prepared change is not seen');
is($node->safe_psql('postgres', $quote), '90.00', 'by a session that is new neither');
$node->restart;
$reader->quit;
$writer->quit;
$reader = $node->background_psql('postgres');
is(value($reader, $quote), '90.00', 'nor after a restart');
$node->safe_psql('postgres', 'SELECT pg_sleep(1.5)');
value($reader, sprintf($lock, 'prepared'));
$node->safe_psql('postgres', q{COMMIT PREPARED 'later'});
is(value($reader, $quote), '120.00', 'it is when another session commits it');
is($node->safe_psql('postgres', "$verify 'prepared'"), 't|the same price as before a change that was under way', 'the quote of between is right, however long that was');
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.price_change WHERE seen_at IS NULL'), '1', 'when it was seen nobody knows');
$node->safe_psql('postgres', "CREATE ROLE sweeper; SELECT omnichannel.grant_access('sweeper', 'supervisor'); SET ROLE sweeper; SELECT omnichannel.tick()");
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.price_change WHERE seen_at IS NULL'), '0', 'but tick(), a supervisor\'s too');
$node->safe_psql('postgres', q{BEGIN; UPDATE omnichannel.price SET amount = 150 WHERE product = 'a'; SELECT omnichannel.release_use('p'); PREPARE TRANSACTION 'never'});
is(value($reader, $quote), '120.00', 'prepared again');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'never'});
is(value($reader, $quote), '120.00', 'and rolled back');
is($node->safe_psql('postgres', q{SELECT uses FROM omnichannel.promotion_total WHERE promotion = 'one'}), '1', 'with its uses');

# Reservations that expire while others compete for what they hold.
my $script = $node->basedir . '/reserve.sql';
append_to_file($script, q{
SELECT omnichannel.reserve_use('many', :client_id || '/' || clock_timestamp(), amount => 1, hold => interval '20 ms');
});
my $sweep = $node->basedir . '/sweep.sql';
append_to_file($sweep, q{
SELECT omnichannel.tick();
SELECT 1 / (uses <= 200)::int FROM omnichannel.promotion_total WHERE promotion = 'many';
});
my $sum = q{SELECT uses, spent, uses = (SELECT count(*) FROM omnichannel.promotion_use WHERE promotion = 'many' AND state <> 'released'), uses <= 200,
	(SELECT count(*) > 400 FROM omnichannel.promotion_use WHERE promotion = 'many')
FROM omnichannel.promotion_total WHERE promotion = 'many'};
$node->command_ok([ 'pgbench', '-n', '-c', '64', '-j', '4', '-t', '60', '-f', "$script\@15", '-f', "$sweep\@1", 'postgres' ], '64 sessions reserve, and sweep');
like($node->safe_psql('postgres', $sum), qr/\|t\|t\|t$/, 'the sums agree, and what expired was used again');
$node->safe_psql('postgres', 'SELECT pg_sleep(0.1); SELECT omnichannel.tick()');
like($node->safe_psql('postgres', $sum), qr/^0\|0(\.\d+)?\|t\|t\|t$/, 'all of it comes back');
is($node->safe_psql('postgres', q{SELECT unit_price FROM omnichannel.quote(NULL, 'b')}), '160.00', 'and is on offer');

# A standby reads while the primary changes lists and prices together: list x costs 100, y 1, and x is the first, or the other way round.
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO product (product) VALUES ('s');
	INSERT INTO price_list (price_list, priority) VALUES ('x', 1), ('y', 0);
	INSERT INTO price (price_list, product, amount, valid) VALUES ('x', 's', 100, '[2030-01-01,)'), ('y', 's', 1, '[2030-01-01,)');
});
my $standby = omni_standby($node, 'reader');
my $change = $node->basedir . '/change.sql';
append_to_file($change, q{
BEGIN;
UPDATE omnichannel.price SET amount = 101 - amount WHERE product = 's';
UPDATE omnichannel.price_list SET priority = 1 - priority WHERE price_list IN ('x', 'y');
COMMIT;
});
my $read = $node->basedir . '/read.sql';
append_to_file($read, q{
SELECT 1 / (unit_price = 100)::int FROM omnichannel.quote(NULL, 's', at => '2031-01-01');
SELECT 1 / (count(*) = 1)::int FROM omnichannel.catalogue_prices(NULL, at => '2031-01-01') WHERE unit_price = 100;
});
my $changing = IPC::Run::start([ 'pgbench', '-n', '-c', '1', '-T', '5', '-f', $change, '-h', $node->host, '-p', $node->port, 'postgres' ], '>', '/dev/null', '2>&1');
$standby->command_ok([ 'pgbench', '-n', '-c', '6', '-j', '2', '-T', '5', '-f', $read, 'postgres' ], 'no answer of a standby mixes what was before with what is after');
ok($changing->finish, 'while the primary changes');

# What was answered for the past is answered after a dump and a restore.
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO segment (segment) VALUES ('club');
	INSERT INTO customer (customer_id) VALUES (1);
	INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
	INSERT INTO price_list (price_list, kind, derived_from, derived_adjust, segments_any) VALUES ('club', 'override', 'shop', -10, '{club}');
	INSERT INTO price_list (price_list, kind, derived_from, derived_surcharge, priority, segments_any) VALUES ('deeper', 'override', 'club', -1, -1, '{club}');
	SELECT lock_quote(1, 'b', key => 'past');
	UPDATE promotion SET customer_limit = 1 WHERE promotion = 'many';
});
$node->safe_psql('postgres', $_)
  foreach q{UPDATE omnichannel.price SET amount = 210 WHERE product = 'b' AND price_list = 'shop'},
  q{UPDATE omnichannel.price_list SET derived_adjust = -20 WHERE price_list = 'club'}, q{SELECT omnichannel.reserve_use('many', 'u', customer_id => 1, amount => 5)},
  q{INSERT INTO omnichannel.price (price_list, product, amount, valid) VALUES ('shop', 'b', 190, tstzrange('2020-01-01', '2020-02-01'))},
  q{UPDATE omnichannel.price_list SET status = 'retired' WHERE price_list = 'deeper'}, q{SELECT omnichannel.commit_use('u')},
  q{UPDATE omnichannel.segment_member SET valid = tstzrange(lower(valid), now())}, q{SELECT omnichannel.release_use('u')};
my $past = q{SELECT jsonb_agg(jsonb_build_array(moment, c, quoted) ORDER BY moment, c, product) FROM (
	SELECT changed_at FROM omnichannel.price_change UNION SELECT reserved_at FROM omnichannel.promotion_use WHERE key IN ('u', 'k', 'p') UNION SELECT '2020-01-15') AS change (at),
	unnest(ARRAY[change.at, change.at + interval '1 microsecond', change.at - interval '1 microsecond']) AS moment, unnest('{1,NULL}'::bigint[]) AS c,
	LATERAL omnichannel.quotes(c, '{a,b,s}', at => moment) AS quoted};
my $more = q{SELECT (SELECT jsonb_agg(verified) FROM (SELECT * FROM omnichannel.locked_quote ORDER BY quote_id) AS held, omnichannel.verify_quote(held.quote_id) AS verified),
	(SELECT jsonb_agg(correction ORDER BY correction_id) FROM omnichannel.price_correction AS correction), (SELECT jsonb_agg(total ORDER BY promotion) FROM omnichannel.promotion_total AS total)};
my @before = map { $node->safe_psql('postgres', $_) } $past, $more;
like($before[0], qr/"unit_price": 1[0-9][0-9]\.[0-9][0-9].*"price_list": "club"/, 'there is a past of derived lists');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/prices.dump', 'postgres' ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', 'restored', $node->basedir . '/prices.dump' ], 'restore');
my @after = map { $node->safe_psql('restored', $_) } $past, $more;
ok($after[0] eq $before[0], 'the past answers the same');
is($after[1], $before[1], 'quotes that were locked, corrections and uses too');
is($node->safe_psql('restored', q{UPDATE omnichannel.price SET amount = 300 WHERE product = 'b' AND price_list = 'shop' AND upper(valid) IS NULL;
	SELECT amount FROM omnichannel.price WHERE price_list = 'club' AND product = 'b' AND upper(valid) IS NULL}), '240', 'and what is derived goes on');
$reader->quit;
$standby->stop;

# A session remembers in which buffers it found pages; here there are few of them, so that each mostly has another page
# by now, of another table or of a file that has been replaced.
$node->append_conf('postgresql.conf', "shared_buffers = 1MB");
$node->restart;
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	CREATE TABLE public.answer (product text PRIMARY KEY, amount numeric) WITH (autovacuum_enabled = off);
	INSERT INTO price_list (price_list, priority) VALUES ('page', 1);
	INSERT INTO product (product) SELECT 'page' || n FROM generate_series(1, 3000) AS n;
	INSERT INTO price (price_list, product, amount) SELECT 'page', 'page' || n, n FROM generate_series(1, 3000) AS n;
	INSERT INTO public.answer SELECT product, amount FROM price WHERE price_list = 'page';
	CREATE FUNCTION public.wrong(round integer) RETURNS bigint LANGUAGE sql AS $$
		UPDATE omnichannel.segment SET name = coalesce(name, '') || '.';
		SELECT count(*) FROM (SELECT * FROM public.answer ORDER BY hashtextextended(product, round)) AS answer,
			LATERAL omnichannel.quote(NULL, answer.product) AS quote WHERE quote.unit_price IS DISTINCT FROM answer.amount
	$$;
});
my $asks = $node->background_psql('postgres');
my $again = 0;
for my $change (q{SELECT}, q{SELECT}, q{VACUUM FULL omnichannel.price}, q{REINDEX TABLE omnichannel.price}, q{VACUUM FULL omnichannel.product},
	q{UPDATE omnichannel.price SET amount = amount + 5000 WHERE price_list = 'page'; UPDATE public.answer SET amount = amount + 5000},
	q{BEGIN; TRUNCATE omnichannel.price; UPDATE public.answer SET amount = NULL; COMMIT}, q{INSERT INTO omnichannel.price (price_list, product, amount) SELECT 'page', product, 7 FROM public.answer; UPDATE public.answer SET amount = 7})
{
	$node->safe_psql('postgres', $_) foreach $change =~ /BEGIN/ ? $change : split /;/, $change;
	is(value($asks, 'SELECT public.wrong(' . $again++ . ')'), '0', "few buffers: $change");
}
$asks->quit;
$node->stop;
done_testing();
