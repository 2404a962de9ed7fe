-- Prices that are read without a plan: whatever the tables are turned into, the answers are what a statement gives.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(47);

INSERT INTO customer (customer_id) SELECT generate_series(1, 5);
INSERT INTO segment (segment) VALUES ('vip'), ('club');
INSERT INTO segment_member (customer_id, segment) VALUES (2, 'vip'), (3, 'vip'), (3, 'club'), (5, 'club');
INSERT INTO product (product, parent, category) VALUES ('mug', NULL, 'Home.Kitchen'), ('mug.red', 'mug', NULL), ('tee', NULL, NULL);
INSERT INTO price_list (price_list, kind, segments_any) VALUES ('base', 'base', '{}'), ('vip', 'override', '{vip}'), ('club', 'override', '{club}');
INSERT INTO price (price_list, product, amount) VALUES ('base', 'mug', 10), ('base', 'tee', 20), ('vip', 'mug', 8), ('club', 'tee', 15);
INSERT INTO price (price_list, category, adjust) VALUES ('club', 'Home', -50);
VACUUM ANALYZE segment_member, customer, price, product;
-- A snapshot of whoever begins a session meanwhile keeps VACUUM from marking pages as all visible: then once more, later.
SELECT step FROM generate_series(1, 100), (VALUES
	($$DO 'BEGIN IF EXISTS (SELECT FROM pg_class WHERE oid = ''omnichannel.price''::regclass AND relallvisible < relpages) THEN PERFORM pg_sleep(0.1); END IF; END'$$),
	('VACUUM omnichannel.price')) AS again (step) \gexec

CREATE FUNCTION pg_temp.all_prices() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce((quote(customer_id, product)).unit_price::text, '-'), ' ' ORDER BY customer_id, product)
	FROM generate_series(1, 5) AS customer_id, (VALUES ('mug'), ('mug.red'), ('tee')) AS named (product)
$$;
SELECT is(pg_temp.all_prices(), '10.00 10.00 20.00 8.00 8.00 20.00 5.00 5.00 15.00 10.00 10.00 20.00 5.00 5.00 15.00', 'through the indexes');
SELECT throws_ok($$SELECT quote(6, 'mug')$$, '23503', NULL, 'a customer who is not there, without memberships');
SELECT throws_ok($$SELECT quote(1, 'cup')$$, '23503', NULL, 'a product that is not there');
SELECT results_eq($$SELECT unit_price FROM quotes(3, '{tee,mug,tee,mug.red,tee}')$$, '{15,5,15,5,15}'::numeric[], 'a page that names one three times');

-- a product's prices are read from their index alone
SELECT is((SELECT count(*) FROM pg_index WHERE indexrelid = 'price_product'::regclass AND indnatts = 9 AND indnkeyatts = 1), 1::bigint, 'which holds all that is read');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT idx_scan AS scans, idx_tup_fetch AS fetched FROM pg_stat_user_indexes WHERE indexrelname = 'price_product' \gset
UPDATE segment SET name = 'anew';
SELECT (quote(1, 'mug')).unit_price \g /dev/null
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is((SELECT (idx_scan > :scans, idx_tup_fetch) FROM pg_stat_user_indexes WHERE indexrelname = 'price_product'), ROW(true, :fetched::bigint), 'and no row is fetched');


-- a product is found in byte order, whatever the collation of its key; without that index, by the key
CREATE FUNCTION pg_temp.finds_product(index text) RETURNS bigint LANGUAGE sql AS $$
	SELECT idx_scan FROM pg_stat_user_indexes WHERE schemaname = 'omnichannel' AND indexrelname = index
$$;
CREATE TEMP TABLE found AS SELECT index, pg_temp.finds_product(index) AS scans FROM (VALUES ('product_code'), ('product_pkey')) AS named (index);
UPDATE segment SET name = 'anew';
SELECT (quote(1, 'mug')).unit_price \g /dev/null
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT results_eq($$SELECT index, pg_temp.finds_product(index) > scans FROM found ORDER BY index COLLATE "C"$$,
	$$VALUES ('product_code', true), ('product_pkey', false)$$, 'a product is found in byte order');
