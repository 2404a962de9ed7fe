-- Staged prices beside base prices and floors: at each product that a line is the price of, be it by its parent, its
-- category or as one of everything, and at none that has a nearer price; each beside the base prices of its time, and what
-- becomes of it in derived lists; random ones beside explain_quote().
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(72);
SET LOCAL TimeZone = 'UTC';
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
SELECT throws_ok('SELECT lock_staged_prices()', '42501', NULL, 'nor keep those out who stage prices');
RESET ROLE;
GRANT INSERT ON price_staging TO price_reader;
SET LOCAL ROLE price_reader;
SELECT lives_ok($$INSERT INTO price_staging (price_list, product, amount) VALUES ('sale', 'top.s', 1)$$, 'who may only insert stages prices');
RESET ROLE;
DELETE FROM price_staging;
DROP OWNED BY price_reader;
DROP ROLE price_reader;

-- Times that touch in a moment which both hold.
CREATE FUNCTION pg_temp.overlaps(VARIADIC times tstzrange[]) RETURNS bigint LANGUAGE sql AS $$
	DELETE FROM price_staging;
	INSERT INTO price_staging (price_list, product, amount, valid) SELECT 'list', 'top.s', 20, during FROM unnest(times) AS during;
	SELECT count(*) FROM check_staged_prices() WHERE problem = 'overlap'
$$;
SELECT is(pg_temp.overlaps('[2030-01-01,2030-02-01]', '[2030-02-01,2030-03-01]'), 1::bigint, 'inclusive bounds at one moment overlap');
SELECT is(pg_temp.overlaps('[2030-01-01,2030-02-01]', '(2030-02-01,2030-03-01]', '(2030-03-01,)'), 0::bigint, 'unless one of them leaves it out');
SELECT is(pg_temp.overlaps('[2030-01-01,2030-02-01)', '[2030-02-01,2030-03-01)', '(,2030-01-01)'), 0::bigint, 'half-open ones do not');
DELETE FROM price_staging;

