-- What channels have shown, compared with the engine's answers of that moment.
BEGIN;
SELECT no_plan();
SET LOCAL search_path = omnichannel, public;
CREATE ROLE shower;
CREATE ROLE analyst;
SELECT grant_access('shower', 'app');
SELECT grant_access('analyst', 'bi');
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO segment (segment) VALUES ('club'), ('staff');
INSERT INTO segment_member (customer_id, segment, valid) VALUES (1, 'club', tstzrange(NULL, NULL));
INSERT INTO product (product, tax_rate) VALUES ('p', 23), ('none', NULL);
INSERT INTO price_list (price_list, kind, segments_any, priority) VALUES ('base', 'base', '{}', 0), ('sale', 'sale', '{}', 1), ('club', 'sale', '{club}', 2), ('staff', 'sale', '{staff}', 3);
-- 90 until ten days ago, 100 since, 110 from tomorrow on; on sale for 80 until yesterday; club 70, staff 50; from 10 pieces on 60
SET LOCAL session_replication_role = replica;
UPDATE price_list SET active = '{(,)}';
INSERT INTO price (price_list, product, amount, min_quantity, valid) VALUES
	('base', 'p', 90, 0, tstzrange(NULL, now() - interval '10 days')), ('base', 'p', 100, 0, tstzrange(now() - interval '10 days', now() + interval '1 day')),
	('base', 'p', 110, 0, tstzrange(now() + interval '1 day', NULL)), ('base', 'p', 60, 10, tstzrange(NULL, NULL)),
	('sale', 'p', 80, 0, tstzrange(now() - interval '5 days', now() - interval '1 day')),
	('club', 'p', 70, 0, tstzrange(now() - interval '1 hour', NULL)), ('staff', 'p', 50, 0, tstzrange(NULL, NULL));
SET LOCAL session_replication_role = origin;
INSERT INTO promotion (promotion, kind, value, needs_coupon, valid) VALUES ('tenth', 'percent', 10, true, '(,)');
INSERT INTO coupon (coupon, promotion, valid) VALUES ('TEN', 'tenth', '(,)');

SET LOCAL ROLE shower;
SELECT lock_quote(NULL, 'p', key => 'shown') AS quote_id \gset
SELECT lock_quote(NULL, 'p', hold => '1 second', key => 'brief') AS brief \gset
SELECT is(shown_price('chat', 'p', 100), true, 'right');
SELECT is(shown_price('app', 'p', 70, 1), true, 'right for the customer');
SELECT is(shown_price('app', 'p', 90, coupons => '{ten}'), true, 'right with the coupon');
SELECT is(shown_price('app', 'p', 100, quote_id => :quote_id, at => now() + interval '0 seconds'), true, 'right by the quote');
SELECT shown_price('app', 'p', 80, place => 'stale');
SELECT shown_price('app', 'p', 90, place => 'older');
SELECT shown_price('app', 'p', 100, 1, place => 'anonymous');
SELECT shown_price('app', 'p', 50, place => 'segment');
SELECT shown_price('app', 'p', 70, 1, 10, place => 'single');
SELECT shown_price('app', 'p', 81.30, place => 'net');
SELECT shown_price('branch', 'p', 110, place => 'early');
SELECT shown_price('app', 'p', 99.99, place => 'rounded');
SELECT shown_price('app', 'p', 100, coupons => '{ten}', place => 'coupon');
SELECT shown_price('app', 'p', 3, place => 'unknown');
SELECT shown_price('app', 'none', 3, place => 'no price');
SELECT shown_price('app', 'gone', 3, place => 'product');
SELECT shown_price('app', 'p', 3, 99, place => 'customer');
SELECT shown_price('app', 'p', 3, currency => 'QQQ', place => 'currency');
SELECT shown_price('app', 'p', 99, quote_id => :quote_id, place => 'quote');
SELECT shown_price('app', 'p', 80, at => now() - interval '2 days', place => 'right then');
SELECT is(shown_price('app', 'p', 1, sample => 0), false, 'not in the sample');
SELECT throws_ok($$SELECT shown_price('telex', 'p', 1)$$, '23503', NULL, 'unknown channel');
SELECT throws_ok($$SELECT shown_price('app', 'p', -1)$$, '22023', NULL, 'negative price');
SELECT throws_ok($$SELECT shown_price('app', 'p', 'NaN')$$, '22023', NULL, 'no number');
SELECT throws_ok($$SELECT shown_price('app', 'p', 1, quantity => 0)$$, '22023', NULL, 'no quantity');
SELECT throws_ok($$SELECT shown_price('app', 'p', 1, at => 'infinity')$$, '22023', NULL, 'no moment');
SELECT throws_ok($$SELECT shown_price('app', 'p', 1, at => '4713-01-01 00:00 BC')$$, '22023', NULL, 'a moment before all channels');
SELECT throws_ok($$SELECT shown_price('app', NULL, 1)$$, '22023', NULL, 'no product');
SELECT throws_ok($$SELECT shown_price('app', 'p', 1, sample => 2)$$, '22023', NULL, 'no sample');
SELECT throws_ok($$SELECT check_shown_prices(-1)$$, '22023', NULL, 'no rows');
RESET ROLE;

