-- Circles that came past the triggers that refuse them, as in a restore of data alone: an error, not a crash or a loop.
SET search_path = omnichannel, public, pg_catalog;
SET statement_timeout = '20s';
SELECT plan(14);
INSERT INTO product (product) VALUES ('a'), ('b'), ('c'), ('beside');
INSERT INTO product (product, parent) VALUES ('below', 'a');
INSERT INTO price_list (price_list) VALUES ('list'), ('from'), ('to');
INSERT INTO price (price_list, product, amount) VALUES ('list', 'a', 10), ('list', 'beside', 20);

ALTER TABLE product DISABLE TRIGGER product_no_cycle;
UPDATE product SET parent = CASE product WHEN 'a' THEN 'b' WHEN 'b' THEN 'c' ELSE 'a' END WHERE product IN ('a', 'b', 'c');
ALTER TABLE product ENABLE TRIGGER product_no_cycle;
SELECT throws_like($$SELECT * FROM quote(NULL, 'a')$$, 'the parents of product "_" make a circle', 'quote()');
SELECT throws_ok($$SELECT * FROM quote(NULL, 'below')$$, '23514', NULL, 'of a variant below the circle');
SELECT throws_ok($$SELECT * FROM quotes(NULL, '{beside,c}')$$, '23514', NULL, 'quotes()');
SELECT throws_ok($$SELECT * FROM catalogue_prices(NULL)$$, '23514', NULL, 'catalogue_prices()');
SELECT throws_ok($$SELECT * FROM explain_quote(NULL, 'b')$$, '23514', NULL, 'explain_quote()');
SELECT throws_ok($$SELECT * FROM lowest_price('c')$$, '23514', NULL, 'lowest_price()');
SELECT throws_ok($$SELECT lock_quote(NULL, 'a')$$, '23514', NULL, 'lock_quote()');
SELECT throws_ok($$SELECT quote_rules('a', 'PLN', now(), '{}')$$, '23514', NULL, 'quote_rules()');
SELECT throws_ok($$SELECT price_moments('a', now() - interval '1 day', now(), 10)$$, '23514', NULL, 'price_moments()');
INSERT INTO price_staging (price_list, product, amount) VALUES ('list', 'b', 10);
SELECT throws_ok($$SELECT * FROM check_staged_prices()$$, '23514', NULL, 'check_staged_prices()');
DELETE FROM price_staging;
SELECT shown_price('app', 'a', 10), check_shown_prices();
SELECT is((SELECT cause FROM shown_price), 'cannot be checked: the parents of product "a" make a circle', 'a shown price');
SELECT is((SELECT unit_price FROM quote(NULL, 'beside')), 20.00, 'other products have their prices');

ALTER TABLE price_list DISABLE TRIGGER price_list_derive;
UPDATE price_list SET derived_from = CASE price_list WHEN 'from' THEN 'to' ELSE 'from' END WHERE price_list IN ('from', 'to');
ALTER TABLE price_list ENABLE TRIGGER price_list_derive;
SELECT throws_ok($$UPDATE price_list SET derived_adjust = 5 WHERE price_list = 'from'$$, '23514', NULL, 'a list derived from itself');
-- a row that the circle can send round
ALTER TABLE price DISABLE TRIGGER USER;
INSERT INTO price (price_list, product, amount) VALUES ('from', 'beside', 1);
INSERT INTO price (price_list, product, amount, source_price) SELECT 'to', 'beside', 1, price_id FROM price WHERE price_list = 'from';
ALTER TABLE price ENABLE TRIGGER USER;
SELECT throws_ok($$UPDATE price SET amount = 2 WHERE price_list = 'from'$$, '23514', NULL, 'a price of such a list');
SELECT * FROM finish();