-- A base price that holds later, or does not hold yet, hides none of now.
DELETE FROM price;
DELETE FROM price_list WHERE price_list IN ('vip.base', 'vip.sale', 'both.sale', 'any.sale');
UPDATE product SET min_price = NULL, cost = NULL, min_margin = NULL;
UPDATE product SET min_price = 9 WHERE product = 'mug';
INSERT INTO price (price_list, product, amount, valid) VALUES ('retail', 'mug', 20, '(,)');
INSERT INTO price_list (price_list, kind, priority, valid) VALUES ('future', 'base', 9, '[2030-01-01,)');
INSERT INTO price (price_list, product, amount, valid) VALUES ('future', 'mug', 50, '(,)');
SELECT is(public.problems('sale mug 0 30'), ARRAY['1 sale above base: 30 is not below 20 for product ''mug'' and 2 more'], 'one of a list that comes first, but later');
SELECT is(public.problems('sale mug 0 30 [2031-01-01,)', 'sale mug 0 19 [2025-01-01,2026-01-01)'), '{}', 'beside that of then it is one');
SELECT is(public.problems('sale mug 0 -60%'), ARRAY['1 below floor: 8 is below 9 for product ''mug'' and 2 more'], 'and a floor is reached now');
SELECT is(public.problems('contract mug 0 -60%'), ARRAY['1 below floor: 8 is below 9 for product ''mug'' and 2 more'], 'also by what would be charged');
SELECT is(public.problems('contract mug 0 -60% [2030-01-01,)'), '{}', 'not if it begins then');
SELECT is(public.problems('retail mug 0 30', 'sale mug 0 29', 'other mug 0 29 [2029-01-01,)'), '{}', 'and where both change together there is none');
UPDATE price SET amount = 15 WHERE price_list = 'future';
SELECT is(public.problems('sale mug 0 15'), ARRAY['1 sale above base: 15 is not below 15 from 2030-01-01 00:00:00+00 on for product ''mug'' and 2 more'], 'a problem of later is told with its time');
DELETE FROM price WHERE price_list = 'future';
INSERT INTO price (price_list, product, amount, valid) VALUES ('retail', 'mug.red', 50, '[2030-01-01,)');
SELECT is(public.problems('sale mug.red 0 30'), ARRAY['1 sale above base: 30 is not below 20 for product ''mug.red'' and 1 more'], 'a variant''s own that begins later');
SELECT is(public.problems('sale mug.red 0 30 [2030-01-01,)'), '{}', 'beside itself');
UPDATE price SET product = 'mug', min_quantity = 5 WHERE product = 'mug.red';
SELECT is(public.problems('sale mug 5 30'), ARRAY['1 sale above base: 30 is not below 20 for product ''mug'' and 2 more'], 'a tier that begins later');
SELECT is(public.problems('sale mug 5 30 [2030-01-01,)'), '{}', 'beside itself');
UPDATE price SET amount = 12 WHERE min_quantity = 5;
SELECT is(public.problems('contract mug 0 -50%'), ARRAY['1 below floor: 6 is below 9 from 5 units on from 2030-01-01 00:00:00+00 on for product ''mug'' and 2 more'], 'a tier of base prices that leads below the floor');
SELECT is(public.problems('contract mug 0 -50%', 'contract mug 2 11'), '{}', 'but not where the list has its own tier');
DELETE FROM price WHERE min_quantity = 5;
INSERT INTO price_list (price_list, kind, priority, status) VALUES ('plan', 'base', 20, 'draft');
INSERT INTO price (price_list, product, amount, valid) VALUES ('plan', 'mug', 50, '(,)');
SELECT is(public.problems('sale mug 0 30'), ARRAY['1 sale above base: 30 is not below 20 for product ''mug'' and 2 more'], 'a draft hides nothing');
UPDATE price SET amount = 10 WHERE price_list = 'plan';
SELECT is(public.problems('sale mug 0 15'), '{}', 'nor does one count');
UPDATE price_list SET status = 'approved' WHERE price_list = 'plan';
SELECT is(public.problems('sale mug 0 15', 'other mug 0 25'), ARRAY['1 sale above base: 15 is not below 10 once price list ''plan'' is active for product ''mug'' and 2 more',
	'2 sale above base: 25 is not below 20 for product ''mug'' and 2 more'], 'one that is approved counts besides');
