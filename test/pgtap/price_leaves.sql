-- Prices and products found on the leaves of their indexes: all rows that are there and no others, where keys lie together
-- and apart, where the rows of one go over many leaves, and where leaves hold what is gone.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(24);

INSERT INTO segment (segment) VALUES ('any');
INSERT INTO price_list (price_list, kind) SELECT 'list' || n, CASE n WHEN 0 THEN 'base' ELSE 'override' END FROM generate_series(0, 5) AS n;
INSERT INTO product (product, parent) SELECT 'p' || n, CASE WHEN n % 7 = 1 AND n > 7 THEN 'p' || n - 1 END FROM generate_series(1, 1200) AS n;
INSERT INTO product (product) VALUES ('long'), ('none'), ('p11' || repeat('x', 900));
CREATE FUNCTION pg_temp.load() RETURNS void LANGUAGE sql AS $$
	INSERT INTO price (price_list, product, min_quantity, amount)
	SELECT 'list' || (n + k) % 6, 'p' || n, k, 100 + n + k FROM generate_series(1, 1200) AS n, generate_series(0, 4) AS k
	UNION ALL SELECT 'list0', 'long', n, 1000 - n FROM generate_series(0, 699) AS n
	UNION ALL SELECT 'list0', 'p11' || repeat('x', 900), 0, 3
$$;
SELECT pg_temp.load() \g /dev/null

-- Reads a page of products that lie so far apart, and tells of which of them it does not know the very rows of price.
CREATE FUNCTION pg_temp.wrong(apart integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	page text[] := ARRAY(SELECT 'p' || 1 + (n * apart + apart) % 1200 FROM generate_series(1, 150) AS n) || ARRAY['long', 'none', 'p11' || repeat('x', 900)];
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
SELECT * FROM finish();
