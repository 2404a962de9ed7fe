-- Why there was no price is not told by what is known only later. Each statement is a transaction of its own.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(3);
INSERT INTO customer (customer_id) VALUES (1);
INSERT INTO segment (segment) VALUES ('club');
INSERT INTO price_list (price_list) VALUES ('b');
INSERT INTO price_list (price_list, currency, status) VALUES ('unapproved', 'EUR', 'draft');
INSERT INTO product (product) VALUES ('none'), ('drafted'), ('ended');
INSERT INTO price (price_list, product, amount) VALUES ('unapproved', 'drafted', 5);
INSERT INTO price (price_list, product, amount, valid) VALUES ('b', 'ended', 5, '[2025-01-01,2025-02-01)');
CREATE TEMP TABLE told_then AS SELECT now() AS at, product, reason FROM unnest('{none,drafted,ended}'::text[]) AS product, LATERAL (SELECT (quote(1, product)).reason) AS answer;
SELECT set_eq('SELECT reason FROM told_then', ARRAY['no price list has a price for it yet', 'only price lists that are not active have a price for it', 'its prices in PLN hold at other times'],
	'why there is no price');
BEGIN;
INSERT INTO price_list (price_list, segments_any) VALUES ('members', '{club}');
INSERT INTO price (price_list, product, min_quantity, amount) SELECT list, product, least, 5
FROM unnest('{b,members}'::text[]) AS list, unnest('{none,drafted,ended}'::text[]) AS product, unnest('{10,20}'::numeric[]) AS least;
UPDATE price_list SET status = 'active' WHERE price_list = 'unapproved';
COMMIT;
SELECT is_empty('SELECT FROM told_then, quote(1, product, at => at) AS now WHERE now.reason IS DISTINCT FROM told_then.reason', 'stays what was told then');
SELECT is((SELECT array_agg(DISTINCT now.reason) FROM told_then, quote(1, product) AS now), '{its prices in PLN hold from a larger quantity on}', 'of now another is told');
SELECT * FROM finish();