UPDATE price_list SET status = 'draft' WHERE price_list IN ('plan', 'sale');
SELECT is(public.problems('sale mug 0 15'), ARRAY['1 sale above base: 15 is not below 10 once price list ''plan'' is active for product ''mug'' and 2 more'], 'for a draft drafts do');
UPDATE price_list SET status = 'active' WHERE price_list IN ('plan', 'sale');
SELECT is(public.problems('sale mug 0 15'), ARRAY['1 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'until they are what is charged');
UPDATE price_list SET status = 'retired' WHERE price_list = 'plan';
UPDATE price_list SET active = '{(,2025-01-01)}' WHERE price_list = 'plan';
DELETE FROM price WHERE price_list = 'plan';
INSERT INTO price (price_list, product, amount, valid) VALUES ('plan', 'mug', 10, '(,)');
DELETE FROM price WHERE price_list = 'plan';
INSERT INTO price (price_list, product, amount, valid) VALUES ('plan', 'mug', 10, '(,)');
SELECT is(public.problems('sale mug 0 15', 'other mug 0 15 [2024-01-01,)'), ARRAY['2 sale above base: 15 is not below 10 for product ''mug'' and 2 more'], 'or were then');
DELETE FROM price WHERE price_list = 'plan';
INSERT INTO price_list (price_list, kind, segments_any, priority) VALUES ('club', 'base', '{vip}', 5);
INSERT INTO price (price_list, product, amount) VALUES ('club', 'mug', 16);
SELECT is(public.problems('contract mug 0 -50%'), ARRAY['1 below floor: 8 is below 9 for product ''mug'' and 2 more'], 'a floor is looked at for each group');
UPDATE product SET min_price = 3 WHERE product = 'bare';
SELECT is(public.problems('contract bare 0 -50%', 'sale bare 0 -50%'), '{}', 'where there is no base price there is none to adjust');
DELETE FROM price WHERE price_list = 'club';

-- What becomes of a line in derived lists, and in those derived from these.
INSERT INTO price_list (price_list, kind, priority, derived_from, derived_adjust, derived_surcharge, derived_round_to)
VALUES ('half', 'override', 3, 'contract', -50, NULL, NULL), ('base.half', 'base', 3, 'retail', -50, NULL, NULL), ('base.less', 'base', 4, 'base.half', NULL, -1, 0.5),
	('half.more', 'sale', 2, 'half', NULL, 10, NULL);
SELECT is(public.problems('contract mug 0 15'), ARRAY['1 below floor: 7.5 is below 9 in derived price list ''half'' for product ''mug'' and 2 more',
	'1 sale above base: 17.5 is not below 9 in derived price list ''half.more'' for product ''mug'' and 2 more'], 'by the first list, and by the second');
SELECT is(public.problems('contract mug 0 18', 'retail mug 0 80'), '{}', 'not below it, nor above the new base price');
SELECT is(public.problems('contract mug 0 8'), ARRAY['1 below floor: 8 is below 9 for product ''mug'' and 2 more',
	'1 sale above base: 14 is not below 9 in derived price list ''half.more'' for product ''mug'' and 2 more'], 'its own list is named first');
SELECT is(public.problems('contract mug 0 18 [2030-01-01,)', 'sale mug 0 8.5'), ARRAY['1 sale above base: 19 is not below 9 in derived price list ''half.more'' for product ''mug'' and 2 more',
	'2 below floor: 8.5 is below 9 for product ''mug'' and 2 more'], 'beside a base price that is derived twice');
SELECT is(public.problems('retail mug 0 22', 'sale mug 0 9.5'), '{}', 'nor of one that is raised with it');
SELECT is(public.problems('contract mug 0 10%'), ARRAY['1 below floor: 4.95 is below 9 in derived price list ''half'' for product ''mug'' and 2 more',
	'1 sale above base: 14.95 is not below 9 in derived price list ''half.more'' for product ''mug'' and 2 more'], 'percentages are combined');
-- Random catalogues of prices and lists with times, of statuses and derived: what is told of a line is what explain_quote()
-- says of its price, and of those derived from it, once all is applied: at some moment, and for a floor for some group and
-- quantity; also once what is approved is active.
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;
CREATE FUNCTION pg_temp.span(a int, b int) RETURNS tstzrange LANGUAGE sql STABLE
RETURN CASE WHEN a < 5 THEN tstzrange(CASE WHEN a > 0 THEN now() + (a - 2) * interval '10 days' END, CASE WHEN b < 4 THEN now() + (a - 1 + b) * interval '10 days' END) END;
CREATE FUNCTION pg_temp.span() RETURNS tstzrange LANGUAGE sql VOLATILE RETURN pg_temp.span(pg_temp.dice(6), pg_temp.dice(6));
CREATE FUNCTION pg_temp.floor_of(code text, in_currency text) RETURNS numeric LANGUAGE sql STABLE AS $$
	WITH RECURSIVE up AS (
		SELECT 0 AS n, p.* FROM omnichannel.product AS p WHERE p.product = code UNION ALL SELECT up.n + 1, p.* FROM up JOIN omnichannel.product AS p ON p.product = up.parent
	)
	SELECT greatest((SELECT CASE WHEN currency = in_currency THEN min_price END FROM up WHERE min_price IS NOT NULL ORDER BY n LIMIT 1),
		(SELECT CASE WHEN currency = in_currency THEN cost END FROM up WHERE cost IS NOT NULL ORDER BY n LIMIT 1)
			* (1 + (SELECT min_margin FROM up WHERE min_margin IS NOT NULL ORDER BY n LIMIT 1) / 100))
$$;
CREATE TABLE public.found (round int, line bigint, problem text, list text, product text, more int);
CREATE TABLE public.told (LIKE public.found);
-- What is wrong with prices as they are, from a moment on.
CREATE FUNCTION public.wrong_prices(since timestamptz) RETURNS TABLE (price_id bigint, problem text, product text) LANGUAGE sql AS $$
	SELECT DISTINCT e.price_id, wrong.problem, p.product
	FROM product AS p CROSS JOIN unnest('{PLN,EUR}'::text[]) AS of_currency CROSS JOIN unnest('{1,5,10}'::numeric[]) AS quantity
		CROSS JOIN (VALUES ('{}'::text[]), ('{pl}'), ('{vip}'), ('{pl,vip}')) AS who (segments)
		CROSS JOIN (SELECT now() + n * interval '10 days' FROM generate_series(-3, 6) AS n) AS moments (at)
		CROSS JOIN LATERAL explain_quote_segments(who.segments, p.product, quantity, of_currency, moments.at) AS e
		JOIN price AS row ON row.price_id = e.price_id JOIN price_list AS list ON list.price_list = row.price_list
		CROSS JOIN LATERAL (VALUES
			('sale above base', e.verdict = 'not lower' AND quantity = greatest(row.min_quantity, 1) AND who.segments @> (list.segments_any || list.segments_all)
				AND who.segments <@ (list.segments_any || list.segments_all)),
			('below floor', e.amount < pg_temp.floor_of(p.product, of_currency))) AS wrong (problem, is_so)
	WHERE wrong.is_so AND moments.at >= since
		AND e.verdict IN ('won', 'list price', 'lower priority', 'dearer at the same priority', 'later code at the same priority and amount', 'not lower')
$$;
CREATE FUNCTION public.play(round int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(round / 1000.0);
	DELETE FROM price_staging;
	UPDATE price_list SET derived_from = NULL, derived_adjust = NULL, derived_surcharge = NULL, derived_round_to = NULL;
	DELETE FROM price;
	DELETE FROM price_list;
	UPDATE product SET parent = NULL;
	DELETE FROM product;
	INSERT INTO product (product, category, min_price, cost, min_margin, currency)
	SELECT 'p' || i, (ARRAY['a', 'a.b', 'a.b.c', 'd', NULL])[1 + pg_temp.dice(5)]::ltree, CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(40) END,
		CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(40) END, CASE pg_temp.dice(2) WHEN 0 THEN pg_temp.dice(40) END, CASE pg_temp.dice(4) WHEN 0 THEN 'EUR' ELSE 'PLN' END
	FROM generate_series(1, 15) AS i;
	UPDATE product SET parent = 'p' || (substr(product, 2)::int - 5) WHERE substr(product, 2)::int > 5 AND pg_temp.dice(2) = 0;
	INSERT INTO price_list (price_list, kind, priority, currency, segments_any, segments_all, valid, status)
	SELECT 'l' || i, list.kind, pg_temp.dice(3), CASE WHEN i = 2 OR i > 2 AND pg_temp.dice(4) = 0 THEN 'EUR' ELSE 'PLN' END,
		CASE WHEN i <= 2 OR pg_temp.dice(2) = 0 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'pl'])[1 + pg_temp.dice(2)]] END,
		CASE WHEN i <= 2 OR pg_temp.dice(3) > 0 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'pl'])[1 + pg_temp.dice(2)]] END,
		CASE WHEN i <= 2 OR pg_temp.dice(2) = 0 THEN '(,)' ELSE coalesce(pg_temp.span(), '(,)') END,
		CASE WHEN i <= 2 OR list.kind <> 'base' THEN 'active' ELSE (ARRAY['active', 'active', 'approved', 'draft', 'retired'])[1 + pg_temp.dice(5)] END
	FROM (SELECT i, CASE WHEN i <= 2 OR pg_temp.dice(2) = 0 THEN 'base' WHEN pg_temp.dice(2) = 0 THEN 'override' ELSE 'sale' END AS kind FROM generate_series(1, 9) AS i) AS list;
	UPDATE price_list SET active = tstzmultirange(tstzrange(now() - interval '10 days', NULL)) WHERE status = 'active' AND price_list NOT IN ('l1', 'l2') AND pg_temp.dice(3) = 0;
	UPDATE price_list SET active = tstzmultirange(tstzrange(now() - interval '20 days', now() - interval '10 days')) WHERE status <> 'active' AND pg_temp.dice(2) = 0;
	-- For everybody there is some base price.
	INSERT INTO price (price_list, everything, amount, valid) VALUES ('l1', true, 50, '(,)'), ('l2', true, 40, '(,)');
	INSERT INTO price_staging (price_list, product, category, everything, min_quantity, amount, adjust, valid)
	WITH drawn AS MATERIALIZED (
		SELECT 'l' || 1 + pg_temp.dice(9) AS code, pg_temp.dice(8) AS what, 'p' || 1 + pg_temp.dice(15) AS product, (ARRAY['a', 'a.b', 'a.b.c', 'd'])[1 + pg_temp.dice(4)] AS category,
			(ARRAY[0, 0, 5, 10])[1 + pg_temp.dice(4)] AS tier FROM generate_series(1, 140)
	)
	SELECT list.price_list, target.product, target.category, target.everything, tier, CASE WHEN list.kind = 'base' OR pg_temp.dice(2) = 0 THEN pg_temp.dice(60) END, NULL, pg_temp.span()
	FROM drawn JOIN price_list AS list ON list.price_list = drawn.code,
		LATERAL (SELECT CASE WHEN what < 4 THEN drawn.product END, CASE WHEN what BETWEEN 4 AND 6 THEN drawn.category END, what = 7) AS target (product, category, everything)
	WHERE NOT (target.everything AND list.price_list IN ('l1', 'l2') AND tier = 0);
	UPDATE price_staging SET adjust = pg_temp.dice(80) - 60, surcharge = CASE pg_temp.dice(3) WHEN 0 THEN pg_temp.dice(10) - 5 END, round_to = CASE pg_temp.dice(3) WHEN 0 THEN 2.5 END
	WHERE amount IS NULL;
	-- Half of them are prices by then.
	INSERT INTO price (price_list, product, category, everything, min_quantity, amount, adjust, surcharge, round_to, valid)
	SELECT price_list, product, category::ltree, everything, min_quantity, amount, adjust, surcharge, round_to, coalesce(valid, tstzrange(now(), NULL))
	FROM price_staging WHERE line % 2 = 0 ON CONFLICT DO NOTHING;
	DELETE FROM price_staging WHERE line % 2 = 0;
	DELETE FROM price_staging AS s USING check_staged_prices() AS c WHERE c.line = s.line AND c.problem = 'overlap';
	INSERT INTO price_list (price_list, kind, priority, currency, segments_any, valid, derived_from, derived_adjust, derived_surcharge, derived_round_to)
	WITH drawn AS MATERIALIZED (SELECT 'm' || i AS code, 'l' || 1 + pg_temp.dice(9) AS source_list FROM generate_series(1, 3) AS i)
	SELECT code, CASE WHEN source.kind = 'base' THEN (ARRAY['base', 'override', 'sale'])[1 + pg_temp.dice(3)] ELSE (ARRAY['override', 'sale'])[1 + pg_temp.dice(2)] END, pg_temp.dice(4), source.currency,
		CASE WHEN pg_temp.dice(2) = 0 THEN '{}' ELSE ARRAY[(ARRAY['vip', 'pl'])[1 + pg_temp.dice(2)]] END, CASE pg_temp.dice(3) WHEN 0 THEN coalesce(pg_temp.span(), '(,)') ELSE '(,)' END, source.price_list,
		pg_temp.dice(60) - 40, CASE pg_temp.dice(2) WHEN 0 THEN pg_temp.dice(10) - 5 END, CASE pg_temp.dice(3) WHEN 0 THEN 1.5 END
	FROM drawn JOIN price_list AS source ON source.price_list = drawn.source_list;
	INSERT INTO price_list (price_list, kind, priority, currency, derived_from, derived_adjust)
	SELECT 'n', CASE WHEN kind = 'base' THEN 'sale' ELSE 'override' END, 1, currency, 'm1', -20 FROM price_list WHERE price_list = 'm1';
	INSERT INTO found
	SELECT round, line, problem, (regexp_match(detail, 'in derived price list ''([^'']+)'''))[1], (regexp_match(detail, 'for product ''([^'']+)'''))[1],
		coalesce((regexp_match(detail, ' and (\d+) more'))[1], '0')::int
	FROM check_staged_prices() WHERE problem IN ('sale above base', 'below floor');
	CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT * FROM price_staging;
	PERFORM apply_prices(accept => '{tier rises,sale above base,below floor,jump}');
	CREATE TEMP TABLE wrong ON COMMIT DROP AS SELECT * FROM public.wrong_prices('-infinity');
	UPDATE price_list SET status = 'active' WHERE status = 'approved';
	INSERT INTO wrong SELECT * FROM public.wrong_prices(now());
	-- The line's own list is taken for active; amounts are what they are, whatever else is.
	UPDATE price_list SET status = 'active' WHERE status <> 'active';
	INSERT INTO wrong SELECT w.* FROM public.wrong_prices(now()) AS w JOIN price USING (price_id) WHERE w.problem = 'below floor' AND price.amount IS NOT NULL;
	INSERT INTO told
	WITH RECURSIVE made AS (
		SELECT s.line, s.product, NULL AS list, row.price_id
		FROM staged AS s JOIN price AS row ON row.price_list = s.price_list AND row.min_quantity = s.min_quantity AND row.product IS NOT DISTINCT FROM s.product
			AND row.category_path IS NOT DISTINCT FROM s.category AND row.everything = s.everything AND row.valid = coalesce(s.valid, tstzrange(now(), NULL))
		UNION ALL
		SELECT m.line, m.product, row.price_list, row.price_id FROM made AS m JOIN price AS row ON row.source_price = m.price_id
	), counted AS (
		SELECT m.line, w.problem, m.list, m.product, min(w.product) FILTER (WHERE w.product = m.product) AS same, min(w.product COLLATE "C") AS first, count(DISTINCT w.product) AS n
		FROM made AS m JOIN wrong AS w ON w.price_id = m.price_id GROUP BY 1, 2, 3, 4
	)
	SELECT DISTINCT ON (line, problem) round, line, problem, list, CASE WHEN n > 1 OR first IS DISTINCT FROM product THEN coalesce(same, first) END, n - 1
	FROM counted ORDER BY line, problem, CASE WHEN list IS NULL THEN 0 WHEN list < 'n' THEN 1 ELSE 2 END, list;
	DROP TABLE staged, wrong;
END $$;
\if :{?first}
\else
\set first 1
\set last 3
\endif
SELECT public.play(round) FROM generate_series(:first, :last) AS round \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM public.found), '>', 20::bigint, 'there is something to tell');
SELECT results_eq('SELECT * FROM public.found WHERE problem = ''sale above base'' ORDER BY 1, 2, 3', 'SELECT * FROM public.told WHERE problem = ''sale above base'' ORDER BY 1, 2, 3',
	'what is no sale is what is told');
SELECT results_eq('SELECT * FROM public.found WHERE problem = ''below floor'' ORDER BY 1, 2, 3', 'SELECT * FROM public.told WHERE problem = ''below floor'' ORDER BY 1, 2, 3',
	'and what leads below the floor');
SELECT * FROM finish();
ROLLBACK;
