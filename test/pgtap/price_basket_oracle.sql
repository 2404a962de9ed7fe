-- Promotions of the order over random baskets: which of them apply, and to the last cent what each line gets, beside a
-- resolver in plain SQL. What the lines cost before is asked of quote(), which has a resolver of its own.
BEGIN;
SELECT plan(11);
SELECT setseed(0.41);
SET LOCAL search_path = omnichannel, public;
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;
CREATE FUNCTION pg_temp.chance(p float8) RETURNS boolean LANGUAGE sql VOLATILE RETURN random() < p;
CREATE FUNCTION pg_temp.span() RETURNS tstzrange LANGUAGE sql VOLATILE
RETURN tstzrange('2025-01-01'::timestamptz + random() * 100 * interval '1 day', '2025-05-01'::timestamptz + random() * 100 * interval '1 day');
\ir price_oracle.psql

INSERT INTO segment (segment) SELECT 's' || i FROM generate_series(1, 3) AS i;
INSERT INTO customer (customer_id) SELECT generate_series(1, 6);
INSERT INTO segment_member (customer_id, segment, valid) SELECT c, 's' || s, '(,)' FROM generate_series(1, 6) AS c, generate_series(1, 3) AS s WHERE pg_temp.chance(0.5);
INSERT INTO product (product, parent, category, brand, min_price, cost, min_margin, currency, tax_rate)
SELECT 'p' || i, CASE WHEN i > 8 THEN 'p' || (i - 8) END, (ARRAY['a', 'a.b', 'd', NULL])[1 + pg_temp.dice(4)]::ltree, (ARRAY['x', 'y', NULL])[1 + pg_temp.dice(3)],
	CASE WHEN pg_temp.chance(0.4) THEN pg_temp.dice(3000) / 100.0 END, CASE WHEN pg_temp.chance(0.3) THEN pg_temp.dice(3000) / 100.0 END,
	CASE WHEN pg_temp.chance(0.5) THEN pg_temp.dice(40) END, 'PLN', (ARRAY[23, 8, NULL])[1 + pg_temp.dice(3)]
FROM generate_series(1, 16) AS i;
INSERT INTO price_list (price_list, kind, currency, active, tax_inclusive)
VALUES ('base', 'base', 'PLN', '{(,)}', true), ('bare', 'base', 'PLN', '{(,)}', false), ('trade', 'override', 'PLN', '{(,)}', false), ('yen', 'base', 'JPY', '{(,)}', false);
-- p8 has no price.
INSERT INTO price (price_list, product, amount, valid)
SELECT list, 'p' || i, CASE WHEN list = 'yen' THEN pg_temp.dice(5000) ELSE pg_temp.dice(50000) / 1000.0 END, '(,)' FROM generate_series(1, 16) AS i, unnest('{base,bare,yen}'::text[]) AS list
WHERE i NOT IN (8, 16) AND CASE list WHEN 'base' THEN i % 3 > 0 WHEN 'bare' THEN i % 3 = 0 ELSE true END;
INSERT INTO price (price_list, product, adjust, valid) VALUES ('trade', 'p2', -5, '(,)'), ('trade', 'p5', -10, '(,)');
INSERT INTO promotion (promotion, kind, value, cap, currency, products, categories, brands, except_products, except_categories, segments_any, min_subtotal, needs_coupon, stage, priority, exclusive, stop, valid, active)
SELECT (CASE WHEN kind LIKE 'order%' THEN 'o' ELSE 'r' END) || i, kind,
	CASE WHEN kind LIKE '%percent' THEN pg_temp.dice(40) + 1 ELSE pg_temp.dice(3000) / 100.0 END, CASE WHEN kind LIKE '%percent' AND pg_temp.chance(0.3) THEN 7 END,
	CASE WHEN pg_temp.chance(0.2) THEN 'JPY' ELSE 'PLN' END,
	CASE WHEN pg_temp.chance(0.3) THEN ARRAY(SELECT DISTINCT 'p' || 1 + pg_temp.dice(16) FROM generate_series(1, 3)) ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.2) THEN ARRAY[(ARRAY['a', 'a.b', 'd'])[1 + pg_temp.dice(3)]]::ltree[] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.1) THEN ARRAY['x'] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.1) THEN ARRAY['p' || 1 + pg_temp.dice(16)] ELSE '{}' END, CASE WHEN pg_temp.chance(0.1) THEN ARRAY['a.b']::ltree[] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.7) THEN '{}' ELSE ARRAY['s' || 1 + pg_temp.dice(3)] END, CASE WHEN pg_temp.chance(0.4) THEN pg_temp.dice(200) ELSE 0 END, pg_temp.chance(0.15),
	1 + pg_temp.dice(2), pg_temp.dice(3), pg_temp.chance(0.1), pg_temp.chance(0.15), CASE WHEN pg_temp.chance(0.5) THEN '(,)' ELSE pg_temp.span() END, '{(,)}'
