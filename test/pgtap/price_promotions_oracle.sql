-- Promotions, coupons, limits, floors, pauses and memberships of random catalogues beside a resolver in plain SQL, each
-- answer at the bounds of its time, and every function that answers beside quote().
BEGIN;
SELECT plan(17);
SELECT setseed(0.17);
SET LOCAL search_path = omnichannel, public;
CREATE FUNCTION pg_temp.dice(sides int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * sides)::int;
CREATE FUNCTION pg_temp.chance(p float8) RETURNS boolean LANGUAGE sql VOLATILE RETURN random() < p;
CREATE FUNCTION pg_temp.span() RETURNS tstzrange LANGUAGE sql VOLATILE
RETURN tstzrange('2025-01-01'::timestamptz + random() * 100 * interval '1 day', '2025-05-01'::timestamptz + random() * 100 * interval '1 day');
\ir price_oracle.psql

INSERT INTO segment (segment) SELECT 's' || i FROM generate_series(1, 6) AS i;
INSERT INTO customer (customer_id) SELECT generate_series(1, 12);
INSERT INTO segment_member (customer_id, segment, valid)
SELECT c, 's' || s, CASE WHEN pg_temp.chance(0.5) THEN '(,)' ELSE pg_temp.span() END FROM generate_series(1, 12) AS c, generate_series(1, 6) AS s WHERE pg_temp.chance(0.4);
INSERT INTO product (product, parent, category, brand, min_price, cost, min_margin, currency, tax_rate)
SELECT 'p' || i, CASE WHEN i > 20 THEN 'p' || (i - 20) END, (ARRAY['a', 'a.b', 'a.b.c', 'd', NULL])[1 + pg_temp.dice(5)]::ltree,
	(ARRAY['x', 'y', NULL])[1 + pg_temp.dice(3)], CASE WHEN pg_temp.chance(0.3) THEN pg_temp.dice(6000) / 100.0 END,
	CASE WHEN pg_temp.chance(0.3) THEN pg_temp.dice(5000) / 100.0 END, CASE WHEN pg_temp.chance(0.4) THEN pg_temp.dice(40) END,
	CASE WHEN pg_temp.chance(0.8) THEN 'PLN' ELSE 'EUR' END, (ARRAY[23, 8, 5.5, NULL])[1 + pg_temp.dice(4)]
FROM generate_series(1, 50) AS i;
INSERT INTO price_list (price_list, kind, priority, currency, segments_any, segments_all, valid, active, tax_inclusive)
SELECT 'l' || i, (ARRAY['base', 'override', 'sale', 'sale'])[1 + pg_temp.dice(4)], pg_temp.dice(3), (ARRAY['PLN', 'PLN', 'EUR'])[1 + pg_temp.dice(3)],
	CASE WHEN pg_temp.chance(0.5) THEN '{}' ELSE ARRAY['s' || 1 + pg_temp.dice(6)] END, CASE WHEN pg_temp.chance(0.8) THEN '{}' ELSE ARRAY['s' || 1 + pg_temp.dice(6)] END,
	CASE WHEN pg_temp.chance(0.6) THEN '(,)' ELSE pg_temp.span() END, '{(,)}', pg_temp.chance(0.6)
FROM generate_series(1, 20) AS i;
UPDATE price_list SET active = tstzmultirange(pg_temp.span(), tstzrange('2025-09-01', NULL)) WHERE pg_temp.chance(0.3);
INSERT INTO price (price_list, product, category, everything, min_quantity, amount, adjust, valid)
SELECT list.price_list, CASE WHEN target < 7 THEN 'p' || 1 + pg_temp.dice(50) END, CASE WHEN target IN (7, 8) THEN (ARRAY['a', 'a.b', 'd'])[1 + pg_temp.dice(3)]::ltree END,
	target = 9, (ARRAY[0, 0, 2.5, 10])[1 + pg_temp.dice(4)], CASE WHEN list.kind = 'base' OR i % 2 = 0 THEN pg_temp.dice(100000) / 1000.0 END,
	CASE WHEN NOT (list.kind = 'base' OR i % 2 = 0) THEN pg_temp.dice(90) - 80 END, CASE WHEN pg_temp.chance(0.6) THEN '(,)' ELSE pg_temp.span() END
