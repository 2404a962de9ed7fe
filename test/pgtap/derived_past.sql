-- Derived lists and their past; many prices at once.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(21);
INSERT INTO product (product) SELECT 'p' || n FROM generate_series(1, 10000) AS n;
INSERT INTO price_list (price_list, kind, created_at) VALUES ('list', 'base', now() - interval '1 year');
INSERT INTO price_list (price_list, kind, derived_from, derived_adjust, created_at) VALUES ('derived', 'override', 'list', -10, now() - interval '1 year');
INSERT INTO price (price_list, product, amount, valid) SELECT 'list', 'p' || n, 100, '(,)' FROM generate_series(1, 10000) AS n;
ANALYZE price;

-- quadratic, it would take a minute
SET statement_timeout = '25s';
SELECT lives_ok($$UPDATE price SET amount = 110 WHERE price_list = 'list'$$, 'ten thousand prices at once');
RESET statement_timeout;
SELECT is((SELECT (sum(amount), count(*)) FROM price WHERE price_list = 'derived' AND upper_inf(valid)), ROW(990000.0, 10000::bigint), 'carry on to the derived list');
SELECT is((SELECT unit_price FROM quote(NULL, 'p7', at => now() - interval '1 day')), 90.00, 'and the past stays');

-- another percentage begins now
SELECT now() AS before \gset
UPDATE price_list SET derived_adjust = -50 WHERE price_list = 'derived';
SELECT is((SELECT unit_price FROM quote(NULL, 'p7')), 55.00, 'half');
SELECT is((SELECT unit_price FROM quote(NULL, 'p7', at => :'before')), 99.00, 'a tenth less, before');
UPDATE price SET amount = 200 WHERE price_list = 'list' AND product = 'p7' AND upper_inf(valid);
SELECT is((SELECT unit_price FROM quote(NULL, 'p7')), 100.00, 'the source changes');
SELECT is((SELECT unit_price FROM quote(NULL, 'p7', at => :'before')), 99.00, 'the past does not');
INSERT INTO price (price_list, product, amount, min_quantity) VALUES ('list', 'p7', 150, 10);
SELECT is((SELECT unit_price FROM quote(NULL, 'p7', 10)), 75.00, 'a tier that comes later');
UPDATE price_list SET derived_from = NULL, derived_adjust = NULL WHERE price_list = 'derived';
SELECT is((SELECT unit_price FROM quote(NULL, 'p7')), 200.00, 'a list that is derived no longer has no prices now');
SELECT is((SELECT unit_price FROM quote(NULL, 'p7', at => :'before')), 99.00, 'but those of then');
UPDATE price_list SET derived_from = 'list' WHERE price_list = 'derived';
SELECT is((SELECT (unit_price, price_list) FROM quote(NULL, 'p7')), ROW(200.00, 'derived'::text), 'and can be derived again');

-- nobody writes them by hand
SELECT throws_ok($$UPDATE price SET amount = 1 WHERE price_list = 'derived' AND product = 'p7' AND upper_inf(valid)$$, '23514');
SELECT throws_ok($$DELETE FROM price WHERE price_list = 'derived' AND product = 'p7' AND upper_inf(valid)$$, '23514');
SELECT throws_ok($$INSERT INTO price (price_list, product, amount, min_quantity, source_price) SELECT 'derived', 'p7', 1, 99, min(price_id) FROM price$$, '23514');
SELECT throws_ok($$UPDATE price SET price_list = 'derived', min_quantity = 7 WHERE price_list = 'list' AND product = 'p8' AND upper_inf(valid)$$, '23514');
DELETE FROM price WHERE price_list = 'list' AND product = 'p8';
SELECT is((SELECT count(*) FROM price WHERE price_list = 'derived' AND product = 'p8' AND source_price IS NOT NULL), 0::bigint, 'they go with their source');

-- a price that goes to another list leaves nothing behind, but for what was charged
INSERT INTO price_list (price_list, kind, created_at) VALUES ('other', 'base', now() - interval '1 year');
INSERT INTO product (product) VALUES ('moved'), ('planned');
INSERT INTO price (price_list, product, amount, valid) VALUES ('list', 'moved', 100, tstzrange(now() - interval '1 month', NULL)),
	('list', 'planned', 100, tstzrange(now() + interval '1 day', NULL));
SELECT pg_sleep(0.01), clock_timestamp() AS charged \gset
SELECT unit_price || ' ' || price_list AS then FROM quote(NULL, 'moved', at => :'charged') \gset
SELECT lives_ok($$UPDATE price SET price_list = 'other' WHERE product IN ('moved', 'planned') AND source_price IS NULL$$, 'prices go to another list');
SELECT is((SELECT string_agg(price_list || ' ' || amount, ', ' ORDER BY price_list) FROM price WHERE product = 'planned'), 'other 100', 'without what was derived of it');
SELECT is((SELECT string_agg(price_list || ' ' || amount, ', ' ORDER BY price_list) FROM price WHERE product = 'moved' AND upper_inf(valid)), 'other 100', 'also one in force');
SELECT is((SELECT unit_price FROM quote(NULL, 'moved')), 100.00, 'which holds now');
SELECT is((SELECT unit_price || ' ' || price_list FROM quote(NULL, 'moved', at => :'charged')), :'then', 'and what was charged stays: ' || :'then');
SELECT * FROM finish();
