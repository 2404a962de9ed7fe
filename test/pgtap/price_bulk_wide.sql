-- Staged prices beside base prices and floors: at each product that a line is the price of, be it by its parent, its
-- category or as one of everything, and at none that has a nearer price; random ones beside explain_quote().
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(40);
SELECT setseed(0.23);
INSERT INTO segment (segment) VALUES ('vip'), ('pl');
INSERT INTO product (product, category, min_price) VALUES ('mug', 'Home.Kitchen.Mugs', NULL), ('pan', 'Home.Kitchen', NULL), ('bed', 'Home', NULL), ('toy', 'Toys', NULL), ('bare', NULL, NULL);
INSERT INTO product (product, parent, min_price) VALUES ('mug.red', 'mug', NULL), ('mug.red.xl', 'mug.red', NULL);
INSERT INTO price_list (price_list, kind, currency) VALUES ('retail', 'base', 'PLN'), ('euro', 'base', 'EUR'), ('sale', 'sale', 'PLN'), ('other', 'sale', 'PLN'), ('contract', 'override', 'PLN');
INSERT INTO price (price_list, product, amount) VALUES ('retail', 'mug', 10), ('retail', 'pan', 20), ('retail', 'bed', 500), ('retail', 'toy', 5), ('retail', 'bare', 7);