FROM (SELECT i, pg_temp.dice(10) AS target, 'l' || 1 + pg_temp.dice(20) AS code FROM generate_series(1, 1200) AS i) AS drawn JOIN price_list AS list ON list.price_list = code
ON CONFLICT DO NOTHING;
INSERT INTO price_list (price_list, kind, priority, currency, segments_any, tax_inclusive, derived_from, derived_adjust, derived_round_to, valid)
SELECT 'd' || price_list, CASE kind WHEN 'base' THEN 'sale' ELSE kind END, 3, currency, '{s1,s2}', tax_inclusive, price_list, -15, 0.05, pg_temp.span() FROM price_list WHERE price_list IN ('l2', 'l5', 'l9', 'l12', 'l17');
INSERT INTO promotion (promotion, kind, value, cap, buy_quantity, get_quantity, max_units, currency, products, categories, brands, except_products, except_categories,
	except_brands, segments_any, segments_all, min_quantity, min_subtotal, needs_coupon, stage, priority, exclusive, stop, best_of, use_limit, customer_limit, valid)
SELECT 'r' || i, kind, CASE WHEN kind IN ('percent', 'buy_get') THEN pg_temp.dice(60) + 1 WHEN kind = 'amount' THEN pg_temp.dice(1500) / 100.0 ELSE pg_temp.dice(8000) / 100.0 END,
	CASE WHEN kind = 'percent' AND pg_temp.chance(0.3) THEN 5 END, CASE kind WHEN 'buy_get' THEN 1 + pg_temp.dice(3) END, CASE kind WHEN 'buy_get' THEN 1 + pg_temp.dice(2) END,
	CASE WHEN pg_temp.chance(0.2) THEN 1 + pg_temp.dice(5) END, CASE WHEN pg_temp.chance(0.3) THEN 'EUR' WHEN pg_temp.chance(0.5) THEN 'PLN' END,
	CASE WHEN pg_temp.chance(0.4) THEN ARRAY['p' || 1 + pg_temp.dice(50), 'p' || 1 + pg_temp.dice(20)] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.3) THEN ARRAY[(ARRAY['a', 'a.b', 'd'])[1 + pg_temp.dice(3)]]::ltree[] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.3) THEN ARRAY[(ARRAY['x', 'y'])[1 + pg_temp.dice(2)]] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.2) THEN ARRAY['p' || 1 + pg_temp.dice(20)] ELSE '{}' END, CASE WHEN pg_temp.chance(0.1) THEN ARRAY['a.b']::ltree[] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.1) THEN ARRAY['y'] ELSE '{}' END,
	CASE WHEN pg_temp.chance(0.6) THEN '{}' ELSE ARRAY['s' || 1 + pg_temp.dice(6)] END, CASE WHEN pg_temp.chance(0.9) THEN '{}' ELSE ARRAY['s' || 1 + pg_temp.dice(6)] END,
	CASE WHEN pg_temp.chance(0.2) THEN 1 + pg_temp.dice(5) ELSE 0 END, CASE WHEN pg_temp.chance(0.2) THEN pg_temp.dice(200) ELSE 0 END, pg_temp.chance(0.2),
	1 + pg_temp.dice(2), pg_temp.dice(3), pg_temp.chance(0.1), pg_temp.chance(0.1), CASE WHEN pg_temp.chance(0.3) THEN (ARRAY['g', 'h'])[1 + pg_temp.dice(2)] END,
	CASE WHEN pg_temp.chance(0.3) THEN 5 END, CASE WHEN pg_temp.chance(0.3) THEN 1 END, CASE WHEN pg_temp.chance(0.4) THEN '(,)' ELSE pg_temp.span() END
