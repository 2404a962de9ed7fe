-- Prices and products found on the leaves of their indexes: all rows that are there and no others, where keys lie together
-- and apart, where the rows of one go over many leaves, and where leaves hold what is gone.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(45);

INSERT INTO segment (segment) VALUES ('any');
INSERT INTO price_list (price_list, kind) SELECT 'list' || n, CASE n WHEN 0 THEN 'base' ELSE 'override' END FROM generate_series(0, 5) AS n;
INSERT INTO product (product, parent) SELECT 'p' || n, CASE WHEN n % 7 = 1 AND n > 7 THEN 'p' || n - 1 END FROM generate_series(1, 1200) AS n;
INSERT INTO product (product) VALUES ('long'), ('none'), ('p11' || repeat('x', 490));
CREATE FUNCTION pg_temp.load() RETURNS void LANGUAGE sql AS $$
	INSERT INTO price (price_list, product, min_quantity, amount)
	SELECT 'list' || (n + k) % 6, 'p' || n, k, 100 + n + k FROM generate_series(1, 1200) AS n, generate_series(0, 4) AS k
	UNION ALL SELECT 'list0', 'long', n, 1000 - n FROM generate_series(0, 699) AS n
	UNION ALL SELECT 'list0', 'p11' || repeat('x', 490), 0, 3
$$;
SELECT pg_temp.load() \g /dev/null

