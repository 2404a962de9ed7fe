-- Jumps of staged prices: beside what they replace, what was last before them, and other lines, of whatever kind.
BEGIN;
SET LOCAL search_path = omnichannel, public;
SELECT plan(45);
SET LOCAL TimeZone = 'UTC';
INSERT INTO product (product, category, tax_rate) VALUES ('p', 'A.B', 25), ('q', 'A', 25), ('n', NULL, NULL), ('gap', NULL, NULL), ('lone', NULL, NULL);
INSERT INTO product (product, parent) VALUES ('p.red', 'p');
INSERT INTO price_list (price_list, kind, currency) VALUES ('base', 'base', 'PLN'), ('sale', 'sale', 'PLN'), ('deal', 'override', 'PLN'), ('flat', 'sale', 'PLN');
INSERT INTO price_list (price_list, kind, currency, tax_inclusive) VALUES ('net', 'sale', 'PLN', false);
INSERT INTO price (price_list, product, amount) VALUES ('base', 'p', 100), ('base', 'q', 1000);
INSERT INTO price (price_list, product, adjust, surcharge) VALUES ('sale', 'p', -10, NULL), ('sale', 'p.red', -10, 0), ('deal', 'p', -10, -5), ('sale', 'lone', -10, NULL), ('net', 'p', -10, NULL), ('sale', 'q', NULL, 0);
INSERT INTO price (price_list, product, amount) VALUES ('flat', 'p', 90);
INSERT INTO price (price_list, product, amount, valid) VALUES ('base', 'gap', 100, '[2025-01-01,2025-02-01)'), ('base', 'gap', 10, '[2024-01-01,2024-02-01)');