DROP INDEX product_code;
SELECT is(pg_temp.all_prices(), '10.00 10.00 20.00 8.00 8.00 20.00 5.00 5.00 15.00 10.00 10.00 20.00 5.00 5.00 15.00', 'and by its key where there is no other index');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT ok((SELECT pg_temp.finds_product(index) > scans FROM found WHERE index = 'product_pkey'), 'which then is read');
CREATE INDEX product_code ON product (product text_pattern_ops);

-- pages that are no longer all visible, rows that are gone but still in the index
DELETE FROM segment_member WHERE customer_id = 5;
UPDATE segment_member SET valid = tstzrange(NULL, now()) WHERE customer_id = 3 AND segment = 'club';
SELECT is(pg_temp.all_prices(), '10.00 10.00 20.00 8.00 8.00 20.00 8.00 8.00 20.00 10.00 10.00 20.00 10.00 10.00 20.00', 'after changes');
DELETE FROM customer WHERE customer_id = 5;
SELECT throws_ok($$SELECT quote(5, 'mug')$$, '23503', NULL, 'a customer who is gone');
INSERT INTO customer (customer_id) VALUES (5);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is((quote(3, 'mug')).unit_price, 8.00, 'in a serializable transaction');
COMMIT;

-- merged customers
UPDATE customer SET merged_into = 3 WHERE customer_id = 1;
SELECT is((quote(1, 'mug')).unit_price, 8.00, 'whoever was merged is in the segments of the one that was kept');
INSERT INTO segment_member (customer_id, segment) VALUES (1, 'club');
SELECT is((quote(3, 'tee')).unit_price, 15.00, 'and the other way round');
UPDATE customer SET merged_into = NULL WHERE customer_id = 1;
DELETE FROM segment_member WHERE customer_id = 1;

-- rights: of all tables that are read
CREATE ROLE scan_reader;
GRANT USAGE ON SCHEMA omnichannel TO scan_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA omnichannel TO scan_reader;
SET ROLE scan_reader;
SELECT is((quote(2, 'mug')).unit_price, 8.00, 'a role with the rights');
RESET ROLE;
REVOKE SELECT ON customer FROM scan_reader;
SET ROLE scan_reader;
SELECT throws_ok($$SELECT quote(2, 'mug')$$, '42501', NULL, 'SELECT on customer is needed: the memberships tell who is there');
SELECT is((quote_segments('{vip}', 'mug')).unit_price, 8.00, 'not to ask for segments');
RESET ROLE;
GRANT SELECT ON customer TO scan_reader;
REVOKE SELECT ON price FROM scan_reader;
SET ROLE scan_reader;
SELECT throws_ok($$SELECT quote_segments('{vip}', 'mug')$$, '42501', NULL, 'SELECT on price is needed');
SELECT throws_ok($$SELECT count(*) FROM catalogue_prices(2)$$, '42501', NULL, 'for the catalogue too');
RESET ROLE;
GRANT SELECT ON price TO scan_reader;

-- row-level security: rows that the reader does not see are not there
ALTER TABLE price ENABLE ROW LEVEL SECURITY;
CREATE POLICY without_vip ON price USING (price_list <> 'vip');
SET ROLE scan_reader;
SELECT is((quote(2, 'mug')).unit_price, 10.00, 'a policy hides a price');
SELECT is((SELECT unit_price FROM catalogue_prices(2) WHERE product = 'mug'), 10.00, 'from the catalogue too');
RESET ROLE;
SELECT is((quote(2, 'mug')).unit_price, 8.00, 'not from the owner');
DROP POLICY without_vip ON price;
ALTER TABLE price DISABLE ROW LEVEL SECURITY;

-- a table whose rows lie elsewhere too
CREATE TABLE more_prices () INHERITS (price);
INSERT INTO more_prices (price_id, price_list, product, amount) VALUES (1000, 'vip', 'tee', 12);
UPDATE price_list SET priority = 1 WHERE price_list = 'vip';
SELECT is((quote(2, 'tee')).unit_price, 12.00, 'the rows of a child count');
SELECT is((SELECT unit_price FROM catalogue_prices(2) WHERE product = 'tee'), 12.00, 'in the catalogue too');
DROP TABLE more_prices;
UPDATE price_list SET priority = 0 WHERE price_list = 'vip';
SELECT is((quote(2, 'tee')).unit_price, 20.00, 'and are gone with it');

