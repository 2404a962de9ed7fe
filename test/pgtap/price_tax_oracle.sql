-- Days on which lists with tax and such without it were charged, and staged prices of both kinds, beside plain SQL.
BEGIN;
SELECT plan(9);
SELECT setseed(0.5);
SET LOCAL search_path = omnichannel, public;
SET LOCAL timezone = 'Europe/Warsaw';
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;

-- The prior price: each day one of two base prices, some days one of two sales.
INSERT INTO product (product, tax_rate) SELECT 'p' || i, (ARRAY[23, 8, 5.5, NULL])[1 + i % 4] FROM generate_series(1, 24) AS i;
INSERT INTO price_list (price_list, kind, priority, tax_inclusive, active)
VALUES ('gross', 'base', 0, true, '{(,)}'), ('net', 'base', 1, false, '{(,)}'), ('sale', 'sale', 0, true, '{(,)}'), ('trade', 'sale', 1, false, '{(,)}');
INSERT INTO price (price_list, product, amount, valid)
SELECT list, 'p' || i, CASE list WHEN 'gross' THEN 123 WHEN 'net' THEN 100 WHEN 'sale' THEN 98.40 ELSE 80 END + pg_temp.dice(3) * (ARRAY[0.01, 3.21, 10])[1 + pg_temp.dice(3)],
	tstzrange('2025-01-01'::timestamptz + n * interval '9 days', '2025-01-01'::timestamptz + (n + 1) * interval '9 days')
FROM generate_series(1, 24) AS i, generate_series(0, 14) AS n, unnest('{gross,net,sale,trade}'::text[]) AS list;
DELETE FROM price WHERE random() > CASE price_list WHEN 'gross' THEN 0.8 ELSE 0.4 END;
CREATE TABLE public.day AS
SELECT sold.product, day::date AS day, quoted.unit_price, quoted.list_price, quoted.unit_gross, quoted.tax_inclusive, coalesce(sold.tax_rate, 0) AS tax_rate, quoted.reference_price
FROM product AS sold, generate_series('2024-12-31'::timestamptz, '2025-05-20', '1 day') AS day, LATERAL quote(NULL, sold.product, at => day + interval '1 hour') AS quoted;
CREATE TABLE public.prior AS
SELECT now.*, began.day AS began, (SELECT min(before.unit_gross) FROM public.day AS before WHERE before.product = now.product AND before.day < began.day AND before.day >= began.day - 30) AS paid
FROM public.day AS now, LATERAL (
	-- A change of what customers pay, or of whether it is reduced, begins another price.
	SELECT max(first.day) AS day FROM public.day AS first, public.day AS before
	WHERE first.product = now.product AND before.product = now.product AND first.day <= now.day AND before.day = first.day - 1
		AND (before.unit_price IS NULL OR before.unit_price >= before.list_price OR before.unit_gross <> first.unit_gross)
) AS began
WHERE now.unit_price < now.list_price;
SELECT ok((SELECT count(*) > 200 FROM public.prior WHERE tax_inclusive) AND (SELECT count(*) > 200 FROM public.prior WHERE NOT tax_inclusive), 'reductions with and without tax');
SELECT ok((SELECT count(*) > 100 FROM public.prior JOIN public.day AS before ON before.product = prior.product AND before.day = prior.began - 1 WHERE before.tax_inclusive <> prior.tax_inclusive),
	'after days of the other kind');
SELECT is_empty($$
	SELECT prior.*, answer.* FROM public.prior, LATERAL lowest_price(prior.product, at => prior.day + interval '1 hour') AS answer
	WHERE (answer.lowest_price, answer.price, answer.reduced_since) IS DISTINCT FROM
		(CASE WHEN tax_inclusive THEN paid ELSE round(paid / (1 + tax_rate / 100), 2) END, unit_price, began::timestamptz)
$$, 'the lowest of what customers paid, as the price is said');
SELECT is_empty($$SELECT prior.*, answer.lowest_price FROM public.prior, LATERAL lowest_price(prior.product, at => prior.day + interval '1 hour') AS answer
	WHERE answer.lowest_price IS DISTINCT FROM reference_price$$, 'quote() has it too');