SELECT is((SELECT count(*) FROM report_price_divergence), 0::bigint, 'nothing is checked yet');
SELECT throws_ok($$SELECT check_shown_prices(max_time => '-1 second')$$, '22023', NULL, 'no time');
SELECT is(check_shown_prices(max_time => '0'), 1::bigint, 'at least one');
SELECT is(check_shown_prices(2, '1 hour'), 2::bigint, 'not more than asked for');
SELECT is(tick_prices(), 17::bigint, 'tick() checks all');
SELECT is(check_shown_prices(), 0::bigint, 'once');
SELECT is((SELECT count(*) FROM shown_price WHERE cause IS NULL), 5::bigint, 'what was right is not reported');
SET LOCAL ROLE analyst;
SELECT is(likely_cause, expected_cause, place) FROM report_price_divergence RIGHT JOIN (VALUES
	('stale', 'stale: the price until ' || now() - interval '1 day'), ('older', 'stale: the price until ' || now() - interval '10 days'),
	('anonymous', 'stale: the price until ' || now() - interval '1 hour'), ('segment', 'price of segment staff'), ('single', 'price of a single unit'),
	('net', 'shown without tax'), ('early', 'too early: the price from ' || now() + interval '1 day' || ' on'), ('rounded', 'rounded otherwise'),
	('coupon', 'coupon left out'), ('unknown', 'not known'), ('no price', 'no price: no price list has a price for it yet'), ('product', 'product not known'),
	('customer', 'customer not known'), ('currency', 'currency not known'), ('quote', 'not the price of locked quote ' || :quote_id)) AS v (place, expected_cause) USING (place);
SELECT results_eq('SELECT cause_code, count(*) FROM report_price_divergence GROUP BY 1 ORDER BY cause_code COLLATE "C"', $$VALUES ('coupon', 1::bigint), ('early', 1), ('locked_quote', 1),
	('no_price', 1), ('not_known', 1), ('quantity', 1), ('rounding', 1), ('segment', 1), ('stale', 3), ('tax', 1), ('unknown_code', 3)$$, 'by their codes');
SELECT results_eq('SELECT channel, sum(displayed), sum(checked), sum(different) FROM report_price_day GROUP BY 1 ORDER BY 1', $$VALUES ('app', 18::numeric, 18::numeric, 14::numeric),
	('branch', 1, 1, 1), ('chat', 1, 1, 0)$$, 'and how many were checked');
SELECT throws_ok('SELECT * FROM shown_price', '42501', NULL, 'an analyst reads the report only');
RESET ROLE;

-- what is shown of another quantity, of segments together or of a promotion's, after a promotion is used up, or with a coupon that ended or was used
INSERT INTO segment (segment) VALUES ('gold');
INSERT INTO product (product) VALUES ('s');
INSERT INTO price_list (price_list, kind, segments_all, priority) VALUES ('both', 'override', '{club,staff}', 9);
INSERT INTO price (price_list, product, amount, valid) VALUES ('base', 's', 200, '(,)'), ('both', 's', 170, '(,)');
INSERT INTO price (price_list, product, min_quantity, amount, valid) VALUES ('base', 's', 4, 120, '(,)');
INSERT INTO promotion (promotion, kind, value, needs_coupon, segments_any, products, use_limit, valid) VALUES ('fifth', 'percent', 5, true, '{}', '{s}', NULL, '(,)'),
	('gold', 'percent', 20, false, '{gold}', '{s}', NULL, '(,)'), ('few', 'percent', 30, false, '{}', '{s}', 5, '(,)');
