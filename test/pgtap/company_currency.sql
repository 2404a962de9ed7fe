-- What names no currency has the company's, as it is by then; what is there keeps its own.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(14);
CREATE ROLE currency_app;
CREATE ROLE currency_boss;
CREATE ROLE currency_stranger;
SELECT grant_access('currency_app', 'app'), grant_access('currency_boss', 'supervisor') \g /dev/null
GRANT USAGE ON SCHEMA omnichannel TO currency_stranger;
GRANT INSERT ON shown_price TO currency_stranger;
GRANT USAGE ON SCHEMA public TO currency_app, currency_boss, currency_stranger;
INSERT INTO price_list (price_list) VALUES ('before');
INSERT INTO product (product) VALUES ('a');
INSERT INTO price (price_list, product, amount) VALUES ('before', 'a', 40);

SET ROLE currency_boss;
UPDATE company SET currency = 'EUR';
INSERT INTO price_list (price_list) VALUES ('after');
INSERT INTO product (product) VALUES ('b');
INSERT INTO price (price_list, product, amount) VALUES ('after', 'a', 10), ('after', 'b', 20);
COPY product (product) FROM stdin;
c
\.
SELECT is((SELECT currency FROM price_list WHERE price_list = 'after'), 'EUR', 'a new list has it');
SELECT is((SELECT currency FROM price_list WHERE price_list = 'before'), 'PLN', 'an old one keeps its own');
SELECT is((SELECT array_agg(currency ORDER BY product) FROM product), '{PLN,EUR,EUR}', 'so do products, also by COPY');
SELECT is((SELECT unit_price FROM quote(NULL, 'a')), 10.00, 'and quote() asks for it');
SELECT is((SELECT unit_price FROM quote(NULL, 'a', currency => 'PLN')), 40.00, 'or for another one');
RESET ROLE;

SET ROLE currency_app;
INSERT INTO shown_price (channel, product, price) VALUES ('app', 'a', 10);
COPY shown_price (channel, product, price) FROM stdin;
app	b	20
\.
SELECT ok(shown_price('app', 'b', 20), 'a channel reports');
RESET ROLE;
SELECT is((SELECT array_agg(currency) FROM shown_price), '{EUR,EUR,EUR}', 'what was shown has it too');
SELECT is(check_shown_prices(), 3::bigint, 'is checked');
SELECT is((SELECT count(*) FROM shown_price WHERE cause IS NOT NULL), 0::bigint, 'and was right');

SET ROLE currency_stranger;
SELECT throws_ok($$INSERT INTO shown_price (channel, product, price) VALUES ('app', 'a', 10)$$, '42501', NULL, 'who may not read the company names a currency');
SELECT lives_ok($$INSERT INTO shown_price (channel, product, price, currency) VALUES ('app', 'a', 10, 'EUR')$$, 'as here');
RESET ROLE;

BEGIN;
UPDATE company SET currency = 'CHF';
INSERT INTO product (product) VALUES ('d');
SELECT is((SELECT currency FROM product WHERE product = 'd'), 'CHF', 'a change of the same transaction counts');
ROLLBACK;
INSERT INTO product (product) VALUES ('d');
SELECT is((SELECT currency FROM product WHERE product = 'd'), 'EUR', 'and one that was rolled back does not');
SELECT throws_ok($$UPDATE company SET currency = 'XYZ'$$, '23503', NULL, 'none that ISO 4217 has not');
SELECT * FROM finish();
