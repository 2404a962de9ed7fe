-- The whole catalogue where no more parents fit into memory than some: variants of variants that were kept, whose own
-- parents were not, are answered for as quote() does it, however often the session's cache is emptied meanwhile.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(2);
SET client_min_messages = error;

INSERT INTO price_list (price_list) VALUES ('base');
INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1, 3000) AS n;
-- Variants that wait fill the memory before the first of their parents is met; behind some, variants of these and others
-- come by turns.
INSERT INTO product (product, parent) SELECT 'v' || n, 'p' || n FROM generate_series(1, 250) AS n;
DO $$
BEGIN
	FOR n IN 1 .. 250 LOOP
		INSERT INTO product (product, parent) VALUES ('a' || n, 'v' || n), ('v' || 250 + n, 'p' || 250 + n);
	END LOOP;
END
$$;
INSERT INTO product (product, parent) SELECT 'v' || n, 'p' || n FROM generate_series(501, 3000) AS n;
UPDATE product SET name = 'behind' WHERE product LIKE 'p%';
INSERT INTO price (price_list, product, amount, min_quantity) SELECT 'base', 'p' || n, n, k FROM generate_series(1, 3000) AS n, generate_series(0, 31) AS k;
INSERT INTO promotion (promotion, kind, value, products) SELECT 'every' || k, 'percent', k, ARRAY(SELECT 'p' || n FROM generate_series(1, 3000) AS n WHERE n % 7 = k)
FROM generate_series(1, 5) AS k;
SELECT cmp_ok((SELECT min(ctid) FROM product WHERE product LIKE 'p%'), '>', (SELECT max(ctid) FROM product WHERE product LIKE 'a%'),
	'parents come behind variants of variants');
SET work_mem = '64MB';
SET omnichannel.price_cache = '1MB';
SELECT is_empty($$SELECT * FROM catalogue_prices(NULL) AS one, quote(NULL, one.product) AS other WHERE one IS DISTINCT FROM other$$,
	'each costs what quote() says');
SELECT * FROM finish();