INSERT INTO promotion_used_up (promotion, since) VALUES ('few', now() - interval '2 hours');
INSERT INTO coupon (coupon, promotion, use_limit, uses, valid) VALUES ('OLD', 'fifth', NULL, 0, tstzrange(NULL, now() - interval '1 hour')), ('GONE', 'fifth', 1, 1, '(,)');
INSERT INTO promotion_use (key, promotion, coupon, amount, state, reserved_at, expires_at) VALUES ('gone', 'fifth', 'GONE', 1, 'committed', now() - interval '30 minutes', now());
SELECT is(shown.cause, told, told || ': ' || price) FROM (VALUES (120, 1, '{}'::text[], 'price of 4 units'), (200, 4, '{}', 'price of a single unit'), (480, 4, '{}', 'price of the whole line'),
	(170, 1, '{}', 'price of segments club, staff'), (160, 1, '{}', 'price of segment gold'), (140, 1, '{}', 'stale: the price until ' || now() - interval '2 hours'),
	(190, 1, '{OLD}', 'coupon OLD, which did not hold any more'), (190, 1, '{GONE}', 'coupon GONE, which did not hold any more'), (190, 1, '{}', 'not known'), (200, 1, '{OLD}', NULL)) AS v (price, quantity, coupons, told),
	check_shown_price('s', price, NULL, quantity, 'PLN', coupons, NULL, now()) AS shown;
INSERT INTO coupon (coupon, promotion, valid) VALUES ('FRESH', 'tenth', tstzrange(now() - interval '1 hour', NULL));
SELECT is(shown.cause, 'coupon left out', 'which was not charged before either') FROM check_shown_price('p', 100, NULL, 1, 'PLN', '{FRESH}', NULL, now()) AS shown;

-- tax twice, a coupon that was not given, several units as one, another currency
INSERT INTO product (product, tax_rate) VALUES ('twice', 23), ('abroad', NULL);
INSERT INTO price_list (price_list, currency) VALUES ('euro', 'EUR');
INSERT INTO price (price_list, product, amount, min_quantity, valid) VALUES ('base', 'twice', 123, 0, '(,)'), ('base', 'twice', 101, 10, '(,)'), ('euro', 'twice', 30, 0, '(,)'), ('euro', 'abroad', 7, 0, '(,)');
INSERT INTO promotion (promotion, kind, value, needs_coupon, products, valid) VALUES ('welcome', 'percent', 15, true, '{twice}', '(,)'), ('mine', 'percent', 20, true, '{twice}', '(,)');
INSERT INTO coupon (coupon, promotion, batch, customer_id, use_limit, valid) SELECT 'HI' || i, 'welcome', '1', NULL, 1, '(,)' FROM generate_series(1, 300) AS i;
INSERT INTO coupon (coupon, promotion, customer_id, valid) VALUES ('MINE', 'mine', 1, '(,)');
SELECT is(shown.cause, told, told || ': ' || price) FROM (VALUES ('twice', 151.29, 1, NULL, 'tax added twice'), ('twice', 81.30, 1, NULL, 'tax taken out twice'),
	('twice', 100, 1, NULL, 'shown without tax'), ('twice', 104.55, 1, NULL, 'price with a coupon for promotion welcome, and none was given'),
	('twice', 98.40, 1, 1::bigint, 'price with a coupon for promotion mine, and none was given'), ('twice', 98.40, 1, NULL, 'not known'),
	('twice', 1010, 10, NULL, 'price of the whole line'), ('twice', 1230, 10, NULL, 'price of the whole line, as 10 single units'), ('twice', 123, 10, NULL, 'price of a single unit'),
	('twice', 1230, 1, NULL, 'price of 10 units together'), ('twice', 30, 1, NULL, 'price in EUR'), ('twice', 31, 1, NULL, 'not known'),
	('abroad', 7, 1, NULL, 'price in EUR'), ('abroad', 8, 1, NULL, 'no price: it has no price in PLN')) AS v (product, price, quantity, customer_id, told),
	check_shown_price(product, price, customer_id, quantity, 'PLN', '{}', NULL, now()) AS shown;