-- a table without its index, a column of another type
DROP INDEX price_product;
UPDATE price SET amount = 9 WHERE price_list = 'vip';
SELECT is((quote(2, 'mug')).unit_price, 9.00, 'without the index');
CREATE INDEX price_product ON price (product);
SELECT is((quote(2, 'mug')).unit_price, 9.00, 'with an index in another order');
DROP INDEX price_product;
CREATE INDEX price_product ON price (product) WHERE amount > 100;
SELECT is((quote(2, 'mug')).unit_price, 9.00, 'with an index of a part of the rows');
DROP TRIGGER zz_correction_updated ON product;
ALTER TABLE product ALTER COLUMN brand TYPE varchar(20);
SELECT is((quote(2, 'mug')).unit_price, 9.00, 'a column of another type');
ALTER TABLE product ALTER COLUMN brand TYPE text;

DROP INDEX price_product;
CREATE INDEX price_product ON price (product);

-- the whole catalogue: with variants of variants, before and behind their parents, and in memory for a part of it only
INSERT INTO product (product, category, brand) SELECT 'p' || n, CASE WHEN n % 3 = 0 THEN (ARRAY['Home.Kitchen', 'Home.Bath.Tubs', 'Yard']::ltree[])[1 + n % 9 / 3] END, 'b' || n % 2 FROM generate_series(1, 20000) AS n;
INSERT INTO product (product, parent, cost, min_price, tax_rate) SELECT 'v' || n, 'p' || n, n, CASE WHEN n % 7 = 0 THEN n + 0.2 END, 23 FROM generate_series(1, 20000, 4) AS n;
INSERT INTO product (product, parent) SELECT 'a' || n, 'v' || n FROM generate_series(1, 20000, 8) AS n;
UPDATE product SET name = 'anew' WHERE product IN (SELECT 'p' || n FROM generate_series(1, 20000, 16) AS n);
INSERT INTO price (price_list, product, amount, min_quantity) SELECT 'base', 'p' || n, n, 0 FROM generate_series(1, 19990) AS n;
INSERT INTO price (price_list, product, amount, min_quantity) SELECT 'club', 'p' || n, n - 0.5, k FROM generate_series(1, 20000, 3) AS n, generate_series(2, 6) AS k;
INSERT INTO price (price_list, product, amount, valid) SELECT 'base', 'a' || n, n + 0.1, tstzrange('2020-01-01'::timestamptz + n * interval '1 hour', NULL) FROM generate_series(1, 20000, 24) AS n;
INSERT INTO promotion (promotion, kind, value, categories) VALUES ('kitchen', 'percent', 7, '{Home}');
INSERT INTO promotion (promotion, kind, value, brands, products) VALUES ('odd', 'amount', 0.01, '{b1}', '{p9,v9}');
SELECT is_empty($$SELECT * FROM catalogue_prices(3, 2) AS one, quote(3, one.product, 2) AS other WHERE one IS DISTINCT FROM other$$,
	'column for column what quote() answers, prices that are not there included');
SELECT is_empty($$SELECT * FROM catalogue_prices(3, 2, at => '2021-01-01') AS one, quote(3, one.product, 2, at => '2021-01-01') AS other
	WHERE one.product ^@ 'a' AND one IS DISTINCT FROM other$$, 'each price from its own start on');
SET omnichannel.price_cache = '1MB';
SET work_mem = '64kB';
SELECT is((SELECT count(*) FROM catalogue_prices(3, 2)), 27503::bigint, 'each product once');
SELECT is_empty($$SELECT * FROM catalogue_prices(3, 2) AS one, quote(3, one.product, 2) AS other WHERE one IS DISTINCT FROM other$$,
	'the same part by part');
SET work_mem = '64MB';
SELECT is_empty($$SELECT * FROM catalogue_prices(3, 2) AS one, quote(3, one.product, 2) AS other WHERE one IS DISTINCT FROM other$$,
	'the same with more parents than are kept');
-- parents behind their variants only, all levels of them
UPDATE product SET name = 'last' WHERE product LIKE 'v%';
UPDATE product SET name = 'last' WHERE product LIKE 'p%';
SELECT is((SELECT count(*) FROM catalogue_prices(3, 2)), 27503::bigint, 'each product once, those of variants last');
RESET omnichannel.price_cache;
SELECT is_empty($$SELECT * FROM catalogue_prices(3, 2) AS one, quote(3, one.product, 2) AS other WHERE one IS DISTINCT FROM other$$,
	'the same for variants that wait for their parents');