FROM (SELECT i, (ARRAY['percent', 'percent', 'amount', 'fixed_price', 'buy_get'])[1 + pg_temp.dice(5)] AS kind FROM generate_series(1, 60) AS i) AS drawn;
UPDATE promotion SET active = tstzmultirange(pg_temp.span(), tstzrange('2025-09-01', NULL)) WHERE pg_temp.chance(0.2);
UPDATE promotion SET active = '{}', status = 'draft' WHERE pg_temp.chance(0.05);
INSERT INTO coupon (coupon, promotion, customer_id, valid)
SELECT upper(promotion), promotion, CASE WHEN pg_temp.chance(0.3) THEN 1 + pg_temp.dice(12) END, CASE WHEN pg_temp.chance(0.5) THEN '(,)' ELSE pg_temp.span() END
FROM promotion WHERE needs_coupon;
INSERT INTO promotion_used_up (promotion, since, until)
SELECT promotion, lower(time), upper(time) FROM (SELECT promotion, pg_temp.span() AS time FROM promotion WHERE use_limit IS NOT NULL) AS full_once;
INSERT INTO promotion_use (key, promotion, customer_id, amount, reserved_at, expires_at, state, released_at)
SELECT format('%s %s', promotion, c), promotion, c, 1, lower(time), '2030-01-01', 'released', upper(time)
FROM (SELECT promotion, c, pg_temp.span() AS time FROM promotion, generate_series(1, 12) AS c WHERE customer_limit IS NOT NULL AND pg_temp.chance(0.5)) AS used;

