-- Lists with and without tax beside each other.
BEGIN;
SELECT plan(29);
SET LOCAL search_path = omnichannel, public;
INSERT INTO product (product, tax_rate, min_price) VALUES ('cup', 23, NULL), ('book', NULL, NULL);
INSERT INTO price_list (price_list, kind, tax_inclusive) VALUES ('shop', 'base', true), ('trade', 'sale', false), ('firm', 'override', false);
INSERT INTO price (price_list, product, amount) VALUES ('shop', 'cup', 123), ('shop', 'book', 100);
CREATE FUNCTION pg_temp.said(product text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', price_list, list_price, unit_price, unit_net, unit_gross, CASE WHEN tax_inclusive THEN 'with' ELSE 'without' END)
	FROM omnichannel.quote(NULL, product) $$;
SELECT is(pg_temp.said('cup'), 'shop 123.00 123.00 100.00 123.00 with', 'the base price');

INSERT INTO price (price_list, product, amount) VALUES ('trade', 'cup', 110);
SELECT is(pg_temp.said('cup'), 'shop 123.00 123.00 100.00 123.00 with', 'a sale that is dearer with its tax');
SELECT is(verdict, 'not lower') FROM explain_quote(NULL, 'cup') WHERE candidate = 'trade';
UPDATE price SET amount = 100 WHERE price_list = 'trade';
SELECT is(pg_temp.said('cup'), 'shop 123.00 123.00 100.00 123.00 with', 'or costs the same');
UPDATE price SET amount = 99.99 WHERE price_list = 'trade';
SELECT is(pg_temp.said('cup'), 'trade 100.00 99.99 99.99 122.99 without', 'a cheaper one: the list price as it would say it');
UPDATE price_list SET status = 'retired' WHERE price_list = 'shop';
INSERT INTO price_list (price_list, kind, tax_inclusive) VALUES ('net', 'base', false);
INSERT INTO price (price_list, product, amount) VALUES ('net', 'cup', 95);
UPDATE price_list SET tax_inclusive = true WHERE price_list = 'trade';
SELECT is(pg_temp.said('cup'), 'trade 116.85 99.99 81.29 99.99 with', 'the other way round');
DELETE FROM price WHERE price_list IN ('trade', 'net');
UPDATE price_list SET status = 'active' WHERE price_list = 'shop';

INSERT INTO price (price_list, product, adjust) VALUES ('firm', 'cup', -10);
SELECT is(pg_temp.said('cup'), 'firm 90.00 90.00 90.00 110.70 without', 'a percentage of what the base is without tax');
UPDATE price SET amount = 130, adjust = NULL WHERE price_list = 'firm';
SELECT is(pg_temp.said('cup'), 'firm 130.00 130.00 130.00 159.90 without', 'an amount that replaces it');
INSERT INTO price (price_list, product, adjust) VALUES ('firm', 'book', -10);
SELECT is(pg_temp.said('book'), 'firm 90.00 90.00 90.00 90.00 without', 'without a rate they are the same');

-- among lists of one priority the cheaper one with tax
INSERT INTO price_list (price_list, kind, tax_inclusive, priority) VALUES ('a', 'override', false, 5), ('b', 'override', true, 5);
INSERT INTO price (price_list, product, amount) VALUES ('a', 'cup', 90), ('b', 'cup', 110);
SELECT is(pg_temp.said('cup'), 'b 110.00 110.00 89.43 110.00 with', 'a lower amount can be more');
UPDATE price SET amount = 89 WHERE price_list = 'a';
SELECT is(pg_temp.said('cup'), 'a 89.00 89.00 89.00 109.47 without', 'or less');
UPDATE price SET amount = CASE price_list WHEN 'a' THEN 100 ELSE 123 END WHERE price_list IN ('a', 'b');
SELECT is(pg_temp.said('cup'), 'a 100.00 100.00 100.00 123.00 without', 'the same: by code');

-- floors and promotions beside a base price with tax, charged without
DELETE FROM price;
INSERT INTO price (price_list, product, amount) VALUES ('shop', 'cup', 123), ('trade', 'cup', 70);
UPDATE price_list SET tax_inclusive = false WHERE price_list = 'trade';
UPDATE product SET min_price = 110 WHERE product = 'cup';
SELECT is(pg_temp.said('cup'), 'trade 100.00 89.43 89.43 110.00 without', 'a floor with tax');
UPDATE company SET tax_inclusive = false;
SELECT is(pg_temp.said('cup'), 'trade 100.00 100.00 100.00 123.00 without', 'without, it would be above the list price');
SELECT is(array_agg(key ORDER BY key), '{true}', 'which corrects the past') FROM price_correction WHERE relation = 'company';
UPDATE company SET tax_inclusive = NULL;
UPDATE product SET min_price = NULL, cost = 80, min_margin = 25 WHERE product = 'cup';
SELECT is(pg_temp.said('cup'), 'trade 100.00 81.30 81.30 100.00 without', 'cost and margin');
UPDATE product SET cost = NULL WHERE product = 'cup';
INSERT INTO promotion (promotion, kind, value) VALUES ('off', 'amount', 12.3);
SELECT is(pg_temp.said('cup'), 'trade 100.00 60.00 60.00 73.80 without', 'an amount off what the customer pays');
UPDATE promotion SET kind = 'fixed_price', value = 49.2;
SELECT is(pg_temp.said('cup'), 'trade 100.00 40.00 40.00 49.20 without', 'a fixed price');
UPDATE promotion SET kind = 'percent', value = 50, cap = 24.6;
SELECT is(pg_temp.said('cup'), 'trade 100.00 50.00 50.00 61.50 without', 'a cap');
UPDATE promotion SET kind = 'order_amount', value = 10, cap = NULL, min_subtotal = 186.11;
INSERT INTO price (price_list, product, amount) VALUES ('shop', 'book', 100);
SELECT is_empty($$SELECT FROM quote_basket(NULL, '[{"product": "cup"}, {"product": "book"}]') WHERE order_discount <> 0$$, 'a cent more is asked than it costs with tax');
UPDATE promotion SET min_subtotal = 186.1;
SELECT results_eq($$SELECT product, order_discount, line_total, line_net, line_gross, sum(line_gross) OVER () FROM quote_basket(NULL, '[{"product": "cup"}, {"product": "book"}]')$$,
	$$VALUES ('cup', 3.76, 66.24, 66.24, 81.47, 176.10), ('book', 5.37, 94.63, 94.63, 94.63, 176.10)$$, 'ten less, to the last cent');
DELETE FROM promotion;
DELETE FROM price WHERE price_list IN ('shop', 'trade');
UPDATE price_list SET tax_inclusive = true WHERE price_list = 'trade';

-- derived lists are as their source
SELECT throws_ok($$INSERT INTO price_list (price_list, derived_from) VALUES ('wrong', 'net')$$, '23514', 'price list "wrong" with tax cannot be derived from one without tax');
INSERT INTO price_list (price_list, derived_from, tax_inclusive, derived_adjust) VALUES ('right', 'net', false, 5);
SELECT throws_ok($$UPDATE price_list SET tax_inclusive = true WHERE price_list = 'right'$$, '23514', 'price list "right" with tax cannot be derived from one without tax');
SELECT throws_ok($$UPDATE price_list SET tax_inclusive = true WHERE price_list = 'net'$$, '23514', 'price list "right" has the currency and tax_inclusive of "net", which it is derived from');
SELECT throws_ok($$UPDATE price_list SET currency = 'EUR' WHERE price_list = 'net'$$, '23514', 'price list "right" has the currency and tax_inclusive of "net", which it is derived from');
SELECT lives_ok($$UPDATE price_list SET currency = currency, tax_inclusive = false WHERE price_list = 'net'$$, 'what stays is not refused');
UPDATE price_list SET derived_from = NULL, derived_adjust = NULL WHERE price_list = 'right';
SELECT lives_ok($$UPDATE price_list SET currency = 'EUR' WHERE price_list = 'net'$$, 'nor one that nothing is derived from');

-- One product on many lines, each for less than half a minor unit or so: no line costs more without tax than with it.
DELETE FROM price;
UPDATE price_list SET kind = 'base', currency = 'PLN', priority = CASE price_list WHEN 'net' THEN 1 ELSE 0 END WHERE price_list IN ('net', 'shop');
INSERT INTO product (product, tax_rate) SELECT 'crumb' || i, (ARRAY[5, 23, 50, 100, 300])[1 + i % 5] FROM generate_series(1, 100) AS i;
INSERT INTO price (price_list, product, amount) SELECT CASE WHEN i % 2 = 0 THEN 'net' ELSE 'shop' END, 'crumb' || i, i * 0.01 FROM generate_series(1, 100) AS i;
CREATE TEMP TABLE crumb AS SELECT i, of, line.* FROM generate_series(1, 100) AS i, unnest('{0.1,0.3,0.5,0.9}'::numeric[]) AS of,
	LATERAL (SELECT jsonb_build_object('product', 'crumb' || i, 'quantity', of) AS asked) AS one,
	quote_basket(NULL, jsonb_build_array(asked, asked, asked, asked, asked)) AS line;
SELECT is_empty($$SELECT * FROM crumb WHERE NOT (line_net BETWEEN 0 AND line_gross) OR CASE WHEN tax_inclusive THEN line_gross ELSE line_net END <> line_total$$,
	'a line without tax is not above the same with tax');
SELECT is_empty($$
	SELECT * FROM (SELECT i, of, sum(line_net) AS net, sum(line_gross) AS gross FROM crumb GROUP BY 1, 2) AS apart
	JOIN LATERAL quote_basket(NULL, jsonb_build_array(jsonb_build_object('product', 'crumb' || i, 'quantity', of * 5))) AS whole ON true
	WHERE (net, gross) <> (whole.line_net, whole.line_gross)$$, 'and the lines add up to one of the sum');
SELECT * FROM finish();
ROLLBACK;