-- Each text a line: list, target, quantity, amount, adjust, surcharge, round_to, time; what is told of them but other problems.
CREATE FUNCTION public.jumps(VARIADIC lines text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM price_staging;
	INSERT INTO price_staging (line, price_list, product, category, min_quantity, amount, adjust, surcharge, round_to, valid)
	SELECT line, part[1], CASE WHEN part[2] ~ '^[a-z]' THEN part[2] END, CASE WHEN part[2] ~ '^[A-Z]' THEN part[2] END, part[3]::numeric, nullif(part[4], '-')::numeric,
		nullif(part[5], '-')::numeric, nullif(part[6], '-')::numeric, nullif(part[7], '-')::numeric, part[8]::tstzrange
	FROM unnest(lines) WITH ORDINALITY AS given (text, line), regexp_split_to_array(given.text, ' ') AS part;
	RETURN (SELECT coalesce(array_agg(line || ' ' || detail), '{}') FROM check_staged_prices() WHERE problem = 'jump');
END $$;

-- kinds that differ, by what they make of the base price
SELECT is(public.jumps('sale p 0 1 - - -'), ARRAY['1 1 instead of 90'], 'an amount in place of a percentage');
SELECT is(public.jumps('sale p 0 80 - - -'), '{}', 'a small step');
SELECT is(public.jumps('sale p 0 45 - - -'), '{}', 'half of it is no more than 50 percent');
SELECT is(public.jumps('sale p 0 44.99 - - -'), ARRAY['1 44.99 instead of 90'], 'a little less is');
SELECT is(public.jumps('flat p 0 - -99 - -'), ARRAY['1 1 instead of 90 for product ''p'' and 1 more'], 'a percentage in place of an amount');
SELECT is(public.jumps('flat p 0 - -20 - -'), '{}', 'that is near');
SELECT is(public.jumps('sale p 0 - -10 -80 -'), ARRAY['1 10 instead of 90'], 'a surcharge besides');
SELECT is(public.jumps('sale p 0 - - -80 -'), ARRAY['1 20 instead of 90'], 'in place of the percentage');
SELECT is(public.jumps('sale p 0 - - -12 -'), '{}', 'of nearly the same');
SELECT is(public.jumps('sale p 0 - -10 0 -'), '{}', 'none is like zero');
SELECT is(public.jumps('sale q 0 - -90 - -'), ARRAY['1 -90 percent instead of 0'], 'a surcharge of zero alone is the base price');
SELECT is(public.jumps('sale q 0 - -40 - -'), '{}', 'from which this is not far');
SELECT is(public.jumps('sale p.red 0 - - 0 -', 'flat q 0 - - 0 - [2130-01-01,2130-02-01)', 'flat q 0 - -90 - - [2130-02-01,)'), ARRAY['3 -90 percent instead of 0'], 'staged, too');
SELECT is(public.jumps('sale p.red 0 - -95 - -'), ARRAY['1 -95 percent instead of -10'], 'and percentages alone are told as such');
SELECT is(public.jumps('sale p 0 - -10 - 200'), ARRAY['1 0 instead of 90'], 'rounded down to nothing');
SELECT is(public.jumps('sale p 0 - -10 - 30'), '{}', 'or not far');
SELECT is(public.jumps('deal p 0 - -10 -5 -'), '{}', 'the same again');
SELECT is(public.jumps('deal p 0 - -10 -50 -'), ARRAY['1 40 instead of 85 for product ''p'' and 1 more'], 'another surcharge');
SELECT is(public.jumps('deal p 0 - -10 -40 -'), '{}', 'that changes less');
SELECT is(public.jumps('net p 0 18 - - -'), ARRAY['1 18 instead of 72 for product ''p'' and 1 more'], 'in the list''s own prices, without tax');
SELECT is(public.jumps('net p 0 60 - - -'), '{}', 'and not with it');
SELECT is(public.jumps('sale lone 0 1 - - -'), '{}', 'without a base price there was no price');
SELECT is(public.jumps('sale p 5 1 - - -'), '{}', 'another quantity replaces nothing');

-- the base price of each product and moment
INSERT INTO price (price_list, category, adjust) VALUES ('flat', 'A', -10);
SELECT is(public.jumps('flat A 0 80 - - -'), ARRAY['1 80 instead of 900 for product ''q'''], 'at each product that it is the price of');
SELECT is(public.jumps('flat A 0 80 - - -', 'flat q 0 800 - - -'), '{}', 'not where there is a nearer one');
SELECT is(public.jumps('flat A 0 - - -880 -'), ARRAY['1 120 instead of 900 for product ''q'''], 'not at one that has its own');
SELECT is(public.jumps('base p 0 250 - - - [2140-01-01,)', 'sale p 0 80 - - -'), ARRAY['1 250 instead of 100', '2 80 instead of 225 from 2140-01-01 00:00:00+00 on'], 'also a base price of later');
SELECT is(public.jumps('base p 0 250 - - - [2140-01-01,)', 'sale p 0 80 - - - [2130-01-01,2140-01-01)'), ARRAY['1 250 instead of 100'], 'if the line holds then');
DELETE FROM price WHERE price_list = 'flat' AND category IS NOT NULL;

-- the last one before a line
SELECT is(public.jumps('base gap 0 1 - - -'), ARRAY['1 1 instead of 100'], 'after a time without a price');
SELECT is(public.jumps('base gap 0 90 - - -'), '{}', 'only the last one counts');
SELECT is(public.jumps('base gap 0 20 - - - [2024-06-01,2024-07-01)'), ARRAY['1 20 instead of 10'], 'of that time');
SELECT is(public.jumps('base n 0 100 - - - [2130-01-01,2130-01-03)', 'base n 0 1000 - - - [2130-01-03,)'), ARRAY['2 1000 instead of 100'], 'another line');
SELECT is(public.jumps('base n 0 1000 - - - [2131-01-01,)', 'base n 0 100 - - - [2130-01-01,2130-01-03)'), ARRAY['1 1000 instead of 100'], 'after a while, in whatever order');
SELECT is(public.jumps('base n 0 100 - - - [2130-01-01,2130-01-03)', 'base n 1 1000 - - - [2130-01-03,)'), '{}', 'of the same quantity');
SELECT is(public.jumps('base p 0 60 - - - [2130-01-01,2130-01-03)', 'base p 0 120 - - - [2130-02-01,2130-02-03)'), '{}', 'where one that stands lies between, that one');
SELECT is(public.jumps('base p 0 60 - - - [2130-01-01,2130-01-03)', 'base p 0 120 - - - [2130-01-03,2130-02-03)'), ARRAY['2 120 instead of 60'], 'but not where they touch');
SELECT is(public.jumps('base gap 0 60 - - - [2025-01-15,2025-02-01)', 'base gap 0 120 - - - [2025-02-01,2025-03-01)'), ARRAY['2 120 instead of 60'], 'a line that takes its end counts in its place');
SELECT is(public.jumps('sale n 0 50 - - - [2130-01-01,2130-02-01)', 'sale n 0 - -99 - - [2130-02-01,2130-03-01)', 'base n 0 100 - - - [2130-01-01,)'),
	ARRAY['2 1 instead of 50'], 'an amount and a percentage, by a staged base price');
-- what becomes of lines in derived lists
INSERT INTO price_list (price_list, kind, derived_from, derived_surcharge) VALUES ('less', 'override', 'base', -50);
SELECT is(public.jumps('base n 0 100 - - - [2130-01-01,2130-01-03)', 'base n 0 130 - - - [2130-02-03,)'), ARRAY['2 80 instead of 50 in derived price list ''less'''], 'there too');
SELECT is(public.jumps('base n 0 100 - - - [2130-01-01,2130-01-03)', 'base n 0 110 - - - [2130-02-03,)'), '{}', 'by its own amounts');
-- numbers that no row of the index holds, and codes that fill a screen
SELECT throws_ok(format('INSERT INTO price (price_list, product, amount) VALUES (''base'', ''n'', 1.%s)', repeat('7', 501)), '23514', NULL, 'decimals without end');
SELECT lives_ok(format('INSERT INTO price (price_list, product, adjust, surcharge, round_to) VALUES (''deal'', ''n'', 1.%1$s, 1.%1$s, 1.%1$s)', repeat('7', 500)), 'hundreds are enough');
DELETE FROM price_staging;
INSERT INTO price_staging (line, price_list, product, category, amount, adjust, surcharge, round_to) SELECT place, CASE WHEN place = 5 THEN repeat('x', 5000) ELSE 'deal' END,
	CASE place WHEN 6 THEN repeat('x', 5000) WHEN 7 THEN NULL ELSE 'n' END, CASE WHEN place = 7 THEN repeat('-', 5000) END,
	CASE WHEN place = 1 THEN given.number WHEN place > 4 THEN 1 END, CASE WHEN place = 2 THEN given.number WHEN place BETWEEN 3 AND 4 THEN 1 END, CASE WHEN place = 3 THEN given.number END, CASE WHEN place = 4 THEN given.number END
FROM generate_series(1, 7) AS place, (SELECT ('1.' || repeat('7', 501))::numeric AS number) AS given;
SELECT results_eq('SELECT line, problem, length(detail) < 120 FROM check_staged_prices() WHERE problem <> ''jump'' AND problem <> ''overlap''', $$VALUES (1::bigint, 'value', true), (2, 'value', true), (3, 'value', true),
	(4, 'value', true), (5, 'list', true), (6, 'product', true), (7, 'category', true)$$, 'are told before');
DELETE FROM price_staging;
INSERT INTO price_staging (price_list, product, amount) VALUES ('base', 'n', 5);
CREATE TEMP VIEW omnichannel_replaced_price AS SELECT 1;
SELECT throws_ok('SELECT apply_prices()', '42P07', 'the session has a temporary relation "omnichannel_replaced_price" of its own', 'a name that is taken is told');
DROP VIEW omnichannel_replaced_price;
SELECT is((SELECT applied FROM apply_prices()), 1::bigint, 'and free again');
SELECT * FROM finish();
ROLLBACK;