-- One promotion after the other, on units one price beside the other.
CREATE FUNCTION pg_temp.promoted(p promotion, price numeric, factor numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN CASE p.kind
	WHEN 'fixed_price' THEN least(price, p.value * factor[1] / factor[2]) WHEN 'amount' THEN greatest(price - p.value * factor[1] / factor[2], 0)
	ELSE greatest(price - least(price * p.value / 100, coalesce(p.cap * factor[1] / factor[2], 'Infinity')), 0) END;
CREATE FUNCTION pg_temp.units(p promotion, q numeric) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN least(coalesce(p.max_units, 'Infinity'),
	CASE WHEN p.kind <> 'buy_get' THEN q ELSE floor(floor(q) / (p.buy_quantity + p.get_quantity)) * p.get_quantity
		+ greatest(floor(q) % (p.buy_quantity + p.get_quantity) - p.buy_quantity, 0) END);
CREATE FUNCTION pg_temp.truth(who bigint, code text, q numeric, cur text, moment timestamptz, typed text[],
	OUT list_price numeric, OUT unit_price numeric, OUT line_total numeric, OUT price_list text, OUT promotions text[])
LANGUAGE plpgsql AS $$
DECLARE
	asked text[] := ARRAY(SELECT DISTINCT segment FROM segment_member WHERE customer_id = who AND valid @> moment);
	decimals int := (SELECT minor_units FROM currency WHERE currency.currency = cur);
	base record;
	own record;
	line record;
	unit numeric[];
	amount numeric[];
	todo numeric;
	lowest numeric;
	factor numeric[];
	before numeric;
	k bigint;
	part numeric;
	changed boolean;
	ended boolean := false;
BEGIN
	promotions := '{}';
	SELECT * INTO base FROM pg_temp.listed(asked, code, q, cur, moment);
	IF base.charged IS NULL THEN
		RETURN;
	END IF;
	price_list := base.price_list;
	factor := CASE WHEN base.with_tax = base.amounts_with_tax THEN '{1,1}' WHEN base.with_tax THEN ARRAY[pg_temp.tax(code), 1] ELSE ARRAY[1, pg_temp.tax(code)] END;
	list_price := round(base.listed, decimals);
	WITH RECURSIVE chain AS (SELECT product.*, 0 AS level FROM product WHERE product.product = code
		UNION ALL SELECT product.*, level + 1 FROM chain JOIN product ON product.product = chain.parent)
	SELECT array_agg(chain.product) AS chain, (array_agg(category ORDER BY level) FILTER (WHERE category IS NOT NULL))[1] AS category,
		(array_agg(brand ORDER BY level) FILTER (WHERE brand IS NOT NULL))[1] AS brand,
		(array_agg(min_price ORDER BY level) FILTER (WHERE min_price IS NOT NULL))[1] AS min_price,
		(array_agg(currency ORDER BY level) FILTER (WHERE min_price IS NOT NULL))[1] AS min_price_currency,
		(array_agg(cost ORDER BY level) FILTER (WHERE cost IS NOT NULL))[1] AS cost,
		(array_agg(currency ORDER BY level) FILTER (WHERE cost IS NOT NULL))[1] AS cost_currency,
		(array_agg(min_margin ORDER BY level) FILTER (WHERE min_margin IS NOT NULL))[1] AS margin INTO own FROM chain;
	lowest := least(base.listed, coalesce(greatest(CASE WHEN own.min_price_currency = cur THEN own.min_price END,
		CASE WHEN own.cost_currency = cur THEN own.cost * (100 + own.margin) / 100 END) * factor[1] / factor[2], 0));
	unit := ARRAY[base.charged];
	amount := ARRAY[q];
	FOR line IN
		WITH fits AS MATERIALIZED (
			SELECT p, (base.charged - pg_temp.promoted(p, base.charged, factor)) * least(pg_temp.units(p, q), q) AS saving
			FROM promotion AS p
			WHERE p.active @> moment AND p.valid @> moment AND coalesce(p.currency = cur, true) AND p.min_quantity <= q
				AND p.min_subtotal <= round(round(round(base.charged, decimals) * q, decimals) * factor[2] / factor[1], decimals)
				AND (p.segments_any = '{}' OR p.segments_any && asked) AND p.segments_all <@ asked
				AND (p.products = '{}' AND p.categories = '{}' AND p.brands = '{}' OR p.products && own.chain OR own.category <@ p.categories OR own.brand = ANY (p.brands))
				AND NOT p.except_products && own.chain AND NOT coalesce(own.category <@ p.except_categories, false)
				AND NOT coalesce(own.brand = ANY (p.except_brands), false)
				AND (NOT p.needs_coupon OR EXISTS (SELECT FROM coupon WHERE coupon.promotion = p.promotion AND coupon = ANY (typed) AND valid @> moment
					AND coalesce(customer_id = who, true)))
				AND NOT EXISTS (SELECT FROM promotion_used_up AS gone WHERE gone.promotion = p.promotion AND tstzrange(since, until) @> moment)
				AND NOT EXISTS (SELECT FROM promotion_use AS used WHERE used.promotion = p.promotion AND used.customer_id = who AND tstzrange(reserved_at, released_at) @> moment)
		)
		SELECT (fits.p).*, EXISTS (SELECT FROM fits AS other WHERE (other.p).best_of = (fits.p).best_of
			AND (other.saving > fits.saving OR other.saving = fits.saving AND (other.p).promotion COLLATE "C" < (fits.p).promotion COLLATE "C")) AS beaten, fits.p AS whole
		FROM fits ORDER BY (fits.p).stage, (fits.p).priority DESC, (fits.p).exclusive DESC, fits.saving DESC, (fits.p).promotion COLLATE "C"
	LOOP
		CONTINUE WHEN line.beaten OR ended OR line.exclusive AND promotions <> '{}';
		changed := false;
		todo := pg_temp.units(line.whole, q);
		-- the dearest units first; those that are left over stand behind, for the next promotion
		FOR k IN SELECT place FROM unnest(unit) WITH ORDINALITY AS u (price, place) ORDER BY price DESC, place
		LOOP
			EXIT WHEN todo <= 0;
			before := unit[k];
			part := least(todo, amount[k]);
			todo := todo - part;
			CONTINUE WHEN pg_temp.promoted(line.whole, before, factor) = before;
			changed := true;
			unit[k] := pg_temp.promoted(line.whole, before, factor);
			IF part < amount[k] THEN
				unit := unit || before;
				amount := amount || (amount[k] - part);
				amount[k] := part;
			END IF;
		END LOOP;
		IF changed THEN
			promotions := promotions || line.promotion;
			ended := line.exclusive OR line.stop;
		END IF;
	END LOOP;
	SELECT CASE WHEN min(rounded) = max(rounded) THEN min(rounded) END, round(sum(rounded * n), decimals) INTO unit_price, line_total
	FROM (SELECT round(greatest(price, lowest), decimals) AS rounded, n FROM unnest(unit, amount) AS u (price, n)) AS priced;
END $$;

CREATE TEMP TABLE question AS
SELECT i, 1 + pg_temp.dice(12) AS customer_id, 'p' || 1 + pg_temp.dice(50) AS product, (ARRAY[1, 1, 3, 2.5, 12])[1 + pg_temp.dice(5)] AS quantity,
	(ARRAY['PLN', 'PLN', 'EUR'])[1 + pg_temp.dice(3)] AS currency, '2024-12-20'::timestamptz + random() * 300 * interval '1 day' AS at,
	ARRAY(SELECT coupon FROM coupon WHERE random() < 0.5 AND i > 0) AS coupons
FROM generate_series(1, 1500) AS i;
CREATE TEMP TABLE answered AS
SELECT question.i, answer.* FROM question, LATERAL quote(customer_id, question.product, question.quantity, question.currency, at, coupons) AS answer;
CREATE INDEX ON answered (i);

SELECT ok((SELECT count(*) > 400 AND count(*) FILTER (WHERE cardinality(promotions) > 1) > 150 AND count(*) FILTER (WHERE unit_price IS NULL) > 15
	FROM answered WHERE line_total IS NOT NULL), 'many prices, several promotions, units of different prices');
SELECT ok((SELECT count(DISTINCT promotion) > 20 FROM answered, unnest(promotions) AS promotion), 'many promotions');
SELECT is_empty($$
	SELECT i, customer_id, question.product, question.quantity, question.currency, at, answered.unit_price, answered.line_total, answered.promotions, truth.*
	FROM answered JOIN question USING (i), LATERAL pg_temp.truth(customer_id, question.product, question.quantity, question.currency, at, coupons) AS truth
	WHERE (answered.list_price, answered.unit_price, answered.line_total, answered.price_list, answered.promotions)
		IS DISTINCT FROM (truth.list_price, truth.unit_price, truth.line_total, truth.price_list, truth.promotions)
$$, '1,500 answers are the plain SQL''s');
SELECT ok((SELECT count(*) > 100 FROM answered WHERE NOT tax_inclusive AND promotions <> '{}'), 'with and without tax');
-- amounts of products and promotions that contain tax, or do not, whatever the lists say
CREATE FUNCTION pg_temp.wrong() RETURNS SETOF int LANGUAGE sql AS $$
	SELECT i FROM question, LATERAL quote(customer_id, question.product, question.quantity, question.currency, at, coupons) AS answer,
		LATERAL pg_temp.truth(customer_id, question.product, question.quantity, question.currency, at, coupons) AS truth
	WHERE i <= 500 AND (answer.list_price, answer.unit_price, answer.line_total, answer.price_list, answer.promotions)
		IS DISTINCT FROM (truth.list_price, truth.unit_price, truth.line_total, truth.price_list, truth.promotions)
$$;
UPDATE company SET tax_inclusive = true;
SELECT is_empty('SELECT * FROM pg_temp.wrong()', 'amounts with tax');
UPDATE company SET tax_inclusive = false;
SELECT is_empty('SELECT * FROM pg_temp.wrong()', 'amounts without tax');
SELECT is_empty($$SELECT question.i FROM question, LATERAL quote(customer_id, question.product, question.quantity, question.currency, at, coupons) AS answer,
		LATERAL quote_basket_lines(customer_id, ARRAY[question.product], ARRAY[question.quantity], question.currency, at, coupons) AS basket
	WHERE to_jsonb(basket) - '{line,order_discount,line_net,line_gross}'::text[] <> to_jsonb(answer)$$, 'with one line as without a basket');
SELECT ok((SELECT count(*) > 20 FROM question JOIN answered USING (i), LATERAL quote(customer_id, question.product, question.quantity, question.currency, at, coupons) AS answer
	WHERE i <= 500 AND answer.line_total <> answered.line_total), 'which makes a difference');
UPDATE company SET tax_inclusive = NULL;

-- The time for which an answer holds.
CREATE FUNCTION pg_temp.same(one answered, at timestamptz) RETURNS boolean LANGUAGE sql AS $$
	SELECT (one.list_price, one.unit_price, one.line_total, one.price_list, one.promotions, one.reference_price, one.reason, one.unit_net)
		IS NOT DISTINCT FROM (answer.list_price, answer.unit_price, answer.line_total, answer.price_list, answer.promotions, answer.reference_price, answer.reason, answer.unit_net)
	FROM question, LATERAL quote(customer_id, question.product, question.quantity, question.currency, $2, coupons) AS answer WHERE question.i = one.i
$$;
SELECT is_empty($$SELECT * FROM answered JOIN question USING (i) WHERE valid_until <= at$$, 'it ends later');
SELECT is_empty($$SELECT i, at, valid_until FROM answered JOIN question USING (i) WHERE valid_until IS NOT NULL AND NOT pg_temp.same(answered, valid_until - interval '1 microsecond')$$, 'up to its end');
SELECT is_empty($$SELECT i FROM answered JOIN question USING (i), generate_series(1, 3) WHERE NOT pg_temp.same(answered, at + random() * (coalesce(valid_until, '2027-01-01') - interval '1 microsecond' - at))$$,
	'and within');
SELECT ok((SELECT count(*) > 100 FROM answered WHERE valid_until IS NOT NULL AND NOT pg_temp.same(answered, valid_until)), 'it is often another one then');

-- The other functions.
SELECT is_empty($$SELECT question.i FROM question JOIN answered USING (i), LATERAL quotes(customer_id, ARRAY[question.product], question.quantity, question.currency, at, coupons) AS page
	WHERE to_jsonb(page) <> to_jsonb(answered) - 'i'$$, 'quotes()');
SELECT is_empty($$SELECT question.i FROM question JOIN answered USING (i), LATERAL quote_basket(customer_id, jsonb_build_array(jsonb_build_object('product', question.product, 'quantity', question.quantity)),
		question.currency, at, coupons) AS basket
	-- What is asked of a basket then is asked with or without tax as of one asked for now.
	WHERE to_jsonb(basket) - '{line,order_discount,line_net,line_gross,reference_price}'::text[] <> to_jsonb(answered) - '{i,reference_price}'::text[] OR basket.order_discount <> 0
		OR (basket.line_net, basket.line_gross) <> (CASE WHEN basket.tax_inclusive THEN round(basket.line_total / (1 + coalesce(basket.tax_rate, 0) / 100), 2) ELSE basket.line_total END,
			CASE WHEN basket.tax_inclusive THEN basket.line_total ELSE round(basket.line_total * (1 + coalesce(basket.tax_rate, 0) / 100), 2) END)$$, 'quote_basket() of one line');
SELECT is_empty($$SELECT question.i FROM question JOIN answered USING (i), LATERAL quote_segments(quote_segments_of(customer_id, at), question.product, question.quantity, question.currency, at) AS visitor
	WHERE coupons = '{}' AND NOT EXISTS (SELECT FROM promotion_use AS used WHERE used.customer_id = question.customer_id) AND to_jsonb(visitor) - 'valid_until' <> to_jsonb(answered) - '{i,valid_until}'::text[]$$, 'quote_segments()');
SELECT is_empty($$
	SELECT one.*, other.* FROM generate_series(1, 12) AS c, unnest(ARRAY['PLN', 'EUR']) AS cur, generate_series('2024-12-31'::timestamptz, '2025-10-01', '40 days') AS moment,
		LATERAL catalogue_prices(c, 3, cur, moment, ARRAY(SELECT coupon FROM coupon)) AS one, LATERAL quote(c, one.product, 3, cur, moment, ARRAY(SELECT coupon FROM coupon)) AS other
	WHERE one IS DISTINCT FROM other$$, 'catalogue_prices()');
-- Why.
SELECT is_empty($$
	SELECT question.i, explained.* FROM question JOIN answered USING (i), LATERAL (
		SELECT array_agg(candidate ORDER BY step) FILTER (WHERE kind = 'promotion' AND verdict = 'applied') AS promotions,
			array_agg(candidate) FILTER (WHERE kind IN ('base', 'override', 'sale') AND verdict = 'won') AS lists
		FROM explain_quote(customer_id, question.product, question.quantity, question.currency, at, coupons)) AS explained
	WHERE coalesce(explained.promotions, '{}') <> answered.promotions OR explained.lists IS DISTINCT FROM CASE WHEN answered.price_list IS NOT NULL THEN ARRAY[answered.price_list] END$$,
	'explain_quote() names the list that won and the promotions that applied');
SELECT * FROM finish();
ROLLBACK;
