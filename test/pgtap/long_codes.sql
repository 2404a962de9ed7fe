-- Codes and keys about prices have at most 500 bytes. The indexes that keep prices and memberships from overlapping
-- cannot hold texts of 1,000 bytes and more, and are left damaged where such ones came together.
BEGIN;
SET LOCAL search_path = omnichannel, public;
CREATE FUNCTION pg_temp.code(length integer, seed text) RETURNS text LANGUAGE sql AS $$
	SELECT upper(left(string_agg(md5(seed || i), '.'), length)) FROM generate_series(0, length / 33) AS i
$$;
CREATE FUNCTION pg_temp.refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	said text;
	hinted text;
BEGIN
	EXECUTE format(statement, pg_temp.code(501, 'x'));
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, hinted = PG_EXCEPTION_HINT;
	RETURN concat_ws(' ', state, replace(said, left(pg_temp.code(501, 'x'), 40), 'x'), CASE WHEN hinted = '' THEN 'without a hint' END);
END
$$;
SELECT plan(19);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list) VALUES ('list');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'p', 10);
INSERT INTO promotion (promotion, kind, value, use_limit) VALUES ('tenth', 'percent', 10, 5);

SELECT is(pg_temp.refused(statement), '22001 ' || what || ' "x..." is longer than 500 bytes', statement)
FROM (VALUES ('product', $$INSERT INTO product (product) VALUES (%L)$$),
	('product', $$UPDATE product SET product = %L WHERE product = 'p'$$),
	('category', $$INSERT INTO product (product, category) VALUES ('q', %L)$$),
	('category', $$INSERT INTO price (price_list, category, amount) VALUES ('list', %L, 1)$$),
	('segment', $$INSERT INTO segment (segment) VALUES (%L)$$),
	('price list', $$INSERT INTO price_list (price_list) VALUES (%L)$$),
	('promotion', $$INSERT INTO promotion (promotion, kind, value) VALUES (%L, 'percent', 10)$$),
	('coupon', $$INSERT INTO coupon (coupon, promotion) VALUES (%L, 'tenth')$$),
	('batch', $$INSERT INTO coupon (coupon, promotion, batch) VALUES ('C', 'tenth', %L)$$),
	('key', $$SELECT reserve_use('tenth', %L)$$),
	('key', $$SELECT lock_quote(1, 'p', key => %L)$$)) AS tried (what, statement);
SELECT throws_ok($$SELECT create_coupons('tenth', 1, repeat('x', 500))$$, '22001', NULL, 'and a prefix that leaves no room for a code');
SELECT throws_ok(format($$INSERT INTO price (price_list, product, min_quantity, amount) VALUES ('list', 'p', %s, 1)$$, bad), '23514', NULL, 'a minimum quantity of ' || left(bad, 10))
FROM unnest(ARRAY['1e18', '0.' || repeat('3', 51)]) AS bad;

INSERT INTO price_staging (line, price_list, category, min_quantity, amount) VALUES (1, 'list', pg_temp.code(501, 'x'), 0, 5), (2, 'list', pg_temp.code(500, 'x'), 0, 5),
	(3, 'list', 'a', 1e18, 5), (4, 'list', 'b', ('0.' || repeat('3', 51))::numeric, 5), (5, 'list', 'c', ('0.' || repeat('3', 50))::numeric, 5);
SELECT results_eq($$SELECT line, problem FROM check_staged_prices()$$, $$VALUES (1::bigint, 'category'), (3, 'value'), (4, 'value')$$, 'staged prices are told so');
DELETE FROM price_staging;

-- Longer ones still fit into the keys themselves, and fail when there are enough of them for pages to be split.
INSERT INTO price_list (price_list) SELECT pg_temp.code(500, 'list' || i) FROM generate_series(1, 20) AS i;
INSERT INTO product (product, category) SELECT pg_temp.code(500, 'product' || i), pg_temp.code(500, 'category' || i)::ltree FROM generate_series(1, 100) AS i;
SELECT lives_ok($$INSERT INTO price (price_list, product, amount) SELECT price_list, product, 20 FROM price_list, product WHERE length(price_list) = 500 AND length(product) = 500$$,
	'many prices of products with codes of 500 bytes');
SELECT lives_ok($$INSERT INTO price (price_list, category, amount) SELECT price_list, category, 20 FROM price_list, product WHERE length(price_list) = 500 AND category IS NOT NULL$$,
	'and of such categories');
INSERT INTO segment (segment) SELECT product FROM product;
SELECT lives_ok($$INSERT INTO segment_member (customer_id, segment, valid) SELECT 1, segment, during FROM segment, unnest('{"[2025-01-01,2026-01-01)","[2026-01-01,2027-01-01)"}'::tstzrange[]) AS during$$,
	'and memberships');
SELECT is((SELECT list_price FROM quote(1, pg_temp.code(500, 'product7'))), 20.00, 'they are found');
SELECT * FROM finish();
ROLLBACK;