FROM (SELECT i, (ARRAY['order_percent', 'order_amount', 'order_percent', 'order_amount', 'percent', 'amount'])[1 + i % 6] AS kind FROM generate_series(1, 60) AS i) AS drawn;
INSERT INTO coupon (coupon, promotion, valid) SELECT 'C' || upper(promotion), promotion, '(,)' FROM promotion WHERE needs_coupon;

CREATE FUNCTION public.concerns(p promotion, code text) RETURNS boolean LANGUAGE sql STABLE AS $$
	WITH RECURSIVE chain AS (SELECT product.*, 0 AS level FROM product WHERE product.product = code
		UNION ALL SELECT product.*, level + 1 FROM chain JOIN product ON product.product = chain.parent
	), own AS (
		SELECT array_agg(chain.product) AS chain, (array_agg(category ORDER BY level) FILTER (WHERE category IS NOT NULL))[1] AS category,
			(array_agg(brand ORDER BY level) FILTER (WHERE brand IS NOT NULL))[1] AS brand FROM chain
	)
	SELECT (p.products = '{}' AND p.categories = '{}' AND p.brands = '{}' OR p.products && own.chain OR coalesce(own.category <@ p.categories, false) OR coalesce(own.brand = ANY (p.brands), false))
		AND NOT p.except_products && own.chain AND NOT coalesce(own.category <@ p.except_categories, false) FROM own
$$;
-- The products of a basket, in minor units, and what promotions of the order take off each.
CREATE TABLE public.part (product text COLLATE "C" PRIMARY KEY, quantity numeric, total numeric, least numeric, ended boolean, promotions text[], discount numeric DEFAULT 0, up numeric, down numeric, own numeric, own_discount numeric, net numeric, gross numeric,
	share numeric, remainder numeric);
CREATE FUNCTION public.spread(p promotion, saving numeric) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	weight numeric;
	before numeric := 0;
	n int;
BEGIN
	UPDATE part SET share = 0;
	LOOP
		-- In proportion; who reaches the floor leaves the rest to the others.
		weight := (SELECT sum(total) FROM part WHERE NOT ended AND concerns(p, product) AND total - share > least);
		EXIT WHEN saving <= 0 OR weight IS NULL;
		UPDATE part SET remainder = NULL;
		UPDATE part SET share = share + least(div(saving * total, weight), total - share - least),
			remainder = CASE WHEN div(saving * total, weight) < total - share - least THEN mod(saving * total, weight) END
		WHERE NOT ended AND concerns(p, product) AND total - share > least;
		saving := saving - ((SELECT sum(share) FROM part) - before);
		-- A unit each for the largest remainders.
		UPDATE part SET share = share + 1 WHERE product IN (SELECT product FROM part WHERE remainder IS NOT NULL ORDER BY remainder DESC, product LIMIT saving::int);
		GET DIAGNOSTICS n = ROW_COUNT;
		saving := saving - n;
		EXIT WHEN (SELECT sum(share) FROM part) = before;
		before := (SELECT sum(share) FROM part);
	END LOOP;
	UPDATE part SET total = total - share, discount = discount + share, promotions = promotions || p.promotion WHERE share > 0;