DELETE FROM price;

-- Staged prices beside base prices and floors.
INSERT INTO product (product, tax_rate, min_price, currency) SELECT 's' || i, (ARRAY[23, 8, NULL])[1 + i % 3], CASE WHEN i % 2 = 0 THEN 90 END, 'PLN' FROM generate_series(1, 180) AS i;
INSERT INTO price (price_list, product, amount) SELECT CASE WHEN i % 5 < 3 THEN 'gross' ELSE 'net' END, 's' || i, 100 FROM generate_series(1, 180) AS i;
INSERT INTO price_staging (line, price_list, product, amount, adjust)
SELECT i * 2 + k, (ARRAY['sale', 'trade'])[k + 1], 's' || i, CASE WHEN i % 4 > 0 THEN 80 + pg_temp.dice(45) END, CASE WHEN i % 4 = 0 THEN pg_temp.dice(30) - 25 END FROM generate_series(1, 180) AS i, generate_series(0, 1) AS k;
-- What would be charged, and the floor, both with tax.
CREATE FUNCTION pg_temp.expected(amounts_with_tax boolean, OUT line bigint, OUT problem text) RETURNS SETOF record LANGUAGE sql AS $$
	WITH line AS (
		SELECT s.line, coalesce(s.amount * own.factor, p.amount * base.factor * (100 + s.adjust) / 100) AS paid, p.amount * base.factor AS base,
			sold.min_price * CASE WHEN coalesce($1, beside.tax_inclusive) THEN 1 ELSE sold.factor END AS lowest
		FROM price_staging AS s JOIN price_list AS list USING (price_list) JOIN price AS p USING (product) JOIN price_list AS beside ON beside.price_list = p.price_list
			JOIN (SELECT product.*, 1 + coalesce(tax_rate, 0) / 100 AS factor FROM product) AS sold USING (product),
			LATERAL (SELECT CASE WHEN list.tax_inclusive THEN 1 ELSE sold.factor END AS factor) AS own, LATERAL (SELECT CASE WHEN beside.tax_inclusive THEN 1 ELSE sold.factor END AS factor) AS base
	)
	SELECT line.line, 'sale above base' FROM line WHERE round(paid, 9) >= round(base, 9) UNION ALL SELECT line.line, 'below floor' FROM line WHERE round(paid, 9) < round(lowest, 9) ORDER BY 1, 2
$$;
SELECT ok((SELECT count(*) > 20 FROM pg_temp.expected(true) WHERE problem = 'sale above base') AND (SELECT count(*) > 20 FROM pg_temp.expected(true) WHERE problem = 'below floor'), 'much is wrong');
UPDATE company SET tax_inclusive = true;
SELECT results_eq('SELECT line, problem FROM check_staged_prices() ORDER BY 1, 2', 'SELECT * FROM pg_temp.expected(true)', 'with floors that contain tax');
UPDATE company SET tax_inclusive = false;
SELECT results_eq('SELECT line, problem FROM check_staged_prices() ORDER BY 1, 2', 'SELECT * FROM pg_temp.expected(false)', 'and such that do not');
UPDATE company SET tax_inclusive = NULL;
DELETE FROM price WHERE price_list = 'net';
DELETE FROM price_staging AS s WHERE NOT EXISTS (SELECT FROM price WHERE price.product = s.product);
DELETE FROM price_list WHERE price_list = 'net';
SELECT results_eq('SELECT line, problem FROM check_staged_prices() ORDER BY 1, 2', 'SELECT * FROM pg_temp.expected(NULL)', 'by base lists of one kind');
SELECT is_empty($$SELECT FROM check_staged_prices() WHERE detail ~ '[0-9]{7}'$$, 'told without endless decimals');
SELECT * FROM finish();
ROLLBACK;
