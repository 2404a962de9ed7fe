-- Lists and promotions that were retired and made active again: what was not on offer meanwhile was not.
SET search_path = omnichannel, public, pg_catalog;
SELECT plan(22);
INSERT INTO product (product) VALUES ('p');
INSERT INTO price_list (price_list, kind) VALUES ('b', 'base'), ('s', 'sale');
INSERT INTO price (price_list, product, amount) VALUES ('b', 'p', 100), ('s', 'p', 80);
INSERT INTO promotion (promotion, kind, value) VALUES ('tenth', 'percent', 10);
SELECT clock_timestamp() AS both \gset
UPDATE price_list SET status = 'retired' WHERE price_list = 's';
SELECT clock_timestamp() AS no_sale \gset
UPDATE promotion SET status = 'draft';
SELECT clock_timestamp() AS none \gset
UPDATE price_list SET status = 'active' WHERE price_list = 's';
SELECT clock_timestamp() AS no_promotion \gset
UPDATE promotion SET status = 'active';
SELECT clock_timestamp() AS again \gset
UPDATE price_list SET status = 'retired' WHERE price_list = 's';
SELECT clock_timestamp() AS no_sale_again \gset
UPDATE price_list SET status = 'active' WHERE price_list = 's';
SELECT lower(active) IS NULL AND upper(active) IS NULL AS hull FROM price_list WHERE price_list = 's' \gset
SELECT ok(:'hull', 'from ever, and for ever');
SELECT is((SELECT unit_price FROM quote(NULL, 'p', at => moment)), price, 'as it was: ' || name)
FROM (VALUES ('both', :'both'::timestamptz, 72.00), ('no sale', :'no_sale', 90.00), ('none', :'none', 100.00), ('no promotion', :'no_promotion', 80.00),
	('again', :'again', 72.00), ('no sale again', :'no_sale_again', 90.00), ('now', clock_timestamp(), 72.00)) AS asked (name, moment, price);
SELECT is((SELECT array_agg(unit_price) FROM quotes(NULL, '{p}', at => :'none')), '{100}', 'a page');
SELECT is((SELECT array_agg(unit_price) FROM catalogue_prices(NULL, at => :'none')), '{100}', 'the catalogue');
SELECT is((SELECT array_agg(unit_price) FROM quote_basket(NULL, '[{"product": "p"}]', at => :'none')), '{100}', 'a basket');
SELECT is((SELECT array_agg(candidate || ' ' || detail ORDER BY candidate) FROM explain_quote(NULL, 'p', at => :'none') WHERE verdict = 'not active'),
	'{s the list was not active then,tenth the promotion was not active then}', 'and the explanation');
SELECT is((SELECT count(*) FROM price_correction), 0::bigint, 'nothing is corrected');

-- what comes next is told beforehand
SELECT is((SELECT valid_until FROM quote(NULL, 'p', at => :'both')), (SELECT upper(time) FROM price_list, unnest(active) AS time WHERE price_list = 's' ORDER BY 1 LIMIT 1),
	'the pause ends an answer');
SELECT is((SELECT valid_until FROM quote(NULL, 'p', at => :'none')), (SELECT lower(time) FROM price_list, unnest(active) AS time WHERE price_list = 's' ORDER BY 1 LIMIT 1),
	'as does the end of the pause');
SELECT ok((SELECT bool_and(valid_until > at) FROM unnest(ARRAY[:'both', :'no_sale', :'none', :'no_promotion']::timestamptz[]) AS at, quote(NULL, 'p', at => at)), 'always');

-- the lowest price counts what was offered, and no more
SELECT results_eq($$SELECT lowest_price, reduced_since FROM lowest_price('p')$$,
	$$SELECT 72.00, max(lower(time)) FROM price_list, unnest(active) AS time WHERE price_list = 's'$$, 'the reduction began after the last pause');
SELECT is(price_moments('p', :'both', :'none', 10), ARRAY(SELECT upper(time) FROM (SELECT active FROM promotion UNION ALL SELECT active FROM price_list WHERE price_list = 's') AS a, unnest(active) AS time
	WHERE upper(time) < :'none' ORDER BY 1 DESC), 'and where divergent prices are looked for');

-- within a transaction nobody sees a pause; by hand it is a correction
BEGIN;
UPDATE price_list SET status = 'retired' WHERE price_list = 'b';
UPDATE price_list SET status = 'active' WHERE price_list = 'b';
COMMIT;
SELECT is((SELECT active FROM price_list WHERE price_list = 'b'), '{(,)}'::tstzmultirange, 'a pause within a transaction is none');
INSERT INTO price_list (price_list, status) VALUES ('d', 'draft');
SELECT is((SELECT active FROM price_list WHERE price_list = 'd'), '{}'::tstzmultirange, 'a draft was never active');
UPDATE price_list SET active = '{(,)}' WHERE price_list = 's';
SELECT is((SELECT unit_price FROM quote(NULL, 'p', at => :'none')), 80.00, 'whoever fills a pause by hand');
SELECT results_eq($$SELECT relation, key FROM price_correction$$, $$VALUES ('price_list', 's')$$, 'is noted');
SELECT * FROM finish();