-- units of different prices: what is displayed is the line, what is reported its mean, rounded or not
INSERT INTO product (product) VALUES ('free');
INSERT INTO price (price_list, product, amount, valid) VALUES ('base', 'free', 500, '(,)');
INSERT INTO promotion (promotion, kind, value, buy_quantity, get_quantity, products, valid) VALUES ('third', 'buy_get', 100, 2, 1, '{free}', '(,)');
SELECT is(ROW(unit_price, line_total)::text, '(,1000.00)', 'no price of one unit') FROM quote(NULL, 'free', 3);
SELECT is(ROW(shown.expected, shown.cause, divergence_code(shown.cause))::text, ROW(333.33, told, code)::text, price || ' of free') FROM (VALUES (333.33, NULL, NULL), (333.333333, NULL, NULL),
	(333.34, 'rounded otherwise', 'rounding'), (500, 'price of a single unit', 'quantity'), (1000, 'price of the whole line', 'quantity'), (123.45, 'not known', 'not_known')) AS v (price, told, code),
	check_shown_price('free', price, NULL, 3, 'PLN', '{}', NULL, now()) AS shown;
SELECT lock_quote(NULL, 'free', 3) AS third \gset
SELECT is(ROW(shown.expected, shown.cause)::text, ROW(333.33, told)::text, price || ' of a locked quote') FROM (VALUES (333.33, NULL), (333.3333, NULL), (500, 'not the price of locked quote ' || :third)) AS v (price, told),
	check_shown_price('free', price, NULL, 3, 'PLN', '{}', :third, now()) AS shown;
SELECT is(divergence_code(cause), code, cause) FROM (VALUES ('list price shown instead of the reduced one', 'list_price'), ('tax added twice', 'tax'), ('price in EUR', 'currency'),
	('price of an unknown visitor', 'visitor'), ('price of segment coupon', 'segment'), ('coupon locked quote , which did not hold any more', 'coupon'), ('price with a coupon for promotion x, and none was given', 'coupon'),
	('locked quote 1 did not hold then', 'locked_quote'), ('cannot be checked: x', 'not_checked'), ('coupon not known', 'unknown_code'), (NULL, NULL)) AS v (cause, code);

-- a locked quote is right for whoever it was made for, and for what
INSERT INTO customer (customer_id) VALUES (901), (902), (903);
UPDATE customer SET merged_into = 901 WHERE customer_id = 903;
INSERT INTO segment (segment) VALUES ('own');
INSERT INTO segment_member (customer_id, segment) VALUES (901, 'own');
INSERT INTO product (product) VALUES ('held');
INSERT INTO price_list (price_list, kind, priority, segments_any, currency) VALUES ('held', 'base', 0, '{}', 'PLN'), ('held own', 'override', 9, '{own}', 'PLN'), ('held eur', 'base', 0, '{}', 'EUR');
INSERT INTO price (price_list, product, amount, min_quantity) VALUES ('held', 'held', 100, 0), ('held', 'held', 8, 10), ('held own', 'held', 1, 0), ('held eur', 'held', 7, 0);
SELECT lock_quote(901, 'held') AS own, lock_quote(NULL, 'held', 10) AS ten, lock_quote(NULL, 'held', 1, 'EUR') AS euro \gset
SELECT shown_price('app', 'held', 1, 902, quote_id => :own, place => 'held'), shown_price('app', 'held', 1, quote_id => :own, place => 'held'),
	shown_price('app', 'held', 8, quote_id => :ten, place => 'held'), shown_price('app', 'held', 7, currency => 'PLN', quote_id => :euro, place => 'held'),
	shown_price('app', 'held', 1, 903, quote_id => :own, place => 'fits'), shown_price('app', 'held', 8, 902, 10, quote_id => :ten, place => 'fits'),
	shown_price('app', 'held', 7, 901, currency => 'EUR', quote_id => :euro, place => 'fits') \g /dev/null
SELECT check_shown_prices() \g /dev/null
SELECT results_eq($$SELECT place, expected, count(*) FROM shown_price WHERE place IN ('held', 'fits') AND (cause LIKE 'locked quote % is for another%' OR cause IS NULL) GROUP BY 1, 2 ORDER BY 1, 2$$,
	$$VALUES ('fits', 1.00, 1::bigint), ('fits', 7.00, 1), ('fits', 8.00, 1), ('held', 100.00, 4)$$, 'the quotes of others are not theirs');
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 'report_price_divergence'::regclass AND attname LIKE '%customer%'), 0::bigint, 'which names no customer');
CREATE TABLE shown_price_2131 PARTITION OF shown_price FOR VALUES FROM ('2131-01-01') TO ('2132-01-01');
INSERT INTO shown_price (shown_at, channel, product, price) VALUES ('2131-05-05', 'app', 'p', 1);
SELECT is((SELECT count(*) FROM shown_price_2131), 1::bigint, 'partitioned by time');
SELECT is(check_shown_prices(), 0::bigint, 'what lies in the future waits');
SELECT * FROM finish();
ROLLBACK;
