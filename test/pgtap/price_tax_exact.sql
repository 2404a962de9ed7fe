-- Percentages, surcharges and promotions over base prices of the other tax kind: rounded once, as exact fractions say.
BEGIN;
SELECT plan(10);
SELECT setseed(0.25);
SET LOCAL search_path = omnichannel, public;
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;

INSERT INTO price_list (price_list, kind, priority, tax_inclusive)
VALUES ('gross', 'base', 0, true), ('net', 'base', 0, false), ('b2b', 'override', 5, false), ('b2c', 'override', 5, true), ('sale', 'sale', 5, false);
INSERT INTO price_list (price_list, kind, priority, tax_inclusive, derived_from, derived_adjust, derived_surcharge)
VALUES ('outlet', 'override', 9, false, 'b2b', -5, NULL), ('fair', 'sale', 9, false, 'sale', -3.5, -0.07);
UPDATE price_list SET valid = tstzrange('2040-01-01', NULL) WHERE price_list IN ('outlet', 'fair');

-- The two that were found: exactly half a cent, and half a euro.
INSERT INTO product (product, tax_rate) VALUES ('cent', 8), ('euro', 8);
INSERT INTO price (price_list, product, amount) VALUES ('gross', 'cent', 9.03), ('gross', 'euro', 9);
INSERT INTO price (price_list, product, adjust, round_to) VALUES ('b2b', 'cent', -10, NULL), ('b2b', 'euro', -10, 1);
SELECT is((SELECT unit_price FROM quote(NULL, 'cent')), 7.53, '9.03 * 0.9 / 1.08 = 7.525');
SELECT is((SELECT unit_price FROM quote(NULL, 'euro')), 8.00, '9.00 * 0.9 / 1.08 = 7.5');
SELECT is((SELECT amount FROM explain_quote(NULL, 'cent') WHERE kind = 'override' AND candidate = 'b2b'), 7.5250, 'explained as the list says it');

INSERT INTO product (product, tax_rate, min_price)
SELECT 'p' || i, (ARRAY[8, 8, 8, 8, 25, 23, 5.5, NULL])[1 + i % 8], CASE WHEN i % 9 = 0 THEN pg_temp.dice(9000) * 0.01 END FROM generate_series(1, 3600) AS i;
INSERT INTO price (price_list, product, amount)
SELECT CASE WHEN i % 4 = 0 THEN 'net' ELSE 'gross' END, 'p' || i,
	CASE WHEN i % 50 = 0 THEN pg_temp.dice(1000000) * 100000.000011 WHEN i % 7 = 0 THEN pg_temp.dice(100) + 0.2835 ELSE 1 + pg_temp.dice(9900) * 0.01 END
FROM generate_series(1, 3600) AS i;
INSERT INTO price (price_list, product, adjust, surcharge, round_to)
SELECT (ARRAY['b2b', 'b2b', 'b2c', 'sale'])[1 + pg_temp.dice(4)], 'p' || i, (ARRAY[-10, -10, -10, -10, -19, 8, -33.333])[1 + pg_temp.dice(7)],
	(ARRAY[NULL, NULL, NULL, NULL, 0.05, -0.37, 0.000005])[1 + pg_temp.dice(7)], (ARRAY[NULL, NULL, NULL, 0.05, 0.5, 0.3, 0.000000007])[1 + pg_temp.dice(7)]
FROM generate_series(1, 3600) AS i;
INSERT INTO promotion (promotion, kind, value, cap, currency, products)
SELECT 'off' || i, (ARRAY['percent', 'amount', 'fixed_price', 'percent'])[1 + i % 4], 1 + pg_temp.dice(40) * 0.5, CASE WHEN i % 4 = 3 THEN 0.25 END, 'PLN', ARRAY['p' || i * 3]
FROM generate_series(1, 1200) AS i WHERE i % 2 = 0 OR i % 4 = 3;