-- What is wrong with lines, each text a line: list, target, min_quantity, amount or percentage, time.
CREATE FUNCTION public.problems(VARIADIC lines text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM price_staging;
	INSERT INTO price_staging (line, price_list, product, category, everything, min_quantity, amount, adjust, valid)
	SELECT line, part[1], CASE WHEN part[2] ~ '^[a-z]' THEN part[2] END, CASE WHEN part[2] ~ '^[A-Z]' THEN part[2] END, part[2] = '*', coalesce(part[3], '0')::numeric,
		CASE WHEN part[4] !~ '%' THEN part[4]::numeric END, CASE WHEN part[4] ~ '%' THEN rtrim(part[4], '%')::numeric END, part[5]::tstzrange
	FROM unnest(lines) WITH ORDINALITY AS given (text, line), regexp_split_to_array(given.text, ' ') AS part;
	RETURN (SELECT coalesce(array_agg(line || ' ' || problem || ': ' || detail), '{}') FROM check_staged_prices('Infinity') WHERE problem <> 'overlap');
END $$;
SELECT is(public.problems('sale Home.Kitchen 0 15'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'a category''s');
SELECT is(public.problems('sale * 0 6'), ARRAY['1 sale above base: 6 is not below 5 for product ''toy'''], 'one for everything');
SELECT is(public.problems('sale * 0 4.5', 'sale Home 0 9', 'sale Nothing 0 1'), '{}', 'none where each is lower');
SELECT is(public.problems('sale Home 0 -5%', 'sale * 0 0%'), ARRAY['2 sale above base: 7 is not below 7 for product ''bare'' and 1 more'], 'percentages too, but not below a nearer category');
SELECT is(public.problems('sale mug 0 15'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'a product''s with its variants');
SELECT is(public.problems('sale mug.red.xl 0 15'), ARRAY['1 sale above base: 15 is not below 10'], 'a variant''s');
SELECT is(public.problems('contract Home 0 1000'), '{}', 'what replaces the base price may be above it');

-- nearer prices of the same list
SELECT is(public.problems('sale Home.Kitchen 0 15', 'sale mug 0 9'), '{}', 'at the product itself');
SELECT is(public.problems('sale Home.Kitchen 0 15', 'sale Home.Kitchen.Mugs 0 9'), '{}', 'or in a deeper category');
SELECT is(public.problems('sale Home.Kitchen 0 15', 'sale mug.red 0 9'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'''], 'at a variant, for it and those below it');
SELECT is(public.problems('sale Home.Kitchen 0 15', 'other mug 0 9'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'not of another list');
SELECT is(public.problems('sale Home.Kitchen 0 15', 'sale mug 5 9'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'not for more units');
SELECT is(public.problems('sale Home.Kitchen 5 15', 'sale mug 0 9'), '{}', 'but for fewer');
SELECT is(public.problems('sale Home.Kitchen 0 15 [2025-01-01,2026-01-01)', 'retail mug 0 10 [2024-01-01,2026-01-01)', 'sale mug 0 9 [2025-01-01,2025-07-01)'),
	ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'not for a part of the time');
SELECT is(public.problems('sale Home.Kitchen 0 15 [2025-01-01,2026-01-01)', 'retail mug 0 10 [2024-01-01,2026-01-01)', 'sale mug 0 9 [2025-01-01,2025-07-01)', 'sale mug 0 9 [2025-07-01,)'),
	'{}', 'but for all of its parts');
SELECT is(public.problems('sale Home.Kitchen 0 15 [2025-01-01,2026-01-01)', 'retail mug 0 10 [2024-01-01,2025-07-01)', 'sale mug 0 9 [2025-01-01,2025-07-01)'),
	'{}', 'or for that in which there is a base price');
INSERT INTO price (price_list, category, amount) VALUES ('sale', 'Home.Kitchen.Mugs', 9);
SELECT is(public.problems('sale Home 0 15'), '{}', 'not only what is staged');
SELECT is(public.problems('sale Home.Kitchen.Mugs 0 15'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'what is replaced counts for nothing');
DELETE FROM price WHERE price_list = 'sale';

-- the base price that it is compared with
SELECT is(public.problems('retail mug.red 0 30', 'sale mug 0 15', 'sale mug.red 0 40'),
	ARRAY['2 sale above base: 15 is not below 10', '3 sale above base: 40 is not below 30 for product ''mug.red'' and 1 more'], 'a nearer one that is staged');
SELECT is(public.problems('retail mug 0 10', 'retail mug 10 8', 'sale Home.Kitchen.Mugs 10 9'),
	ARRAY['3 sale above base: 9 is not below 8 for product ''mug'' and 2 more'], 'that of the quantity');
SELECT is(public.problems('retail mug 0 16 [2030-01-01,2030-02-01)', 'sale mug.red.xl 0 11'), ARRAY['2 sale above base: 11 is not below 10'], 'one that holds for a part of the time');
INSERT INTO product (product, category) VALUES ('pot', 'Home.Kitchen.Pots'), ('jar', NULL);
SELECT is(public.problems('retail Home.Kitchen 0 30', 'retail * 0 60', 'sale pot 0 30', 'sale jar 0 60', 'sale Home 0 29', 'other bed 0 70'),
	ARRAY['3 sale above base: 30 is not below 30', '4 sale above base: 60 is not below 60', '5 sale above base: 29 is not below 10 for product ''mug'' and 3 more'],
	'by category, and for everything');
DELETE FROM product WHERE product IN ('pot', 'jar');
SELECT is(public.problems('euro mug 0 2', 'euro * 0 1', 'sale mug 0 9'), '{}', 'none in another currency');
INSERT INTO price_list (price_list, kind, segments_any, priority) VALUES ('vip.base', 'base', '{vip}', 0);
INSERT INTO price_list (price_list, kind, segments_any, segments_all) VALUES ('vip.sale', 'sale', '{vip}', '{}'), ('both.sale', 'sale', '{}', '{vip,pl}'), ('any.sale', 'sale', '{vip,pl}', '{}');
INSERT INTO price (price_list, product, amount) VALUES ('vip.base', 'mug', 6);
SELECT is(public.problems('sale mug 0 8'), '{}', 'none that others have');
SELECT is(public.problems('any.sale mug 0 8'), '{}', 'nor some of those for whom it is');
SELECT is(public.problems('vip.sale mug 0 8', 'both.sale mug 0 7'), ARRAY['1 sale above base: 8 is not below 6 for product ''mug'' and 2 more',
	'2 sale above base: 7 is not below 6 for product ''mug'' and 2 more'], 'but that of all of them');
UPDATE price_list SET priority = -1 WHERE price_list = 'vip.base';
SELECT is(public.problems('vip.sale mug 0 8'), '{}', 'by the lists'' priority');
DELETE FROM price WHERE price_list = 'retail' AND product = 'mug';
SELECT is(public.problems('sale mug 0 8'), ARRAY['1 sale above base: 8 is not below 6 for product ''mug'' and 2 more'], 'the lowest where there is none that all have');
UPDATE price_list SET status = 'retired' WHERE price_list = 'vip.base';
SELECT is(public.problems('sale mug 0 8'), '{}', 'none of a list that is retired');
INSERT INTO price (price_list, product, amount) VALUES ('retail', 'mug', 10);

-- floors
UPDATE product SET min_price = 8 WHERE product = 'mug';
UPDATE product SET cost = 10, min_margin = 20 WHERE product = 'pan';
UPDATE product SET min_price = 400, currency = 'EUR' WHERE product = 'bed';
SELECT is(public.problems('contract Home 0 11', 'sale * 0 -21%'), ARRAY['1 below floor: 11 is below 12 for product ''pan''',
	'2 below floor: 7.9 is below 8 for product ''mug'' and 2 more'], 'min_price, or cost and margin, in the currency');
UPDATE product SET min_price = 3 WHERE product = 'mug.red';
UPDATE product SET cost = 9, min_margin = 0 WHERE product = 'mug.red.xl';
SELECT is(public.problems('sale mug 0 7.5', 'other mug.red 0 7.5'), ARRAY['1 below floor: 7.5 is below 8 for product ''mug'' and 1 more', '2 below floor: 7.5 is below 9 for product ''mug.red.xl'''],
	'each variant has its own');
SELECT is(public.problems('sale Home.Kitchen.Mugs 0 -100%', 'other mug.red 0 -100%'), ARRAY['1 below floor: 0 is below 8 for product ''mug'' and 2 more',
	'2 below floor: 0 is below 3 for product ''mug.red'' and 1 more'], 'down to nothing');

-- lines that are wrong in another way stop nothing
DELETE FROM price_staging;
INSERT INTO price_staging (line, price_list, product, category, everything, amount) VALUES (1, NULL, NULL, 'Home', false, 1), (2, 'sale', NULL, NULL, false, 1), (3, 'sale', NULL, '', false, 1),
	(4, 'sale', 'mug', 'Home', true, 50), (5, 'sale', NULL, 'a b', false, 'NaN'), (6, 'none', NULL, NULL, true, 1), (7, 'sale', NULL, 'Toys', false, NULL);
SELECT results_eq($$SELECT line, problem FROM check_staged_prices()$$, $$VALUES (1::bigint, 'list'), (2, 'target'), (3, 'category'), (4, 'sale above base'), (4, 'target'), (5, 'category'),
	(5, 'value'), (6, 'list'), (7, 'value')$$, 'NULLs and nonsense');
-- what is told can be accepted
SELECT public.problems('sale Home.Kitchen.Mugs 0 15') \g /dev/null
SELECT is((SELECT applied FROM apply_prices() WHERE applied IS NOT NULL), NULL, 'it stops the others');
SELECT is((SELECT applied FROM apply_prices(accept => '{sale above base}') WHERE applied IS NOT NULL), 1::bigint, 'unless it is accepted');
DELETE FROM price WHERE price_list = 'sale';
CREATE ROLE price_reader;
GRANT USAGE ON SCHEMA omnichannel TO price_reader;
GRANT SELECT ON price_staging, price, price_list TO price_reader;
SET LOCAL ROLE price_reader;
SELECT throws_ok('SELECT check_staged_prices()', '42501', NULL, 'who may not read products learns nothing of them');
SELECT throws_ok('SELECT staged_places()', '42501', NULL, 'nor where their prices stand');
RESET ROLE;
DROP OWNED BY price_reader;
DROP ROLE price_reader;

-- Random catalogues: what is told of a line is what explain_quote() says of its price once all is applied.
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;
CREATE FUNCTION pg_temp.floor_of(code text, in_currency text) RETURNS numeric LANGUAGE sql STABLE AS $$
	WITH RECURSIVE up AS (
		SELECT 0 AS n, p.* FROM omnichannel.product AS p WHERE p.product = code UNION ALL SELECT up.n + 1, p.* FROM up JOIN omnichannel.product AS p ON p.product = up.parent
	)
	SELECT greatest((SELECT CASE WHEN currency = in_currency THEN min_price END FROM up WHERE min_price IS NOT NULL ORDER BY n LIMIT 1),
		(SELECT CASE WHEN currency = in_currency THEN cost END FROM up WHERE cost IS NOT NULL ORDER BY n LIMIT 1)
			* (1 + (SELECT min_margin FROM up WHERE min_margin IS NOT NULL ORDER BY n LIMIT 1) / 100))
$$;
CREATE TABLE public.found (round int, line bigint, problem text, product text, more int);
CREATE FUNCTION public.play(round int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM price_staging;
	DELETE FROM price;
	DELETE FROM price_list;
	UPDATE product SET parent = NULL;
	DELETE FROM product;
	INSERT INTO product (product, category, min_price, cost, min_margin, currency)
	SELECT 'p' || i, (ARRAY['a', 'a.b', 'a.b.c', 'd', NULL])[1 + pg_temp.dice(5)]::ltree, CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(60) END,
		CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(60) END, CASE pg_temp.dice(2) WHEN 0 THEN pg_temp.dice(40) END, CASE pg_temp.dice(4) WHEN 0 THEN 'EUR' ELSE 'PLN' END
	FROM generate_series(1, 30) AS i;
	UPDATE product SET parent = 'p' || (substr(product, 2)::int - 10) WHERE substr(product, 2)::int > 10 AND pg_temp.dice(2) = 0;
	INSERT INTO price_list (price_list, kind, priority, currency, segments_any, segments_all)
	SELECT 'l' || i, CASE WHEN i <= 2 OR pg_temp.dice(3) = 0 THEN 'base' WHEN pg_temp.dice(4) = 0 THEN 'override' ELSE 'sale' END, pg_temp.dice(3),
		CASE WHEN i = 2 OR i > 2 AND pg_temp.dice(4) = 0 THEN 'EUR' ELSE 'PLN' END,
		CASE WHEN i <= 2 OR pg_temp.dice(2) = 0 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'pl'])[1 + pg_temp.dice(2)]] END,
		CASE WHEN i <= 2 OR pg_temp.dice(3) > 0 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'pl'])[1 + pg_temp.dice(2)]] END
	FROM generate_series(1, 8) AS i;
	-- For everybody there is some base price.
	INSERT INTO price (price_list, everything, amount) VALUES ('l1', true, 50), ('l2', true, 40);
	INSERT INTO price_staging (price_list, product, category, everything, min_quantity, amount, adjust)
	SELECT DISTINCT ON (list.price_list, target.product, target.category, target.everything, tier) list.price_list, target.product, target.category, target.everything, tier,
		CASE WHEN list.kind = 'base' OR pg_temp.dice(2) = 0 THEN pg_temp.dice(60) END, NULL
	FROM (SELECT 'l' || 1 + pg_temp.dice(8) AS code, pg_temp.dice(8) AS what, 'p' || 1 + pg_temp.dice(30) AS product, (ARRAY['a', 'a.b', 'a.b.c', 'd'])[1 + pg_temp.dice(4)] AS category,
			(ARRAY[0, 0, 5, 10])[1 + pg_temp.dice(4)] AS tier FROM generate_series(1, 120)) AS drawn
		JOIN price_list AS list ON list.price_list = drawn.code,
		LATERAL (SELECT CASE WHEN what < 4 THEN drawn.product END, CASE WHEN what BETWEEN 4 AND 6 THEN drawn.category END, what = 7) AS target (product, category, everything)
	WHERE NOT (target.everything AND list.price_list IN ('l1', 'l2') AND tier = 0);
	UPDATE price_staging SET adjust = pg_temp.dice(80) - 60, surcharge = CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(10) - 5 END WHERE amount IS NULL;
	-- Half of them are prices by then.
	INSERT INTO price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge)
	SELECT price_list, product, category::ltree, everything, min_quantity, amount, adjust, surcharge FROM price_staging WHERE line % 2 = 0;
	DELETE FROM price_staging WHERE line % 2 = 0;
	INSERT INTO found
	SELECT round, line, problem, (regexp_match(detail, 'for product ''([^'']+)'''))[1], coalesce((regexp_match(detail, ' and (\d+) more'))[1], '0')::int
	FROM check_staged_prices() WHERE problem IN ('sale above base', 'below floor');
	CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT * FROM price_staging;
	PERFORM apply_prices(accept => '{tier rises,sale above base,below floor,jump}');
	INSERT INTO told
	WITH answers AS (
		SELECT s.line, p.product, e.amount, e.verdict, pg_temp.floor_of(p.product, list.currency) AS lowest
		FROM staged AS s JOIN price_list AS list ON list.price_list = s.price_list
			JOIN price AS row ON row.price_list = s.price_list AND row.min_quantity = s.min_quantity AND row.product IS NOT DISTINCT FROM s.product
				AND row.category_path IS NOT DISTINCT FROM s.category AND row.everything = s.everything
			CROSS JOIN product AS p
			JOIN LATERAL explain_quote_segments(list.segments_any || list.segments_all, p.product, greatest(s.min_quantity, 1), list.currency) AS e ON e.price_id = row.price_id AND e.kind <> 'answer'
		WHERE e.verdict NOT IN ('nearer row', 'no base price')
	), problems AS (
		SELECT line, 'sale above base' AS problem, product FROM answers WHERE verdict = 'not lower'
		UNION ALL
		SELECT line, 'below floor', product FROM answers WHERE amount < lowest
	)
	SELECT round, p.line, p.problem,
		CASE WHEN count(*) > 1 OR min(p.product) IS DISTINCT FROM s.product THEN coalesce(min(s.product) FILTER (WHERE p.product = s.product), min(p.product COLLATE "C")) END, count(*) - 1
	FROM problems AS p JOIN staged AS s ON s.line = p.line GROUP BY p.line, p.problem, s.product;
	DROP TABLE staged;
END $$;
CREATE TABLE public.told (LIKE public.found);
SELECT public.play(round) FROM generate_series(1, 12) AS round \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM public.found), '>', 100::bigint, 'there is something to tell');
SELECT results_eq('SELECT * FROM public.found WHERE problem = ''sale above base'' ORDER BY 1, 2, 3', 'SELECT * FROM public.told WHERE problem = ''sale above base'' ORDER BY 1, 2, 3',
	'what is no sale is what is told');
SELECT results_eq('SELECT * FROM public.found WHERE problem = ''below floor'' ORDER BY 1, 2, 3', 'SELECT * FROM public.told WHERE problem = ''below floor'' ORDER BY 1, 2, 3',
	'and what leads below the floor');
SELECT * FROM finish();
ROLLBACK;