-- Reads a page of products that lie so far apart, and tells of which of them it does not know the very rows of price.
CREATE FUNCTION pg_temp.wrong(apart integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	page text[] := ARRAY(SELECT 'p' || 1 + (n * apart + apart) % 1200 FROM generate_series(1, 150) AS n) || ARRAY['long', 'none', 'p11' || repeat('x', 490)];
BEGIN
	UPDATE segment SET name = coalesce(name, '') || '.';
	PERFORM count(*) FROM quotes(NULL, page);
	RETURN (SELECT string_agg(code, ', ') FROM unnest(page) AS code
		WHERE (SELECT array_agg(price_id ORDER BY price_id) FROM explain_quote(NULL, code, 1000) WHERE target = 'product ' || code) IS DISTINCT FROM
			(SELECT array_agg(price_id ORDER BY price_id) FROM price WHERE product = code));
END
$$;
SELECT is(pg_temp.wrong(apart), NULL, 'loaded in one go, ' || apart || ' apart') FROM unnest('{1,3,11,97}'::integer[]) AS apart;

-- rows that are gone but still in the index, and their places taken by others
DELETE FROM price WHERE price_id % 3 = 0;
SELECT is(pg_temp.wrong(apart), NULL, 'after deletions, ' || apart || ' apart') FROM unnest('{1,3,11,97}'::integer[]) AS apart;
VACUUM price;
SELECT is(pg_temp.wrong(apart), NULL, 'and VACUUM, ' || apart || ' apart') FROM unnest('{1,3,11,97}'::integer[]) AS apart;
INSERT INTO price (price_list, product, min_quantity, amount) SELECT 'list0', 'p' || n, 100 + k, 7 FROM generate_series(1, 1200, 2) AS n, generate_series(1, 9) AS k;
SELECT is(pg_temp.wrong(apart), NULL, 'leaves split, ' || apart || ' apart') FROM unnest('{1,3,11,97}'::integer[]) AS apart;

-- leaves that are no more
DELETE FROM price;
VACUUM price;
SELECT is(pg_temp.wrong(3), NULL, 'none are left');
SELECT pg_temp.load() \g /dev/null
SELECT is(pg_temp.wrong(apart), NULL, 'loaded again, ' || apart || ' apart') FROM unnest('{1,3,97}'::integer[]) AS apart;
BEGIN;
UPDATE price SET min_quantity = min_quantity + 5000;
SELECT is(pg_temp.wrong(1), NULL, 'in the transaction that changes all');
ROLLBACK;
SELECT is(pg_temp.wrong(1), NULL, 'and after its end');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(pg_temp.wrong(3), NULL, 'in a serializable transaction');
ROLLBACK;
SELECT is((SELECT count(*) FROM quotes(NULL, ARRAY(SELECT product FROM product ORDER BY md5(product)))), (SELECT count(*) FROM product), 'all products in no order');
SELECT results_eq('SELECT product, unit_price FROM quotes(NULL, ''{p2,p1,p2,none,p2,p1}'')',
	'SELECT code, (quote(NULL, code)).unit_price FROM unnest(''{p2,p1,p2,none,p2,p1}''::text[]) AS code', 'a page that names some twice');

-- Columns in another order, added when there were rows already, and others dropped.
ALTER TABLE product DROP COLUMN unit, DROP COLUMN tax_rate CASCADE;
ALTER TABLE product ADD COLUMN tax_rate numeric DEFAULT 23, ADD COLUMN note text DEFAULT 'n';
SELECT is(pg_temp.wrong(apart), NULL, 'products of another layout, ' || apart || ' apart') FROM unnest('{1,97}'::integer[]) AS apart;
SELECT is((SELECT array_agg(DISTINCT tax_rate) FROM quotes(NULL, '{p1,p2,p8,long}')), '{23}', 'a column that was added has its default');
UPDATE product SET tax_rate = 8, brand = 'b' WHERE product IN ('p2', 'p3');
SELECT is((SELECT array_agg(tax_rate) FROM quotes(NULL, '{p1,p2,p3,p4}')), '{23,8,8,23}', 'beside rows that hold it');

-- Products that lack any of eight columns, with long ones between those that are read, on pages that everyone sees and on
-- others; and with so many columns that a word does not hold a bit for each.
INSERT INTO product (product, name, category, brand, data, min_price, min_margin, cost, tax_rate, perishable)
SELECT 'v' || n, CASE WHEN n % 2 = 0 THEN repeat('n', n) END, CASE WHEN n % 3 = 0 THEN 'a.b' END::public.ltree, CASE WHEN n % 4 < 2 THEN repeat('b', n) END,
	jsonb_build_object('d', repeat('d', n)), CASE WHEN n % 8 < 4 THEN 60 + n END, CASE WHEN n % 16 < 8 THEN n END, CASE WHEN n % 32 < 16 THEN 1 END,
	CASE WHEN n % 64 < 32 THEN n END, n % 5 = 0
FROM generate_series(1, 500) AS n;
INSERT INTO price (price_list, product, amount) SELECT 'list0', 'v' || n, 1000 FROM generate_series(1, 500) AS n;
INSERT INTO promotion (promotion, kind, value) VALUES ('nearly all', 'percent', 99);
CREATE FUNCTION pg_temp.other_products() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	UPDATE segment SET name = coalesce(name, '') || '.';
	RETURN (SELECT count(*) FROM quotes(NULL, ARRAY(SELECT product FROM product WHERE product ~ '^v')) AS q JOIN product AS p USING (product)
		WHERE q.tax_rate IS DISTINCT FROM p.tax_rate OR q.unit_price IS DISTINCT FROM greatest(10, p.min_price, p.cost * (100 + coalesce(p.min_margin, 0)) / 100));
END
$$;
SELECT is(pg_temp.other_products(), 0::bigint, 'products that lack columns');
VACUUM product;
SELECT is(pg_temp.other_products(), 0::bigint, 'and on pages that everyone sees');
SELECT string_agg(format('ADD COLUMN more%s integer', n), ', ') AS more FROM generate_series(1, 60) AS n \gset
BEGIN;
ALTER TABLE product :more;
ALTER TABLE product RENAME COLUMN perishable TO perished;
ALTER TABLE product ADD COLUMN perishable boolean NOT NULL DEFAULT false;
UPDATE product SET perishable = perished WHERE product ~ '^v';
SELECT is(pg_temp.other_products(), 0::bigint, 'behind many columns');
ROLLBACK;
DELETE FROM promotion;

-- An index that holds not all columns, in the order of a collation; and one of two columns.
DROP INDEX price_product;
CREATE INDEX price_product ON price (product);
SELECT is(pg_temp.wrong(apart), NULL, 'through an index of the product alone, ' || apart || ' apart') FROM unnest('{1,3,11,97}'::integer[]) AS apart;
DROP INDEX price_product;
CREATE INDEX price_product ON price (product NULLS FIRST, price_list) INCLUDE (valid, round_to, surcharge, adjust, amount, min_quantity, price_id);
INSERT INTO price (price_list, everything, amount) VALUES ('list1', true, 5);
SELECT is(pg_temp.wrong(apart), NULL, 'through an index with rows without a product first, ' || apart || ' apart') FROM unnest('{1,11,97}'::integer[]) AS apart;

-- Memberships by number: none, some and more than a leaf has; each opens a list, the highest of which answers.
DELETE FROM price;
INSERT INTO segment (segment) SELECT 's' || n FROM generate_series(1, 600) AS n;
INSERT INTO price_list (price_list, kind, priority, segments_any) SELECT 'for' || n, 'override', n, ARRAY['s' || n] FROM generate_series(1, 600) AS n;
INSERT INTO price (price_list, product, amount) SELECT 'for' || n, 'p5', n FROM generate_series(1, 600) AS n;
INSERT INTO customer (customer_id) SELECT generate_series(-40, 200);
INSERT INTO segment_member (customer_id, segment)
SELECT c, 's' || 1 + (c + 40) * 7 % 600 - n FROM generate_series(-40, 200) AS c, generate_series(0, 599) AS n WHERE n < (c + 40) * (c + 40) % 613 AND 1 + (c + 40) * 7 % 600 > n;
CREATE FUNCTION pg_temp.strangers() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM generate_series(-40, 200) AS c WHERE (SELECT unit_price FROM quote(c, 'p5')) IS DISTINCT FROM
		(SELECT max(substr(segment, 2)::numeric) FROM segment_member WHERE customer_id = c AND segment <> 'any')
$$;
SELECT is(pg_temp.strangers(), 0::bigint, 'customers by their memberships');
DELETE FROM segment_member WHERE substr(segment, 2)::integer % 2 = 0 OR customer_id % 5 = 0;
VACUUM segment_member;
SELECT is(pg_temp.strangers(), 0::bigint, 'when half of them are gone');
INSERT INTO segment_member (customer_id, segment) SELECT generate_series(-40, 200, 3), 's600';
SELECT is(pg_temp.strangers(), 0::bigint, 'and others are there');
BEGIN;
ALTER TABLE segment_member ADD COLUMN note text, DROP CONSTRAINT segment_member_pkey;
CREATE INDEX noted ON segment_member (customer_id) INCLUDE (segment, valid, note);
UPDATE segment_member SET note = segment WHERE customer_id % 3 = 0;
SELECT is(pg_temp.strangers(), 0::bigint, 'through an index that holds what nobody asks for, mostly NULL');
ROLLBACK;
SELECT throws_ok('SELECT quote(201, ''p5'')', '23503', NULL, 'nobody beside them is known');
UPDATE customer SET merged_into = 7 WHERE customer_id = 8;
SELECT is((SELECT array_agg((quote(c, 'p5')).unit_price IS NOT DISTINCT FROM (SELECT max(substr(segment, 2)::numeric) FROM segment_member WHERE customer_id IN (7, 8)))
	FROM unnest('{7,8}'::bigint[]) AS c), '{t,t}', 'who was merged has the memberships of both, and so has who is kept');
SELECT * FROM finish();