-- prices that are found by their lists: of several versions a row, more pages than work_mem holds the places of, and
-- those of a list that is for others among them
CREATE FUNCTION pg_temp.finds_lists() RETURNS bigint LANGUAGE sql AS $$
	SELECT idx_scan FROM pg_stat_user_indexes WHERE schemaname = 'omnichannel' AND indexrelname = 'price_list_rows'
$$;
CREATE FUNCTION pg_temp.catalogue_differs() RETURNS SETOF record LANGUAGE sql AS $$
	SELECT one, other FROM catalogue_prices(3, 2) AS one, quote(3, one.product, 2) AS other WHERE one IS DISTINCT FROM other
$$;
INSERT INTO segment (segment) VALUES ('other');
INSERT INTO price_list (price_list, kind, priority, segments_any) VALUES ('other', 'override', 1, '{other}');
INSERT INTO price (price_list, product, amount) SELECT 'other', 'p' || n, 0.01 FROM generate_series(1, 20000, 2) AS n;
INSERT INTO price (price_list, product, amount) SELECT 'vip', 'p' || n, n / 2.0 FROM generate_series(1, 20000, 5) AS n;
-- Pages that are nearly empty are many, and have room for other versions.
ALTER TABLE price SET (fillfactor = 10);
VACUUM FULL price;
UPDATE price SET created_at = now() WHERE price_id % 3 = 0;
DELETE FROM price WHERE price_list = 'base' AND price_id % 7 = 0;
ANALYZE price; -- which notes too that it has no children any more
SELECT pg_temp.finds_lists() AS scans \gset
SELECT is_empty('SELECT pg_temp.catalogue_differs()', 'prices of which there are several versions');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT ok(pg_temp.finds_lists() > :scans, 'found by the index on lists');
SET work_mem = '64kB';
SELECT is_empty('SELECT pg_temp.catalogue_differs()', 'on more pages than work_mem holds the places of');
RESET work_mem;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is_empty('SELECT pg_temp.catalogue_differs()', 'in a serializable transaction');
COMMIT;
DROP INDEX price_list_rows;
SELECT is_empty('SELECT pg_temp.catalogue_differs()', 'without an index on lists');
CREATE INDEX price_list_rows ON price (price_list) INCLUDE (product, price_id, min_quantity, amount, adjust, surcharge, round_to, valid);
SELECT is_empty('SELECT pg_temp.catalogue_differs()', 'with one that holds all that is read');

-- pages, read anew: of products that lie side by side, apart, both, twice, and of variants without their parents
CREATE TEMP TABLE page (name text, products text[], answers price_quote[]);
INSERT INTO page VALUES ('neighbours', ARRAY(SELECT 'p' || 12300 + n FROM generate_series(1, 50) AS n)),
	('neighbours backwards', ARRAY(SELECT 'p' || 8000 - n FROM generate_series(1, 50) AS n)),
	('products far apart', ARRAY(SELECT 'p' || n FROM generate_series(1, 20000, 397) AS n)),
	('both', ARRAY(SELECT 'p' || n + k FROM generate_series(1, 20000, 4900) AS n, generate_series(0, 11) AS k)),
	('variants', ARRAY(SELECT (ARRAY['v', 'a'])[1 + n / 8 % 2] || n FROM generate_series(1, 400, 8) AS n) || '{tee,mug.red,mug.red}'::text[]);
DO $$
DECLARE
	asked text;
BEGIN
	FOR asked IN SELECT name FROM page LOOP
		UPDATE segment SET name = asked;
		UPDATE page SET answers = ARRAY(SELECT quotes(3, products, 2)) WHERE name = asked;
	END LOOP;
END
$$;
SELECT is_empty(format($$SELECT one, quote(3, product, 2) FROM page, unnest(products) WITH ORDINALITY AS asked (product, place), LATERAL (SELECT answers[place] AS one) AS given
	WHERE name = %L AND one IS DISTINCT FROM quote(3, product, 2)$$, name), 'a page of ' || name) FROM page;
SELECT * FROM finish();
