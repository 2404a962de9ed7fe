-- Leaves that a session finds without the pages above them, by what it remembers of these: each price and no other,
-- whatever became of the leaves since.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(21);

INSERT INTO segment (segment) VALUES ('any');
INSERT INTO price_list (price_list, kind, priority, segments_any) SELECT 'list' || n, CASE n WHEN 0 THEN 'base' ELSE 'override' END, n, CASE n WHEN 4 THEN '{any}'::text[] ELSE '{}' END FROM generate_series(0, 4) AS n;
-- codes of several beginnings, among them the shortest and the longest of all
INSERT INTO product (product) SELECT CASE WHEN n % 10 = 0 THEN 'A-2026-' ELSE 'shelf.' END || n FROM generate_series(1, 3000) AS n;
INSERT INTO product (product) VALUES ('A'), ('~~~'), ('shelf.'), ('shelf.' || repeat('9', 490)), ('shelf.1499' || repeat('x', 60));
INSERT INTO customer (customer_id) SELECT n * 1000003::bigint - 900000000 FROM generate_series(1, 3000) AS n;
INSERT INTO segment_member (customer_id, segment) SELECT customer_id, 'any' FROM customer;
CREATE FUNCTION pg_temp.load(listed integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO price (price_list, product, amount)
	SELECT 'list' || k, product, 1000 + k + hashtext(product) % 500 FROM product, generate_series(0, listed) AS k
$$;
SELECT pg_temp.load(4) \g /dev/null

-- Asks for every seventh product alone, from one on, and tells for which of them it does not know the very rows of price.
CREATE FUNCTION pg_temp.wrong(first integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	code text;
	wrong text := '';
BEGIN
	UPDATE segment SET name = coalesce(name, '') || '.';
	FOR code IN SELECT product FROM (SELECT product, row_number() OVER (ORDER BY md5(product)) AS place FROM product) AS placed WHERE place % 7 = first % 7 LOOP
		PERFORM quote(NULL, code);
		IF (SELECT array_agg(price_id ORDER BY price_id) FROM explain_quote(NULL, code) WHERE target = 'product ' || code) IS DISTINCT FROM
			(SELECT array_agg(price_id ORDER BY price_id) FROM price WHERE product = code) THEN
			wrong := wrong || code || ' ';
		END IF;
	END LOOP;
	RETURN wrong;
END
$$;
-- Tells of which customers it does not know whether they are in the segment.
CREATE FUNCTION pg_temp.wrong_members() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(customer_id::text, ' ') FROM customer AS c
	WHERE ((quote(customer_id, 'A')).price_list = 'list4') IS DISTINCT FROM EXISTS (SELECT FROM segment_member AS m WHERE m.customer_id = c.customer_id)
$$;
CREATE TEMP VIEW read AS SELECT i.indexrelname AS index, idx_blks_hit + idx_blks_read AS blocks, s.idx_scan AS scans
FROM pg_statio_user_indexes AS i JOIN pg_stat_user_indexes AS s USING (indexrelid) WHERE i.schemaname = 'omnichannel' AND i.indexrelname IN ('price_product', 'product_code', 'segment_member_pkey');

-- a session that has gone from the root often enough finds most leaves without it
SELECT is(pg_temp.wrong(n), '', 'the first time, part ' || n) FROM generate_series(1, 3) AS n;
SELECT is(pg_temp.wrong_members(), NULL, 'customers, the first time');
SELECT is(pg_temp.wrong(4), '', 'by the guide');
SELECT pg_stat_force_next_flush() \g /dev/null
CREATE TEMP TABLE was AS SELECT * FROM read;
UPDATE segment SET name = 'anew';
SELECT count(quote(NULL, product)) FROM product \g /dev/null
SELECT is(pg_temp.wrong_members(), NULL, 'customers, by the guide');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is((SELECT string_agg(index, ', ') FROM read JOIN was USING (index) WHERE read.blocks - was.blocks > 1.6 * (read.scans - was.scans)), NULL, 'one page a look-up, mostly');

-- leaves that were split
INSERT INTO price (price_list, product, min_quantity, amount) SELECT 'list1', product, n, 7 FROM product, generate_series(1, 3) AS n WHERE product LIKE 'shelf.1%';
INSERT INTO segment_member (customer_id, segment, valid) SELECT customer_id, 'any', '[2020-01-01,2020-02-01)' FROM customer WHERE customer_id % 5 = 0;
SELECT is(pg_temp.wrong(1), '', 'leaves split');
SELECT is(pg_temp.wrong_members(), NULL, 'leaves of customers split');

-- leaves that are gone, and their pages used for others
DELETE FROM price WHERE product LIKE 'shelf.%';
DELETE FROM segment_member WHERE customer_id > 500000000;
VACUUM price, segment_member;
SELECT is(pg_temp.wrong(2), '', 'leaves gone');
SELECT is(pg_temp.wrong_members(), NULL, 'leaves of customers gone');
UPDATE segment SET name = 'anew';
VACUUM price, segment_member;
INSERT INTO price (price_list, product, min_quantity, amount) SELECT 'list1', product, n, 7 FROM product, generate_series(1, 20) AS n WHERE product LIKE 'A%';
INSERT INTO customer (customer_id) SELECT -2000000000 - n FROM generate_series(1, 3000) AS n;
INSERT INTO segment_member (customer_id, segment) SELECT customer_id, 'any' FROM customer WHERE customer_id < -2000000000 AND customer_id % 2 = 0;
SELECT is(pg_temp.wrong(3), '', 'their pages used for others');
SELECT is(pg_temp.wrong_members(), NULL, 'their pages used for other customers');

-- other files, shorter ones too, and back
REINDEX INDEX price_product;
SELECT is(pg_temp.wrong(5), '', 'another file');
BEGIN;
TRUNCATE price;
SELECT pg_temp.load(4) \g /dev/null
SELECT is(pg_temp.wrong(n), '', 'a file of this transaction, part ' || n) FROM generate_series(0, 2) AS n;
TRUNCATE price;
SELECT pg_temp.load(0) \g /dev/null
SELECT is(pg_temp.wrong(6), '', 'which has become shorter');
ROLLBACK;
SELECT is(pg_temp.wrong(6), '', 'and is gone');
DROP INDEX price_product;
CREATE INDEX price_product ON price (product);
SELECT is(pg_temp.wrong(1), '', 'in the order of a collation');
DROP INDEX price_product;
CREATE INDEX price_product ON price (product text_pattern_ops) INCLUDE (price_id, price_list, min_quantity, amount, adjust, surcharge, round_to, valid);
SELECT is(pg_temp.wrong(2), '', 'and in byte order again');
SELECT * FROM finish();