-- A fraction in so many parts of a whole, rounded once.
CREATE FUNCTION pg_temp.rounded(n numeric, d numeric, mode text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT whole + CASE WHEN 2 * (n - whole * d) > d OR (2 * (n - whole * d) = d AND (mode = 'half_up' OR (mode = 'half_even' AND whole % 2 = 1))) THEN 1 ELSE 0 END
	FROM (SELECT div(n, d) AS whole) AS part $$;
-- All with tax, t being what one without tax is with it; said by the list that is charged.
CREATE FUNCTION pg_temp.expected(at timestamptz, mode text, OUT product text, OUT price_list text, OUT list_price numeric, OUT unit_price numeric) RETURNS SETOF record LANGUAGE sql AS $$
	WITH said AS (
		SELECT sold.product, 1 + coalesce(sold.tax_rate, 0) * 0.01 AS t, base.price_list AS base_list, list.price_list, list.kind, list.tax_inclusive, base.price_list = 'gross' AS with_tax,
			base.amount, sold.min_price, change.adjust, change.surcharge, change.round_to, off.kind AS off, off.value, off.cap
		FROM product AS sold JOIN price AS base ON base.product = sold.product AND base.price_list IN ('gross', 'net')
			JOIN LATERAL (SELECT price.* FROM price JOIN price_list AS list USING (price_list) WHERE price.product = sold.product AND list.kind <> 'base' AND list.valid @> $1
				ORDER BY list.priority DESC LIMIT 1) AS change ON true
			JOIN price_list AS list ON list.price_list = change.price_list LEFT JOIN promotion AS off ON off.products = ARRAY[sold.product]
		WHERE sold.product LIKE 'p%'
	), taxed AS (
		SELECT said.*, said.amount * base.factor AS base, said.min_price * base.factor AS lowest, said.value * base.factor AS off_value, said.cap * base.factor AS off_cap, own.factor,
			said.amount * base.factor * (100 + coalesce(said.adjust, 0)) * 0.01 + coalesce(said.surcharge, 0) * own.factor AS changed
		FROM said, LATERAL (SELECT CASE WHEN said.with_tax THEN 1 ELSE said.t END) AS base (factor), LATERAL (SELECT CASE WHEN said.tax_inclusive THEN 1 ELSE said.t END) AS own (factor)
	), stepped AS (
		SELECT taxed.*, greatest(CASE WHEN round_to IS NULL THEN changed ELSE pg_temp.rounded(changed, round_to * factor, $2) * round_to * factor END, 0) AS price FROM taxed
	), charged AS (
		SELECT stepped.product, CASE WHEN kept THEN base_list ELSE stepped.price_list END AS price_list, CASE WHEN kept THEN CASE WHEN with_tax THEN 1 ELSE t END ELSE factor END AS factor,
			CASE WHEN kept OR kind = 'sale' THEN base ELSE price END AS listed, CASE WHEN kept THEN base ELSE price END AS price, lowest, off, value, off_value, off_cap
		FROM stepped, LATERAL (SELECT kind = 'sale' AND price >= base AS kept) AS same
	)
	SELECT product, price_list, pg_temp.rounded(listed * 100, factor, $2) * 0.01,
		pg_temp.rounded(greatest(greatest(CASE off WHEN 'percent' THEN price - least(price * value * 0.01, off_cap) WHEN 'amount' THEN price - off_value
			WHEN 'fixed_price' THEN least(price, off_value) ELSE price END, 0), least(coalesce(lowest, 0), listed)) * 100, factor, $2) * 0.01
	FROM charged ORDER BY product $$;
CREATE FUNCTION pg_temp.answered(at timestamptz) RETURNS TABLE (product text, price_list text, list_price numeric, unit_price numeric) LANGUAGE sql AS $$
	SELECT answer.product, answer.price_list, answer.list_price, answer.unit_price
	FROM quotes(NULL, ARRAY(SELECT sold.product FROM product AS sold WHERE sold.product LIKE 'p%'), at => $1) AS answer ORDER BY 1 $$;

SELECT ok((SELECT count(*) > 2000 AND count(*) FILTER (WHERE unit_price < list_price) > 500 FROM pg_temp.answered(now())), 'many are reduced');
SELECT is_empty($$SELECT * FROM pg_temp.expected(now(), 'half_up') AS right_one FULL JOIN pg_temp.answered(now()) AS answer USING (product) WHERE (right_one.*) IS DISTINCT FROM (answer.*)$$, 'half away from zero');
SELECT is_empty($$SELECT * FROM pg_temp.expected('2041-01-01', 'half_up') AS right_one FULL JOIN pg_temp.answered('2041-01-01') AS answer USING (product) WHERE (right_one.*) IS DISTINCT FROM (answer.*)$$, 'and of derived lists');
UPDATE company SET rounding = 'half_even';
SELECT is_empty($$SELECT * FROM pg_temp.expected(now(), 'half_even') AS right_one FULL JOIN pg_temp.answered(now()) AS answer USING (product) WHERE (right_one.*) IS DISTINCT FROM (answer.*)$$, 'half to even');
UPDATE company SET rounding = 'half_down';
SELECT is_empty($$SELECT * FROM pg_temp.expected('2041-01-01', 'half_down') AS right_one FULL JOIN pg_temp.answered('2041-01-01') AS answer USING (product) WHERE (right_one.*) IS DISTINCT FROM (answer.*)$$, 'half down');
-- What is staged is judged by the same price: one that is as high as the floor is not below it, one step lower is.
INSERT INTO product (product, tax_rate, min_price) SELECT 's' || cents, 8, pg_temp.rounded(cents, 60, 'half_up') * 0.5 FROM generate_series(100, 2000) AS cents;
INSERT INTO price (price_list, product, amount) SELECT 'gross', 's' || cents, cents * 0.01 FROM generate_series(100, 2000) AS cents;
INSERT INTO price_staging (price_list, product, adjust, round_to, valid) SELECT 'b2b', 's' || cents, -10, 0.5, tstzrange(now(), '2040-01-01') FROM generate_series(100, 2000) AS cents;
UPDATE company SET rounding = 'half_up';
SELECT is_empty('SELECT * FROM check_staged_prices()', 'a staged percentage is rounded as it will be');
UPDATE product SET min_price = min_price + 0.01 WHERE product LIKE 's%';
SELECT is((SELECT count(*) FROM check_staged_prices() WHERE problem = 'below floor'), 1901::bigint, 'and what is below its floor by a cent is found');
SELECT * FROM finish();
ROLLBACK;