END $$;
CREATE FUNCTION public.truth(who bigint, products text[], quantities numeric[], cur text, moment timestamptz, typed text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	asked text[] := ARRAY(SELECT segment FROM segment_member WHERE customer_id = who);
	decimals int := (SELECT minor_units FROM currency WHERE currency.currency = cur);
	minor numeric := CASE decimals WHEN 0 THEN 1 ELSE 0.01 END;
	applied boolean;
	rich numeric;
	subtotal numeric;
	p record;
	all_with_tax boolean;
BEGIN
	DELETE FROM part;
	INSERT INTO part (product, quantity) SELECT code, sum(n) FROM unnest(products, quantities) AS given (code, n) GROUP BY code;
	-- The basket is added up with tax or without; up and down lead there from the way of a product's list.
	all_with_tax := (SELECT coalesce(company.tax_inclusive, bool_or(l.amounts_with_tax)) FROM company, part, LATERAL pg_temp.listed(asked, part.product, part.quantity, cur, moment) AS l GROUP BY company.tax_inclusive);
	UPDATE part SET (up, down) = (SELECT CASE WHEN all_with_tax AND NOT l.with_tax THEN pg_temp.tax(part.product) ELSE 1 END, CASE WHEN l.with_tax AND NOT all_with_tax THEN pg_temp.tax(part.product) ELSE 1 END
		FROM pg_temp.listed(asked, part.product, part.quantity, cur, moment) AS l);
	rich := (SELECT coalesce(sum(round(round(round((pg_temp.listed(asked, part.product, part.quantity, cur, moment)).charged, decimals) * part.quantity, decimals) * up / down, decimals)), 0) FROM part);
	-- For one product, promotions of a line that ask for less than the basket costs ask for nothing, others for more than there is.
	CREATE TEMP TABLE kept AS SELECT promotion, min_subtotal FROM promotion WHERE min_subtotal > 0 AND kind NOT LIKE 'order%';
	UPDATE promotion SET min_subtotal = CASE WHEN promotion.min_subtotal <= rich THEN 0 ELSE 1e15 END FROM kept WHERE kept.promotion = promotion.promotion;
	UPDATE part SET (own, total, promotions) = (SELECT round(quoted.line_total / minor), round(round(quoted.line_total / minor) * up / down), quoted.promotions FROM quote(who, part.product, part.quantity, cur, moment, typed) AS quoted);
	UPDATE promotion SET min_subtotal = kept.min_subtotal FROM kept WHERE kept.promotion = promotion.promotion;
	DROP TABLE kept;
	DELETE FROM part WHERE total IS NULL;
	UPDATE part SET ended = EXISTS (SELECT FROM promotion WHERE promotion = ANY (part.promotions) AND (exclusive OR stop)), least = (
		WITH RECURSIVE chain AS (SELECT product.*, 0 AS level FROM product WHERE product.product = part.product
			UNION ALL SELECT product.*, level + 1 FROM chain JOIN product ON product.product = chain.parent)
		SELECT round(round(least((pg_temp.listed(asked, part.product, part.quantity, cur, moment)).listed, coalesce(CASE WHEN cur = 'PLN' THEN
			greatest((array_agg(min_price ORDER BY level) FILTER (WHERE min_price IS NOT NULL))[1],
				(array_agg(cost ORDER BY level) FILTER (WHERE cost IS NOT NULL))[1] * (100 + (array_agg(min_margin ORDER BY level) FILTER (WHERE min_margin IS NOT NULL))[1]) / 100) END, 0)
				* (SELECT CASE WHEN l.with_tax = l.amounts_with_tax THEN 1 WHEN l.with_tax THEN pg_temp.tax(part.product) ELSE 1 / pg_temp.tax(part.product) END FROM pg_temp.listed(asked, part.product, part.quantity, cur, moment) AS l)), decimals)
			* part.quantity / minor) FROM chain);
	-- The least of which the way back is not below the floor.
	UPDATE part SET least = (SELECT min(n) FROM generate_series(floor(part.least * up / down) - 1, floor(part.least * up / down) + 2) AS n WHERE n >= round(part.least * up / down) AND round(n * down / up) >= part.least);

	applied := EXISTS (SELECT FROM part WHERE promotions <> '{}');
	subtotal := (SELECT sum(total) * minor FROM part);
	FOR p IN
		SELECT whole, whole.exclusive, whole.stop, whole.min_subtotal
		FROM promotion AS whole, LATERAL (SELECT sum(total) AS total FROM part WHERE NOT ended AND concerns(whole, product)) AS of
		WHERE kind LIKE 'order%' AND valid @> moment AND coalesce(currency = cur, true) AND (segments_any = '{}' OR segments_any && asked)
			AND min_subtotal <= subtotal AND (NOT needs_coupon OR 'C' || upper(promotion) = ANY (typed))
		ORDER BY stage, priority DESC, exclusive DESC, least(of.total, round(CASE kind WHEN 'order_amount' THEN value ELSE least(of.total * minor * value / 100, coalesce(cap, 'Infinity')) END, decimals) / minor) DESC NULLS LAST,
			promotion COLLATE "C"
	LOOP
		CONTINUE WHEN p.exclusive AND applied OR p.min_subtotal > (SELECT sum(total) * minor FROM part);
		PERFORM spread(p.whole, (SELECT least(sum(total), round(CASE (p.whole).kind WHEN 'order_amount' THEN (p.whole).value ELSE least(sum(total) * minor * (p.whole).value / 100, coalesce((p.whole).cap, 'Infinity')) END, decimals) / minor)
			FROM part WHERE NOT ended AND concerns(p.whole, product)));
		CONTINUE WHEN NOT EXISTS (SELECT FROM part WHERE share > 0);
		applied := true;
		EXIT WHEN p.exclusive OR p.stop;
	END LOOP;
	UPDATE part SET own_discount = CASE WHEN discount > 0 THEN own - round(total * down / up) ELSE 0 END;
	UPDATE part SET own = own - own_discount;
	UPDATE part SET (net, gross) = (SELECT CASE WHEN NOT l.with_tax THEN own WHEN all_with_tax THEN round(own / pg_temp.tax(part.product)) ELSE total END,
			CASE WHEN l.with_tax THEN own WHEN NOT all_with_tax THEN round(own * pg_temp.tax(part.product)) ELSE total END
		FROM pg_temp.listed(asked, part.product, part.quantity, cur, moment) AS l);
END $$;
CREATE TABLE public.basket AS
SELECT i, 1 + pg_temp.dice(6) AS customer_id, (ARRAY['PLN', 'PLN', 'JPY'])[1 + pg_temp.dice(3)] AS currency, '2024-12-20'::timestamptz + random() * 300 * interval '1 day' AS at,
	ARRAY(SELECT coupon FROM coupon WHERE random() < 0.5 AND i > 0) AS coupons,
	ARRAY(SELECT 'p' || 1 + pg_temp.dice(16) FROM generate_series(1, 2 + i % 5)) AS products, ARRAY(SELECT (ARRAY[1, 1, 3, 2.5, 7])[1 + pg_temp.dice(5)] FROM generate_series(1, 2 + i % 5)) AS quantities
FROM generate_series(1, 250) AS i;
CREATE TABLE public.answer AS SELECT basket.i, row.* FROM basket, quote_basket_lines(customer_id, products, quantities, currency, at, coupons) AS row;
CREATE TABLE public.expected (i int, product text, quantity numeric, total numeric, discount numeric, promotions text[], net numeric, gross numeric, at_floor boolean, shared numeric);
CREATE FUNCTION public.ask_all(upto int, shift int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	b record;
BEGIN
	FOR b IN SELECT * FROM basket WHERE basket.i <= upto LOOP
		PERFORM truth(b.customer_id, b.products, b.quantities, b.currency, b.at, b.coupons);
		INSERT INTO expected SELECT b.i + shift, product, quantity, own / unit, own_discount / unit, promotions, net / unit, gross / unit, discount > 0 AND total = least, discount / unit
		FROM part, (SELECT CASE b.currency WHEN 'JPY' THEN 1 ELSE 100 END) AS minor (unit);
	END LOOP;
END $$;
SELECT public.ask_all(250, 0) \g /dev/null
UPDATE company SET tax_inclusive = true;
SELECT public.ask_all(80, 1000) \g /dev/null
INSERT INTO public.answer SELECT basket.i + 1000, row.* FROM basket, quote_basket_lines(customer_id, products, quantities, currency, at, coupons) AS row WHERE basket.i <= 80;
UPDATE company SET tax_inclusive = false;
SELECT public.ask_all(80, 2000) \g /dev/null
INSERT INTO public.answer SELECT basket.i + 2000, row.* FROM basket, quote_basket_lines(customer_id, products, quantities, currency, at, coupons) AS row WHERE basket.i <= 80;
UPDATE company SET tax_inclusive = NULL;
SELECT ok((SELECT count(*) > 150 FROM public.answer WHERE order_discount > 0), 'many lines get something off the order');
SELECT ok((SELECT count(*) > 15 FROM public.expected WHERE at_floor), 'many to their floors');
SELECT is_empty($$
	SELECT i, product, quantity, a.total, a.discount, a.promotions, a.net, a.gross, e.total, e.discount, e.promotions, e.net, e.gross
	FROM (SELECT i, product, sum(quantity) AS quantity, sum(line_total) AS total, sum(order_discount) AS discount, min(promotions) AS promotions, sum(line_net) AS net, sum(line_gross) AS gross FROM public.answer WHERE reason IS NULL GROUP BY 1, 2) AS a
		FULL JOIN public.expected AS e USING (i, product, quantity)
	WHERE (a.total, a.discount, a.promotions, a.net, a.gross) IS DISTINCT FROM (e.total, e.discount, e.promotions, e.net, e.gross)
$$, 'each product is as plain SQL has it');
SELECT ok((SELECT count(*) > 20 FROM (SELECT i FROM public.answer WHERE tax_rate > 0 GROUP BY i HAVING count(DISTINCT tax_inclusive) = 2 AND sum(order_discount) > 0) AS mixed), 'lists with and without tax meet in a basket');
-- What the customer pays is less by what is given, to the last cent, and so is what lines come to without tax where amounts are so.
SELECT is_empty($$SELECT e.i FROM (SELECT i, sum(shared) AS given FROM public.expected WHERE i BETWEEN 1001 AND 2999 GROUP BY 1) AS e JOIN public.basket AS b ON b.i = e.i % 1000,
		LATERAL (SELECT sum(CASE WHEN e.i > 2000 THEN line_net ELSE line_gross END) AS now,
			sum(round(round(line_total + order_discount, d) * CASE WHEN tax_inclusive = (e.i < 2000) THEN 1 WHEN tax_inclusive THEN 1 / (1 + coalesce(tax_rate, 0) / 100) ELSE 1 + coalesce(tax_rate, 0) / 100 END, d)) AS before
			FROM (SELECT product, tax_inclusive, tax_rate, sum(line_net) AS line_net, sum(line_gross) AS line_gross, sum(line_total) AS line_total, sum(order_discount) AS order_discount FROM public.answer AS a WHERE a.i = e.i GROUP BY 1, 2, 3) AS item,
				(SELECT minor_units AS d FROM currency WHERE currency.currency = b.currency) AS unit) AS sums
	WHERE sums.before - sums.now <> e.given$$, 'no cent is lost');
SELECT is_empty($$SELECT * FROM public.answer WHERE line_total < 0 OR order_discount < 0 OR scale(line_total) > CASE currency WHEN 'JPY' THEN 0 ELSE 2 END$$, 'in whole minor units');
SELECT is_empty($$SELECT i FROM public.answer GROUP BY i HAVING count(DISTINCT valid_until) > 1$$, 'a basket holds as long as all of it');
-- in any order, and split in any way
SELECT is_empty($$
	SELECT b.i FROM public.basket AS b, LATERAL (SELECT array_agg(product ORDER BY n DESC) AS products, array_agg(quantity ORDER BY n DESC) AS quantities
		FROM unnest(products, quantities) WITH ORDINALITY AS t (product, quantity, n)) AS turned
	WHERE (SELECT array_agg((product, total) ORDER BY product) FROM (SELECT product, sum(line_total) AS total FROM quote_basket_lines(customer_id, turned.products, turned.quantities, currency, at, coupons) GROUP BY 1) AS t)
		IS DISTINCT FROM (SELECT array_agg((product, total) ORDER BY product) FROM (SELECT product, sum(line_total) AS total FROM public.answer AS a WHERE a.i = b.i GROUP BY 1) AS t)
$$, 'the order of the lines plays no part');
SELECT is_empty($$
	SELECT b.i FROM public.basket AS b, LATERAL (SELECT array_agg(product ORDER BY n, half) AS products, array_agg(quantity * half ORDER BY n, half) AS quantities
		FROM unnest(products, quantities) WITH ORDINALITY AS t (product, quantity, n), unnest('{0.25,0.75}'::numeric[]) AS half) AS split
	WHERE (SELECT array_agg((product, total) ORDER BY product) FROM (SELECT product, sum(line_total) AS total FROM quote_basket_lines(customer_id, split.products, split.quantities, currency, at, coupons) GROUP BY 1) AS t)
		IS DISTINCT FROM (SELECT array_agg((product, total) ORDER BY product) FROM (SELECT product, sum(line_total) AS total FROM public.answer AS a WHERE a.i = b.i GROUP BY 1) AS t)
$$, 'nor that a line is two');
-- for its time
CREATE FUNCTION public.same(asked int, moment timestamptz) RETURNS boolean LANGUAGE sql AS $$
	SELECT (SELECT array_agg((line, line_total, order_discount, promotions) ORDER BY line) FROM quote_basket_lines(customer_id, products, quantities, currency, moment, coupons))
		IS NOT DISTINCT FROM (SELECT array_agg((line, line_total, order_discount, promotions) ORDER BY line) FROM public.answer WHERE answer.i = asked) FROM public.basket WHERE basket.i = asked
$$;
SELECT is_empty($$SELECT b.i, valid_until FROM public.basket AS b JOIN public.answer AS a ON a.i = b.i AND line = 1, generate_series(1, 4) AS k
	WHERE NOT public.same(b.i, CASE k WHEN 1 THEN coalesce(valid_until, '2027-01-01') - interval '1 microsecond' ELSE at + random() * (coalesce(valid_until, '2027-01-01') - interval '1 microsecond' - at) END)$$,
	'it is the same up to valid_until');
SELECT ok((SELECT count(*) FILTER (WHERE NOT public.same(b.i, valid_until)) > 30 FROM public.basket AS b JOIN public.answer AS a ON a.i = b.i AND line = 1 WHERE valid_until IS NOT NULL),
	'and often another one then');
SELECT * FROM finish();
ROLLBACK;
